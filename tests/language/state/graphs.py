"""Graphs of nodes that return what a test says, and what they were given."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from durable_graph import START, StateGraph

Returns = Callable[[Any], Any]


class Seen:
    """What each node was called with, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def node(self, name: str, result: Any) -> Any:
        """A node that notes its input, and returns `result`: of a function, what that makes of the input."""

        async def node(state: Any) -> Any:
            self.calls.append((name, dict(state) if isinstance(state, dict) else state))
            return result(state) if callable(result) else result

        return node

    def of(self, name: str) -> list[Any]:
        """What the node `name` was called with, each time."""
        return [given for called, given in self.calls if called == name]


def in_a_row(schema: Any, seen: Seen, *nodes: tuple[str, Any], **options: Any) -> StateGraph[Any]:
    """One node after the other."""
    builder = _with_nodes(schema, seen, nodes, options)
    for source, target in pairwise([START, *(name for name, _ in nodes)]):
        builder.add_edge(source, target)
    return builder


def side_by_side(schema: Any, seen: Seen, *nodes: tuple[str, Any], then: tuple[str, Any]) -> StateGraph[Any]:
    """Nodes of one superstep, and one after it."""
    builder = _with_nodes(schema, seen, (*nodes, then), {})
    for name, _ in nodes:
        builder.add_edge(START, name)
    return builder.add_edge([name for name, _ in nodes], then[0])


def _with_nodes(schema: Any, seen: Seen, nodes: Iterable[tuple[str, Any]], options: Any) -> StateGraph[Any]:
    builder: StateGraph[Any] = StateGraph(schema, **options)
    for name, result in nodes:
        builder.add_node(name, seen.node(name, result))
    return builder


class OnceError(Exception):
    """What stops a run between two nodes."""


def fails_once(result: Any) -> Returns:
    """A result for a node that fails at its first call: what comes after runs in another process."""
    calls: list[Any] = []

    def returns(state: Any) -> Any:
        calls.append(state)
        if len(calls) == 1:
            raise OnceError
        return result(state) if callable(result) else result

    return returns
