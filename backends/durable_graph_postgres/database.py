"""Connections to the server, and what is run on them: one statement, a reading or a writing transaction."""

import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import asyncpg

from durable_graph_postgres.failures import FAILURES
from durable_graph_postgres.patience import Patience
from durable_graph_postgres.session import Connection, Session

T = TypeVar("T")

_RACES = 3
_LONGEST_IDLE = 60.0
"""In seconds. What lies between here and the server forgets connections that are silent, and does not tell."""


class Database:
    """Runs functions of a `Session` on connections of a pool. It waits for a server that is away."""

    def __init__(self, pool: Any, sql: Mapping[str, str], patience: Patience, *, owns_pool: bool) -> None:
        self.patience: Patience = patience
        self._pool = pool
        self._sql = sql
        self._owns_pool = owns_pool
        # Borrowing one and giving it back takes a tenth of the time of a commit. Of a pool that others use, or that
        # has no other, none is kept.
        self._keeps_one = owns_pool and pool.get_max_size() > 1
        self._kept: Any = None
        self._used = 0.0

    async def once(self, function: Callable[[Session], Awaitable[T]]) -> T:
        """One attempt at a function that makes one statement."""
        async with self._pool.acquire(timeout=self.patience.answer) as connection:
            return await function(self._session(connection))

    async def once_in_turn(self, function: Callable[[Session], Awaitable[T]]) -> T:
        """The same, for a caller that makes one call at a time: on a connection that is kept for it if one can be."""
        if not self._keeps_one:
            return await self.once(function)
        if self._kept is not None and time.monotonic() - self._used > _LONGEST_IDLE:
            self._kept.terminate()
            await self._give_back()
        if self._kept is None:
            self._kept = await self._pool.acquire(timeout=self.patience.answer)
        try:
            return await function(self._session(self._kept))
        except BaseException:
            await self._give_back()
            raise
        finally:
            self._used = time.monotonic()

    async def read(self, function: Callable[[Session], Awaitable[T]], *, statements: int) -> T:
        """What a function reads. One of several statements sees one moment in all of them."""

        async def attempt() -> T:
            if statements == 1:
                return await self.once(function)
            async with self._pool.acquire(timeout=self.patience.answer) as connection:
                session = self._session(connection)
                async with session.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
                    return await function(session)

        return await self.patience.until_there(attempt)

    async def write(self, function: Callable[[Session], Awaitable[T]], thread: str) -> T:
        """What a function did in a transaction of its own. It may be run again, and has to look at what it finds."""
        races = 0

        async def attempt() -> T:
            nonlocal races
            while True:
                try:
                    async with self._pool.acquire(timeout=self.patience.answer) as connection:
                        session = self._session(connection)
                        async with session.transaction("BEGIN"):
                            return await function(session)
                except asyncpg.UniqueViolationError:
                    # Two may begin one thread, and the one that comes second finds it then.
                    races += 1
                    if races == _RACES:
                        raise

        return await self.patience.until_there(attempt, thread)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._give_back()
        if self._owns_pool:
            # Of a server that does not answer its goodbye the pool cuts the connections off. Nothing was under way.
            with contextlib.suppress(*FAILURES):
                await self._pool.close()

    def _session(self, connection: Connection) -> Session:
        return Session(connection, self._sql, self.patience.answer)

    async def _give_back(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            await self._pool.release(kept)
