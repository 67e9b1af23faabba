"""Drawing a graph: from values to Mermaid, Graphviz or ASCII text."""

from durable_graph.graph.drawing.derive import drawing_of
from durable_graph.graph.drawing.drawing import Drawing
from durable_graph.graph.drawing.elements import Direction, DrawnEdge, DrawnNode
from durable_graph.graph.drawing.status import NodeStatus, status_of

__all__ = [
    "Direction",
    "Drawing",
    "DrawnEdge",
    "DrawnNode",
    "NodeStatus",
    "drawing_of",
    "status_of",
]
