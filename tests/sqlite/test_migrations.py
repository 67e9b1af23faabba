"""How an older file is brought to the current format: one transaction, or not at all."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_graph.errors import StoreFormatError
from durable_graph.records import Rank
from durable_graph.testing.conformance.saver_under_test import loaded, loaded_records, save
from durable_graph.testing.rows import Writer, state_of
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.opening import APPLICATION_ID, prepare
from durable_graph_sqlite.statements import FORMAT, MIGRATIONS, SQL, named, script
from tests.sqlite.inside import database

_FORMATS = Path(__file__).with_name("formats")

_SECOND = {2: "ALTER TABLE lines ADD COLUMN note TEXT;\nCREATE TABLE timers (tid INTEGER PRIMARY KEY);"}
_THIRD = {**_SECOND, 3: "CREATE TABLE events (tid INTEGER PRIMARY KEY);"}
_BROKEN = {**_SECOND, 3: "CREATE TABLE events (tid INTEGER PRIMARY KEY);\nCREATE TABLE events (again);"}


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


def test_a_new_file_is_of_the_current_format(path: Path, db: sqlite3.Connection) -> None:
    prepare(path, db, MIGRATIONS)
    assert _format(db) == FORMAT
    assert _tables(db) == {"threads", "lines", "checkpoints", "channel_rows", "tasks"}


def test_an_older_file_is_taken_through_every_step(path: Path, db: sqlite3.Connection) -> None:
    prepare(path, db, {})
    assert _format(db) == 1
    prepare(path, db, _THIRD)
    assert _format(db) == 3
    assert {"timers", "events"} <= _tables(db)
    prepare(path, db, _THIRD)
    assert _format(db) == 3


def _written_in(format_number: int, path: Path) -> None:
    """Make the file that a version of that format left."""
    with database(path) as db:
        for statement in script((_FORMATS / f"{format_number}.sql").read_text("utf-8")):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {format_number}")


def _layout(db: sqlite3.Connection) -> dict[str, object]:
    """Every table's columns, and every index's."""
    tables = {table: db.execute(f"PRAGMA table_info({table})").fetchall() for table in _tables(db)}
    indexes = "SELECT name, tbl_name FROM sqlite_schema WHERE type = 'index'"
    return {
        **tables,
        **{
            f"{table}.{name}": (
                db.execute(f"PRAGMA index_info({name})").fetchall(),
                db.execute("SELECT partial FROM pragma_index_list(?) WHERE name = ?", (table, name)).fetchall(),
            )
            for name, table in db.execute(indexes).fetchall()
        },
    }


@pytest.mark.parametrize("format_number", range(1, FORMAT))
def test_an_older_file_becomes_what_a_new_one_is(path: Path, db: sqlite3.Connection, format_number: int) -> None:
    older = path.with_name("older.db")
    _written_in(format_number, older)
    prepare(path, db, MIGRATIONS)
    with database(older) as migrated:
        prepare(older, migrated, MIGRATIONS)
        assert _format(migrated) == FORMAT
        assert _layout(migrated) == _layout(db)


@pytest.mark.parametrize("format_number", range(1, FORMAT))
async def test_a_thread_in_an_older_file_goes_on(path: Path, format_number: int) -> None:
    _written_in(format_number, path)
    async with SqliteSaver(path) as saver:
        found = await loaded(saver, "thread")
        assert state_of(found) == {"first": b"only", "count": b"3", "log": b"1,2,3,"}
        ranks = [(record.ord, record.rank, record.revision) for record in found.records]
        assert ranks == [(0, Rank.DONE, 1), (1, Rank.FAILED, 2), (2, Rank.ROUTING_OPEN, 1)]
        writer = Writer(found.thread)
        later = writer.record(number=1, rank=Rank.HANDLING, revision=3)
        assert await save(saver, writer, writer.batch(later, writer.record(ns="calls"))) != ()
        assert (await loaded(saver, "thread")).records == (found.records[0], later, found.records[2])
        assert len(await loaded_records(saver, "thread", "calls")) == 1


def test_a_step_that_fails_leaves_the_file_as_it_was(path: Path, db: sqlite3.Connection) -> None:
    prepare(path, db, {})
    before = _tables(db)
    with pytest.raises(sqlite3.OperationalError):
        prepare(path, db, _BROKEN)
    assert (_format(db), _tables(db)) == (1, before)


def test_a_file_of_a_newer_version_is_refused(path: Path, db: sqlite3.Connection) -> None:
    prepare(path, db, {})
    prepare(path, db, _SECOND)
    with pytest.raises(StoreFormatError):
        prepare(path, db, {})


def test_what_is_current_is_not_written_to(path: Path, db: sqlite3.Connection) -> None:
    prepare(path, db, MIGRATIONS)
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    prepare(path, db, MIGRATIONS)
    assert not [each for each in statements if not each.startswith(("PRAGMA", "SELECT"))]


def test_steps_are_numbered_without_gaps() -> None:
    assert sorted(MIGRATIONS) == list(range(2, FORMAT + 1))


def test_statements_are_told_apart() -> None:
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


@pytest.mark.parametrize("name", SQL)
def test_every_statement_is_sound(path: Path, db: sqlite3.Connection, name: str) -> None:
    prepare(path, db, MIGRATIONS)
    width = SQL[name].count("?")
    names = {
        "tid",
        "source",
        "target",
        "ns",
        "no",
        "at",
        "born",
        "head",
        "ord",
        "lo",
        "hi",
        "parent",
        "before",
        "limit",
        "nested",
    }
    columns = {column for (_, column, *_) in db.execute("PRAGMA table_info(threads)")}
    given: object = [1] * width if width else dict.fromkeys(names | columns | {"after", "deleted", "status"}, 1)
    assert isinstance(given, list | dict)
    plan = db.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", given).fetchall()
    # By key always: a scan of a table would grow with the file.
    scanned = [detail for *_, detail in plan if detail.startswith("SCAN") and _is_table(detail.split()[1])]
    assert scanned == []


def _is_table(name: str) -> bool:
    return name in {"threads", "t", "lines", "l", "checkpoints", "c", "channel_rows", "v", "tasks"}
