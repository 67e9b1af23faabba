"""The stores of a PostgresSaver (runs, events, queues, directory, schedules) satisfy the clauses of each such store."""

import itertools
from collections.abc import AsyncIterator

import asyncpg
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
from durable_graph_postgres import PostgresSaver
from tests.savers import dropped


class Schemas:
    """A schema for each clause."""

    @pytest.fixture(autouse=True)
    async def _schemas(self, postgres: str) -> AsyncIterator[None]:
        self.dsn = postgres
        self.numbers = itertools.count()
        self.opened: list[str] = []
        yield
        for schema in self.opened:
            await dropped(postgres, schema)

    async def open(self) -> Checkpointer:
        self.opened.append(f"runs_{id(self)}_{next(self.numbers)}")
        return PostgresSaver(self.dsn, schema=self.opened[-1])

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return PostgresSaver(self.dsn, schema=self.opened[-1])

    async def block(self, saver: Checkpointer, thread: str, seq: int) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            where = "WHERE thread_key = $1 AND seq = $2"
            change = f"UPDATE {self.opened[-1]}.runs SET state = 3 {where}"  # noqa: S608  # the schema of this test
            assert await connection.execute(change, key_of(thread), seq) == "UPDATE 1"
        finally:
            await connection.close()


class TestRunsOfPostgresSaver(Schemas, RunStoreConformance):
    pass


class TestEventsOfPostgresSaver(Schemas, EventLogConformance):
    pass


class TestDirectoryOfPostgresSaver(Schemas, ThreadDirectoryConformance):
    pass


class TestSchedulesOfPostgresSaver(Schemas, ScheduleStoreConformance):
    pass


class TestQueuesOfPostgresSaver(Schemas, QueueStoreConformance):
    pass
