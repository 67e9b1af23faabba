"""The connections on which streams are open: which clients have left, and the end of all streams at a shutdown."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import cast

from aiohttp import web

LOOK_SECONDS = 1.0
"""aiohttp calls no handler when its client leaves, so one task looks for lost connections."""

END_SECONDS = 0.3
"""How long streams have to end at a shutdown. A client that does not read is disconnected then."""


class Connections:
    """The open streams of a service."""

    def __init__(self) -> None:
        self._open: dict[asyncio.Task[object], web.Request] = {}

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """The block in which the handlers of lost connections are cancelled."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.wait([looking])

    @contextmanager
    def open(self, request: web.Request) -> Iterator[None]:
        """The block in which the current task sends a stream."""
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._open[task] = request
        try:
            yield
        finally:
            self._open.pop(task, None)

    async def end(self) -> None:
        """Wait until all streams have ended, and disconnect the clients of the others."""
        if not self._open:
            return
        _, stalled = await asyncio.wait(self._open, timeout=END_SECONDS)
        for task in stalled:
            request = self._open.get(task)
            if request is not None and request.transport is not None:
                request.transport.abort()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for task, request in [*self._open.items()]:
                if is_lost(request):
                    # Once: the handler may wait while it cleans up.
                    del self._open[task]
                    task.cancel()


def is_lost(request: web.Request) -> bool:
    """Whether the client has left, or was disconnected."""
    return request.transport is None or request.transport.is_closing()
