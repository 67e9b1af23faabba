"""Small graphs for the engine's tests, and shorthands for the outcomes of their tasks."""

import operator
import warnings
from typing import Annotated, Any, TypedDict

from durable_graph import START, StateGraph
from durable_graph._engine.task import Argument, Done, Route, Task, Write
from durable_graph.errors import UnreachableNodeWarning
from durable_graph.graph import Topology


class State(TypedDict, total=False):
    topic: str
    log: Annotated[list[str], operator.add]
    seen: Annotated[dict[str, int], operator.or_]
    total: Annotated[int, operator.add]
    best: Annotated[int, max]


async def nothing(state: State) -> None:
    """A node whose outcome the test makes up."""


def graph(*edges: tuple[str | list[str], str], nodes: str) -> Topology:
    """A topology with one-letter nodes. The tests also plan nodes that no edge leads to."""
    builder = StateGraph(State)
    for name in nodes:
        builder.add_node(name, nothing)
    for source, target in edges:
        builder.add_edge(source, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreachableNodeWarning)
        return builder.topology()


def diamond() -> Topology:
    """START -> a, b; both -> c by a join; b -> d."""
    return graph((START, "a"), (START, "b"), (["a", "b"], "c"), ("b", "d"), nodes="abcd")


def write(topology: Topology, channel: str, value: Any) -> Write:
    return Write(channel, value, topology.codecs[channel].update.encode(value))


def done(topology: Topology, task: Task, updates: dict[str, Any] | None = None, routes: tuple[Route, ...] = ()) -> Done:
    return Done(task, 1, tuple(write(topology, key, value) for key, value in (updates or {}).items()), routes)


def send(topology: Topology, node: str, value: Any) -> Route:
    return Route(node, Argument(value, topology.argument.encode(value)))


def nodes_of(plan: tuple[Task, ...]) -> list[str]:
    return [task.node for task in plan]
