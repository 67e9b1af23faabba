"""Reads find their rows by index, whatever the size of the tables."""

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from durable_graph.checkpointing.columns import key_of
from durable_graph_postgres import PostgresSaver
from durable_graph_postgres.statements import PARAMETERS, statements_for
from tests.savers import schema_of_its_own

READS: dict[str, dict[str, Any]] = {
    "load": {"ns": "", "no": None, "most": 1 << 26},
    "find_records": {"ns": "ns"},
    "read_state": {"ns": "", "at": 9},
    "page_of_checkpoints": {"ns": "", "before": 99, "limit": 10},
    "page_of_values": {"ns": "", "lo": 1, "hi": 9},
    "page_of_records": {"ns": "", "born": 1, "hi": 9},
    "list_threads": {"after": "", "limit": 100, "before": 1 << 62},
    "list_threads_of_status": {"status": "done", "since": 5, "after": "t", "before": 1 << 62, "limit": 100},
    "lock_thread": {},
    "find_records_of_head": {"born": 1, "head": 9},
    "find_run": {"seq": 1},
    "find_unfinished_run": {},
    "find_ended_runs": {"before": 9, "limit": 50},
    "drop_ended_run": {"seq": 1, "before": 9},
    "drop_events": {},
    "find_requests_without_runs": {},
    "find_needed_checkpoints": {},
    "free_stuck_run": {"seq": 1, "now": 9},
    "find_next_due": {"queues": ["q"], "skew": 0},
    "lock_queue": {"queue": "q", "worker": 1, "lease_skew": 0},
    "count_running": {"queue": "q", "is_counted": True, "skew": 0},
    "find_due_queues": {"queues": ["q"], "skew": 0},
    "find_due_keys": {"queue": "q", "now": 9, "graphs": ["g"], "full": [3], "last": 2, "most": 10},
    "find_runs_of_keys": {"queue": "q", "now": 9, "graphs": ["g"], "priorities": [2], "keys": [5], "most": 10},
    "claim_chosen": {"worker": 1, "epochs": [1], "thread_keys": [1], "seqs": [1], "now": 9},
    "find_next_due_of_queue": {"queue": "q", "now": 9},
    "find_entry": {},
    "find_schedule": {"named": "nightly"},
    "lock_schedule": {"id": 1},
    "list_schedules": {"after": "", "limit": 10},
    "find_due_schedules": {"graphs": ["graph"], "now": 9, "limit": 16},
    "search_threads": {
        "entry": None,
        "entries": [],
        "keys": None,
        "prefix": "t/",
        "following": "t0",
        "graph": None,
        "status": None,
        "sort_by": "updated_at",
        "descending": True,
        "limit": 10,
        "offset": 0,
    },
    "count_threads": {
        "entry": b"e",
        "entries": [b"e"],
        "keys": None,
        "prefix": "",
        "following": None,
        "graph": None,
        "status": "idle",
        "sort_by": "thread_id",
    },
    "claim_runs": {"worker": 1, "queues": ["q"], "epochs": [1], "most": 1, "skew": 0, "lease_skew": 0},
}


def parts(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from parts(part)


async def plan_of(dsn: str, statement: str) -> list[dict[str, Any]]:
    async with schema_of_its_own(dsn) as schema:
        async with PostgresSaver(dsn, schema=schema) as saver:
            await saver.list_threads()
        connection = await asyncpg.connect(dsn)
        try:
            # The planner would scan empty tables, because that is the fastest way.
            await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
            sql = statements_for(schema)[statement]
            sought = {"thread_key": key_of("t"), **READS[statement]}
            given = [sought[name] for name in PARAMETERS[statement]]
            explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON, VERBOSE) {sql}", *given)
        finally:
            await connection.close()
    return list(parts(json.loads(explained)[0]["Plan"]))


@pytest.mark.parametrize("statement", READS)
async def test_no_statement_scans_a_whole_table_or_index(postgres: str, statement: str) -> None:
    plan = await plan_of(postgres, statement)

    assert not [part for part in plan if part["Node Type"] == "Seq Scan"]
    # Nor is an index scanned from end to end.
    assert all("Index Cond" in part for part in plan if part["Node Type"].startswith("Index"))


@pytest.mark.parametrize("statement", ["list_threads", "list_threads_of_status", "page_of_checkpoints"])
async def test_a_page_is_read_in_index_order_without_a_sort(postgres: str, statement: str) -> None:
    assert "Sort" not in {part["Node Type"] for part in await plan_of(postgres, statement)}


async def test_the_status_and_its_time_are_conditions_of_the_index(postgres: str) -> None:
    (scan,) = [part for part in await plan_of(postgres, "list_threads_of_status") if "Index Name" in part]

    assert scan["Index Name"] == "threads_by_status"
    assert all(column in scan["Index Cond"] for column in ("status", "thread_id", "status_since"))
