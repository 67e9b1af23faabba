"""The connections of a saver's own pool: how each is set up, and how it is cut off when its event loop is closed."""

import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import asyncpg


class Links:
    """Makes the connections of a pool, and knows those that are open."""

    def __init__(self, sockets: Iterable[tuple[int, int, int]]) -> None:
        """`sockets` are options of the sockets: level, option and value."""
        self._sockets = tuple(sockets)
        self._connections: WeakSet[Any] = WeakSet()

    async def connect(self, *given: Any, **options: Any) -> Any:
        """A connection, for a pool that asks for one."""
        connection = await asyncpg.connect(*given, **options)
        self._connections.add(connection)
        opened = _socket_of(connection)
        if opened.family != socket.AF_UNIX:
            for level, option, value in self._sockets:
                opened.setsockopt(level, option, value)
        return connection

    def cut_off(self) -> set[int]:
        """Close the sockets, which needs no event loop. The server's ids of the sessions."""
        sessions = set()
        for connection in self._connections:
            if connection.is_closed():
                continue
            sessions.add(connection.get_server_pid())
            with suppress(OSError):
                # The server reads to the end of what it was sent, and then ends the session.
                _socket_of(connection).shutdown(socket.SHUT_RDWR)
            # It cannot tell its closed loop, and notes that it is gone before it tries to.
            with suppress(RuntimeError):
                connection.terminate()
        return sessions


def _socket_of(connection: Any) -> Any:
    # The driver has no public name for it.
    return connection._transport.get_extra_info("socket")
