"""Tasks of a plan, and their outcomes."""

from collections.abc import Container, Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec

from durable_graph.graph import Interrupt


class Argument(msgspec.Struct, frozen=True):
    """The argument of a Send: the value, and its bytes if there is a store (encoded once, stored as they are)."""

    value: Any
    data: bytes | None


class Limits(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A Send's own timeouts, in seconds."""

    run: float | None
    idle: float | None
    only_heartbeats: bool


class Task(msgspec.Struct, frozen=True):
    """One entry of a plan. `born` is the number of the checkpoint that first planned it, `ord` its place in that plan.

    `argument` is the input of a task made by a Send; a task without an argument reads the state. `due` is the time
    before which it does not begin, in microseconds since 1970 (0: it may begin at once). `key` is `born` and `ord`, the
    key of the task's record in its namespace.
    """

    node: str
    born: int
    ord: int
    argument: Argument | None = None
    limits: Limits | None = None
    due: int = 0
    key: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "key", (self.born, self.ord))


class Write(msgspec.Struct, frozen=True):
    """One write to one channel, with its bytes if there is a store.

    `length` is the length of a list, dict or other container when the node returned it, as in the bytes.
    """

    channel: str
    value: Any
    data: bytes | None
    is_overwrite: bool = False
    length: int | None = None


class Route(msgspec.Struct, frozen=True):
    """One choice of a router or a Command: a node, with an argument if it is a Send. `due` is that of its task."""

    node: str
    argument: Argument | None = None
    limits: Limits | None = None
    due: int = 0


class PendingInterrupt(msgspec.Struct, frozen=True):
    """An interrupt that a task raised, with the bytes of its value if there is a store, and of its default answer if
    it has one."""

    interrupt: Interrupt
    data: bytes | None
    default: bytes | None = None


class PastInterrupt(msgspec.Struct, frozen=True):
    """A recorded interrupt of a task's attempt. Its value is decoded only for snapshots that show it."""

    id: str
    data: bytes
    key: str | None
    due: datetime | None = None


class Answer(msgspec.Struct, frozen=True):
    """The answer to the interrupt `id`.

    `question` is the start of the question's text, `key` its name, and `beside` the number of questions that its code
    asked at the same time. `is_claimed` says that the code has received the answer.
    """

    id: str
    value: Any
    data: bytes | None
    question: str = ""
    key: str | None = None
    beside: int = 1
    is_claimed: bool = False


class Done(msgspec.Struct, frozen=True):
    """The node returned and its routers have chosen.

    `is_handled`: the node failed, and its error handler returned instead. `is_cached`: a cache had its result.
    """

    task: Task
    attempt: int
    writes: tuple[Write, ...]
    routes: tuple[Route, ...]
    is_handled: bool = False
    answers: tuple[Answer, ...] = ()
    revision: int = 1
    is_cached: bool = False
    asked: tuple[PastInterrupt, ...] = ()


class RoutingOpen(msgspec.Struct, frozen=True):
    """The node returned, and a router failed or was interrupted: the writes are final, and only the routers run again.

    `routes` are the node's own, from a Command. `tries` is how often the routers failed.
    """

    task: Task
    attempt: int
    writes: tuple[Write, ...]
    error: str | None
    routes: tuple[Route, ...] = ()
    asks: tuple[PendingInterrupt, ...] = ()
    answers: tuple[Answer, ...] = ()
    is_handled: bool = False
    revision: int = 1
    tries: int = 0
    asked: tuple[PastInterrupt, ...] = ()


class Handling(msgspec.Struct, frozen=True):
    """The node has failed permanently, and will not run again: its error handler runs, which may have been interrupted.

    `tries` is how often the handler failed.
    """

    task: Task
    attempt: int
    error: str
    answers: tuple[Answer, ...] = ()
    revision: int = 1
    asks: tuple[PendingInterrupt, ...] = ()
    tries: int = 0
    asked: tuple[PastInterrupt, ...] = ()


class Interrupted(msgspec.Struct, frozen=True):
    """The task waits for an answer to one of `asks`; without any, it was stopped before it started."""

    task: Task
    attempt: int
    asks: tuple[PendingInterrupt, ...] = ()
    answers: tuple[Answer, ...] = ()
    revision: int = 1
    asked: tuple[PastInterrupt, ...] = ()


class Delayed(Interrupted, frozen=True):
    """The task is not due yet. This outcome is not recorded, because the plan has the due time, unless an answer ends
    the delay.

    `instead_of` is the record of a breakpoint that stopped the task before.
    """

    instead_of: Interrupted | None = None


class Failed(msgspec.Struct, frozen=True):
    """The node raised. It runs again on resume, as the next attempt.

    `tries` counts the attempts that its retry policy has counted so far, and `retry_at` is when the next is due, in
    microseconds since the epoch; without it the policy has given up.
    """

    task: Task
    attempt: int
    error: str
    tries: int = 0
    retry_at: int | None = None
    answers: tuple[Answer, ...] = ()
    revision: int = 1
    asked: tuple[PastInterrupt, ...] = ()


class Unreadable(msgspec.Struct, frozen=True):
    """The task has a record that this graph cannot read, because a key or a class has changed: `why`.

    The task never runs: it has an outcome, which the earlier version of the graph can read.
    """

    task: Task
    why: str
    revision: int
    attempt: int = 1
    answers: tuple[Answer, ...] = ()
    asked: tuple[PastInterrupt, ...] = ()


Outcome = Done | RoutingOpen | Handling | Interrupted | Failed | Unreadable
Finished = Done | RoutingOpen


def answers_of(outcome: Outcome | None) -> tuple[Answer, ...]:
    """The answers that a task has received so far."""
    return () if outcome is None else outcome.answers


def interrupts_of(outcome: Outcome | None) -> tuple[PendingInterrupt, ...]:
    """The interrupts of a task's last attempt, answered or not."""
    return outcome.asks if isinstance(outcome, Interrupted | RoutingOpen | Handling) else ()


def all_interrupts(outcome: Outcome | None) -> tuple[PastInterrupt, ...]:
    """The interrupts of all attempts of a task so far, in their order."""
    if outcome is None:
        return ()
    last = tuple(
        PastInterrupt(ask.interrupt.id, ask.data, ask.interrupt.key, ask.interrupt.due)
        for ask in interrupts_of(outcome)
        if ask.data is not None
    )
    again = {each.id for each in last}
    return (*(each for each in outcome.asked if each.id not in again), *last)


def following(outcome: Outcome, previous: Outcome | None) -> Outcome:
    """The outcome of an attempt, with the interrupts of all earlier attempts. `previous` is the outcome before it."""
    again = {ask.interrupt.id for ask in interrupts_of(outcome)}
    asked = tuple(each for each in all_interrupts(previous) if each.id not in again)
    return msgspec.structs.replace(outcome, asked=asked) if asked else outcome


def open_interrupts(outcome: Outcome | None) -> tuple[PendingInterrupt, ...]:
    """The interrupts of a task's last attempt without an answer."""
    answered = {answer.id for answer in answers_of(outcome)}
    return tuple(ask for ask in interrupts_of(outcome) if ask.interrupt.id not in answered)


def is_waiting(outcome: Outcome | None, answered: Container[str] = ()) -> bool:
    """Whether a task would only raise the same interrupts again. `answered` are ids that were answered elsewhere."""
    asks = interrupts_of(outcome)
    own = {answer.id for answer in answers_of(outcome)}
    return bool(asks) and not any(ask.interrupt.id in own or ask.interrupt.id in answered for ask in asks)


def next_revision(previous: Outcome | None) -> int:
    """The revision of the next record of a task."""
    return 1 if previous is None else previous.revision + 1


class Identity(msgspec.Struct, frozen=True, gc=False):
    """The owner of tasks: a thread in one of its incarnations, and a namespace."""

    thread: str
    incarnation: int
    ns: str = ""


def task_id(whose: Identity, task: Task) -> str:
    """32 hex digits: the same on every attempt and across resumes, so user code may use it as an idempotency key.

    Derived, never drawn: a resumed run has to recognise the tasks of the run before it.
    """
    # The place distinguishes Sends to one node. Without a Send, a plan has each node once, and the name suffices.
    place = "" if task.argument is None else str(task.ord)
    return _digest(b"dg-task-id", (whose.thread, str(whose.incarnation), whose.ns, str(task.born), task.node, place))


def namespace_of(ns: str, task: Task) -> str:
    """The namespace of a task's calls. It lacks the thread's name, so that a copy of the thread can use it."""
    own = f"{task.node}:{task.born}.{task.ord}"
    return f"{ns}|{own}" if ns else own


def _digest(kind: bytes, fields: Iterable[str]) -> str:
    hashed = blake2b(digest_size=16, person=kind)
    for field in fields:
        data = field.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(4, "big"))
        hashed.update(data)
    return hashed.hexdigest()
