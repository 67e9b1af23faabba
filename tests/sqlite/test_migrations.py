"""The migration of an older file to the current format is one transaction."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_graph.errors import StoreFormatError
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.opening import APPLICATION_ID, prepare
from durable_graph_sqlite.statements import FIRST_FORMAT, FORMAT, MIGRATIONS, SQL, named, script
from tests.sqlite.inside import database

_FOURTH = {4: "ALTER TABLE branches ADD COLUMN note TEXT;\nCREATE TABLE timers (thread_key INTEGER PRIMARY KEY);"}
_FIFTH = {**_FOURTH, 5: "CREATE TABLE notes (thread_key INTEGER PRIMARY KEY);"}
_BROKEN = {**_FOURTH, 5: "CREATE TABLE notes (thread_key INTEGER PRIMARY KEY);\nCREATE TABLE notes (again);"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    with database(path) as db:
        yield db


def _tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def _format(db: sqlite3.Connection) -> int:
    (found,) = db.execute("PRAGMA user_version").fetchone()
    return int(found)


def test_a_new_file_has_the_current_format(path: Path, db: sqlite3.Connection) -> None:
    prepare(path, db, MIGRATIONS)
    assert _format(db) == FORMAT
    assert _tables(db) == {
        *("threads", "branches", "checkpoints", "channel_rows", "tasks", "requests"),
        *("runs", "workers", "queues", "messages", "events", "thread_metadata", "metadata_entries", "schedules"),
    }


def test_an_older_file_runs_through_every_migration(path: Path, db: sqlite3.Connection) -> None:
    prepare(path, db, {})
    assert _format(db) == FIRST_FORMAT
    prepare(path, db, _FIFTH)
    assert _format(db) == 5
    assert {"timers", "notes"} <= _tables(db)
    prepare(path, db, _FIFTH)
    assert _format(db) == 5


@pytest.mark.parametrize("unreleased", [1, 2])
async def test_a_file_of_an_unreleased_format_is_refused_and_left_unchanged(path: Path, unreleased: int) -> None:
    with database(path) as db:
        db.execute("CREATE TABLE threads (tid INTEGER PRIMARY KEY)")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {unreleased}")
    before = path.read_bytes()

    with pytest.raises(StoreFormatError, match=f"format {unreleased} .* no conversion") as caught:
        await SqliteSaver(path).load("thread")

    assert (caught.value.found, caught.value.supported, caught.value.oldest) == (unreleased, FORMAT, FIRST_FORMAT)
    assert path.read_bytes() == before


def test_a_failed_migration_leaves_the_file_unchanged(path: Path, db: sqlite3.Connection) -> None:
    prepare(path, db, {})
    before = _tables(db)
    with pytest.raises(sqlite3.OperationalError):
        prepare(path, db, _BROKEN)
    assert (_format(db), _tables(db)) == (FIRST_FORMAT, before)


def test_a_file_of_a_newer_version_is_refused(path: Path, db: sqlite3.Connection) -> None:
    prepare(path, db, {})
    prepare(path, db, _FOURTH)
    with pytest.raises(StoreFormatError):
        prepare(path, db, {})


def test_a_file_of_the_current_format_is_not_written_to(path: Path, db: sqlite3.Connection) -> None:
    prepare(path, db, MIGRATIONS)
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    prepare(path, db, MIGRATIONS)
    assert not [each for each in statements if not each.startswith(("PRAGMA", "SELECT"))]


def test_migrations_are_numbered_without_gaps() -> None:
    assert sorted(MIGRATIONS) == list(range(FIRST_FORMAT + 1, FORMAT + 1))


def test_scripts_are_split_into_statements() -> None:
    assert list(
        script("CREATE TABLE a (x); -- first\nCREATE TRIGGER t AFTER INSERT ON a BEGIN\nSELECT 1;\nEND;\n")
    ) == [
        "CREATE TABLE a (x); -- first\n",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN\nSELECT 1;\nEND;\n",
    ]
    assert named("-- about the file\n-- name: one\nSELECT 1;\n\n-- name: two\n-- why\nSELECT 2;\n") == {
        "one": "SELECT 1;",
        "two": "-- why\nSELECT 2;",
    }


READ_WHOLE = {"list_runs", "count_runs", "find_dead_workers", "count_workers"}
"""The statements of operators' lists and numbers, and those that read the workers, of which there are few."""


@pytest.mark.parametrize("name", SQL)
def test_every_statement_is_valid_and_scans_no_table(path: Path, db: sqlite3.Connection, name: str) -> None:
    prepare(path, db, MIGRATIONS)
    width = SQL[name].count("?")
    given: object = [1] * width if width else dict.fromkeys(re.findall(r":(\w+)", SQL[name]), 1)
    assert isinstance(given, list | dict)
    plan = db.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", given).fetchall()
    if name in READ_WHOLE:
        return
    # Always by key: the cost of a table scan would grow with the file.
    scanned = [detail for *_, detail in plan if detail.startswith("SCAN") and _is_table(detail.split()[1])]
    assert scanned == []


def _is_table(name: str) -> bool:
    return name in {"threads", "t", "branches", "l", "checkpoints", "c", "channel_rows", "v", "tasks"}
