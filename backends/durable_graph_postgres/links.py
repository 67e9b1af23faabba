"""The connections that a saver makes: setting them up, and closing them after their event loop was closed."""

import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import asyncpg


class Links:
    """Makes connections, and keeps track of those that are open."""

    def __init__(
        self, sockets: Iterable[tuple[int, int, int]], connect: Callable[..., Awaitable[Any]] = asyncpg.connect
    ) -> None:
        """`sockets` are socket options as (level, option, value). `connect` opens a connection."""
        self._sockets = tuple(sockets)
        self._connect = connect
        self._connections: WeakSet[Any] = WeakSet()

    async def connect(self, *given: Any, **options: Any) -> Any:
        """A new connection."""
        connection = await self._connect(*given, **options)
        self._connections.add(connection)
        opened = _socket_of(connection)
        if opened.family != socket.AF_UNIX:
            for level, option, value in self._sockets:
                opened.setsockopt(level, option, value)
        return connection

    def cut_off(self) -> set[int]:
        """Close the sockets, which needs no event loop. Returns the server's ids of the sessions."""
        sessions = set()
        for connection in self._connections:
            if connection.is_closed():
                continue
            sessions.add(connection.get_server_pid())
            with suppress(OSError):
                # The server processes all that it has received, and then ends the session.
                _socket_of(connection).shutdown(socket.SHUT_RDWR)
            terminate(connection)
        return sessions


def terminate(connection: Any) -> None:
    """Close the connection without a message to the server, also after its event loop was closed."""
    # `terminate` marks the connection as closed, and then raises if its event loop is closed.
    with suppress(RuntimeError):
        connection.terminate()


def _socket_of(connection: Any) -> Any:
    # The driver has no public attribute for the socket.
    return connection._transport.get_extra_info("socket")
