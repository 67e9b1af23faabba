"""`PostgresSaver.schedules`: the schedules in the saver's schema."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from durable_graph.checkpointing import schedule_transactions
from durable_graph.checkpointing.rules import check_limit
from durable_graph.checkpointing.run_transactions import Clock
from durable_graph.checkpointing.schedule_store import (
    DueSchedules,
    Fired,
    Firing,
    FoundSchedule,
    SchedulePage,
    ScheduleRow,
)
from durable_graph.checkpointing.transactions import Part, Transaction
from durable_graph_postgres.identifiers import check_run, check_schedule
from durable_graph_postgres.opened import Opened
from durable_graph_postgres.run_statements import rows
from durable_graph_postgres.runs import PostgresRuns

T = TypeVar("T")


class PostgresSchedules:
    """The schedules of a schema. See `ScheduleStore`. Their clock is that of the runs.

    Every transaction runs as a whole again if its outcome is unknown: it compares the row's revision, or its result is
    the same.
    """

    def __init__(self, opened: Callable[[], Awaitable[Opened]], runs: PostgresRuns) -> None:
        self._opened = opened
        self._runs = runs

    async def create(self, row: ScheduleRow) -> ScheduleRow:
        """See `ScheduleStore.create`. Raises `InvalidOptionError` for a name that PostgreSQL cannot store."""
        check_schedule(row)
        return await self._write(lambda: schedule_transactions.create(row), row.thread)

    async def find(self, schedule: str | int) -> FoundSchedule:
        """See `ScheduleStore.find`."""
        return await self._read(lambda: schedule_transactions.find(schedule, self._clock()))

    async def list_schedules(self, *, limit: int = 100, after: str = "") -> SchedulePage:
        """See `ScheduleStore.list_schedules`."""
        check_limit(limit)
        return await self._read(lambda: schedule_transactions.list_schedules(limit, after, self._clock()))

    async def replace(self, row: ScheduleRow) -> bool:
        """See `ScheduleStore.replace`. Raises `InvalidOptionError` for a name that PostgreSQL cannot store."""
        check_schedule(row)
        return await self._write(lambda: schedule_transactions.replace(row), row.thread)

    async def delete(self, id_: int) -> bool:
        """See `ScheduleStore.delete`."""
        opened = await self._opened()
        removed = opened.database.change(lambda db: rows(db, "remove_schedule", {"id": id_}))
        return bool(await opened.finish(removed))

    async def due(self, graphs: Sequence[str], *, limit: int) -> DueSchedules:
        """See `ScheduleStore.due`."""
        sought = {"graphs": list(graphs)}
        return await self._read(lambda: schedule_transactions.due(sought, limit, self._clock()))

    async def fire(self, firing: Firing) -> Fired:
        """See `ScheduleStore.fire`."""
        if firing.run is not None:
            check_run(firing.run)
        thread = None if firing.run is None else firing.run.thread
        return await self._write(lambda: schedule_transactions.fire(firing, self._clock()), thread)

    def _clock(self) -> Clock:
        return Clock(None, self._runs.skew)

    async def _read(self, begun: Callable[[], Part[T]]) -> T:
        # The statements need no common snapshot.
        opened = await self._opened()
        return await opened.finish(opened.database.read(lambda db: db.run(begun()), statements=1))

    async def _write(self, begun: Callable[[], Transaction[T]], thread: str | None) -> T:
        opened = await self._opened()
        made = await opened.finish(opened.database.write(lambda db: db.run(begun()), thread or ""))
        return made.result
