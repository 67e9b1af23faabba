"""Who may do what: the application's own function decides about each operation."""

import inspect
import unicodedata
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from durable_graph_http.problems import Problem

SEPARATOR = "/"


class Operation(msgspec.Struct, frozen=True):
    """What a request wants to do.

    `name` is a resource and an action, such as "threads.create", "threads.create_run" or "assistants.search"; the
    routes of a service (`AgentService.routes`) have them all. `thread_id` is the thread as the client names it, None
    for an operation on no thread or on several. A request whose body names threads is first an operation without a
    thread, and then one on each of these threads. `caller` is the framework's request.
    """

    name: str
    thread_id: str | None
    caller: Any


class Tenant(msgspec.Struct, frozen=True):
    """A caller who has threads of its own: it sees no others, and cannot name them.

    The threads of the tenant "ann" are stored as `ann/<thread id>`. A name has 1 to 64 characters, none of them "/", a
    control character or a lone surrogate.
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not 1 <= len(self.name) <= 64 or not all(map(_is_allowed, self.name)):
            allowed = f"1 to 64 characters without {SEPARATOR!r} and control characters"
            raise ValueError(f"a tenant's name has {allowed}, and not {self.name!r:.80}")


def _is_allowed(letter: str) -> bool:
    return letter != SEPARATOR and unicodedata.category(letter) not in ("Cc", "Cs")


Access = bool | Tenant
"""True: every thread. False: refused. A tenant: the threads of the tenant."""

Authorize = Callable[[Operation], Access | Awaitable[Access]]


async def access_of(authorize: Authorize | None, operation: Operation) -> str:
    """The prefix of the threads that the caller may name, empty for all.

    Raises `Problem` with 403, and with 404 where a thread would otherwise be known to exist.
    """
    if authorize is None:
        return ""
    found = authorize(operation)
    access = await found if inspect.isawaitable(found) else found
    match access:
        case Tenant(name=name):
            return f"{name}{SEPARATOR}"
        case True:
            return ""
        case False if operation.thread_id is not None:
            raise Problem(404, f"There is no thread {operation.thread_id!r:.300}")
        case False:
            raise Problem(403, f"{operation.name} is not allowed")
        case _:
            raise TypeError(f"authorize returns True, False or a Tenant, and not {type(access).__name__}")
