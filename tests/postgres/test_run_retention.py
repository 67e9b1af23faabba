"""Retention on a server: it waits for no lock, and deletes the events of runs with them."""

import asyncio

import asyncpg
import pytest

from durable_graph.checkpointing.columns import key_of
from durable_graph.run_records import NewMessage, RunState
from durable_graph.testing.conformance.run_store_under_test import (
    accept,
    run_at,
    runs_of,
)
from durable_graph_postgres import PostgresSaver
from durable_graph_postgres.statements import quoted
from tests.savers import schema_of_its_own

HOUR = 3600 * 1_000_000


async def test_retention_and_repair_wait_for_no_locked_thread(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        for thread in ("locked", "free"):
            seq = await accept(saver, thread, key="key")
            await runs_of(saver).cancel_run(thread, seq, "reason")
        runs_of(saver).skew += 2 * HOUR
        seq = await accept(saver, "locked")
        connection = await asyncpg.connect(postgres)
        try:
            stuck = f"UPDATE {quoted(schema)}.runs SET state = 3 WHERE seq = $1"  # noqa: S608  # the schema of this test
            await connection.execute(stuck, seq)
            async with connection.transaction():
                locking = f"FROM {quoted(schema)}.threads WHERE thread_key = $1 FOR UPDATE"
                await connection.execute(f"SELECT {locking}", key_of("locked"))
                assert await runs_of(saver).forget_ended(keep=HOUR) == 1
                assert await runs_of(saver).repair() == 0
                assert [run.thread for run in await runs_of(saver).list_runs()] == ["locked", "locked"]
        finally:
            await connection.close()
        assert await runs_of(saver).forget_ended(keep=HOUR) == 1
        assert await runs_of(saver).repair() == 1
        assert (await run_at(saver, seq, "locked")).state == RunState.READY


@pytest.mark.parametrize("limit", [1, 3])
async def test_simultaneous_upkeeps_count_each_run_once(postgres: str, limit: int) -> None:
    async with (
        schema_of_its_own(postgres) as schema,
        PostgresSaver(postgres, schema=schema) as saver,
        PostgresSaver(postgres, schema=schema) as other,
    ):
        for number in range(6):
            seq = await accept(saver, f"t{number}", key="key")
            await runs_of(saver).cancel_run(f"t{number}", seq, "reason")
        for each in (saver, other):
            runs_of(each).skew += 2 * HOUR
        total = 0
        while await runs_of(saver).list_runs():
            cleaning = (runs_of(each).forget_ended(keep=HOUR, limit=limit) for each in (saver, other))
            total += sum(await asyncio.gather(*cleaning))
        assert total == 6


async def test_metadata_that_the_servers_json_cannot_hold_does_not_fail_a_listing(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        await accept(saver, "a", metadata='{"user":"A\\u0000"}')
        await accept(saver, "b", metadata='{"user":"Ada"}')
        await runs_of(saver).send(NewMessage("a", "parcel", "key", b""))
        assert [run.thread for run in await runs_of(saver).list_runs(metadata='{"user":"Ada"}')] == ["b"]
        assert len(await runs_of(saver).list_runs()) == 2
