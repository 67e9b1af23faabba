"""Transactions, and waiting for locks of other processes. All functions block: they run on the connection's thread."""

import logging
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
_NOTICE = 1.0
"""Seconds of waiting after which a process that is stopped is reported: it blocks every writer of the file."""

_logger = logging.getLogger("durable_graph")


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
        began = time.monotonic()
        deadline = began + self._seconds
        notice: float | None = began + _NOTICE
        pause = _FIRST_PAUSE
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                now = time.monotonic()
                if notice is not None and now > notice:
                    notice = None
                    self._report_stopped()
                if now + pause > deadline:
                    holder = holder_of(Path(self._path))
                    raise StoreLockedError(
                        self._path, waited=self._seconds, holder=holder.pid, is_stopped=holder.is_stopped
                    ) from error
            # The jitter keeps processes that wait for each other from retrying at the same time.
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads the waiting, keeps no secret
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _report_stopped(self) -> None:
        holder = holder_of(Path(self._path))
        if holder.is_stopped:
            _logger.warning(
                "process %d is stopped in a write and keeps %s locked, so that no process can write to it: continue "
                "that process (kill -CONT %d) or end it; this call waits for up to %g seconds",
                holder.pid,
                self._path,
                holder.pid,
                self._seconds,
            )


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
