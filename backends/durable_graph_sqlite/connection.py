"""A connection on a file and the thread that it lives on. A call runs there from its first statement to its last."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from durable_graph.errors import DurableGraphError, StoreUnavailableError
from durable_graph_sqlite.failures import translated
from durable_graph_sqlite.opening import THREADS, FileKind, open_database
from durable_graph_sqlite.patience import Patience, begin, begin_reading, committing

T = TypeVar("T")

_FETCH = 64


class Connection:
    """An open file. Not made directly: `await Connection.opened(path, patience)`."""

    __slots__ = ("_db", "_driver", "_identity", "path", "patience")

    def __init__(
        self,
        path: Path,
        patience: Patience,
        driver: aiosqlite.Connection,
        db: sqlite3.Connection,
        identity: tuple[int, int],
    ) -> None:
        self.path: Path = path
        self.patience: Patience = patience
        self._driver = driver
        self._db = db
        self._identity = identity

    @classmethod
    async def opened(cls, path: Path, patience: Patience, kind: FileKind = THREADS) -> "Connection":
        """Open the file on a thread of its own. Raises as `open_database` does."""
        made: list[tuple[sqlite3.Connection, tuple[int, int]]] = []

        def connect() -> sqlite3.Connection:
            db = open_database(path, patience, kind)
            made.append((db, identity_of(path)))
            return db

        driver = aiosqlite.Connection(connect, _FETCH)
        # A program that forgot to close its saver must still be able to end.
        worker: Any = getattr(driver, "_thread", driver)  # An older driver is a thread, a newer one has it.
        worker.daemon = True
        try:
            await driver
        except BaseException:
            # The driver ends its thread then and does not wait for it; the loop might be closed under it.
            while worker.is_alive():  # noqa: ASYNC110 - a thread that ends sets no event of ours
                await asyncio.sleep(0)
            raise
        return cls(path, patience, driver, *made[0])

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What the function returns, run on the connection's thread. Once begun it ends, whoever is cancelled.

        The driver's public calls are one statement each, so a transaction made of them can be cancelled in the middle,
        and then the connection stays inside it. `_execute` is what they are all made of: one function, run whole.
        """
        result: T = await self._driver._execute(function, self._db)  # type: ignore[no-untyped-call]
        return result

    async def read(self, function: Callable[[sqlite3.Connection], T], thread: str | None = None) -> T:
        """What the function returns, in a transaction of its own: it sees the file as of one moment."""
        return await self._transaction(function, begin_reading, thread)

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What the function returns, in a transaction of its own that may write."""
        return await self._transaction(function, begin, None)

    async def _transaction(
        self, function: Callable[[sqlite3.Connection], T], how: Callable[[sqlite3.Connection], None], thread: str | None
    ) -> T:
        def attempt(db: sqlite3.Connection) -> T:
            with committing(db, how):
                self.check_still_there()
                return function(db)

        try:
            return await self.call(lambda db: self.patience.until_free(lambda: attempt(db)))
        except sqlite3.Error as error:
            raise self.failure(error, thread) from error

    def check_still_there(self) -> None:
        """Raise `StoreUnavailableError` if the path no longer leads to the open file. Blocks.

        What is written to a removed file succeeds, and is gone when it is closed: to acknowledge it would be a lie.
        """
        if identity_of(self.path) != self._identity:
            why = (
                "the file was removed or replaced while it was open; put it back, or open a saver on what is there now"
            )
            raise StoreUnavailableError(str(self.path), why)

    def failure(self, error: sqlite3.Error, thread: str | None = None) -> DurableGraphError:
        """SQLite's error as ours."""
        return translated(str(self.path), error, thread)

    async def close(self) -> None:
        """Close the file. The last one to do so moves what was written ahead into it; SQLite sees to that."""
        await self._driver.close()


def identity_of(path: Path) -> tuple[int, int]:
    """Which file a path leads to; (0, 0) if to none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino
