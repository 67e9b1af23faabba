"""`PostgresSaver`: threads in a PostgreSQL database, for any number of processes and machines."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import asyncpg

from durable_graph.checkpointing import queries, transactions
from durable_graph.checkpointing.opened_once import OpenedOnce
from durable_graph.checkpointing.protocol import DEFAULT_MAX_VALUE_BYTES
from durable_graph.checkpointing.pruning import check_keep_last
from durable_graph.checkpointing.queries import Steps
from durable_graph.checkpointing.rules import Cursor, check_limit, check_listing
from durable_graph.checkpointing.transactions import Wanted
from durable_graph.checkpointing.transfer import COLUMNS, ExportedThread
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
from durable_graph_postgres import reading
from durable_graph_postgres.address import address_of
from durable_graph_postgres.directory import PostgresDirectory
from durable_graph_postgres.events import PostgresEvents
from durable_graph_postgres.identifiers import (
    check_identifiers,
    check_key,
    check_namespace,
    check_schema,
    check_thread,
)
from durable_graph_postgres.notifier import PostgresNotifier
from durable_graph_postgres.opened import Opened
from durable_graph_postgres.opening import open_beside, open_databases
from durable_graph_postgres.parameters import Parameters, parameters_of
from durable_graph_postgres.queues import PostgresQueues
from durable_graph_postgres.retry import Retry
from durable_graph_postgres.runs import PostgresRuns
from durable_graph_postgres.schedules import PostgresSchedules

T = TypeVar("T")


class PostgresSaver:
    """Keeps threads in tables of a PostgreSQL schema, which it creates if they do not exist. Opens on first use.

    `database` is a DSN (`postgresql://user:password@host/name`), or an `asyncpg.Pool`, which the caller closes.
    `schema` is the schema of its tables. `patience` is how many seconds a call waits for an unavailable server
    before it raises `StoreUnavailableError`. `pool_size` limits its connections; a worker opens a few more for its
    claims and heartbeats. `max_value_bytes` limits the size of each encoded value. With `prepared_statements=False` it
    works through a pooler that lends a connection for one transaction at a time and keeps no prepared statements.
    """

    def __init__(
        self,
        database: "str | asyncpg.Pool[asyncpg.Record]",
        *,
        schema: str = "durable_graph",
        patience: float = 60,
        pool_size: int = 8,
        max_value_bytes: int = DEFAULT_MAX_VALUE_BYTES,
        prepared_statements: bool = True,
    ) -> None:
        """Raises `InvalidOptionError` if `database` is neither a DSN nor a pool, for unsupported parameters of a DSN,
        for an invalid name of a schema, and for numbers that are too small.
        """
        if not isinstance(database, str) and not hasattr(database, "acquire"):
            raise InvalidOptionError("database", database, allowed="a DSN, or an asyncpg.Pool")
        name = address_of(database) if isinstance(database, str) else "PostgreSQL"
        given = parameters_of(database) if isinstance(database, str) else database
        check_schema(schema)
        if pool_size < 1:
            raise InvalidOptionError("pool_size", pool_size, allowed="a number of at least 1")
        if not patience >= 0:
            raise InvalidOptionError("patience", patience, allowed="seconds, at least 0")
        self.max_value_bytes = max_value_bytes
        waiting = Retry(name, patience, schema)

        async def opened() -> Opened:
            found = await open_databases(given, waiting, pool_size=pool_size, prepares=prepared_statements)
            await found[0].wait_for_end_of(self._former_sessions)
            return Opened(*found)

        async def opened_beside() -> Opened:
            return Opened(*await open_beside(given, waiting, prepares=prepared_statements))

        self._opening = OpenedOnce(f"PostgresSaver({name!r})", opened, self._close)
        # The server's ids of sessions whose event loop was closed.
        self._former_sessions: set[int] = set()
        self.runs: PostgresRuns = PostgresRuns(self._opening.get, opened_beside)
        self.queues: PostgresQueues = PostgresQueues(self._opening.get, self.runs)
        self.events: PostgresEvents = PostgresEvents(self._opening.get)
        self.schedules: PostgresSchedules = PostgresSchedules(self._opening.get, self.runs)
        self.directory: PostgresDirectory = PostgresDirectory(self._opening.get)
        prepares = prepared_statements and isinstance(given, Parameters)
        self.notifier: PostgresNotifier = PostgresNotifier(
            given, waiting, self._opening.is_closed, prepares=prepares, listens=prepared_statements
        )

    if not TYPE_CHECKING:
        from_conn_string = ClassAttribute("use `PostgresSaver('postgresql://...')`")
        setup = ClassAttribute("the first use prepares the schema")

    @classmethod
    def from_url(cls, url: str) -> Self:
        """A saver for a DSN, `postgresql://...` or `postgres://...`."""
        return cls(url)

    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        """See `Checkpointer.load`. Raises `InvalidOptionError` for an invalid thread id, as all methods do."""
        check_thread(thread)
        check_namespace(ns)
        return await self._read(lambda: reading.load(thread, ns, no, self.max_value_bytes))

    def commit(self, unit: CommitUnit) -> Awaitable[CommitResult]:
        """See `Checkpointer.commit`."""
        check_identifiers(unit)
        return self._write(unit.thread, unit)

    def save_writes(self, batch: WritesBatch) -> Awaitable[SaveResult]:
        """See `Checkpointer.save_writes`."""
        check_identifiers(batch)
        return self._write(batch.thread, batch)

    async def load_records(self, thread: str, ns: str) -> StoredRecords | None:
        """See `Checkpointer.load_records`."""
        check_thread(thread)
        check_namespace(ns)
        return await self._read(lambda: queries.load_records(thread, ns))

    async def find_request(self, thread: str, key: str) -> StoredRequests | None:
        """See `Checkpointer.find_request`."""
        check_thread(thread)
        check_key(key)
        return await self._read(lambda: queries.find_request(thread, key), statements=3)

    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        """See `Checkpointer.history`."""
        check_thread(thread)
        check_namespace(ns)
        check_limit(limit)
        return await self._read(lambda: queries.history(thread, ns, before, limit), statements=4)

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
        check_thread(Cursor.of(after).thread)
        return await self._read(lambda: queries.list_threads(status, limit, after, before))

    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        """See `Checkpointer.delete_thread`."""
        check_thread(thread)
        at = time.time_ns() // 1000
        gone: bool = await self._write(thread, lambda: transactions.delete_thread(thread, seen, at, purge=purge))
        return gone

    async def forget_deleted(self, *, before: int, limit: int = 500) -> int:
        """See `Checkpointer.forget_deleted`."""
        check_limit(limit)
        # The write belongs to no thread: the empty id is no thread's.
        forgotten: int = await self._write("", lambda: transactions.forget_deleted(before, limit))
        return forgotten

    async def export_thread(self, thread: str) -> ExportedThread | None:
        """See `Transferable.export_thread`."""
        check_thread(thread)
        return await self._read(lambda: queries.export_thread(thread), statements=len(COLUMNS) + 1)

    async def import_thread(self, exported: ExportedThread) -> None:
        """See `Transferable.import_thread`."""
        check_thread(exported.thread)
        await self._write(exported.thread, lambda: transactions.import_thread(exported))

    async def copy_thread(self, source: str, target: str) -> None:
        """See `Checkpointer.copy_thread`."""
        check_thread(source)
        check_thread(target)
        await self._write(target, lambda: transactions.copy_thread(source, target))

    async def prune(self, thread: str, *, keep_last: int = 1, before: int | None = None) -> int:
        """See `Checkpointer.prune`."""
        check_thread(thread)
        check_keep_last(keep_last)
        removed: int = await self._write(thread, lambda: transactions.prune(thread, keep_last, before))
        return removed

    async def aclose(self) -> None:
        """Finish pending calls and close the connections. Calling it again does nothing."""
        await self._opening.aclose()
        # The notifier may have connected although the saver was not opened.
        await self.notifier.close(asyncio.get_running_loop())

    async def __aenter__(self) -> Self:
        await self._opening.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _read(self, begun: Callable[[], Steps[T]], *, statements: int = 1) -> T:
        opened = await self._opening.get()
        return await opened.finish(opened.database.read(lambda db: db.run(begun()), statements=statements))

    def _write(self, thread: str, wanted: Wanted) -> Awaitable[Any]:
        opened = self._opening.now()
        return self._write_once_open(thread, wanted) if opened is None else opened.writes.begin(thread, wanted)

    async def _write_once_open(self, thread: str, wanted: Wanted) -> Any:
        opened = await self._opening.get()
        return await opened.writes.begin(thread, wanted)

    async def _close(self, opened: Opened) -> None:
        await self.notifier.close(opened.loop)
        if opened.loop is not asyncio.get_running_loop():
            self._former_sessions |= opened.database.cut_off()
            return
        # No new calls start, because the saver counts as closed.
        await opened.close()
