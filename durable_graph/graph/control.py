"""What user code hands back to say where the run goes: `Send`, `Command`, and the interrupts that it asks with."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, ClassVar, Final, Generic, Literal

import msgspec

from durable_graph.graph.type_variables import NodeNameT

START: Final = "__start__"
END: Final = "__end__"

DEFERRED: Final = "#deferred"
"""The channel of the deferred nodes that wait for everything else to be done: their names, sorted."""


class Unset(Enum):
    """The `resume` of a Command that answers nothing: None is an answer."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Send:
    """Run `node` in the next superstep with `arg` as its input, in place of the state. Returned by a router.

    Several may name the same node: each is a task of its own. `timeout` is in seconds, or a `TimeoutPolicy`, and takes
    the place of the node's. A Send does not change; `dataclasses.replace` makes another.
    """

    node: str
    arg: Any
    timeout: Any = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return f"Send(node={self.node!r}, arg={self.arg!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Send) and self.node == other.node and bool(self.arg == other.arg)

    def __hash__(self) -> int:
        return hash((self.node, self.arg))


class Output:
    """What a function of a user's may return to another library and have handed on as it is: here, a `Command`.

    A library that asks for a class of its own by `isinstance` can be told so by an integration, which puts that class
    among the bases of this one. Python takes another base only for a class whose own base is not `object`.
    """


class ToolOutput(Output):
    """The base that durable_graph_langchain opens to LangChain: see `Output`."""


# Without slots: `Command[...](...)` sets `__orig_class__`, which a frozen class with slots answers with a TypeError.
@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Command(ToolOutput, Generic[NodeNameT]):
    """An update of the state together with where to go, from a node or as the input of a run.

    `update` is what a node may return: a dict, a list of (key, value) pairs, or an instance of a state class. `goto` is
    a node's name, a `Send`, or a list of these; the node's own edges are followed as well. `graph=Command.PARENT`
    hands both to the graph that runs this one. A node annotated to return `Command[Literal["a", "b"]]` says where it
    goes. `resume`, as the input of a run, answers an interrupt: with the answer itself where one is open, or
    `{interrupt id: answer}`. A Command does not change; `dataclasses.replace` makes another.
    """

    PARENT: ClassVar[Literal["__parent__"]] = "__parent__"

    graph: Literal["__parent__"] | None = None
    update: Any = None
    resume: Any = UNSET
    goto: str | Send | Sequence[str | Send] = ()

    def __repr__(self) -> str:
        # None is an answer, and what is compared with nothing but by identity may be an array.
        empty = {"graph": None, "update": None, "resume": UNSET, "goto": ()}
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
    """A question that a run waits for an answer to. `id` is unique, and the same for as long as it is open.

    `key` is the name that `interrupt(..., key=...)` gave it.
    """

    value: Any
    id: str
    key: str | None = None

    def __repr__(self) -> str:
        named = "" if self.key is None else f", key={self.key!r}"
        return f"Interrupt(value={self.value!r}, id={self.id!r}{named})"
