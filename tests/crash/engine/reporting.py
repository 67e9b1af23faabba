"""Reports of the code inside a graph, for an observer outside of the process that dies."""

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
    """The place of a task's record: its namespace and its key there."""

    ns: str
    born: int
    ord: int


class Report(NamedTuple):
    """An action of code in a graph. `label` names the code by its purpose, independent of ids and numbers.

    "start" and "end": the code starts, and is about to return. "seen": its caller has its result. "answered": it has
    the answer to its interrupt `label`.
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
    """Send the reports of runs that start inside the body to the listener."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def report(moment: Moment, label: str | None = None, mark: object = None) -> str:
    """Send a report, and return its label: by default the names of the enclosing nodes and calls, and `mark`."""
    info = get_runtime().execution_info
    position, role = position_of(info.checkpoint_ns)
    if label is None:
        label = label_of(info.checkpoint_ns) + ("" if mark is None else f" {mark}")
    _listener.get()(Report(moment, label, position, role, info.node_attempt, info.task_id))
    return label


def position_of(ns: str) -> tuple[TaskPosition, Role]:
    """The place of the record of the task whose own namespace is `ns`, and the role of the code that runs there."""
    outer, _, own = ns.rpartition("|")
    role = _ROLES.get(own.partition(":")[0])
    if role is not None:
        outer, _, own = outer.rpartition("|")
    born, _, ord_ = own.rpartition(":")[2].partition(".")
    return TaskPosition(outer, int(born), int(ord_)), role or "node"


def label_of(ns: str) -> str:
    """The names in a namespace, without the numbers that depend on the order of events."""
    parts = (part.partition(":")[0] for part in ns.split("|"))
    return "/".join(_ROLES.get(part, part) for part in parts)


@asynccontextmanager
async def working(mark: object = None, turns: int = 1) -> AsyncIterator[str]:
    """A body that reports its start and its end, with some turns of the event loop in between."""
    label = report("start", mark=mark)
    for _ in range(turns):
        await asyncio.sleep(0)
    yield label
    report("end", label)


def ask(question: str) -> Any:
    """Interrupt with `question`, report the answer, and return it."""
    answer = interrupt(question)
    report("answered", question)
    return answer


async def seen(call: Any, label: str) -> Any:
    """Report the result of a call of the task `label` as seen, and return it."""
    result = await call
    report("seen", label)
    return result
