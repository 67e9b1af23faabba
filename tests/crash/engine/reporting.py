"""How the code inside a graph says what it does, for who looks on from outside of the process that dies."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple

from durable_graph import get_runtime, interrupt

Moment = Literal["start", "end", "seen", "answered"]
Role = Literal["node", "handler", "router"]

_ROLES: dict[str, Role] = {"0": "handler", "00": "router"}


class TaskPosition(NamedTuple):
    """Where a task is recorded: its namespace and its key in there."""

    ns: str
    born: int
    ord: int


class Report(NamedTuple):
    """What some code did. `label` names it by what it is for, whatever ids and numbers it was given.

    "start" and "end": it began, and is about to return. "seen": its caller has what it returned. "answered": it has the
    answer to its question `label`.
    """

    moment: Moment
    label: str
    position: TaskPosition
    role: Role
    attempt: int
    task_id: str


Listener = Callable[[Report], None]

_listener: ContextVar[Listener] = ContextVar("listener")


@contextmanager
def reports_to(listener: Listener) -> Iterator[None]:
    """Inside the body, the code of runs that are begun there is heard."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def report(moment: Moment, label: str | None = None, mark: object = None) -> str:
    """Say it, and give the label. By default it is made of the names of the nodes and calls around, and of `mark`."""
    info = get_runtime().execution_info
    position, role = position_of(info.checkpoint_ns)
    if label is None:
        label = label_of(info.checkpoint_ns) + ("" if mark is None else f" {mark}")
    _listener.get()(Report(moment, label, position, role, info.node_attempt, info.task_id))
    return label


def position_of(ns: str) -> tuple[TaskPosition, Role]:
    """Where the task is recorded whose own namespace is `ns`, and what of it runs there."""
    outer, _, own = ns.rpartition("|")
    role = _ROLES.get(own.partition(":")[0])
    if role is not None:
        outer, _, own = outer.rpartition("|")
    born, _, ord_ = own.rpartition(":")[2].partition(".")
    return TaskPosition(outer, int(born), int(ord_)), role or "node"


def label_of(ns: str) -> str:
    """The names in a namespace, without the numbers that are a matter of the order of events."""
    parts = (part.partition(":")[0] for part in ns.split("|"))
    return "/".join(_ROLES.get(part, part) for part in parts)


@asynccontextmanager
async def working(mark: object = None, turns: int = 1) -> AsyncIterator[str]:
    """A body that says when it begins and when it is about to return, and gives the loop some turns in between."""
    label = report("start", mark=mark)
    for _ in range(turns):
        await asyncio.sleep(0)
    yield label
    report("end", label)


def ask(question: str) -> Any:
    """The answer to `question`, and a word about having it."""
    answer = interrupt(question)
    report("answered", question)
    return answer


async def seen(call: Any, label: str) -> Any:
    """What a call of the task `label` returned, and a word about having it."""
    result = await call
    report("seen", label)
    return result
