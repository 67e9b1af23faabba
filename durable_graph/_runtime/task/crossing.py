"""From one event loop to another: a plain function in its worker thread may call graphs in a loop of its own."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of the call, run in `loop`, which is the running loop or that of another thread.

    The call has the caller's context variables. As with any awaited call, a cancellation of the caller reaches it, and
    the caller goes on when the call has ended.
    """
    here = asyncio.get_running_loop()
    if loop is here:
        return await call()
    ended = asyncio.Event()
    tasks: list[asyncio.Task[T]] = []

    def tell(_: "asyncio.Task[T]") -> None:
        # The loop of a caller that was cut off may be closed.
        with suppress(RuntimeError):
            here.call_soon_threadsafe(ended.set)

    def begin() -> None:
        tasks.append(loop.create_task(call()))
        tasks[0].add_done_callback(tell)

    loop.call_soon_threadsafe(begin)
    while not ended.is_set():
        try:
            await ended.wait()
        except asyncio.CancelledError:
            # There, where the task has been made by then.
            loop.call_soon_threadsafe(lambda: tasks[0].cancel())  # noqa: PLW0108
    return tasks[0].result()
