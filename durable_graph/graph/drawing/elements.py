"""The elements of a drawing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Direction = Literal["TD", "TB", "BT", "LR", "RL"]
"""The direction of the edges: top down (TD and TB), bottom up, left to right, right to left."""


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A node, a subgraph, or the start or end of a graph.

    `id` is the node's name, or inside an opened subgraph the path to it: `research:search`. `inside` is the id of that
    subgraph. An open subgraph is a frame around its nodes, and no edge leads to the frame itself. `interrupts` says
    whether a run stops before or after the node.
    """

    id: str
    name: str
    kind: Literal["start", "node", "subgraph", "end"]
    inside: str | None = None
    is_open: bool = False
    is_deferred: bool = False
    has_error_handler: bool = False
    interrupts: tuple[Literal["before", "after"], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DrawnEdge:
    """An edge from one node's id to another's.

    Edges that a router or a `Command` may choose are conditional. A join has an edge from each node that it waits for.
    """

    source: str
    target: str
    label: str | None = None
    is_conditional: bool = False
    is_join: bool = False
