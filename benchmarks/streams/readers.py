"""Clients that are cheap: a socket for each reader, and no HTTP library."""

import asyncio
import json
import re
import socket
import time
from typing import Any, Self

_AT = re.compile(rb'"at":([0-9.]+)')
_RECEIVE_BUFFER = 4096


class Reader:
    """One open stream. `delays` are those of the events that it got, in seconds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.delays: list[float] = []
        self._reader, self._writer = reader, writer
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def opened(cls, port: int, path: str, *, stalls: bool = False) -> Self:
        """A reader that has got its first frame. One that `stalls` reads nothing after that."""
        given = socket.socket()
        if stalls:
            given.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        given.setblocking(False)  # noqa: FBT003  # its only argument
        await asyncio.get_running_loop().sock_connect(given, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=given, limit=_RECEIVE_BUFFER if stalls else 1 << 20)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode())
        own = cls(reader, writer)
        status = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in status.split(b"\r\n")[0], status
        await reader.readuntil(b"metadata")
        return own

    def read_on(self) -> None:
        """Read all that comes, in a task."""
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        left = b""
        while data := await self._reader.read(1 << 16):
            left += data
            while found := _AT.search(left):
                self.delays.append(time.time() - float(found[1]))
                left = left[found.end() :]
            left = left[-64:]

    def close(self) -> None:
        """Cut the connection."""
        if self._task is not None:
            self._task.cancel()
        self._writer.transport.abort()


async def request(port: int, method: str, path: str, body: object = None) -> Any:
    """The JSON of a reply."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n"
    writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + data)
    reply = await reader.read()
    writer.close()
    headers, _, text = reply.partition(b"\r\n\r\n")
    assert b" 200 " in headers.split(b"\r\n")[0], reply
    return json.loads(text)
