"""`PostgresSaver.events`: the stored events of the runs in the saver's schema."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from durable_graph.checkpointing import event_transactions
from durable_graph.checkpointing.columns import Columns, key_of
from durable_graph.checkpointing.event_log import EventPage, Follow, Followed, OpenEvents
from durable_graph.checkpointing.event_rows import event_columns
from durable_graph.checkpointing.queries import Steps
from durable_graph.run_records import EventRow
from durable_graph_postgres.identifiers import check_thread
from durable_graph_postgres.opened import Opened
from durable_graph_postgres.session import Session

T = TypeVar("T")


class PostgresEvents:
    """The events of the runs in a schema. See `EventLog`."""

    def __init__(self, opened: Callable[[], Awaitable[Opened]]) -> None:
        self._opened = opened

    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        """See `EventLog.tail`."""
        return await self._read(thread, lambda: event_transactions.tail(thread, seq, after, limit))

    async def results(self, thread: str, seq: int, until: int) -> list[tuple[str, int, int]]:
        """See `EventLog.results`."""
        return await self._read(thread, lambda: event_transactions.results(thread, seq, until))

    async def open_events(self, thread: str, seq: int) -> OpenEvents | None:
        """See `EventLog.open_events`."""
        return await self._read(thread, lambda: event_transactions.open_events(thread, seq), statements=2)

    async def append(self, thread: str, epoch: int, rows: Sequence[EventRow]) -> bool:
        """See `EventLog.append`."""
        check_thread(thread)
        key = key_of(thread)
        columns = [list(column) for column in zip(*(event_columns(key, row)[1:] for row in rows), strict=True)]

        async def add(db: Session) -> list[Columns]:
            return await db.rows("append_events", key, epoch, *columns)

        return not rows or bool(await self._change(add))

    async def follow(self, follow: Follow) -> Followed:
        """See `EventLog.follow`."""
        check_thread(follow.thread)
        opened = await self._opened()
        followed: Followed = await opened.writes.begin(follow.thread, lambda: event_transactions.follow(follow))
        return followed

    async def remove_events(self, thread: str, seq: int) -> int:
        """See `EventLog.remove_events`."""
        check_thread(thread)
        key = key_of(thread)
        return len(await self._change(lambda db: db.rows("remove_events", key, seq)))

    async def _read(self, thread: str, begun: Callable[[], Steps[T]], *, statements: int = 1) -> T:
        check_thread(thread)
        opened = await self._opened()
        return await opened.finish(opened.database.read(lambda db: db.run(begun()), statements=statements))

    async def _change(self, function: Callable[[Session], Awaitable[T]]) -> T:
        opened = await self._opened()
        return await opened.finish(opened.database.change(function))
