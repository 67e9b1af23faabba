"""`SqliteSaver`: threads in one file, which any number of processes of one machine may share."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

from durable_graph.checkpointing import queries, transactions
from durable_graph.checkpointing.opened_once import OpenedOnce
from durable_graph.checkpointing.protocol import DEFAULT_MAX_VALUE_BYTES
from durable_graph.checkpointing.pruning import check_keep_last
from durable_graph.checkpointing.queries import Steps
from durable_graph.checkpointing.rules import check_limit, check_listing
from durable_graph.checkpointing.transactions import Wanted
from durable_graph.checkpointing.transfer import ExportedThread
from durable_graph.errors import InvalidOptionError
from durable_graph.errors.elsewhere import ClassAttribute
from durable_graph.records import (
    CommitResult,
    CommitUnit,
    HistoryPage,
    ListedStatus,
    SaveResult,
    StoredCheckpoint,
    StoredRecords,
    StoredRequests,
    ThreadInfo,
    WritesBatch,
)
from durable_graph_sqlite import reading
from durable_graph_sqlite.backup import back_up
from durable_graph_sqlite.connection import Connection
from durable_graph_sqlite.directory import SqliteDirectory
from durable_graph_sqlite.events import SqliteEvents
from durable_graph_sqlite.failures import told_in_ours
from durable_graph_sqlite.group import GroupCommit
from durable_graph_sqlite.notifier import SqliteNotifier
from durable_graph_sqlite.opening import is_path
from durable_graph_sqlite.queues import SqliteQueues
from durable_graph_sqlite.retry import Retry
from durable_graph_sqlite.runs import SqliteRuns
from durable_graph_sqlite.schedules import SqliteSchedules
from durable_graph_sqlite.statements import run

T = TypeVar("T")


class SqliteSaver:
    """Keeps threads in a SQLite file, which it creates if there is none. Opens on first use.

    `max_value_bytes` limits the size of each encoded value. `busy_timeout` is how many seconds a call waits for other
    processes that write to the file. Acknowledged writes survive a loss of power (`synchronous=FULL`) on a disk that
    honours flushes. The file has to be on a local disk: SQLite's log does not work on a network file system.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_value_bytes: int = DEFAULT_MAX_VALUE_BYTES,
        busy_timeout: float = 30,
    ) -> None:
        """Raises `InvalidOptionError` for a path that cannot be a file."""
        if str(path) in ("", ":memory:") or not is_path(path):
            raise InvalidOptionError(
                "path", str(path), allowed="the path of a file; MemorySaver() keeps threads in memory"
            )
        self.max_value_bytes = max_value_bytes
        self._path, self._retry = Path(path), Retry(str(path), busy_timeout)
        self._file = OpenedOnce(f"SqliteSaver({str(path)!r})", self._open, self._close)
        self._backups: set[asyncio.Task[None]] = set()
        self.runs: SqliteRuns = SqliteRuns(self._path, self._retry, self._connection, self._write)
        self.queues: SqliteQueues = SqliteQueues(self.runs)
        self.events: SqliteEvents = SqliteEvents(self._path, self._connection, self._write)
        self.schedules: SqliteSchedules = SqliteSchedules(self._path, self._connection, self.runs)
        self.directory: SqliteDirectory = SqliteDirectory(self._path, self._connection, self._write)
        self.notifier: SqliteNotifier = SqliteNotifier(
            self._path, self._file.is_closed, lambda: time.time_ns() // 1000 + self.runs.skew
        )

    if not TYPE_CHECKING:
        from_conn_string = ClassAttribute("use `SqliteSaver('runs.db')`")
        setup = ClassAttribute("the first use prepares the file")

    @classmethod
    def from_url(cls, url: str) -> Self:
        """`sqlite:///runs.db` for a path from the working directory, `sqlite:////var/runs.db` for one from the root.

        Raises `InvalidOptionError` for any other form.
        """
        parts = urlsplit(url)
        if parts.netloc or parts.query or parts.fragment or len(parts.path) < len("/x"):
            raise InvalidOptionError(
                "url", url, allowed="sqlite:///relative/path or sqlite:////absolute/path, without parameters"
            )
        return cls(unquote(parts.path[1:]))

    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        """See `Checkpointer.load`."""
        return await self._read(lambda: reading.load(thread, ns, no, self.max_value_bytes), thread)

    def commit(self, unit: CommitUnit) -> Awaitable[CommitResult]:
        """See `Checkpointer.commit`."""
        return self._write(unit.thread, unit)

    def save_writes(self, batch: WritesBatch) -> Awaitable[SaveResult]:
        """See `Checkpointer.save_writes`."""
        return self._write(batch.thread, batch)

    async def load_records(self, thread: str, ns: str) -> StoredRecords | None:
        """See `Checkpointer.load_records`."""
        return await self._read(lambda: queries.load_records(thread, ns), thread)

    async def find_request(self, thread: str, key: str) -> StoredRequests | None:
        """See `Checkpointer.find_request`."""
        return await self._read(lambda: queries.find_request(thread, key), thread)

    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        """See `Checkpointer.history`."""
        check_limit(limit)
        return await self._read(lambda: queries.history(thread, ns, before, limit), thread)

    async def list_threads(
        self,
        *,
        status: ListedStatus | None = None,
        limit: int = 100,
        after: ThreadInfo | str | None = None,
        before: int | None = None,
    ) -> list[ThreadInfo]:
        """See `Checkpointer.list_threads`."""
        check_listing(status, limit, after, before)
        return await self._read(lambda: queries.list_threads(status, limit, after, before), None)

    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        """See `Checkpointer.delete_thread`."""
        at = time.time_ns() // 1000
        is_gone: bool = await self._write(thread, lambda: transactions.delete_thread(thread, seen, at, purge=purge))
        return is_gone

    async def forget_deleted(self, *, before: int, limit: int = 500) -> int:
        """See `Checkpointer.forget_deleted`."""
        check_limit(limit)
        # The write belongs to no thread: the empty id is no thread's.
        forgotten: int = await self._write("", lambda: transactions.forget_deleted(before, limit))
        return forgotten

    async def export_thread(self, thread: str) -> ExportedThread | None:
        """See `Transferable.export_thread`."""
        return await self._read(lambda: queries.export_thread(thread), thread)

    async def import_thread(self, exported: ExportedThread) -> None:
        """See `Transferable.import_thread`."""
        await self._write(exported.thread, lambda: transactions.import_thread(exported))

    async def copy_thread(self, source: str, target: str) -> None:
        """See `Checkpointer.copy_thread`."""
        await self._write(source, lambda: transactions.copy_thread(source, target))

    async def prune(self, thread: str, *, keep_last: int = 1, before: int | None = None) -> int:
        """See `Checkpointer.prune`."""
        check_keep_last(keep_last)
        removed: int = await self._write(thread, lambda: transactions.prune(thread, keep_last, before))
        return removed

    async def backup(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Copy the store, consistently, to a new file at `path`, which only its owner can read.

        Runs may continue meanwhile, in this process and in others; the copy does not have commits that follow its
        start. The file appears under its name when it is complete, checked and on the disk. With `overwrite` it
        replaces an existing file. If the caller is cancelled, the copy is stopped and removed.

        Raises:
            TransferError: a file exists at `path`, its directory does not exist, or the store is damaged.
            StoreUnavailableError: there is no room for the copy.
            InvalidOptionError: `path` cannot be a file.
        """
        if not is_path(path):
            raise InvalidOptionError("path", str(path), allowed="the path of a file")
        opened, _ = await self._opened()
        # Raises if the file was removed: a new connection would create a new one.
        await opened.read(lambda db: None)
        stop = threading.Event()
        # A separate task removes the partial file even if the caller does not wait for it.
        copying = asyncio.get_running_loop().create_task(self._back_up(Path(path), stop, overwrite=overwrite))
        self._backups.add(copying)
        copying.add_done_callback(self._backups.discard)
        try:
            await asyncio.shield(copying)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([copying])
            raise

    async def _back_up(self, target: Path, stop: threading.Event, *, overwrite: bool) -> None:
        # With a separate connection, commits need not wait for the copy.
        connection = await Connection.opened(self._path, self._retry)
        try:
            await connection.call(lambda db: back_up(db, self._path, target, stop, overwrite=overwrite))
        finally:
            stop.set()
            await connection.close()

    async def aclose(self) -> None:
        """Finish pending calls and close the file. Calling it again does nothing."""
        await self._file.aclose()
        # The notifier may have a connection although the saver was not opened.
        await self.notifier.close(asyncio.get_running_loop())

    async def __aenter__(self) -> Self:
        await self._file.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _read(self, begun: Callable[[], Steps[T]], thread: str | None) -> T:
        connection, _ = await self._opened()
        with told_in_ours(str(connection.path), thread):
            return await connection.read(lambda db: run(db, begun()), thread)

    def _write(self, thread: str, wanted: Wanted) -> Awaitable[Any]:
        opened = self._file.now()
        return self._write_once_open(thread, wanted) if opened is None else opened[1].begin(thread, wanted)

    async def _write_once_open(self, thread: str, wanted: Wanted) -> Any:
        _, writes = await self._opened()
        return await writes.begin(thread, wanted)

    async def _opened(self) -> tuple[Connection, GroupCommit]:
        return await self._file.get()

    async def _connection(self) -> Connection:
        connection, _ = await self._opened()
        return connection

    async def _open(self) -> tuple[Connection, GroupCommit]:
        connection = await Connection.opened(self._path, self._retry)
        return connection, GroupCommit(connection)

    async def _close(self, opened: tuple[Connection, GroupCommit]) -> None:
        connection, writes = opened
        loop = asyncio.get_running_loop()
        while copying := [each for each in self._backups if each.get_loop() is loop]:
            await asyncio.wait(copying)
        # Before the saver's connection: the last connection that closes moves the log into the file.
        await self.notifier.close(writes.loop)
        await writes.settle()
        await connection.close()
