"""PostgresSaver passes the conformance suite of savers."""

import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import asyncpg
import pytest

from durable_graph import (
    Checkpointer,
    DeletedThreads,
    Exported,
    delete_expired_threads,
    export_threads,
)
from durable_graph.checkpointing.columns import key_of
from durable_graph.testing.conformance import CheckpointerConformance, StoredRow
from durable_graph.testing.conformance.saver_under_test import loaded, save, some_thread
from durable_graph_postgres import PostgresSaver
from tests.savers import dropped, schema_of_its_own

_WHERE = {
    "checkpoint": ("checkpoints", "header", "namespace = $2 AND number = $3"),
    "value": ("channel_rows", "value", "namespace = $2 AND number = $3 AND channel = $4"),
    "record": ("tasks", "value", "namespace = $2 AND planned_at = $3 AND position = $4"),
    "branch": ("branches", "digest", "first = $2"),
}


class TestPostgresSaver(CheckpointerConformance):
    @pytest.fixture(autouse=True)
    async def _schemas(self, postgres: str) -> AsyncIterator[None]:
        self.dsn = postgres
        self.numbers = itertools.count()
        self.schema = ""
        self.opened: list[str] = []
        yield
        for schema in self.opened:
            await dropped(postgres, schema)

    async def open(self) -> Checkpointer:
        self.schema = f"conformance_{id(self)}_{next(self.numbers)}"
        self.opened.append(self.schema)
        return PostgresSaver(self.dsn, schema=self.schema)

    async def damage(self, saver: Checkpointer, row: StoredRow, how: Literal["flip", "remove"]) -> None:
        table, column, where = _WHERE[row.table]
        place: list[Any] = [key_of(row.thread), row.ns, row.no, row.ord if row.table == "record" else row.channel]
        if row.table == "branch":
            place = [key_of(row.thread), row.no]
        place = place[: where.count("$") + 1]
        found = f"FROM {self.schema}.{table} WHERE thread_key = $1 AND {where}"
        connection = await asyncpg.connect(self.dsn)
        try:
            if how == "remove":
                changed = await connection.execute(f"DELETE {found}", *place)
            else:
                data = await connection.fetchval(f"SELECT {column} {found}", *place)
                flipped = data[:-1] + bytes([data[-1] ^ 1])
                _, _, at = found.partition("WHERE")
                changed = await connection.execute(
                    f"UPDATE {self.schema}.{table} SET {column} = ${len(place) + 1} WHERE {at}",  # noqa: S608  # names of its own
                    *place,
                    flipped,
                )
        finally:
            await connection.close()
        assert changed.endswith(" 1")


async def test_task_records_are_read_in_their_order_with_any_query_plan(postgres: str) -> None:
    # The planner may choose such a plan for a table that has grown since it was last analyzed.
    url = f"{postgres}?enable_indexscan=off&enable_seqscan=off"
    async with schema_of_its_own(postgres) as schema, PostgresSaver(url, schema=schema) as saver:
        writer = await some_thread(saver)
        for number in (3, 1, 2):
            await save(saver, writer, writer.batch(writer.record(number=number)))

        stored = await loaded(saver, "thread")
        found = await saver.load_records("thread", "")

    assert [record.ord for record in stored.records] == [1, 2, 3]
    assert found is not None
    assert [record.ord for record in found.records] == [1, 2, 3]


@pytest.mark.parametrize("damage", ["thread_id = 'threac'", "thread_key = thread_key - 1"])
async def test_a_thread_whose_id_or_key_was_damaged_is_listed_exported_and_deleted(
    postgres: str, tmp_path: Path, damage: str
) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        await some_thread(saver, "other")
        await some_thread(saver, "thread")
        connection = await asyncpg.connect(postgres)
        await connection.execute(f"UPDATE \"{schema}\".threads SET {damage} WHERE thread_id = 'thread'")  # noqa: S608  # names of its own
        await connection.close()

        assert [info.status for info in await saver.list_threads()] == ["running", "damaged"]
        assert await export_threads(saver, tmp_path / "threads") == Exported(2)
        assert await delete_expired_threads(saver, older_than=timedelta(0), status="damaged") == DeletedThreads(1, 0)
        assert [info.thread for info in await saver.list_threads()] == ["other"]
