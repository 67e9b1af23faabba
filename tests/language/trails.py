"""Nodes that leave a mark in the state and in a list: a test sees what ran and what became of it."""

import operator
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, Final, TypedDict

from durable_graph import START, Interrupt, StateGraph, StateSnapshot, interrupt

THREAD: Final[dict[str, Any]] = {"configurable": {"thread_id": "t"}}


class Trail(TypedDict, total=False):
    value: Annotated[list[str], operator.add]


Node = Callable[[Trail], Awaitable[Trail]]


class Calls:
    """What was called, in order."""

    def __init__(self) -> None:
        self._seen: list[str] = []

    def note(self, name: str) -> None:
        self._seen.append(name)

    def taken(self) -> list[str]:
        """What was called since the last look."""
        seen, self._seen = self._seen, []
        return seen

    def leaves(self, name: str) -> Node:
        """A node that leaves its name."""

        async def leave(state: Trail) -> Trail:
            self.note(name)
            return {"value": [name]}

        return leave

    def asks(self, name: str) -> Node:
        """A node that asks `<name>?` and leaves `<name>=<answer>`."""

        async def ask(state: Trail) -> Trail:
            self.note(name)
            return {"value": [f"{name}={interrupt(f'{name}?')}"]}

        return ask

    def chain(self, *nodes: "str | tuple[str, Any]") -> StateGraph[Trail]:
        """A graph of nodes one after the other. One that is called `name?` asks, and is named without the mark."""
        builder = StateGraph(Trail)
        previous = START
        for node in nodes:
            name, action = self._described(node)
            builder.add_node(name, action)
            builder.add_edge(previous, name)
            previous = name
        return builder

    def _described(self, node: "str | tuple[str, Any]") -> tuple[str, Any]:
        if isinstance(node, tuple):
            return node
        name = node.removesuffix("?")
        return name, self.leaves(name) if name == node else self.asks(name)


async def history(graph: Any, config: Any = THREAD, **options: Any) -> list[StateSnapshot]:
    """All checkpoints, newest first."""
    return [snapshot async for snapshot in graph.aget_state_history(config, **options)]


def newest_before(snapshots: Iterable[StateSnapshot], node: str) -> StateSnapshot:
    """The newest checkpoint at which only `node` was to run."""
    return next(snapshot for snapshot in snapshots if snapshot.next == (node,))


async def checkpoint_before(graph: Any, node: str, config: Any = THREAD) -> Any:
    """The config of the newest checkpoint at which only `node` was to run."""
    return newest_before(await history(graph, config), node).config


async def nested_state(graph: Any, config: Any = THREAD) -> StateSnapshot:
    """The state of the graph that the only pending task runs."""
    (task,) = (await graph.aget_state(config, subgraphs=True)).tasks
    assert isinstance(task.state, StateSnapshot)
    return task.state


def asked(result: Any) -> list[Interrupt]:
    """The interrupts that a run gave back."""
    found: list[Interrupt] = result["__interrupt__"]
    return found


def questions(result: Any) -> list[Any]:
    """What a run that was interrupted asks."""
    return [each.value for each in asked(result)]


def id_of(snapshot: StateSnapshot) -> str:
    """The checkpoint's id."""
    found = snapshot.config["configurable"]["checkpoint_id"]
    assert isinstance(found, str)
    return found


def shape(snapshots: Iterable[StateSnapshot]) -> list[tuple[Any, tuple[str, ...], Any]]:
    """Source, what is next, and the trail, of each."""
    return [((each.metadata or {})["source"], each.next, each.values.get("value")) for each in snapshots]
