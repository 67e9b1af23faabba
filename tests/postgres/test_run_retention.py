"""Retention on a server: it waits for no lock, and deletes the events of runs with them."""

import asyncio
import json

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
from durable_graph_postgres.statements import quoted, statements_for
from tests.postgres.test_indexes import parts
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
                assert await runs_of(saver).delete_ended(keep=HOUR) == 1
                assert await runs_of(saver).repair() == 0
                assert [run.thread for run in await runs_of(saver).list_runs()] == ["locked", "locked"]
        finally:
            await connection.close()
        assert await runs_of(saver).delete_ended(keep=HOUR) == 1
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
            cleaning = (runs_of(each).delete_ended(keep=HOUR, limit=limit) for each in (saver, other))
            total += sum(await asyncio.gather(*cleaning))
        assert total == 6


async def test_metadata_that_the_servers_json_cannot_hold_does_not_fail_a_listing(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        await accept(saver, "a", metadata='{"user":"A\\u0000"}')
        await accept(saver, "b", metadata='{"user":"Ada"}')
        await runs_of(saver).send(NewMessage("a", "parcel", "key", b""))
        assert [run.thread for run in await runs_of(saver).list_runs(metadata='{"user":"Ada"}')] == ["b"]
        assert len(await runs_of(saver).list_runs()) == 2


async def rows_read_by_repair(connection: "asyncpg.Connection[asyncpg.Record]", schema: str) -> dict[str, float]:
    """The rows that the search for stuck runs reads, by table."""
    sql = statements_for(schema)["find_stuck_runs"]
    explained = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", 50)
    read: dict[str, float] = {"runs": 0, "messages": 0}
    for part in parts(json.loads(explained)[0]["Plan"]):
        if part.get("Relation Name") in read:
            rows = part["Actual Rows"] + part.get("Rows Removed by Filter", 0)
            read[part["Relation Name"]] += rows * part["Actual Loops"]
    return read


@pytest.mark.parametrize("many", ["messages", "runs"])
async def test_repair_reads_no_more_than_what_may_be_stuck(postgres: str, many: str) -> None:
    """Unread messages that no run waits for, and runs whose messages have not arrived, need no repair."""
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        runs, name = runs_of(saver), quoted(schema)
        seq = await accept(saver, "t")
        await runs.send(NewMessage("t", "parcel", "key", b""))
        connection = await asyncpg.connect(postgres)
        try:
            waits = 'state = 2, due = 1::bigint << 62, waits_on = \'{"topics":["parcel"]}\''
            await connection.execute(f"UPDATE {name}.runs SET {waits} WHERE seq = $1", seq)  # noqa: S608  # as above
            columns = await connection.fetch(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2"
                " AND column_name <> 'thread_key'",
                *(schema, many),
            )
            copied = ", ".join(each["column_name"] for each in columns)
            source = f"SELECT number, {copied} FROM {name}.{many} CROSS JOIN generate_series(1, 20000) AS number"  # noqa: S608  # as above
            await connection.execute(f"INSERT INTO {name}.{many} (thread_key, {copied}) {source}")
            await connection.execute(f"ANALYZE {name}.runs; ANALYZE {name}.messages")
            assert sum((await rows_read_by_repair(connection, schema)).values()) < 100
        finally:
            await connection.close()
        assert await runs.repair() == 1
        assert (await run_at(saver, seq, "t")).state == RunState.READY
