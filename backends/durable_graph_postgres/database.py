"""Connections to the server, and running a single statement, a read transaction or a write transaction on them."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg
from asyncpg.protocol import NO_TIMEOUT

from durable_graph.errors import StoreUnavailableError
from durable_graph_postgres.failures import FAILURES
from durable_graph_postgres.links import Links
from durable_graph_postgres.retry import Retry
from durable_graph_postgres.session import BEGIN, Connection, Session

T = TypeVar("T")

_RACES = 3
_PAUSE = 0.01
_LONGEST_IDLE = 60.0
"""In seconds: network equipment on the way to the server drops idle connections silently."""


class Database:
    """Runs functions of a `Session` on connections of a pool. Waits for an unavailable server."""

    def __init__(self, pool: Any, sql: Mapping[str, str], retry: Retry, links: Links | None, *, prepares: bool) -> None:
        """`links` are the connections of the saver's own pool, None for a user's pool. `prepares` says whether these
        connections keep prepared statements."""
        self.retry: Retry = retry
        self._pool = pool
        self._prepares = prepares
        self._sql = sql
        self._links = links
        self._owns_pool = owns_pool = links is not None
        # Acquiring and releasing a connection takes a tenth of the time of a commit. No connection is kept of a pool
        # that others use, or that has only one.
        self._keeps_one = owns_pool and pool.get_max_size() > 1
        self._kept: Any = None
        self._used = 0.0
        self._statements: dict[str, Any] = {}
        # When the statement that is under way on the kept connection was sent.
        self._asked: float | None = None
        self._watch: asyncio.TimerHandle | None = None

    async def once(self, function: Callable[[Session], Awaitable[T]]) -> T:
        """One attempt at a function that runs one statement."""
        async with self._pool.acquire(timeout=self.retry.answer) as connection:
            return await function(self._session(connection))

    async def change(self, function: Callable[[Session], Awaitable[T]], *, answer: float | None = None) -> T:
        """Run a function that changes rows without a transaction around it, and return its result. The function may run
        again. If the server does not answer within `answer` seconds, it runs again on another connection."""

        async def attempt() -> T:
            async with self._pool.acquire(timeout=self.retry.answer) as connection:
                try:
                    return await function(Session(connection, self._sql, answer or self.retry.answer))
                except TimeoutError:
                    # The pool would wait for the server before it gives the connection to another call.
                    connection.terminate()
                    raise

        return await self.retry.until_there(attempt)

    async def make(self, name: str, given: Sequence[Any]) -> Sequence[Any]:
        """The rows of one statement, for a caller that makes one call at a time: on a kept connection, if one may be
        kept."""
        if not self._keeps_one:
            return await self.once(lambda db: db.rows(name, *given))
        if self._kept is not None and time.monotonic() - self._used > _LONGEST_IDLE:
            self._kept.terminate()
            await self._give_back()
        if self._kept is None:
            self._kept = await self._pool.acquire(timeout=self.retry.answer)
        found: Sequence[Any]
        try:
            if self._prepares:
                statement = self._statements.get(name) or await self._prepared(name)
                self._asked = time.monotonic()
                if self._watch is None:
                    self._watch = asyncio.get_running_loop().call_later(self.retry.answer, self._check_answer)
                found = await statement.fetch(*given, timeout=NO_TIMEOUT)
            else:
                found = await self._kept.fetch(self._sql[name], *given, timeout=self.retry.answer)
        except BaseException:
            await self._give_back()
            raise
        finally:
            self._asked, self._used = None, time.monotonic()
        return found

    async def _prepared(self, name: str) -> Any:
        statement = await self._kept.prepare(self._sql[name], timeout=self.retry.answer)
        self._statements[name] = statement
        return statement

    def _check_answer(self) -> None:
        """Close the kept connection if the server has not answered in time.

        One timer watches all statements on it: a timer of its own for each would cost a tenth of a commit. It runs for
        twice the time at most, and not at all while nothing is asked.
        """
        self._watch = None
        if self._asked is None:
            return
        remaining = self._asked + self.retry.answer - time.monotonic()
        if remaining > 0:
            self._watch = asyncio.get_running_loop().call_later(remaining, self._check_answer)
        elif self._kept is not None:
            # The statement fails, and its writes are made alone, after a look at what became of them.
            self._kept.terminate()

    async def read(self, function: Callable[[Session], Awaitable[T]], *, statements: int) -> T:
        """Run a function that reads, and return its result. Several statements use one snapshot."""

        async def attempt() -> T:
            if statements == 1:
                return await self.once(function)
            async with self._pool.acquire(timeout=self.retry.answer) as connection:
                session = self._session(connection)
                async with session.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
                    return await function(session)

        return await self.retry.until_there(attempt)

    async def write(self, function: Callable[[Session], Awaitable[T]], thread: str) -> T:
        """Run a function in a write transaction, and return its result. The function may run again, so it has to check
        the rows that it finds."""
        races = 0

        async def attempt() -> T:
            nonlocal races
            while True:
                try:
                    async with self._pool.acquire(timeout=self.retry.answer) as connection:
                        session = self._session(connection)
                        async with session.transaction(BEGIN):
                            return await function(session)
                except asyncpg.UniqueViolationError:
                    # Two writers may create the same thread. The second one finds the thread at its next attempt.
                    races += 1
                    if races == _RACES:
                        raise

        return await self.retry.until_there(attempt, thread)

    async def close(self) -> None:
        """Close the connections of the saver's own pool, or release those of a user's."""
        if self._watch is not None:
            self._watch.cancel()
        await self._give_back()
        if self._owns_pool:
            # If the server does not answer, the pool terminates the connections. No statement is pending.
            with contextlib.suppress(*FAILURES):
                await self._pool.close()

    async def wait_for_end_of(self, sessions: set[int]) -> None:
        """Wait until the server has ended these sessions, and remove them from the set: their last statements may still
        run. Raises `StoreUnavailableError` when the time is up.
        """
        deadline = time.monotonic() + self.retry.seconds
        while sessions:
            sessions &= await self._sessions_among(sorted(sessions))
            if sessions and time.monotonic() > deadline:
                why = f"its sessions {sorted(sessions)}, from before the event loop was closed, have not ended"
                raise StoreUnavailableError(self.retry.store, why)
            if sessions:
                await asyncio.sleep(_PAUSE)

    async def _sessions_among(self, known: list[int]) -> set[int]:
        found = await self.read(lambda db: db.rows("find_sessions", known), statements=1)
        return {pid for (pid,) in found}

    def cut_off(self) -> set[int]:
        """Close the sockets of a closed loop's connections. Returns the ids of their sessions, which will end."""
        return set() if self._links is None else self._links.cut_off()

    def _session(self, connection: Connection) -> Session:
        return Session(connection, self._sql, self.retry.answer)

    async def _give_back(self) -> None:
        kept, self._kept, self._statements = self._kept, None, {}
        if kept is not None:
            await self._pool.release(kept)
