"""The values with which user code controls a run: `Send`, `Command` and `Interrupt`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar, Final, Generic, Literal

import msgspec

from durable_graph.graph.durations import Duration
from durable_graph.graph.type_variables import NodeNameT

START: Final = "__start__"
END: Final = "__end__"

DEFERRED: Final = "#deferred"
"""The channel with the sorted names of the deferred nodes that wait until all other nodes have finished."""


class Unset(Enum):
    """The `resume` of a Command without an answer. None would be an answer."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Send:
    """Returned by a router, runs `node` in the next superstep with `arg` as its input instead of the state.

    Each Send makes a separate task, also for the same node. `timeout` is in seconds, or a `TimeoutPolicy`, and replaces
    the node's timeout. `after`, in seconds or as a `timedelta`, is the time until the task begins: see `Command`. A
    Send is immutable; `dataclasses.replace` makes a changed copy.
    """

    node: str
    arg: Any
    timeout: Any = field(default=None, kw_only=True)
    after: Duration | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        later = "" if self.after is None else f", after={self.after!r}"
        return f"Send(node={self.node!r}, arg={self.arg!r}{later})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Send) or (self.node, self.after) != (other.node, other.after):
            return False
        return bool(self.arg == other.arg)

    def __hash__(self) -> int:
        return hash((self.node, self.arg))


class Output:
    """A base of values, such as `Command`, that a user's function returns through another library unchanged.

    If a library passes only instances of its own class through, an integration adds that class to the bases of a
    subclass. Python allows this only for a class whose base is not `object`.
    """


class ToolOutput(Output):
    """The class to whose bases durable_graph_langchain adds LangChain's: see `Output`."""


# No slots: `Command[...](...)` sets `__orig_class__`, for which a frozen class with slots raises a TypeError.
@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Command(ToolOutput, Generic[NodeNameT]):
    """A state update and the next nodes, returned by a node or passed as the input of a run.

    `update` is a dict, a list of (key, value) pairs, or an instance of a state class. `goto` is a node's name, a
    `Send`, or a list of these; the node's edges are followed as well. `graph=Command.PARENT` applies both to the outer
    graph. A node's return annotation `Command[Literal["a", "b"]]` declares its destinations. `resume`, in the input of
    a run, answers interrupts: it is the answer itself if one interrupt is open, or `{interrupt id: answer}`.

    `after`, in seconds or as a `timedelta`, is the time until the tasks of `goto` begin; a Send's own `after` replaces
    it. The run is suspended meanwhile, as by `sleep`: it needs a checkpointer. The superstep's other tasks run at once,
    and the superstep ends when all have run.

    A Command is immutable; `dataclasses.replace` makes a changed copy.
    """

    PARENT: ClassVar[Literal["__parent__"]] = "__parent__"

    graph: Literal["__parent__"] | None = None
    update: Any = None
    resume: Any = UNSET
    goto: str | Send | Sequence[str | Send] = ()
    after: Duration | None = None

    def __repr__(self) -> str:
        # By identity, because None is an answer, and a value may be an array, which compares item by item.
        empty = {"graph": None, "update": None, "resume": UNSET, "goto": (), "after": None}
        given = {name: getattr(self, name) for name in empty}
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not empty[name])
        return f"Command({shown})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Command) and all(
            getattr(self, each.name) == getattr(other, each.name) for each in fields(Command)
        )

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, each.name) for each in fields(Command)))


class Interrupt(msgspec.Struct, frozen=True):
    """A question whose answer a run waits for. `id` is unique, and stays the same while the question is open.

    `key` is the name from `interrupt(..., key=...)`. `due` is the time at which the run continues without an answer:
    with `default` as the answer, or, if it has none, at the end of a `sleep`. `topic` is that of the message which a
    `receive` waits for.
    """

    value: Any
    id: str
    key: str | None = None
    due: datetime | None = None
    default: Any = UNSET
    topic: str | None = None

    @property
    def is_question(self) -> bool:
        """Whether it waits for a person, and neither for a time alone nor for a message."""
        return self.topic is None and not self.is_sleep

    @property
    def is_sleep(self) -> bool:
        """Whether it is a `sleep`, which only the clock ends."""
        return self.due is not None and self.default is UNSET and self.topic is None

    def __repr__(self) -> str:
        named = "" if self.key is None else f", key={self.key!r}"
        timed = "" if self.due is None else f", due={self.due.isoformat()}"
        awaited = "" if self.topic is None else f", topic={self.topic!r}"
        return f"Interrupt(value={self.value!r}, id={self.id!r}{named}{timed}{awaited})"
