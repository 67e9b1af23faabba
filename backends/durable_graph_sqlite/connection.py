"""A connection to a file, and the thread that owns it. All statements of a call run on that thread."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from durable_graph.checkpointing import CommitHandle
from durable_graph.errors import DurableGraphError, StoreUnavailableError
from durable_graph_sqlite.failures import translated
from durable_graph_sqlite.opening import THREADS, FileKind, open_database
from durable_graph_sqlite.retry import Retry, begin, begin_reading, committing

T = TypeVar("T")


class Worker:
    """Runs functions in the order of their calls. A function also runs if its caller is cancelled, or if the caller's
    event loop is closed.
    """

    def __init__(self, name: str) -> None:
        self.is_ended: bool = False
        self._functions: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # A daemon thread does not keep a program from ending that forgot to close its saver.
        threading.Thread(target=_work, args=(self._functions,), name=name, daemon=True).start()

    def begin(self, function: Callable[[], T]) -> CommitHandle[T]:
        """Run the function. The handle ends, in the running event loop, with what it returns or raises."""
        loop = asyncio.get_running_loop()
        handle: CommitHandle[T] = CommitHandle()

        def run() -> None:
            end: Callable[[], None]
            try:
                result = function()
            except BaseException as error:
                end = partial(handle.set_error, error)
            else:
                end = partial(handle.set_result, result)
            # Nobody is left to hear of it in a loop that was closed.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(end)

        self.put(run)
        return handle

    def put(self, function: Callable[[], None]) -> None:
        """Run a function that reports its end itself. It may not raise."""
        self._functions.put(function)

    def end(self, last: Callable[[], object]) -> None:
        """Run a last function, then end the thread. To be called once."""
        self.is_ended = True

        def run() -> None:
            last()
            raise _Ended

        self._functions.put(run)


class _Ended(Exception):  # noqa: N818  # it is no error
    """The last function has run."""


def _work(functions: "SimpleQueue[Callable[[], None]]") -> None:
    # No variable keeps a finished function alive, because it may refer to large values.
    with suppress(_Ended):
        while True:
            functions.get()()


class Connection:
    """An open file, made by `await Connection.opened(path, retry)`. Any event loop may use it."""

    __slots__ = ("_db", "_identity", "_worker", "path", "retry")

    def __init__(
        self, path: Path, retry: Retry, worker: Worker, db: sqlite3.Connection, identity: tuple[int, int]
    ) -> None:
        self.path: Path = path
        self.retry: Retry = retry
        self._worker = worker
        self._db = db
        self._identity = identity

    @classmethod
    async def opened(cls, path: Path, retry: Retry, kind: FileKind = THREADS) -> "Connection":
        """Open the file on a new thread. Raises as `open_database` does."""
        made: list[sqlite3.Connection] = []

        def connect() -> tuple[sqlite3.Connection, tuple[int, int]]:
            made.append(open_database(path, retry, kind))
            return made[0], identity_of(path)

        def close() -> None:
            for each in made:
                each.close()

        worker = Worker(f"sqlite {path}")
        try:
            db, identity = await worker.begin(connect)
        except BaseException:
            # If the caller is cancelled or its loop is closed, the thread closes the file.
            worker.end(close)
            raise
        return cls(path, retry, worker, db, identity)

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What the function returns, run on the connection's thread. Once begun it ends, whoever is cancelled."""
        return await self.begin(function)

    def begin(self, function: Callable[[sqlite3.Connection], T]) -> CommitHandle[T]:
        """Begin such a call."""
        return self._worker.begin(lambda: function(self._db))

    def put(self, function: Callable[[sqlite3.Connection], None]) -> None:
        """Run a function on the connection's thread that reports its end itself. It may not raise."""
        self._worker.put(partial(function, self._db))

    async def read(self, function: Callable[[sqlite3.Connection], T], thread: str | None = None) -> T:
        """Run the function in a read transaction, on one snapshot of the file, and return its result."""
        return await self._transaction(function, begin_reading, thread)

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run the function in a write transaction, and return its result."""
        return await self._transaction(function, begin, None)

    async def _transaction(
        self, function: Callable[[sqlite3.Connection], T], how: Callable[[sqlite3.Connection], None], thread: str | None
    ) -> T:
        def attempt(db: sqlite3.Connection) -> T:
            with committing(db, how):
                self.check_still_there()
                return function(db)

        def run(db: sqlite3.Connection) -> T:
            try:
                return self.retry.until_free(lambda: attempt(db))
            except sqlite3.Error as error:
                raise self.failure(error, thread) from error

        return await self.call(run)

    def check_still_there(self) -> None:
        """Raise `StoreUnavailableError` if the path no longer refers to the open file. Blocks.

        Writes to a removed file succeed, and are lost when it is closed: they must not be acknowledged.
        """
        if identity_of(self.path) != self._identity:
            why = "the file was removed or replaced while it was open; restore it, or open a new saver"
            raise StoreUnavailableError(str(self.path), why)

    def failure(self, error: sqlite3.Error, thread: str | None = None) -> DurableGraphError:
        """SQLite's error, translated to the library's. Blocks."""
        return translated(str(self.path), error, thread)

    async def close(self) -> None:
        """Close the file after all pending calls. When the last connection closes, SQLite moves the log into the file.
        Calling it again does nothing, or finishes a closing that was cancelled."""
        if not self._worker.is_ended:
            await self.call(lambda db: db.close())
            self._worker.end(lambda: None)


def identity_of(path: Path) -> tuple[int, int]:
    """The device and inode of a path's file; (0, 0) if there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino
