"""The lock of a store in memory, which event loops in several threads may use."""

import functools
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar, cast

from durable_graph.checkpointing.binding import Binding

Method = TypeVar("Method", bound=Callable[..., Awaitable[Any]])


class Locked(Protocol):
    """An object on the data of a `MemorySaver`."""

    _binding: Binding
    _lock: AbstractContextManager[object]


def alone(method: Method) -> Method:
    """A method that runs under the saver's lock, for event loops in several threads. The method must not suspend."""

    @functools.wraps(method)
    async def locked(self: Locked, /, *args: Any, **kwargs: Any) -> Any:
        # Checked before locking: a thread that held the lock at a fork does not exist in the child, and never releases.
        self._binding.check()
        with self._lock:
            return await method(self, *args, **kwargs)

    return cast("Method", locked)
