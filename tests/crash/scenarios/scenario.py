"""A scenario: a graph, and what its client does with one thread of it, call by call.

A client outlives the processes that serve it. It knows which of its calls reported success; of the one that was under
way when a process died it knows nothing, and finds out as any client can.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from durable_graph import Checkpointer, Command, CompiledGraph


@dataclass(frozen=True, slots=True)
class Give:
    """Run on an input: a dict, a value, or a Command that answers nothing."""

    value: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer questions, which are told apart by what they ask. `also` is what the Command brings beside that."""

    answers: Mapping[str, Any]
    also: Mapping[str, Any] = field(default_factory=dict)

    def command(self, ids: Mapping[str, str]) -> Command[Any]:
        """The answers by the ids of the questions."""
        return Command(resume={ids[question]: answer for question, answer in self.answers.items()}, **self.also)


@dataclass(frozen=True, slots=True)
class Edit:
    """Write to the state as a node would have; to that of the graph inside the node `inside`, if it is given."""

    values: Mapping[str, Any]
    as_node: str
    inside: str | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Run what is left to run."""


Call = Give | Answer | Edit | Resume


@dataclass(frozen=True, slots=True)
class Scenario:
    """`width` is how many of its tasks and graphs may be at work side by side, each with a record of its own under way.

    Where graphs run side by side (`has_races`), which of their checkpoints gets which number is a matter of time.
    """

    name: str
    build: Callable[[Checkpointer], CompiledGraph[Any]]
    calls: Sequence[Call]
    width: int = 1
    has_races: bool = False


class Progress(msgspec.Struct):
    """What a client knows. It is kept where no process of the graph can take it along when it dies.

    `head` is the newest checkpoint of `ns` when its call `number` was begun, and `ids` are those of the questions then.
    `has_begun` says that a process was asked already.
    """

    number: int = 0
    has_begun: bool = False
    ns: str = ""
    head: str | None = None
    ids: dict[str, str] = {}
