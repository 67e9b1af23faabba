"""What a claim from a queue with limits costs in a file."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from durable_graph.checkpointing.queue_rules import stored_key
from durable_graph.testing.conformance.queues_under_test import QUEUE, declare, put
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.statements import SQL
from tests.sqlite.inside import database

KEYS = {"a": stored_key("a"), "b": stored_key("b")}
SOUGHT: dict[str, Any] = {
    "queue": QUEUE,
    "now": 1 << 60,
    "graphs": json.dumps(["graph"]),
    "full": "[]",
    "last": 0,
    "priority": 2,
    "key": KEYS["a"],
    "most": 10,
    "is_counted": True,
}


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("count_running", "SEARCH runs USING INDEX runs_limited (queue=?)"),
        ("find_due_keys", "SEARCH r USING INDEX runs_keyed (queue=? AND priority=? AND limit_key>? AND limit_key<?)"),
        ("find_due_keys", "SEARCH r USING INDEX runs_keyed (queue=? AND priority=? AND limit_key=? AND due<?)"),
        ("find_runs_of_key", "SEARCH r USING INDEX runs_keyed (queue=? AND priority=? AND limit_key=? AND due<?)"),
        ("find_next_due_of_queue", "SEARCH runs USING INDEX runs_due (queue=? AND priority=? AND due>? AND due<?)"),
    ],
)
async def test_a_claim_reads_by_index(tmp_path: Path, name: str, index: str) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await saver.list_threads()
    with database(tmp_path / "runs.db") as db:
        plan = [detail for *_, detail in db.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", SOUGHT)]
    assert [detail for detail in plan if detail.replace("COVERING ", "") == index], plan
    scans = [detail for detail in plan if detail.startswith("SCAN")]
    assert not [detail for detail in scans if detail.split()[1] in ("runs", "r", "e")], plan


async def test_a_claim_costs_the_same_whatever_the_backlog_of_a_key(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        await declare(saver)
        await put(saver, "a", key="a")
        await put(saver, "b", key="b")
    names = ("find_due_keys", "find_runs_of_key")
    with database(path) as db:
        _add_backlog(db, 30)
        few = [_steps(db, name) for name in names]
        _add_backlog(db, 3000)
        many = [_steps(db, name) for name in names]
        assert db.execute("SELECT count(*) FROM runs").fetchone()[0] > 3000
    for before, after in zip(few, many, strict=True):
        assert after <= before * 1.5, (few, many)


def _add_backlog(db: sqlite3.Connection, count: int) -> None:
    """Add so many due runs of the key "a", each of a thread of its own."""
    columns = [name for _, name, *_ in db.execute("PRAGMA table_info(runs)") if name != "thread_key"]
    names = ", ".join(columns)
    db.execute(
        f"WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count}) "
        f"INSERT INTO runs (thread_key, {names}) SELECT {count} * 10 + n, {names} FROM runs, n WHERE thread_id = 'a' "
        "AND runs.thread_key = (SELECT thread_key FROM threads WHERE thread_id = 'a')"
    )


def _steps(db: sqlite3.Connection, name: str) -> int:
    """The steps of SQLite's virtual machine that a statement takes."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    db.set_progress_handler(count, 1)
    try:
        assert db.execute(SQL[name], SOUGHT).fetchall()
    finally:
        db.set_progress_handler(None, 0)
    return steps
