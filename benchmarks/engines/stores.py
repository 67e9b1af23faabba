"""The stores of the engines. Commits that arrive while one is under way go into the next one together."""

import asyncio
import queue
import sqlite3
import threading
from asyncio import Future
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks.engines.log import Row

_MOST_IN_ONE_COMMIT: Final = 256


class MemoryStore:
    """Rows in a list."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def put(self, rows: list[Row], *, is_awaited: bool = True) -> "Future[None] | None":
        self._rows += rows
        return None

    async def load(self, thread: str) -> list[Row]:
        return [row for row in self._rows if row[0] == thread]


SQLITE_TABLES: Final = """
CREATE TABLE rows(
    thread TEXT, superstep INTEGER, kind INTEGER, place INTEGER, data BLOB,
    PRIMARY KEY (thread, superstep, kind, place)
) WITHOUT ROWID;
-- Who may write a thread. No thread of a benchmark belongs to another process.
CREATE TABLE owners(thread TEXT PRIMARY KEY, owner TEXT) WITHOUT ROWID;
"""

_Job = tuple[list[Row] | str, "Future[Any] | None"]


class SqliteStore:
    """One connection in a thread of its own, with a write-ahead log and a flush for each commit."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(SQLITE_TABLES)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def put(self, rows: list[Row], *, is_awaited: bool = True) -> "Future[None] | None":
        future = self._loop.create_future() if is_awaited else None
        self._jobs.put((rows, future))
        return future

    async def load(self, thread: str) -> list[Row]:
        future: Future[list[Row]] = self._loop.create_future()
        self._jobs.put((thread, future))
        return await future

    async def aclose(self) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch = [job]
            while len(batch) < _MOST_IN_ONE_COMMIT and not self._jobs.empty():
                following = self._jobs.get()
                if following is None:
                    self._jobs.put(None)
                    break
                batch.append(following)
            try:
                results = self._done(batch)
            except (sqlite3.Error, PermissionError) as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if all(future is None for _, future in batch):
                    raise
                self._loop.call_soon_threadsafe(_fail, batch, error)
                continue
            self._loop.call_soon_threadsafe(_settle, results)

    def _done(self, batch: list[_Job]) -> list[tuple["Future[Any]", Any]]:
        execute = self._connection.execute
        rows = [row for work, _ in batch if isinstance(work, list) for row in work]
        if rows:
            execute("BEGIN IMMEDIATE")
            for thread in {row[0] for row in rows}:
                if execute("SELECT owner FROM owners WHERE thread = ?", (thread,)).fetchone() is not None:
                    raise PermissionError(thread)
            self._connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", rows)
            execute("COMMIT")
        return [
            (future, self._rows_of(work) if isinstance(work, str) else None)
            for work, future in batch
            if future is not None
        ]

    def _rows_of(self, thread: str) -> list[Row]:
        return self._connection.execute("SELECT * FROM rows WHERE thread = ? ORDER BY 1, 2, 3, 4", (thread,)).fetchall()


def _settle(results: list[tuple["Future[Any]", Any]]) -> None:
    for future, result in results:
        if not future.done():
            future.set_result(result)


def _fail(batch: list[_Job], error: BaseException) -> None:
    for _, future in batch:
        if future is not None and not future.done():
            future.set_exception(error)


POSTGRES_TABLES: Final = """
CREATE TABLE rows(
    thread text NOT NULL, superstep integer NOT NULL, kind smallint NOT NULL, place integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (thread, superstep, kind, place)
);
CREATE TABLE owners(thread text PRIMARY KEY, owner text NOT NULL);
"""
_UNLESS_OWNED: Final = "WHERE NOT EXISTS (SELECT FROM owners WHERE owners.thread = given.thread)"
INSERT_ONE: Final = f"""
INSERT INTO rows SELECT given.* FROM
    (SELECT $1::text AS thread, $2::integer, $3::smallint, $4::integer, $5::bytea) AS given {_UNLESS_OWNED}"""  # noqa: S608  # both parts are constants
INSERT_MANY: Final = f"""
INSERT INTO rows SELECT given.* FROM
    unnest($1::text[], $2::integer[], $3::smallint[], $4::integer[], $5::bytea[])
    AS given(thread, superstep, kind, place, data) {_UNLESS_OWNED}"""  # noqa: S608  # both parts are constants


class PostgresStore:
    """So many connections, each with a task that commits: one statement is one round trip is one commit."""

    def __init__(self, connections: "list[asyncpg.Connection[Any]]") -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[list[Row], Future[None] | None]] = []
        self._is_anything_waiting = asyncio.Event()
        self._is_closing = False
        self._reader, *writers = connections
        self._idle = len(writers)
        self._tasks = [self._loop.create_task(self._write(connection)) for connection in writers]

    def put(self, rows: list[Row], *, is_awaited: bool = True) -> "Future[None] | None":
        future = self._loop.create_future() if is_awaited else None
        self._waiting.append((rows, future))
        self._is_anything_waiting.set()
        return future

    async def load(self, thread: str) -> list[Row]:
        found = await self._reader.fetch("SELECT * FROM rows WHERE thread = $1 ORDER BY 1, 2, 3, 4", thread)
        return [tuple(row) for row in found]

    async def aclose(self) -> None:
        """Commit what waits. Raises what a commit raised."""
        self._is_closing = True
        self._is_anything_waiting.set()
        await asyncio.gather(*self._tasks)

    async def _write(self, connection: "asyncpg.Connection[Any]") -> None:
        one, many = await connection.prepare(INSERT_ONE), await connection.prepare(INSERT_MANY)
        while True:
            while not self._waiting:
                if self._is_closing:
                    return
                self._is_anything_waiting.clear()
                await self._is_anything_waiting.wait()
            # An equal share for each connection that has nothing to do.
            share = min(_MOST_IN_ONE_COMMIT, max(1, -(-len(self._waiting) // max(1, self._idle))))
            batch, self._waiting = self._waiting[:share], self._waiting[share:]
            rows = [row for each, _ in batch for row in each]
            self._idle -= 1
            try:
                if len(rows) == 1:
                    await one.fetch(*rows[0])
                else:
                    await many.fetch(*(list(column) for column in zip(*rows, strict=True)))
            except BaseException as error:
                _fail([(rows, future) for rows, future in batch], error)
                raise
            finally:
                self._idle += 1
            _settle([(future, None) for _, future in batch if future is not None])


@asynccontextmanager
async def postgres_store(dsn: str, writers: int) -> AsyncIterator[PostgresStore]:
    """A store with tables of its own in an empty database."""
    connections = [await asyncpg.connect(dsn) for _ in range(writers + 1)]
    try:
        await connections[0].execute(POSTGRES_TABLES)
        store = PostgresStore(connections)
        yield store
        await store.aclose()
    finally:
        for connection in connections:
            await connection.close()
