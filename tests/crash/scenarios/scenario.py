"""A scenario: a graph, and the calls of its client on one thread.

A client outlives the processes that serve it. It knows which of its calls reported success. It does not know the
outcome of the call that was in progress when a process died, and reads it from the thread as any client can.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from durable_graph import Checkpointer, Command, CompiledGraph


@dataclass(frozen=True, slots=True)
class Give:
    """Run with an input: a dict, a value, or a Command without answers."""

    value: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer interrupts, which are identified by their values. `also` has further arguments of the Command."""

    answers: Mapping[str, Any]
    also: Mapping[str, Any] = field(default_factory=dict)

    def command(self, ids: Mapping[str, str]) -> Command[Any]:
        """The answers by the ids of the interrupts."""
        return Command(resume={ids[question]: answer for question, answer in self.answers.items()}, **self.also)


@dataclass(frozen=True, slots=True)
class Edit:
    """Write to the state as a node; to the state of the graph inside the node `inside`, if one is given."""

    values: Mapping[str, Any]
    as_node: str
    inside: str | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Run the remaining work."""


Call = Give | Answer | Edit | Resume


@dataclass(frozen=True, slots=True)
class Scenario:
    """`width` is the number of its tasks and graphs that may run in parallel, each with its own record in progress.

    If graphs run in parallel (`has_races`), the numbers of their checkpoints depend on timing.
    """

    name: str
    build: Callable[[Checkpointer], CompiledGraph[Any]]
    calls: Sequence[Call]
    width: int = 1
    has_races: bool = False


class Progress(msgspec.Struct):
    """The progress of a client. It is kept outside of the processes of the graph, so that it survives their deaths.

    `head` is the newest checkpoint of `ns` when the call `number` started, and `ids` are the ids of the interrupts
    then. `has_begun` says that the call was sent to a process before.
    """

    number: int = 0
    has_begun: bool = False
    ns: str = ""
    head: str | None = None
    ids: dict[str, str] = {}
