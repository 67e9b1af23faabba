"""From one event loop to another: a plain function in its worker thread may call graphs in a loop of its own."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What the call returns or raises, run in `loop`, which is the running one or that of another thread.

    The call has the caller's context variables, and is cancelled with its caller.
    """
    if loop is asyncio.get_running_loop():
        return await call()
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), loop))
