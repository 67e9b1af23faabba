"""A graph's nodes and edges, as a value with methods that draw them."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from durable_graph.errors import InvalidOptionError
from durable_graph.errors.elsewhere import DRAWING, missing_attribute
from durable_graph.graph.drawing.ascii import ascii_text
from durable_graph.graph.drawing.elements import Direction, DrawnEdge, DrawnNode
from durable_graph.graph.drawing.graphviz import graphviz_text
from durable_graph.graph.drawing.mermaid import mermaid_text
from durable_graph.graph.drawing.status import NodeStatus, check_status
from durable_graph.graph.drawing.texts import marks_of, shown


@dataclass(frozen=True, slots=True)
class Drawing:
    """A graph as nodes and edges, in the order of their description. Notebooks show it as a picture.

    `status` maps nodes' ids to a thread's status. It is drawn unless another status is passed. The same graph always
    gives the same text.
    """

    name: str
    nodes: tuple[DrawnNode, ...]
    edges: tuple[DrawnEdge, ...]
    status: Mapping[str, NodeStatus] = field(default_factory=dict)

    if not typing.TYPE_CHECKING:
        # With a visible `__getattr__`, type checkers would accept every name.
        def __getattr__(self, name):
            missing_attribute(self, name, DRAWING)

    def with_status(self, status: Mapping[str, NodeStatus]) -> "Drawing":
        """The same drawing with each node in the colour of its status.

        Raises `UnknownNameError` for a node that is not drawn, `InvalidOptionError` for an invalid status.
        """
        check_status(status, self.nodes)
        return replace(self, status=dict(status))

    def draw_mermaid(self, status: Mapping[str, NodeStatus] | None = None, *, direction: Direction = "TD") -> str:
        """A Mermaid flowchart. Dotted arrows are conditional, thick arrows lead into a join.

        Raises the errors of `with_status`, and `InvalidOptionError` for an invalid direction.
        """
        _check_direction(direction)
        return mermaid_text(self.nodes, self.edges, self._status(status), direction)

    def draw_dot(self, status: Mapping[str, NodeStatus] | None = None, *, direction: Direction = "TD") -> str:
        """A digraph in Graphviz's language. Dashed arrows are conditional, bold arrows lead into a join.

        Raises the errors of `with_status`, and `InvalidOptionError` for an invalid direction.
        """
        _check_direction(direction)
        return graphviz_text(self.name, self.nodes, self.edges, self._status(status), direction)

    def draw_ascii(self) -> str:
        """The graph as boxes and lines of ASCII characters, from START down. Dotted lines are conditional edges.

        Edges that lead back, or skip a row of nodes, are listed below the boxes.
        """
        picture, others = ascii_text(self.nodes, self.edges)
        return "\n".join([picture, *([""] if others else []), *map(_edge_as_text, others)])

    def print_ascii(self) -> None:
        """Print the drawing of `draw_ascii`."""
        print(self.draw_ascii())  # noqa: T201  # printing is the purpose

    def to_json(self) -> dict[str, Any]:
        """Dicts and lists to encode as JSON. Nodes have their metadata, unchanged."""
        return {
            "name": self.name,
            "nodes": [_node_as_json(node, self.status.get(node.id)) for node in self.nodes],
            "edges": [_edge_as_json(edge) for edge in self.edges],
        }

    def __str__(self) -> str:
        lines = [shown(self.name), *(f"  {_edge_as_text(edge)}" for edge in self.edges)]
        for node in self.nodes:
            marks = marks_of(node, self.status.get(node.id))
            lines += [f"  {shown(node.id)}: {marks}"] if marks else []
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        # IPython itself applies its arguments `include` and `exclude`.
        mermaid = self.draw_mermaid()
        return {
            "text/vnd.mermaid": mermaid,
            "text/markdown": f"```mermaid\n{mermaid}```\n",
            "text/plain": str(self),
        }

    def _status(self, given: Mapping[str, NodeStatus] | None) -> Mapping[str, NodeStatus]:
        return self.status if given is None else self.with_status(given).status


def _check_direction(direction: Direction) -> None:
    allowed = get_args(Direction)
    if direction not in allowed:
        option = "direction"
        raise InvalidOptionError(option, direction, allowed=", ".join(allowed))


def _node_as_json(node: DrawnNode, status: NodeStatus | None) -> dict[str, Any]:
    optional = {
        "inside": node.inside,
        "open": node.is_open,
        "deferred": node.is_deferred,
        "error_handler": node.has_error_handler,
        "interrupts": list(node.interrupts),
        "status": status,
        "metadata": dict(node.metadata),
    }
    return {"id": node.id, "name": node.name, "kind": node.kind, **_without_empty(optional)}


def _edge_as_json(edge: DrawnEdge) -> dict[str, Any]:
    # The keys are LangGraph's, and "join".
    optional = {"data": edge.label, "conditional": edge.is_conditional, "join": edge.is_join}
    return {"source": edge.source, "target": edge.target, **_without_empty(optional)}


def _without_empty(optional: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in optional.items() if value}


def _edge_as_text(edge: DrawnEdge) -> str:
    kind = "join" if edge.is_join else "conditional" if edge.is_conditional else ""
    remarks = ": ".join(filter(None, [kind, shown(edge.label or "")]))
    return f"{shown(edge.source)} -> {shown(edge.target)}" + (f" ({remarks})" if remarks else "")
