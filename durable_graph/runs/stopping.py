"""The end of a worker: it completes even if its caller is cancelled."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any


async def finished(work: "asyncio.Task[None]", hurry: Callable[[], None]) -> None:
    """Wait for the end of the work. A cancellation of the caller is raised after that; `hurry` is called at once."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
            hurry()
    if cancelled is not None:
        raise cancelled
    await work


async def late_tasks(
    tasks: Collection["asyncio.Task[None]"], seconds: float, has_no_time: asyncio.Event
) -> list["asyncio.Task[None]"]:
    """Wait for the tasks, for so many seconds or until `has_no_time` is set. Returns those that have not ended."""
    waits: list[asyncio.Task[Any]] = [
        asyncio.ensure_future(asyncio.wait(tasks, timeout=seconds)),
        asyncio.ensure_future(has_no_time.wait()),
    ]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return [task for task in tasks if not task.done()]
