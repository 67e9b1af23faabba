"""Waiting for calls that must not be cancelled once they have started."""

import asyncio
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

import anyio

from durable_graph._runtime.request import log
from durable_graph.checkpointing.handles import CommitHandle

T = TypeVar("T")


def cancellations(of: "asyncio.Task[object] | None" = None) -> int:
    """The number of pending cancellation requests of a task, by default the current task. See `Task.cancelling`."""
    task = asyncio.current_task() if of is None else of
    return task.cancelling() if task is not None else 0


def take_back_cancellations(count: int) -> None:
    """Reduce the cancellation requests of the current task to `count`, after a task group in it has raised.

    Before Python 3.13, a group whose task fails while the group waits for the others cancels its own parent task and
    never uncancels it. Later versions do.
    """
    task = asyncio.current_task()
    if sys.version_info < (3, 13) and task is not None:
        while task.cancelling() > count:
            task.uncancel()


async def finish(call: Coroutine[Any, Any, T] | CommitHandle[T], grace: float) -> T:
    """Return the result of `call`. If the caller is cancelled, still wait for it, for up to `grace` seconds.

    The cancellation is raised once the call or the grace period has ended; the call itself is never cancelled. An error
    that the call raises after the grace period is logged. An anyio shield is not enough: it does not stop a native
    `task.cancel()`.
    """
    handle = call if isinstance(call, CommitHandle) else CommitHandle.of(call)
    try:
        return await handle
    except asyncio.CancelledError as cancelled:
        if handle.error is cancelled:
            raise
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        handle.when_done(lambda: None if over.done() else over.set_result(None))
        await wait_within(over, grace)
        if not handle.is_done:
            handle.when_done(partial(_log_error, handle))
        elif handle.error is not None and not isinstance(handle.error, asyncio.CancelledError):
            # The cancellation is raised, with the error as its cause. It has to be the same exception object: anyio
            # recognises its own cancellations by their message.
            raise cancelled from handle.error
        raise


def _log_error(handle: CommitHandle[Any]) -> None:
    """Log the error of a call whose caller has left."""
    if handle.error is not None and not isinstance(handle.error, asyncio.CancelledError):
        log.failed_after_grace(handle.error)


async def wind_up(call: Coroutine[Any, Any, None], grace: float) -> bool:
    """Wait for `call` after a cancellation, for up to `grace` seconds, whatever further cancellations arrive.

    False if the call has not ended by then: it is not cancelled, and an error that it raises later is logged. Raises
    the error of the call. `finish` would wait without a limit, because the cancellation has been raised before.
    """
    task = asyncio.ensure_future(call)
    await wait_within(task, grace)
    if not task.done():
        task.add_done_callback(_log_failure)
        return False
    task.result()
    return True


def _log_failure(task: "asyncio.Future[Any]") -> None:
    """Log the error of a call that no caller awaits any more. Otherwise asyncio logs that it was never retrieved."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.failed_after_grace(error)


async def wait_within(task: "asyncio.Future[Any]", grace: float) -> None:
    """Wait until the task is done or `grace` seconds have passed, whatever cancellations arrive."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace
    # The shield keeps an anyio scope from cancelling every single wait below, which would be a busy loop.
    with anyio.CancelScope(shield=True):
        while not task.done() and (remaining := deadline - loop.time()) > 0:
            try:
                await asyncio.wait({task}, timeout=remaining)
            except asyncio.CancelledError:
                # The caller already gets one cancellation; another one adds nothing.
                continue
