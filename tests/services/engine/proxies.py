"""A proxy that cuts connections."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress


class CuttingProxy:
    """Passes each connection to a server, and cuts it after a drawn number of bytes of replies. `cuts` counts them."""

    def __init__(self, target: Callable[[], int], draw: Callable[[], int]) -> None:
        self._target, self._draw = target, draw
        self.cuts = 0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            # The server may be gone. The task is cancelled at the end of the proxy.
            with suppress(OSError, asyncio.CancelledError):
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target())
                asking = asyncio.create_task(_copy(reader, inner_writer))
                try:
                    await self._reply(inner_reader, writer)
                finally:
                    asking.cancel()
                    inner_writer.transport.abort()
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self._draw()
        while data := await reader.read(65536):
            writer.write(data[:left])
            await writer.drain()
            left -= len(data)
            if left <= 0:
                self.cuts += 1
                # Closed and not reset, so that the client gets all bytes up to the cut.
                writer.write_eof()
                return
        writer.write_eof()

    @asynccontextmanager
    async def running(self, path: str) -> AsyncIterator["CuttingProxy"]:
        """The block in which the proxy listens. `url` is the service's root behind it, with this path."""
        listening = await asyncio.start_server(self._pass, "127.0.0.1")
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}{path}"
        try:
            yield self
        finally:
            listening.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
