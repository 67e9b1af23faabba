"""The arguments of a builder's calls, as values. They are validated later, all at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from durable_graph.graph.executors import ExecutorOption
from durable_graph.graph.policies import CachePolicy, RetryPolicy, TimeoutPolicy
from durable_graph.graph.signatures import Signature
from durable_graph.graph.subgraph import Subgraph

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """The options of a node. None means the default for all nodes.

    `destinations` includes those of the node's annotation; `destination_labels` has labels for drawings.
    """

    defer: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    retry: tuple[RetryPolicy, ...] | None = None
    cache: CachePolicy | None = None
    timeout: TimeoutPolicy | None = None
    destinations: tuple[str, ...] = ()
    destination_labels: Mapping[str, str] = field(default_factory=dict)
    executor: ExecutorOption | None = None


def said_first(own: T | None, usual: T | None) -> T | None:
    """The node's own option if it is set, otherwise the default."""
    return usual if own is None else own


@dataclass(frozen=True, slots=True)
class DescribedHandler:
    """An error handler, which runs after the last failed attempt at a node. `where` is its name in error texts."""

    where: str
    action: Callable[..., Any]
    signature: Signature
    destinations: tuple[str, ...]

    def __str__(self) -> str:
        return self.where


@dataclass(frozen=True, slots=True)
class DescribedNode:
    """`input_schema` is the class passed with the node; None means the class in the node's annotation."""

    name: str
    action: Callable[..., Any]
    input_schema: Any
    signature: Signature
    options: NodeOptions = field(default_factory=NodeOptions)
    handler: DescribedHandler | None = None
    subgraph: Subgraph | None = None

    def __str__(self) -> str:
        return f"node {self.name!r}"


@dataclass(frozen=True, slots=True)
class DescribedEdge:
    start: str
    end: str

    def __str__(self) -> str:
        return f"the edge {self.start!r} -> {self.end!r}"


@dataclass(frozen=True, slots=True)
class DescribedJoin:
    sources: tuple[str, ...]
    target: str

    def __str__(self) -> str:
        return f"the join [{', '.join(map(repr, self.sources))}] -> {self.target!r}"


@dataclass(frozen=True, slots=True)
class DescribedRouter:
    """`choices` is its path_map, or the choices in its annotation; None if it may choose any node."""

    source: str
    name: str
    path: Callable[..., Any]
    choices: Mapping[Any, Any] | None
    signature: Signature

    def __str__(self) -> str:
        return f"router {self.name!r} of {self.source!r}"


@dataclass(slots=True)
class Description:
    """A graph's description, in the order of the calls. `mistakes` are problems that no later call can solve."""

    nodes: list[DescribedNode] = field(default_factory=list)
    edges: list[DescribedEdge] = field(default_factory=list)
    joins: list[DescribedJoin] = field(default_factory=list)
    routers: list[DescribedRouter] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    defaults: NodeOptions = field(default_factory=NodeOptions)
    default_handler: DescribedHandler | None = None
