"""Clients of a service: readers of streams, and plain connections."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from tests.services.engine.servers import PATIENCE, notes


class Seen(msgspec.Struct, frozen=True):
    """A frame as a client received it."""

    id: str
    event: str
    data: Any


class Cut(msgspec.Struct, frozen=True):
    """How a stream ended: properly, or cut off."""

    is_proper: bool


async def frames_of(response: httpx.Response) -> AsyncIterator[Seen]:
    """The complete frames of a stream. Comments are left out. Raises as httpx does if the stream is cut off."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if "id" in fields:
            yield Seen(fields["id"], fields.get("event", ""), msgspec.json.decode(fields.get("data", "null")))
        fields = {}


async def read(client: httpx.AsyncClient, url: str, seen: list[Seen], *, last: str | None = None) -> Cut:
    """Read a stream to its end. `seen` gets its frames."""
    headers = {} if last is None else {"Last-Event-ID": last}
    try:
        async with client.stream("GET", url, headers=headers) as response:
            response.raise_for_status()
            async for frame in frames_of(response):
                seen.append(frame)
    except httpx.TransportError:
        return Cut(is_proper=False)
    return Cut(is_proper=True)


async def ask_later(client: httpx.AsyncClient, url: str) -> Cut:
    """Read a body that takes a while."""
    try:
        await client.get(url)
    except httpx.TransportError:
        return Cut(is_proper=False)
    return Cut(is_proper=True)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A plain connection, which is closed at the end."""
    # A small buffer, so that a client that does not read stalls soon.
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**14)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def until(holds: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Wait until the condition holds. Raises `TimeoutError`, which names it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)
    raise TimeoutError(what)


async def noted(folder: str, line: str, count: int = 1) -> None:
    """Wait until the processes have noted the line so many times."""
    await until(lambda: notes(folder).count(line) >= count, line)
