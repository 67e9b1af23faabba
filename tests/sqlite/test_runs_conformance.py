"""The stores of a SqliteSaver (runs, events, queues, directory, schedules) satisfy the clauses of each such store."""

import asyncio
import itertools
from pathlib import Path

import pytest

from durable_graph import Checkpointer
from durable_graph.checkpointing.columns import key_of
from durable_graph.testing.conformance import (
    EventLogConformance,
    QueueStoreConformance,
    RunStoreConformance,
    ScheduleStoreConformance,
    ThreadDirectoryConformance,
)
from durable_graph_sqlite import SqliteSaver
from tests.sqlite.inside import database


class Files:
    """A file for each clause."""

    @pytest.fixture(autouse=True)
    def _paths(self, tmp_path: Path) -> None:
        self.path = tmp_path
        self.names = itertools.count()

    async def open(self) -> Checkpointer:
        self.path = self.path.with_name(f"{self.path.name}-{next(self.names)}.db")
        return SqliteSaver(self.path)

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return SqliteSaver(self.path)

    async def block(self, saver: Checkpointer, thread: str, seq: int) -> None:
        def change() -> int:
            with database(self.path) as db:
                where = "thread_key = ? AND seq = ?"
                return db.execute(f"UPDATE runs SET state = 3 WHERE {where}", (key_of(thread), seq)).rowcount

        assert await asyncio.to_thread(change) == 1


class TestRunsOfSqliteSaver(Files, RunStoreConformance):
    pass


class TestEventsOfSqliteSaver(Files, EventLogConformance):
    pass


class TestDirectoryOfSqliteSaver(Files, ThreadDirectoryConformance):
    pass


class TestSchedulesOfSqliteSaver(Files, ScheduleStoreConformance):
    pass


class TestQueuesOfSqliteSaver(Files, QueueStoreConformance):
    pass
