"""Transactions, and waiting for locks of other processes. All functions block: they run on the connection's thread."""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from durable_graph.errors import StoreLockedError
from durable_graph_sqlite.failures import is_busy
from durable_graph_sqlite.holders import holder_of

T = TypeVar("T")

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05


class Retry:
    """The number of seconds to wait for a file that other processes have locked."""

    __slots__ = ("_path", "_seconds")

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        self._seconds = seconds

    def until_free(self, attempt: Callable[[], T]) -> T:
        """Repeat the attempt until no other process blocks it, and return its result. A failed attempt must have no
        effect.

        Raises `StoreLockedError` when the time is up.
        """
        deadline = time.monotonic() + self._seconds
        pause = _FIRST_PAUSE
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                if time.monotonic() + pause > deadline:
                    holder = holder_of(Path(self._path))
                    raise StoreLockedError(
                        self._path, waited=self._seconds, holder=holder.pid, is_stopped=holder.is_stopped
                    ) from error
            # The jitter keeps processes that wait for each other from retrying at the same time.
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads the waiting, keeps no secret
            pause = min(2 * pause, _LONGEST_PAUSE)


def begin(db: sqlite3.Connection) -> None:
    """Begin a write transaction. A read transaction could not be upgraded after another connection has written."""
    db.execute("BEGIN IMMEDIATE")


def begin_reading(db: sqlite3.Connection) -> None:
    """Begin a read transaction: all its reads use one snapshot."""
    db.execute("BEGIN")


@contextmanager
def committing(db: sqlite3.Connection, how: Callable[[sqlite3.Connection], None]) -> Iterator[None]:
    """A transaction around the block: committed at its end, rolled back if the block or the commit raises."""
    how(db)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite rolls back by itself for some errors, such as a full disk.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
