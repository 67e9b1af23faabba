"""Waiting for something that, once begun, has to end."""

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
    """How often a task, by default the current one, was cancelled, as far as nobody took it back."""
    task = asyncio.current_task() if of is None else of
    return task.cancelling() if task is not None else 0


def take_back_cancellations(count: int) -> None:
    """Leave the current task cancelled `count` times, once a task group in it has raised.

    Before Python 3.13 a group that one of its tasks fails, while it waits for the others, leaves the task that it is in
    marked as cancelled for good. Since then it takes that back itself.
    """
    task = asyncio.current_task()
    if sys.version_info < (3, 13) and task is not None:
        while task.cancelling() > count:
            task.uncancel()


async def finish(call: Coroutine[Any, Any, T] | CommitHandle[T], grace: float) -> T:
    """What `call` returns, waited for even while the caller is cancelled, for up to `grace` seconds from then.

    The cancellation is raised once the call is over, or once the grace period is; the call itself is never cancelled.
    An error that the call raises after the grace period is logged. An anyio shield alone would not do: it does not hold
    back a native `task.cancel()`.
    """
    handle = call if isinstance(call, CommitHandle) else CommitHandle.of(call)
    try:
        return await handle
    except asyncio.CancelledError as cancelled:
        if handle.error is cancelled:
            raise
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        handle.when_done(lambda: None if over.done() else over.set_result(None))
        await _wait(over, grace)
        if not handle.is_done:
            handle.when_done(partial(_log_error, handle))
        elif handle.error is not None and not isinstance(handle.error, asyncio.CancelledError):
            # The cancellation wins, but not silently. It is raised itself: anyio knows its own by their message.
            raise cancelled from handle.error
        raise


def _log_error(handle: CommitHandle[Any]) -> None:
    """Log the error of a call whose caller has left."""
    if handle.error is not None and not isinstance(handle.error, asyncio.CancelledError):
        log.failed_after_grace(handle.error)


async def wind_up(call: Coroutine[Any, Any, None], grace: float) -> bool:
    """Let `call` end after a cancellation, for up to `grace` seconds, whatever cancellations still arrive.

    False if it still goes on then; it is not cancelled, and an error that it raises later is logged. Raises what it
    raises. `finish` would not do: the cancellation that limits its waiting has come already.
    """
    task = asyncio.ensure_future(call)
    await _wait(task, grace)
    if not task.done():
        task.add_done_callback(_log_failure)
        return False
    task.result()
    return True


def _log_failure(task: "asyncio.Future[Any]") -> None:
    """Log the error of a call whose caller has left. Without this, asyncio logs that nobody retrieved it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.failed_after_grace(error)


async def _wait(task: "asyncio.Future[Any]", grace: float) -> None:
    """Until the task is done or `grace` seconds are over, whatever cancellations arrive."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace
    # The shield keeps an anyio scope from cancelling every single wait below, which would be a busy loop.
    with anyio.CancelScope(shield=True):
        while not task.done() and (left := deadline - loop.time()) > 0:
            try:
                await asyncio.wait({task}, timeout=left)
            except asyncio.CancelledError:
                # One cancellation is on its way to the caller already; another does not make it more so.
                continue
