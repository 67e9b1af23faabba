"""A call of a saver that has begun: it ends by itself, whatever becomes of its caller."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_running: set["asyncio.Future[Any]"] = set()
"""The tasks that carry out calls: an event loop keeps no task alive by itself."""


class CommitHandle(Generic[T]):
    """The result of a call that has begun, once there is one.

    `await handle` waits for the result and returns it, or raises the call's error. To cancel the waiting does not
    touch the call. A saver that has done the work when its method returns gives `CommitHandle.done(result)`, which
    costs no asyncio task and no turn of the event loop; one that wraps a coroutine gives `CommitHandle.of(coroutine)`.

    `is_done` says whether the call has ended, and `error` is the error that it ended with, if it did.
    """

    __slots__ = ("_callbacks", "_result", "error", "is_done")

    def __init__(self) -> None:
        self.is_done: bool = False
        self.error: BaseException | None = None
        self._result: Any = None
        self._callbacks: list[Callable[[], object]] = []

    @classmethod
    def done(cls, result: T) -> "CommitHandle[T]":
        """A call that has ended with this result."""
        handle = cls()
        handle._result, handle.is_done = result, True
        return handle

    @classmethod
    def of(cls, call: Awaitable[T]) -> "CommitHandle[T]":
        """A call that a task of its own carries out, or a handle as it is."""
        if isinstance(call, CommitHandle):
            return call
        handle = cls()
        task = _started(call)
        if task.done():
            handle._take_over(task)
        else:
            _running.add(task)
            task.add_done_callback(handle._take_over)
        return handle

    def result(self) -> T:
        """The result of a call that has ended. Raises its error."""
        if self.error is not None:
            raise self.error
        result: T = self._result
        return result

    def set_result(self, result: T | None) -> None:
        """End the call with a result."""
        self._result, self.is_done = result, True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def set_error(self, error: BaseException) -> None:
        """End the call with an error."""
        self.error = error
        self.set_result(None)

    def when_done(self, callback: Callable[[], object]) -> None:
        """Call back once the call has ended, in the context variables of now: at once if it has."""
        if self.is_done:
            callback()
        else:
            self._callbacks.append(partial(copy_context().run, callback))

    def __await__(self) -> Generator[Any, None, T]:
        if not self.is_done:
            # A future of the waiter's own: cancelling it leaves the call alone.
            waiter = asyncio.get_running_loop().create_future()
            self.when_done(lambda: None if waiter.done() else waiter.set_result(None))
            yield from waiter
        return self.result()

    def _take_over(self, task: "asyncio.Future[T]") -> None:
        _running.discard(task)
        if task.cancelled():
            self.set_error(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.set_error(error)
        else:
            self.set_result(task.result())


def _started(call: Awaitable[T]) -> "asyncio.Future[T]":
    """A task that carries out the call, begun already where Python can do so: a call that never waits ends at once."""
    if sys.version_info >= (3, 12) and isinstance(call, Coroutine):
        return asyncio.Task(call, loop=asyncio.get_running_loop(), eager_start=True)
    return asyncio.ensure_future(call)
