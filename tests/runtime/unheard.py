"""The reports of asyncio about errors that nobody retrieved."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class _ReportHandler(logging.Handler):
    def __init__(self, reports: list[str]) -> None:
        super().__init__()
        self._reports = reports

    def emit(self, record: logging.LogRecord) -> None:
        self._reports.append(record.getMessage())


@asynccontextmanager
async def no_asyncio_reports() -> AsyncIterator[None]:
    """Fail if asyncio reports anything in this block, or about a task or a future that the block left behind.

    Every asyncio task that the block started has ended when this returns.
    """
    reports: list[str] = []
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    earlier, handler = loop.get_exception_handler(), _ReportHandler(reports)

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        reports.append(f"{context['message']}: {context.get('exception')!r}")

    loop.set_exception_handler(note)
    logging.getLogger("asyncio").addHandler(handler)
    try:
        yield
        while left := asyncio.all_tasks() - before:
            await asyncio.wait(left)
            del left
        # The callbacks of the last tasks, then the objects that only cycles hold.
        await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(earlier)
        logging.getLogger("asyncio").removeHandler(handler)
    assert reports == []
