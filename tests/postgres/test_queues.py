"""What a claim from a queue with limits costs on a server."""

import json
from collections.abc import Iterator
from typing import Any

import asyncpg

from durable_graph.checkpointing.queue_rules import stored_key
from durable_graph.testing.conformance.queues_under_test import QUEUE, declare, put
from durable_graph_postgres import PostgresSaver
from durable_graph_postgres.statements import PARAMETERS, quoted, statements_for
from tests.savers import schema_of_its_own

SOUGHT: dict[str, Any] = {
    "queue": QUEUE,
    "now": 1 << 60,
    "graphs": ["graph"],
    "full": [],
    "last": 0,
    "priorities": [2],
    "keys": [stored_key("a")],
    "most": 10,
}
STATEMENTS = ("find_due_keys", "find_runs_of_keys")


async def test_a_claim_reads_few_rows_whatever_the_backlog_of_a_key(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema:
        async with PostgresSaver(postgres, schema=schema) as saver:
            await declare(saver)
            await put(saver, "a", key="a")
            await put(saver, "b", key="b")
        db = await asyncpg.connect(postgres)
        try:
            await _add_backlog(db, schema, 3000)
            read = [await _rows_read(db, schema, name) for name in STATEMENTS]
        finally:
            await db.close()
    # Two for each key, and the runs that are asked for.
    assert read[0] <= 10
    assert read[1] <= SOUGHT["most"] + 1


async def _add_backlog(db: Any, schema: str, count: int) -> None:
    """Add so many due runs of the key "a", each of a thread of its own."""
    found = await db.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = 'runs'", schema
    )
    names = [name for (name,) in found if name != "thread_key"]
    copied = ", ".join(f"r.{name}" for name in names)
    await db.execute(f"SET search_path = {quoted(schema)}")
    await db.execute(
        f"INSERT INTO runs (thread_key, {', '.join(names)}) SELECT {count} * 10 + n, {copied} "  # noqa: S608  # columns of the schema
        f"FROM runs r JOIN threads t USING (thread_key), generate_series(1, {count}) n WHERE t.thread_id = 'a'"
    )
    await db.execute("ANALYZE runs")


async def _rows_read(db: Any, schema: str, name: str) -> int:
    given = [SOUGHT[parameter] for parameter in PARAMETERS[name]]
    sql = statements_for(schema)[name]
    explained = await db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {sql}", *given)
    scans = [part for part in _parts(json.loads(explained)[0]["Plan"]) if "Relation Name" in part]
    assert scans
    return sum(
        round((part["Actual Rows"] + part.get("Rows Removed by Filter", 0)) * part["Actual Loops"]) for part in scans
    )


def _parts(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _parts(part)
