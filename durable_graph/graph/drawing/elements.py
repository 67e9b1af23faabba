"""What a drawing is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Direction = Literal["TD", "TB", "BT", "LR", "RL"]
"""Which way the edges lead: top down (two names for it), bottom up, or across."""


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A node, a subgraph, or a place where a graph begins or ends.

    `id` is the node's name; inside a subgraph that is opened, the path to it: `research:search`. `inside` is the id of
    that subgraph. An open subgraph is a frame around its nodes, and no edge leads to the frame itself. `interrupts`
    says where a run stops at it.
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
    """From one node's id to another's.

    Conditional is what a router or a `Command` may choose. Of a join there is an edge from each node that it waits for.
    """

    source: str
    target: str
    label: str | None = None
    is_conditional: bool = False
    is_join: bool = False
