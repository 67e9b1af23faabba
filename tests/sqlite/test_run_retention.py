"""Retention in a SQLite file: the statements use indexes, and a damaged thread keeps its rows."""

import re
import sqlite3
from pathlib import Path

import pytest

from durable_graph.checkpointing.columns import key_of
from durable_graph.testing.conformance.run_store_under_test import accept, runs_of
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.statements import SQL
from tests.sqlite.inside import database

HOUR = 3600 * 1_000_000


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("find_ended_runs", "SEARCH runs USING INDEX runs_ended (ended_at<?)"),
        ("drop_ended_run", "SEARCH runs USING PRIMARY KEY (thread_key=? AND seq=?)"),
        ("drop_tombstones", "SEARCH messages USING PRIMARY KEY (thread_key=?)"),
        ("drop_events", "SEARCH events USING PRIMARY KEY (thread_key=?)"),
        ("find_requests_without_runs", "SEARCH q USING PRIMARY KEY (thread_key=?)"),
        ("free_stuck_run", "SEARCH runs USING PRIMARY KEY (thread_key=? AND seq=?)"),
        ("find_overdue_runs", "SEARCH runs USING INDEX runs_with_deadline (deadline<?)"),
        ("find_next_deadline", "SEARCH runs USING INDEX runs_with_deadline (deadline<?)"),
        # These two indexes have only unread messages, and only blocked runs.
        ("find_stuck_runs", "SCAN m USING INDEX messages_unread"),
        ("find_stuck_runs", "SEARCH r USING INDEX runs_of_thread (thread_key=?)"),
        ("find_stuck_runs", "SCAN r USING INDEX runs_blocked"),
        ("find_needed_checkpoints", "SEARCH runs USING PRIMARY KEY (thread_key=?)"),
    ],
)
async def test_retention_reads_by_index(tmp_path: Path, name: str, index: str) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await saver.list_threads()
    given: object = dict.fromkeys(re.findall(r":(\w+)", SQL[name]), 1) or [1] * SQL[name].count("?")
    with database(tmp_path / "runs.db") as db:
        assert isinstance(given, dict | list)
        plan = [detail for *_, detail in db.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", given)]
    assert index in plan
    assert not [
        detail for detail in plan if detail.startswith("SCAN") and "INDEX" not in detail and "json" not in detail
    ]


async def test_a_damaged_thread_keeps_its_requests_and_does_not_stop_retention(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        for thread in ("damaged", "sound"):
            seq = await accept(saver, thread, key="key")
            await runs_of(saver).cancel_run(thread, seq, "reason")
        with database(path) as db:
            db.execute("UPDATE threads SET head = 9 WHERE thread_id = 'damaged'")
        runs_of(saver).skew += 2 * HOUR
        assert await runs_of(saver).delete_ended(keep=HOUR) == 2
        with database(path) as db:
            assert db.execute("SELECT thread_key FROM requests").fetchall() == [(key_of("damaged"),)]
        assert [(each.thread, each.status) for each in await saver.list_threads()] == [
            ("damaged", "damaged"),
            ("sound", "cancelled"),
        ]


def _versions(path: Path, thread: str = "thread") -> list[int]:
    with database(path) as db:
        found = db.execute("SELECT version FROM events WHERE thread_key = ? ORDER BY version", (key_of(thread),))
        return [version for (version,) in found]


def test_sqlite_is_new_enough() -> None:
    """The statements of retention use RETURNING."""
    assert sqlite3.sqlite_version_info >= (3, 35)
