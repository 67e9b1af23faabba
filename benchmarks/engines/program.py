"""What the engines run: a graph as plain functions."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

State = dict[str, Any]
Reducer = Callable[[Any, Any], Any]


class Task(NamedTuple):
    """One call of a node. Without an argument the node gets the state."""

    node: str
    argument: Any = None


class Program(NamedTuple):
    """`plan` names the tasks that follow those of a superstep; the first superstep follows no tasks."""

    nodes: Mapping[str, Callable[[Any], Awaitable[State]]]
    plan: Callable[[Sequence[Task], State], Sequence[Task]]
    channels: frozenset[str]
    appended: frozenset[str] = frozenset()
    """The channels whose writes are lists that are appended; all others hold the last value."""


def copied(state: State) -> State:
    """The state in containers of its own."""
    return {name: value[:] if type(value) is list else value for name, value in state.items()}
