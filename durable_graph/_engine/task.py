"""What runs next, and what it came to."""

from hashlib import blake2b
from typing import Any

import msgspec


class Argument(msgspec.Struct, frozen=True):
    """What a Send carries: the value, and its bytes where there is a store (encoded once, stored as they are)."""

    value: Any
    data: bytes | None


class Task(msgspec.Struct, frozen=True):
    """One entry of a plan. `born` is the number of the checkpoint that first planned it, `ord` its place in that plan.

    `argument` is the input of a task made by a Send; a task without one reads the state.
    """

    node: str
    born: int
    ord: int
    argument: Argument | None = None

    @property
    def key(self) -> tuple[int, int]:
        """What its record is found by, inside its namespace."""
        return self.born, self.ord


class Write(msgspec.Struct, frozen=True):
    """One write to one channel, with its bytes where there is a store."""

    channel: str
    value: Any
    data: bytes | None


class Route(msgspec.Struct, frozen=True):
    """One choice of a router: a node, with an argument if it was a Send."""

    node: str
    argument: Argument | None = None


class Done(msgspec.Struct, frozen=True):
    """The node returned and its routers have chosen."""

    task: Task
    attempt: int
    writes: tuple[Write, ...]
    routes: tuple[Route, ...]


class RoutingOpen(msgspec.Struct, frozen=True):
    """The node returned, and a router raised: the writes stand, and only the routing is to be done again."""

    task: Task
    attempt: int
    writes: tuple[Write, ...]
    error: str


class Failed(msgspec.Struct, frozen=True):
    """The node raised. It runs again on resume, as the next attempt."""

    task: Task
    attempt: int
    error: str


Outcome = Done | RoutingOpen | Failed


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Whose tasks they are: a thread in one of its incarnations, and a namespace."""

    thread: str
    incarnation: int
    ns: str = ""


def task_id(whose: Identity, task: Task) -> str:
    """32 hex digits: the same on every attempt and across resumes, so user code may hand it on as an idempotency key.

    Derived, never drawn: a resumed run has to recognise the tasks of the run before it.
    """
    hashed = blake2b(digest_size=16, person=b"dg-task-id")
    # A Send is told from its siblings by its place, a node by its name: a plan holds it once.
    place = "" if task.argument is None else str(task.ord)
    for field in (whose.thread, str(whose.incarnation), whose.ns, str(task.born), task.node, place):
        data = field.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(4, "big"))
        hashed.update(data)
    return hashed.hexdigest()
