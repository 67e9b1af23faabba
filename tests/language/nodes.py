"""Nodes that count their calls, note their names and ask; and how to read what a run waits for."""

import operator
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Annotated, Any, TypedDict

from durable_graph import START, Interrupt, StateGraph, interrupt


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


Node = Callable[[State], Awaitable[State]]


class Nodes:
    """Nodes of one test. `calls` counts how often each was entered."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def noting(self, name: str) -> Node:
        """A node that notes its name."""

        async def node(state: State) -> State:
            self.calls[name] += 1
            return {"log": [name]}

        return node

    def asking(self, name: str, *questions: Any) -> Node:
        """A node that asks, one after the other, and notes the answers: `name:first,second`."""

        async def node(state: State) -> State:
            self.calls[name] += 1
            answers = [interrupt(question) for question in questions]
            return {"log": [f"{name}:{','.join(map(str, answers))}"]}

        return node


def in_a_row(*nodes: tuple[str, Any]) -> StateGraph[State]:
    """A graph of these, one after the other."""
    builder = StateGraph(State)
    previous = START
    for name, node in nodes:
        builder.add_node(name, node)
        builder.add_edge(previous, name)
        previous = name
    return builder


def side_by_side(*nodes: tuple[str, Any]) -> StateGraph[State]:
    """A graph of these, all at once."""
    builder = StateGraph(State)
    for name, node in nodes:
        builder.add_node(name, node)
        builder.add_edge(START, name)
    return builder


def questions(result: Any) -> list[Interrupt]:
    """What a run that has stopped waits for."""
    found: list[Interrupt] = result["__interrupt__"]
    return found


def asked(interrupts: Any) -> list[Any]:
    """The questions of a result, or of a snapshot's `interrupts`."""
    return [each.value for each in _interrupts(interrupts)]


def ids(interrupts: Any) -> dict[Any, str]:
    """The ids by question."""
    return {each.value: each.id for each in _interrupts(interrupts)}


def _interrupts(found: Any) -> Iterable[Interrupt]:
    if isinstance(found, Mapping):
        return questions(found) if "__interrupt__" in found else ()
    listed: Iterable[Interrupt] = found
    return listed
