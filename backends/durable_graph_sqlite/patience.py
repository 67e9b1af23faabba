"""Transactions, and waiting for other processes to end theirs. It blocks, so it runs on the connection's thread."""

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


class Patience:
    """How long to wait for a file that others have locked, in seconds."""

    __slots__ = ("_path", "_seconds")

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        self._seconds = seconds

    def until_free(self, attempt: Callable[[], T]) -> T:
        """What the attempt returns once nobody is in its way. It must leave nothing behind when it fails.

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
            # Jittered, so that processes that wait for each other do not meet again.
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads the waiting, keeps no secret
            pause = min(2 * pause, _LONGEST_PAUSE)


def begin(db: sqlite3.Connection) -> None:
    """Begin as a writer: one that began as a reader could not become one after another has written."""
    db.execute("BEGIN IMMEDIATE")


def begin_reading(db: sqlite3.Connection) -> None:
    """Begin as a reader: what is read until the end is of one moment."""
    db.execute("BEGIN")


@contextmanager
def committing(db: sqlite3.Connection, how: Callable[[sqlite3.Connection], None]) -> Iterator[None]:
    """A transaction around the block: committed at its end, undone if anything is raised, by the commit as well."""
    how(db)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite undoes some by itself, as when the disk is full.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
