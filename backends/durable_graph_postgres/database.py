"""Connections to the server, and what is run on them: one statement, a reading or a writing transaction."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import asyncpg

from durable_graph.errors import StoreUnavailableError
from durable_graph_postgres.failures import FAILURES
from durable_graph_postgres.links import Links
from durable_graph_postgres.patience import Patience
from durable_graph_postgres.session import Connection, Session

T = TypeVar("T")

_RACES = 3
_PAUSE = 0.01
_LONGEST_IDLE = 60.0
"""In seconds. What lies between here and the server forgets connections that are silent, and does not tell."""


class Database:
    """Runs functions of a `Session` on connections of a pool. It waits for a server that is away."""

    def __init__(self, pool: Any, sql: Mapping[str, str], patience: Patience, links: Links | None) -> None:
        """`links` are the connections of a pool that is the saver's own."""
        self.patience: Patience = patience
        self._pool = pool
        self._sql = sql
        self._links = links
        self._owns_pool = owns_pool = links is not None
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

    async def wait_for_end_of(self, sessions: set[int]) -> None:
        """Wait until the server has ended these sessions, and forget them: what they were sent last may still be at
        work. Raises `StoreUnavailableError` when the time is up.
        """
        deadline = time.monotonic() + self.patience.seconds
        while sessions:
            sessions &= await self._sessions_among(sorted(sessions))
            if sessions and time.monotonic() > deadline:
                why = f"its sessions {sorted(sessions)}, from before the event loop was closed, have not ended"
                raise StoreUnavailableError(self.patience.store, why)
            if sessions:
                await asyncio.sleep(_PAUSE)

    async def _sessions_among(self, known: list[int]) -> set[int]:
        found = await self.read(lambda db: db.rows("find_sessions", known), statements=1)
        return {pid for (pid,) in found}

    def cut_off(self) -> set[int]:
        """Cut off the connections of a loop that was closed. The ids of their sessions, which the server ends then."""
        return set() if self._links is None else self._links.cut_off()

    def _session(self, connection: Connection) -> Session:
        return Session(connection, self._sql, self.patience.answer)

    async def _give_back(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            await self._pool.release(kept)
