"""`SqliteSaver.schedules`: the schedules in the saver's file."""

import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
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
from durable_graph_sqlite.connection import Connection
from durable_graph_sqlite.failures import told_in_ours
from durable_graph_sqlite.runs import SqliteRuns
from durable_graph_sqlite.statements import rows, run

T = TypeVar("T")


class SqliteSchedules:
    """The schedules of a file. See `ScheduleStore`. Their clock is that of the runs."""

    def __init__(self, path: Path, opened: Callable[[], Awaitable[Connection]], runs: SqliteRuns) -> None:
        self._path = path
        self._opened = opened
        self._runs = runs

    async def create(self, row: ScheduleRow) -> ScheduleRow:
        """See `ScheduleStore.create`."""
        return await self._change(lambda db: run(db, schedule_transactions.create(row)).result, row.thread)

    async def find(self, schedule: str | int) -> FoundSchedule:
        """See `ScheduleStore.find`."""
        return await self._runs.read(lambda db: run(db, schedule_transactions.find(schedule, self._clock())))

    async def list_schedules(self, *, limit: int = 100, after: str = "") -> SchedulePage:
        """See `ScheduleStore.list_schedules`."""
        check_limit(limit)
        clock = self._clock()
        return await self._runs.read(lambda db: run(db, schedule_transactions.list_schedules(limit, after, clock)))

    async def replace(self, row: ScheduleRow) -> bool:
        """See `ScheduleStore.replace`."""
        return await self._change(lambda db: run(db, schedule_transactions.replace(row)).result, row.thread)

    async def delete(self, id_: int) -> bool:
        """See `ScheduleStore.delete`."""
        return await self._change(lambda db: bool(rows(db, "remove_schedule", {"id": id_})), None)

    async def due(self, graphs: Sequence[str], *, limit: int) -> DueSchedules:
        """See `ScheduleStore.due`."""
        sought = {"graphs": json.dumps(list(graphs))}
        return await self._runs.read(lambda db: run(db, schedule_transactions.due(sought, limit, self._clock())))

    async def fire(self, firing: Firing) -> Fired:
        """See `ScheduleStore.fire`."""
        thread = None if firing.run is None else firing.run.thread
        return await self._change(lambda db: run(db, schedule_transactions.fire(firing, self._clock())).result, thread)

    def _clock(self) -> Clock:
        return Clock(self._runs.now())

    async def _change(self, function: Callable[[sqlite3.Connection], T], thread: str | None) -> T:
        connection = await self._opened()
        with told_in_ours(str(self._path), thread):
            return await connection.write(function)
