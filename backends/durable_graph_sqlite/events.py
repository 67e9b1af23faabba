"""`SqliteSaver.events`: the stored events of the runs in the saver's file."""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from durable_graph.checkpointing import event_transactions
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.event_log import EventPage, Follow, Followed, OpenEvents
from durable_graph.checkpointing.event_rows import event_columns
from durable_graph.checkpointing.queries import Steps
from durable_graph.checkpointing.transactions import Wanted
from durable_graph.run_records import EventRow
from durable_graph_sqlite.connection import Connection
from durable_graph_sqlite.failures import told_in_ours
from durable_graph_sqlite.statements import SQL, run
from durable_graph_sqlite.statements import rows as rows_of

T = TypeVar("T")


class SqliteEvents:
    """The events of the runs in a file. See `EventLog`."""

    def __init__(
        self,
        path: Path,
        opened: Callable[[], Awaitable[Connection]],
        write: Callable[[str, Wanted], Awaitable[Any]],
    ) -> None:
        self._path = path
        self._opened = opened
        self._write = write

    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        """See `EventLog.tail`."""
        return await self._read(thread, lambda: event_transactions.tail(thread, seq, after, limit))

    async def results(self, thread: str, seq: int, until: int) -> list[tuple[str, int, int]]:
        """See `EventLog.results`."""
        return await self._read(thread, lambda: event_transactions.results(thread, seq, until))

    async def open_events(self, thread: str, seq: int) -> OpenEvents | None:
        """See `EventLog.open_events`."""
        return await self._read(thread, lambda: event_transactions.open_events(thread, seq))

    async def append(self, thread: str, epoch: int, rows: Sequence[EventRow]) -> bool:
        """See `EventLog.append`."""
        key = key_of(thread)
        columns = [event_columns(key, row) for row in rows]

        def add(db: sqlite3.Connection) -> bool:
            held = {"thread_key": key, "epoch": epoch, "seq": rows[0].seq}
            if not rows_of(db, "is_run_held", held):
                return False
            db.executemany(SQL["add_event"], columns)
            db.execute(SQL["note_events"], held)
            return True

        return await self._change(thread, add) if rows else True

    async def follow(self, follow: Follow) -> Followed:
        """See `EventLog.follow`."""
        followed: Followed = await self._write(follow.thread, lambda: event_transactions.follow(follow))
        return followed

    async def remove_events(self, thread: str, seq: int) -> int:
        """See `EventLog.remove_events`."""
        gone = {"thread_key": key_of(thread), "seq": seq}
        return await self._change(thread, lambda db: len(rows_of(db, "remove_events", gone)))

    async def _read(self, thread: str, begun: Callable[[], Steps[T]]) -> T:
        connection = await self._opened()
        with told_in_ours(str(self._path), thread):
            return await connection.read(lambda db: run(db, begun()), thread)

    async def _change(self, thread: str, function: Callable[[sqlite3.Connection], T]) -> T:
        connection = await self._opened()
        with told_in_ours(str(self._path), thread):
            return await connection.write(function)
