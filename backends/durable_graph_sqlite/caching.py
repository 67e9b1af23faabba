"""`SqliteCache`: results in a file, for the processes of one machine. Losing it loses no thread, only time."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiosqlite

from durable_graph.caching import CacheKey
from durable_graph.checkpointing.binding import Binding
from durable_graph.errors import InvalidOptionError
from durable_graph_sqlite.failures import translated
from durable_graph_sqlite.patience import Patience, begin, begin_reading, committing

T = TypeVar("T")

_SCHEMA = """
-- One row is one result. `until` is when it expires, in seconds since the epoch; NULL: it does not.
CREATE TABLE IF NOT EXISTS results (
  namespace TEXT NOT NULL,
  key       TEXT NOT NULL,
  until     REAL,
  value     BLOB NOT NULL,
  PRIMARY KEY (namespace, key)
) WITHOUT ROWID
"""
_INDEX = "CREATE INDEX IF NOT EXISTS results_until ON results (until) WHERE until IS NOT NULL"


class SqliteCache:
    """A cache in a SQLite file of its own, which it creates if there is none. Opens on first use; close it with
    `async with` or `aclose`.

    Several processes may share the file; `busy_timeout` says for how many seconds one waits for another. What has
    expired is removed as new results come.
    """

    def __init__(self, path: str | Path, *, busy_timeout: float = 30) -> None:
        """Raises `InvalidOptionError` for a path that is no file's."""
        if str(path) in ("", ":memory:"):
            allowed = "the path of a file; InMemoryCache() keeps results in memory"
            raise InvalidOptionError("path", str(path), allowed=allowed)
        self._path = Path(path)
        self._patience = Patience(str(self._path), busy_timeout)
        self._binding = Binding(f"SqliteCache({str(path)!r})")
        self._opening: asyncio.Task[tuple[aiosqlite.Connection, sqlite3.Connection]] | None = None

    async def aget(self, keys: Iterable[CacheKey]) -> dict[CacheKey, bytes]:
        """See `Cache.aget`."""
        wanted = list(keys)
        now = time.time()

        def read(db: sqlite3.Connection) -> dict[CacheKey, bytes]:
            found: dict[CacheKey, bytes] = {}
            for namespace, key in wanted:
                row = db.execute(
                    "SELECT value FROM results WHERE namespace = ? AND key = ? AND (until IS NULL OR until > ?)",
                    (_text(namespace), key, now),
                ).fetchone()
                if row is not None:
                    found[namespace, key] = row[0]
            return found

        return await self._run(read, begin_reading)

    async def aset(self, entries: Mapping[CacheKey, tuple[bytes, float | None]]) -> None:
        """See `Cache.aset`."""
        now = time.time()
        rows = [
            (_text(namespace), key, None if ttl is None else now + ttl, data)
            for (namespace, key), (data, ttl) in entries.items()
        ]

        def write(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM results WHERE until <= ?", (now,))
            db.executemany("INSERT OR REPLACE INTO results (namespace, key, until, value) VALUES (?, ?, ?, ?)", rows)

        await self._run(write, begin)

    async def aclear(self, namespaces: Sequence[tuple[str, ...]] | None = None) -> None:
        """See `Cache.aclear`."""
        gone = None if namespaces is None else [(_text(namespace),) for namespace in namespaces]

        def write(db: sqlite3.Connection) -> None:
            if gone is None:
                db.execute("DELETE FROM results")
            else:
                db.executemany("DELETE FROM results WHERE namespace = ?", gone)

        await self._run(write, begin)

    async def aclose(self) -> None:
        """Let go of the file. Calling it again does nothing."""
        self._binding.check_place()
        self._binding.closed = True
        opening, self._opening = self._opening, None
        if opening is not None:
            driver, _ = await asyncio.shield(opening)
            await driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, call: Callable[[sqlite3.Connection], T], how: Callable[[sqlite3.Connection], None]) -> T:
        """What `call` returns, as one transaction, from its first statement to its last on the connection's thread."""
        self._binding.check()
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._opening = asyncio.ensure_future(self._open())
        driver, db = await asyncio.shield(self._opening)

        def attempt() -> T:
            with committing(db, how):
                return call(db)

        try:
            result: T = await driver._execute(lambda: self._patience.until_free(attempt))  # type: ignore[no-untyped-call]
        except sqlite3.Error as error:
            raise translated(str(self._path), error) from error
        return result

    async def _open(self) -> tuple[aiosqlite.Connection, sqlite3.Connection]:
        made: list[sqlite3.Connection] = []

        def connect() -> sqlite3.Connection:
            db = sqlite3.connect(self._path, isolation_level=None, timeout=0)
            try:
                self._patience.until_free(lambda: _prepare(db))
            except BaseException:
                db.close()
                raise
            made.append(db)
            return db

        driver = aiosqlite.Connection(connect, 64)
        # A program that forgot to close its cache must still be able to end.
        worker: Any = getattr(driver, "_thread", driver)
        worker.daemon = True
        try:
            await driver
        except sqlite3.Error as error:
            raise translated(str(self._path), error) from error
        return driver, made[0]


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    # A result that a loss of power takes is computed again.
    db.execute("PRAGMA synchronous = NORMAL")
    with committing(db, begin):
        db.execute(_SCHEMA)
        db.execute(_INDEX)


def _text(namespace: tuple[str, ...]) -> str:
    return json.dumps(namespace)
