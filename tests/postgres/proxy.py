"""A proxy between a driver and PostgreSQL: it counts round trips, and cuts connections at a chosen moment.

It reads the frames of the protocol, version 3 without TLS. A client waits for an answer after a `Sync`, a `Flush` or a
simple `Query`: all frames up to that one are one round trip.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Literal, NamedTuple, get_args
from urllib.parse import urlsplit

Moment = Literal["before", "half", "sent", "late", "torn", "after"]
"""The moment of a cut: "before" any byte of the round trip is forwarded; after "half" of its bytes; after all its bytes
were "sent" and the server executes them; the same, but the bytes reach the server "late", after another round trip of
the client; after the server has answered, when half of the answer was forwarded ("torn"), or none of it ("after")."""

MOMENTS: tuple[Moment, ...] = get_args(Moment)

_NO_TLS = {80877103, 80877104}
_CANCEL = 80877102
# The frames that end a round trip, and the frames that may end its answer.
_ENDS: Mapping[bytes, frozenset[bytes]] = {
    b"Q": frozenset({b"Z"}),
    b"S": frozenset({b"Z"}),
    # A request for the description of a statement: its columns, no columns, or an error.
    b"H": frozenset({b"T", b"n", b"E"}),
}
# The messages for the password and for the end of the connection.
_IS_SENT_ON = {b"p", b"X"}
_RESET = struct.pack("ii", 1, 0)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Cut(NamedTuple):
    """Cut the connection at a round trip, and refuse `refusals` new connections afterwards.

    Round trips are counted from 1, or from the previous cut.
    """

    trip: int
    moment: Moment
    refusals: int = 0


class Frame(NamedTuple):
    kind: bytes
    data: bytes

    @property
    def words(self) -> list[str]:
        """The strings at the start of the frame."""
        return self.data[5:].decode("utf-8", "replace").split("\x00")


class Proxy:
    """Accepts connections at `url`, and opens a connection to the server for each. Opened by `proxied`.

    `trips` are the statements of the round trips since `expect`, with the prefix "PREPARE " if one is only described.
    `executions` is the number of executed statements. `has_cut` says whether every cut has happened.
    """

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        self._server = parts.hostname or "localhost", parts.port or 5432
        self._parts = parts
        self._port = 0
        self._cuts: list[Cut] = []
        self._until_cut = 0
        self._refusals = 0
        self._links: set[_Link] = set()
        self._late: list[_Link] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_ended = asyncio.Event()
        self.trips: list[str] = []
        self.executions = 0

    @property
    def url(self) -> str:
        """The DSN that leads through the proxy."""
        user = f"{self._parts.username or ''}{f':{self._parts.password}' if self._parts.password else ''}"
        return self._parts._replace(netloc=f"{user}@127.0.0.1:{self._port}").geturl()

    async def connections(self, at_most: int) -> int:
        """The number of open connections. A link ends some time after its client has left it, so this waits up to ten
        seconds for the number to fall to `at_most`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                while len(self._links) > at_most:
                    self._has_ended.clear()
                    await self._has_ended.wait()
        return len(self._links)

    @property
    def has_cut(self) -> bool:
        return not self._cuts

    def expect(self, *cuts: Cut) -> None:
        """Reset the count, and cut at these round trips."""
        self.trips = []
        self._cuts = list(cuts)
        self._until_cut = cuts[0].trip if cuts else 0

    def refuse(self, times: int) -> None:
        """Refuse this number of connections, instead of the number set before."""
        self._refusals = times

    def take(self, text: str) -> Moment | None:
        """Record a round trip. Returns the moment of its cut, or None."""
        self.trips.append(text)
        self._until_cut -= 1
        if not self._cuts or self._until_cut:
            return None
        cut = self._cuts.pop(0)
        self._until_cut = self._cuts[0].trip if self._cuts else 0
        self._refusals = cut.refusals
        return cut.moment

    def hold_back(self, link: "_Link") -> None:
        """Data of this link arrives late."""
        self._late.append(link)

    def answered(self) -> None:
        """A round trip has ended: late data arrives now."""
        late, self._late = self._late, []
        for link in late:
            link.arrive()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until its end."""
        if self._refusals > 0:
            self._refusals -= 1
            reset(writer)
            return
        link = _Link(self, (reader, writer), await asyncio.open_connection(*self._server))
        self._links.add(link)
        try:
            await link.serve()
        finally:
            self._links.discard(link)
            self._has_ended.set()

    async def open(self) -> asyncio.Server:
        """Start to listen."""

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self.accept(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(begin, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        return server

    async def until_quiet(self) -> None:
        """Return once no connection is left, so that the server runs no cut statement any more.

        Late data arrives before that. Raises the proxy's errors.
        """
        self.answered()
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """End the open connections. Raises the proxy's errors."""
        for link in list(self._links):
            link.cut()
        await self.until_quiet()


@asynccontextmanager
async def proxied(dsn: str) -> AsyncIterator[Proxy]:
    """A proxy in front of the server of this DSN."""
    proxy = Proxy(dsn)
    server = await proxy.open()
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Reset a connection, so that its other end gets an error and reads nothing more."""
    connected: socket.socket | None = writer.get_extra_info("socket")
    if connected is not None and connected.fileno() >= 0:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


class _Link:
    """A client's connection and the matching connection to the server."""

    def __init__(self, proxy: Proxy, client: Streams, server: Streams) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._texts: dict[str, str] = {}
        self._bound = ""
        # The part of the next answer that the client does not get. "torn" forwards half of it; "after" and "all" none.
        self._withholding: Literal["nothing", "torn", "after", "all"] = "nothing"
        self._answer_ends: frozenset[bytes] = _ENDS[b"S"]
        self._late = b""

    async def serve(self) -> None:
        """Serve until one of the two connections ends, and close the other."""
        down = asyncio.get_running_loop().create_task(self._down())
        try:
            await self._up()
        except (asyncio.IncompleteReadError, ConnectionError):
            # A client that was cut off may have left data for the server.
            if self._withholding != "all":
                self._to_server.close()
        await down

    def cut(self) -> None:
        """Reset both connections."""
        reset(self._to_client)
        reset(self._to_server)

    def arrive(self) -> None:
        """Send the late data to the server."""
        self._send_last(self._late)

    def _send_last(self, data: bytes) -> None:
        """Send data to the server, which executes it and then finds that nobody waits for an answer."""
        self._to_server.write(data)
        self._to_server.write_eof()

    async def _up(self) -> None:
        if not await self._begin():
            return
        held: list[Frame] = []
        while True:
            frame = await _frame(self._from_client)
            held.append(frame)
            self._read(frame)
            if frame.kind in _ENDS:
                self._answer_ends = _ENDS[frame.kind]
                moment = self._proxy.take(f"PREPARE {self._bound}" if frame.kind == b"H" else self._bound)
                self._send(b"".join(each.data for each in held), moment)
                held = []
            elif frame.kind in _IS_SENT_ON:
                self._to_server.write(b"".join(each.data for each in held))
                held = []

    async def _begin(self) -> bool:
        """Forward the start of a connection. Returns False for a connection that only sends a cancel request."""
        while True:
            head = await self._from_client.readexactly(8)
            size, code = struct.unpack("!ii", head)
            if code in _NO_TLS:
                self._to_client.write(b"N")
                continue
            self._to_server.write(head + await self._from_client.readexactly(size - 8))
            return bool(code != _CANCEL)

    def _read(self, frame: Frame) -> None:
        """Record the statement that the frame belongs to."""
        match frame.kind:
            case b"P":
                name, self._bound, *_ = frame.words
                self._texts[name] = self._bound
            case b"B":
                _, name, *_ = frame.words
                self._bound = self._texts[name]
            case b"E":
                self._proxy.executions += 1
            case b"Q":
                self._proxy.executions += 1
                self._bound = frame.words[0]

    def _send(self, data: bytes, moment: Moment | None) -> None:
        match moment:
            case "before":
                self.cut()
            case "half":
                self._leave()
                self._send_last(data[: len(data) // 2])
            case "sent":
                self._leave()
                self._send_last(data)
            case "late":
                self._leave()
                self._late = data
                self._proxy.hold_back(self)
            case "torn" | "after":
                self._withholding = moment
                self._to_server.write(data)
            case None:
                self._to_server.write(data)

    def _leave(self) -> None:
        """Reset the client's connection; the server notices nothing yet."""
        self._withholding = "all"
        reset(self._to_client)

    async def _down(self) -> None:
        """Forward the answers."""
        withheld = b""
        try:
            while True:
                frame = await _frame(self._from_server)
                is_over = frame.kind in self._answer_ends
                if self._withholding == "nothing":
                    self._to_client.write(frame.data)
                    if is_over:
                        self._proxy.answered()
                    continue
                withheld += frame.data
                if is_over and self._withholding != "all":
                    self._break_off(withheld if self._withholding == "torn" else b"")
        except (asyncio.IncompleteReadError, ConnectionError):
            self._to_server.close()
            self._to_client.close()

    def _break_off(self, answer: bytes) -> None:
        """Forward half of the answer, and no more."""
        reset(self._to_server)
        if answer:
            self._to_client.write(answer[: len(answer) // 2])
            self._to_client.close()
        else:
            reset(self._to_client)


async def _frame(reader: asyncio.StreamReader) -> Frame:
    head = await reader.readexactly(5)
    return Frame(head[:1], head + await reader.readexactly(int.from_bytes(head[1:], "big") - 4))
