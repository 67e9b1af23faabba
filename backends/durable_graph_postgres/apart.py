"""Connections outside of every pool: those for notices, which must not wait for the connections of calls."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

import asyncpg

from durable_graph_postgres.links import Links
from durable_graph_postgres.parameters import Parameters

Make = Callable[[], Coroutine[Any, Any, Any]]

_LONGEST_GOODBYE = 1.0


class Apart:
    """Makes connections in one event loop, and closes those that its users left when their event loop was closed."""

    def __init__(self, given: "Parameters | asyncpg.Pool[asyncpg.Record]", answer: float, *, prepares: bool) -> None:
        """`given` are the parameters of a DSN, or a user's pool, which shows how to make connections. `answer` limits
        the seconds of connecting, and of each statement."""
        self._make: Make
        if isinstance(given, Parameters):
            self._links = Links(given.sockets)
            self._make = _of_dsn(self._links, given, answer, prepares=prepares)
        else:
            # The driver has no public attribute for it.
            pool: Any = given
            self._links = Links((), pool._connect)
            self._make = _of_pool(self._links, pool, answer)
        self._connecting: set[asyncio.Task[Any]] = set()

    async def connect(self) -> Any:
        """A new connection. If the caller is cancelled, it is made nevertheless, and closed: the driver leaves an error
        that nobody handles if it is cancelled while it connects."""
        task = asyncio.get_running_loop().create_task(self._make(), context=Context())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_discard)
            raise

    async def close(self) -> None:
        """Wait until no connection is being made, at most for a second."""
        if self._connecting:
            _, late = await asyncio.wait(self._connecting, timeout=_LONGEST_GOODBYE)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def cut_off(self) -> None:
        """Close the sockets of a closed loop's connections."""
        self._links.cut_off()


def _of_dsn(links: Links, given: Parameters, answer: float, *, prepares: bool) -> Make:
    async def make() -> Any:
        return await links.connect(
            given.dsn,
            statement_cache_size=100 if prepares else 0,
            timeout=min(answer, given.connect_timeout or answer),
            command_timeout=answer,
            **given.driver,
        )

    return make


def _of_pool(links: Links, pool: Any, answer: float) -> Make:
    async def make() -> Any:
        options = {"connection_class": pool._connection_class, "record_class": pool._record_class}
        options |= pool._connect_kwargs
        options["timeout"] = min(answer, options.get("timeout", answer))
        connection = await links.connect(*pool._connect_args, **options)
        if pool._init is not None:
            try:
                await pool._init(connection)
            except BaseException:
                connection.terminate()
                raise
        return connection

    return make


def _discard(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().terminate()
