"""A flipped bit or a missing row raises an error and never yields another state."""

import random
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from durable_graph import DeletedThreads, Exported, delete_expired_threads, export_threads
from durable_graph.checkpointing import verify, verify_page, verify_records
from durable_graph.checkpointing.columns import key_of, thread_info_from
from durable_graph.checkpointing.transfer import COLUMNS
from durable_graph.errors import (
    CorruptCheckpointError,
    DurableGraphError,
    StoreConfigurationError,
    UnknownNameError,
    UnknownThreadError,
)
from durable_graph.records import Conflict, HistoryPage, Rank, StoredCheckpoint, StoredRecords
from durable_graph.testing.conformance.saver_under_test import commit, loaded, save, some_thread
from durable_graph.testing.rows import Step, Writer, state_of
from durable_graph_sqlite import SqliteSaver
from tests.sqlite.inside import database, on_connection

KEYS = {
    "threads": ("thread_key",),
    "branches": ("thread_key", "first"),
    "checkpoints": ("thread_key", "namespace", "number"),
    "channel_rows": ("thread_key", "namespace", "channel", "number"),
    "tasks": ("thread_key", "namespace", "planned_at", "position"),
}
_INTEGER_BITS = 63


UNCOVERED = ("epoch", "run_seq")
"""Columns of a thread that are changed in SQL alone, and that no digest covers."""


async def _small_database(path: Path) -> Writer:
    """A thread with a fork, a namespace, a pending task, a task planned twice and a call; and a second thread."""
    async with SqliteSaver(path) as saver:
        await some_thread(saver, "other")
        writer = await some_thread(saver)
        await commit(saver, writer, Step({"memory": b"m"}, ns="child"))
        await commit(saver, writer, Step({}, {"log": b"f,"}), fork_of=2)
        await save(saver, writer, writer.batch(writer.record()))
        await commit(saver, writer, Step({"count": b"6"}, born=5))
        records = writer.record(number=1, rank=Rank.FAILED), writer.record(born=5, ns="calls")
        await save(saver, writer, writer.batch(*records, status="failed"))
    return writer


Seen = tuple[StoredCheckpoint, StoredCheckpoint, StoredCheckpoint, HistoryPage, StoredRecords]


async def _read(saver: SqliteSaver) -> Seen:
    """Everything stored of the thread, verified as a run verifies it."""
    head, child = await saver.load("thread"), await saver.load("thread", "child", 4)
    # The child's checkpoint is on the branch that the fork left.
    newest = await saver.load("thread", "child")
    page = await saver.history("thread", limit=50)
    calls = await saver.load_records("thread", "calls")
    if head is None or child is None or newest is None or page is None or calls is None:
        raise UnknownThreadError("thread")
    if child.checkpoint is None:
        raise UnknownNameError.of_checkpoint("thread", 4)
    for stored in (head, child, newest):
        verify(stored)
    verify_page(page)
    verify_records(calls)
    return head, child, newest, page, calls


def _flips(value: object) -> Iterator[object]:
    """The value with each of its bits flipped."""
    match value:
        case int():
            yield from (value ^ (1 << bit) for bit in range(_INTEGER_BITS))
        case bytes():
            for bit in range(8 * len(value)):
                flipped = bytearray(value)
                flipped[bit // 8] ^= 1 << bit % 8
                yield bytes(flipped)
        case str():
            # Only flips that leave valid text: a row with other bytes cannot be read at all.
            for data in _flips(value.encode()):
                assert isinstance(data, bytes)
                if data.isascii():
                    yield data.decode()


def _rows(db: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    found = db.execute(f"SELECT * FROM {table} WHERE thread_key = ?", (key_of("thread"),))
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def _change(db: sqlite3.Connection, table: str, row: dict[str, Any], column: str, value: object) -> None:
    where = " AND ".join(f"{key} = :{key}" for key in KEYS[table])
    changed = db.execute(f"UPDATE {table} SET {column} = :changed WHERE {where}", {**row, "changed": value})
    assert changed.rowcount == 1


@pytest.mark.parametrize("table", KEYS)
async def test_every_flipped_bit_of_a_row_is_detected(tmp_path: Path, table: str) -> None:
    path = tmp_path / "runs.db"
    await _small_database(path)
    flips = 0
    async with SqliteSaver(path) as saver:
        await _read(saver)
        with database(path) as db:
            db.execute("PRAGMA synchronous = OFF")
            for row in _rows(db, table):
                for column in row.keys() - {*KEYS[table], *UNCOVERED}:
                    for flipped in _flips(row[column]):
                        try:
                            _change(db, table, row, column, flipped)
                        except sqlite3.IntegrityError:
                            continue
                        with pytest.raises(CorruptCheckpointError):
                            await _read(saver)
                        flips += 1
                    _change(db, table, row, column, row[column])
        await _read(saver)
    assert flips > 100


@pytest.mark.parametrize("table", KEYS)
async def test_a_flipped_bit_of_a_key_never_yields_another_state(tmp_path: Path, table: str) -> None:
    path = tmp_path / "runs.db"
    writer = await _small_database(path)
    noticed = 0
    async with SqliteSaver(path) as saver:
        right = await _read(saver)
        with database(path) as db:
            db.execute("PRAGMA synchronous = OFF")
            for row in _rows(db, table):
                for column in KEYS[table]:
                    for flipped in _flips(row[column]):
                        try:
                            _change(db, table, row, column, flipped)
                        except sqlite3.IntegrityError:
                            continue
                        try:
                            seen = await _read(saver)
                        except (CorruptCheckpointError, UnknownNameError):
                            noticed += 1
                        else:
                            assert state_of(seen[0]) == writer.state()
                            assert seen == right
                        _change(db, table, {**row, column: flipped}, column, row[column])
        assert await _read(saver) == right
    assert noticed > 50


@pytest.mark.parametrize("table", KEYS)
async def test_a_missing_row_is_detected(tmp_path: Path, table: str) -> None:
    path = tmp_path / "runs.db"
    await _small_database(path)
    async with SqliteSaver(path) as saver:
        right = await _read(saver)
        with database(path) as db:
            for row in _rows(db, table):
                where = " AND ".join(f"{key} = :{key}" for key in KEYS[table])
                db.execute(f"DELETE FROM {table} WHERE {where}", row)
                with pytest.raises((CorruptCheckpointError, UnknownNameError)):
                    await _read(saver)
                names = ", ".join(row)
                db.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in row)})", row)
        assert await _read(saver) == right


async def test_a_thread_whose_row_is_missing_cannot_be_started_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    await _small_database(path)
    async with SqliteSaver(path) as saver:
        with database(path) as db:
            db.execute("DELETE FROM threads WHERE thread_id = 'thread'")
        with pytest.raises(CorruptCheckpointError, match="missing"):
            await saver.load("thread")
        with pytest.raises(CorruptCheckpointError, match="missing"):
            await saver.load_records("thread", "")
        with pytest.raises(CorruptCheckpointError, match="missing"):
            await saver.history("thread", limit=1)
        with pytest.raises(CorruptCheckpointError):
            await saver.commit(Writer.of("thread").unit(Step({"count": b"1"})))
        assert await saver.load("other") is not None


async def test_a_damaged_thread_refuses_commits_of_a_writer_without_its_row(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    writer = await _small_database(path)
    writer.base = None
    async with SqliteSaver(path) as saver:
        with database(path) as db:
            db.execute("UPDATE threads SET head = 1 WHERE thread_id = 'thread'")
        calls = (
            lambda: saver.commit(writer.unit()),
            lambda: saver.save_writes(writer.batch(writer.record())),
            lambda: saver.copy_thread("thread", "copy"),
            lambda: saver.prune("thread"),
        )
        for call in calls:
            with pytest.raises(CorruptCheckpointError):
                await call()
        assert [info.thread for info in await saver.list_threads()] == ["other", "thread"]


@pytest.mark.parametrize(
    ("damage", "is_replaced"),
    [
        ("head = 1", True),
        ("version = -5", True),
        ("requests_digest = zeroblob(16)", True),
        ("status = 'failed'", False),
        ("thread_id = 'another'", False),
    ],
)
async def test_the_commit_of_a_writer_with_the_row_replaces_a_damaged_column_or_leaves_the_damage_visible(
    tmp_path: Path, damage: str, is_replaced: bool
) -> None:
    path = tmp_path / "runs.db"
    writer = await _small_database(path)
    async with SqliteSaver(path) as saver:
        # The columns of the status are written only when it changes.
        await commit(saver, writer, Step({"count": b"running"}))
        with database(path) as db:
            db.execute(f"UPDATE threads SET {damage} WHERE thread_id = 'thread'")

        await commit(saver, writer, Step({"count": b"next"}))

        if is_replaced:
            assert state_of(await loaded(saver, "thread")) == writer.state()
        else:
            with pytest.raises(CorruptCheckpointError):
                await saver.load("thread")


@pytest.mark.parametrize("column", ["digest = zeroblob(16)", "digest = x''"])
async def test_no_commit_replaces_a_row_whose_digest_is_damaged(tmp_path: Path, column: str) -> None:
    path = tmp_path / "runs.db"
    writer = await _small_database(path)
    async with SqliteSaver(path) as saver:
        with database(path) as db:
            db.execute(f"UPDATE threads SET {column} WHERE thread_id = 'thread'")
        for call in (lambda: saver.commit(writer.unit()), lambda: saver.save_writes(writer.batch(writer.record()))):
            with pytest.raises(CorruptCheckpointError):
                await call()


@pytest.mark.parametrize("purge", [False, True], ids=["deleted", "purged"])
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE threads SET head = 1",
        "UPDATE threads SET version = -5",
        "UPDATE threads SET status = 'gone', next = 'no json'",
        "UPDATE threads SET thread_id = 'another'",
        "UPDATE threads SET digest = x''",
        "DELETE FROM threads",
    ],
)
async def test_deleting_a_damaged_thread_fences_its_writers(tmp_path: Path, damage: str, purge: bool) -> None:
    path = tmp_path / "runs.db"
    writer = await _small_database(path)
    async with SqliteSaver(path) as saver:
        with database(path) as db:
            db.execute(f"{damage} WHERE thread_id = 'thread'")

        assert await saver.delete_thread("thread", purge=purge)
        assert await saver.delete_thread("thread", purge=purge)

        assert isinstance(await saver.commit(writer.unit()), Conflict)
        assert isinstance(await saver.save_writes(writer.batch(writer.record())), Conflict)
        assert [info.thread for info in await saver.list_threads()] == ["other"]
        found = await saver.load("thread")
        assert found is None or found.thread.status == "deleted"
        begun = Writer.of("thread") if found is None else writer.reborn(found.thread)
        await commit(saver, begun, Step({"count": b"anew"}))
        assert state_of(await loaded(saver, "thread")) == begun.state()
        assert state_of(await loaded(saver, "other")) != {}


async def test_a_thread_damaged_since_it_was_seen_is_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    await _small_database(path)
    async with SqliteSaver(path) as saver:
        (sound,) = [info for info in await saver.list_threads() if info.thread == "thread"]
        with database(path) as db:
            db.execute("UPDATE threads SET head = 1 WHERE thread_id = 'thread'")
        (damaged,) = await saver.list_threads(status="damaged")

        assert not await saver.delete_thread("thread", seen=sound)
        assert await saver.delete_thread("thread", seen=damaged)


async def test_a_changed_epoch_fences_writers_and_leaves_reads_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    writer = await _small_database(path)
    async with SqliteSaver(path) as saver:
        state = state_of(await loaded(saver, "thread"))
        with database(path) as db:
            db.execute("UPDATE threads SET epoch = 77, run_seq = 5 WHERE thread_id = 'thread'")
        assert isinstance(await saver.commit(writer.unit()), Conflict)
        assert isinstance(await saver.save_writes(writer.batch(writer.record())), Conflict)
        assert state_of(await loaded(saver, "thread")) == state


@pytest.mark.parametrize("status", ["done", "runnino", ""])
async def test_a_damaged_status_is_listed_as_damaged_and_under_no_other_status(tmp_path: Path, status: str) -> None:
    path = tmp_path / "runs.db"
    await _small_database(path)
    async with SqliteSaver(path) as saver:
        with database(path) as db:
            db.execute("UPDATE threads SET status = ? WHERE thread_id = 'thread'", (status,))
        assert [(info.thread, info.status) for info in await saver.list_threads()] == [
            ("other", "running"),
            ("thread", "damaged"),
        ]
        assert [info.thread for info in await saver.list_threads(status="damaged")] == ["thread"]
        for listed in ("running", "interrupted", "failed", "done", "cancelled"):
            assert "thread" not in [info.thread for info in await saver.list_threads(status=listed)]


async def test_a_page_of_damaged_threads_does_not_hide_later_threads(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        for number in range(6):
            await some_thread(saver, f"t{number}")
        with database(path) as db:
            db.execute("UPDATE threads SET head = 9 WHERE thread_id < 't4'")
        assert [info.thread for info in await saver.list_threads(status="running", limit=2)] == ["t4", "t5"]


EVERY = (*(name for name in COLUMNS["threads"] if name != "run_seq"), "thread_key")
TEXTS = ("thread_id", "graph", "status", "next", "metadata", "error")


@pytest.mark.parametrize("column", TEXTS)
async def test_a_column_with_invalid_utf_8_hides_no_other_thread(tmp_path: Path, column: str) -> None:
    path = tmp_path / "runs.db"
    await _small_database(path)
    async with SqliteSaver(path) as saver:
        with database(path) as db:
            db.execute(f"UPDATE threads SET {column} = CAST(x'66ff' AS TEXT) WHERE thread_id = 'thread'")

        (damaged,) = await saver.list_threads(status="damaged")
        assert [info.status for info in await saver.list_threads()] in (["damaged", "running"], ["running", "damaged"])
        assert await saver.list_threads(status="damaged", after=damaged) == []
        with pytest.raises(CorruptCheckpointError, match=r"the thread's row"):
            await saver.load("thread")
        exported = await saver.export_thread(damaged.thread)
        assert exported is not None

        swept = await delete_expired_threads(saver, older_than=timedelta(0), status="damaged")
        assert swept == DeletedThreads(1, 0)
        assert [info.thread for info in await saver.list_threads()] == ["other"]
        found = await saver.load("thread")
        assert found is None or found.thread.status == "deleted"

        # The import restores the exported thread as a damaged one.
        await saver.import_thread(msgspec.structs.replace(exported, thread="thread"))
        with pytest.raises(CorruptCheckpointError):
            await saver.load("thread")


@pytest.mark.parametrize("column", ["incarnation", "origin", "version", "next", "metadata", "digest"])
async def test_a_column_of_another_type_is_damage_of_its_thread(tmp_path: Path, column: str) -> None:
    """A flipped bit in the type that SQLite stores with a value turns the value into NULL, a number or a text."""
    path = tmp_path / "runs.db"
    await _small_database(path)
    with database(path) as db:
        found = db.execute(f"SELECT {', '.join(EVERY)} FROM threads WHERE thread_id = 'thread'").fetchone()
    for wrong in (None, 1.5, "text", b"bytes", 7):
        damaged = tuple(wrong if name == column else value for name, value in zip(EVERY, found, strict=True))
        if damaged != found:
            assert thread_info_from(damaged).status == "damaged"


async def test_a_flipped_bit_anywhere_in_the_file_raises_only_errors_of_the_library(tmp_path: Path) -> None:
    """This includes the bits of SQLite's record headers: the type and length of each value."""
    sound = tmp_path / "sound.db"
    await _small_database(sound)
    with database(sound) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page_size,) = db.execute("PRAGMA page_size").fetchone()
    data = sound.read_bytes()
    # The first page is SQLite's own, and zero bytes are free space.
    used = [at for at in range(page_size, len(data)) if data[at]]
    dice = random.Random(11)
    for number in range(250):
        path = tmp_path / f"{number}.db"
        damaged = bytearray(data)
        damaged[dice.choice(used)] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        with suppress(StoreConfigurationError):
            async with SqliteSaver(path) as saver:
                for call in _public_calls(saver):
                    with suppress(DurableGraphError):
                        await call()


def _public_calls(saver: SqliteSaver) -> list[Callable[[], Awaitable[Any]]]:
    return [
        lambda: _read(saver),
        lambda: saver.find_request("thread", "key"),
        saver.list_threads,
        lambda: saver.export_thread("thread"),
        lambda: saver.copy_thread("thread", "copy"),
        lambda: saver.prune("thread", keep_last=1),
        lambda: delete_expired_threads(saver, older_than=timedelta(0), keep_last=1),
        lambda: saver.delete_thread("thread"),
    ]


@pytest.mark.parametrize(
    ("table", "column", "where"), [("checkpoints", "namespace", "true"), ("channel_rows", "channel", "channel = 'log'")]
)
async def test_a_name_with_invalid_utf_8_is_damage_of_its_thread(
    tmp_path: Path, table: str, column: str, where: str
) -> None:
    path = tmp_path / "runs.db"
    await _small_database(path)
    async with SqliteSaver(path) as saver:
        with database(path) as db:
            db.execute(
                f"UPDATE {table} SET {column} = CAST(x'66ff' AS TEXT) WHERE thread_key = ? AND number = 2 AND {where}",
                (key_of("thread"),),
            )
        with pytest.raises(CorruptCheckpointError, match="'thread'"):
            await saver.prune("thread")
        assert await saver.export_thread("thread") is not None
        assert await saver.delete_thread("thread")


async def test_a_thread_under_another_key_is_listed_as_damaged_and_deleted(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    writer = await _small_database(path)
    async with SqliteSaver(path) as saver:
        with database(path) as db:
            db.execute("UPDATE threads SET thread_key = thread_key - 1 WHERE thread_id = 'thread'")

        assert [info.thread for info in await saver.list_threads(status="damaged")] == ["thread"]
        with pytest.raises(CorruptCheckpointError):
            await saver.load("thread")
        exported = await saver.export_thread("thread")
        assert await delete_expired_threads(saver, older_than=timedelta(0), status="damaged") == DeletedThreads(1, 0)

        assert [info.thread for info in await saver.list_threads()] == ["other"]
        assert await saver.load("thread") is None

        # Only the key was damaged, and an import computes it again.
        assert exported is not None
        await saver.import_thread(exported)
        assert state_of(await loaded(saver, "thread")) == writer.state()


async def test_a_thread_with_a_damaged_id_is_exported_and_deleted_under_its_listed_id(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.db"
    await _small_database(path)
    async with SqliteSaver(path) as saver:
        with database(path) as db:
            db.execute("UPDATE threads SET thread_id = 'threac' WHERE thread_id = 'thread'")

        assert await export_threads(saver, tmp_path / "threads") == Exported(2)
        assert await delete_expired_threads(saver, older_than=timedelta(0), status="damaged") == DeletedThreads(1, 0)

        assert [info.thread for info in await saver.list_threads()] == ["other"]
        assert await saver.load("thread") is None


async def test_a_row_under_the_key_of_another_thread_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    await _small_database(path)
    async with SqliteSaver(path) as saver:
        with database(path) as db:
            db.execute("DELETE FROM threads WHERE thread_id = 'thread'")
            db.execute("UPDATE threads SET thread_key = ? WHERE thread_id = 'other'", (key_of("thread"),))
        with pytest.raises(CorruptCheckpointError, match="belongs to thread 'other'"):
            await saver.load("thread")


async def test_a_damaged_page_of_the_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        writer = await some_thread(saver)
        await commit(saver, writer, Step({"large": bytes(100_000)}))
        page_size = await on_connection(saver, lambda db: db.execute("PRAGMA page_size").fetchone()[0])
    content = bytearray(path.read_bytes())
    errors = 0
    for page in range(1, len(content) // page_size):
        start = page * page_size
        path.write_bytes(content[:start] + b"\xff" * page_size + content[start + page_size :])
        saver = SqliteSaver(path)
        try:
            found = await saver.load("thread")
            assert found is not None
            verify(found)
            assert state_of(found) == writer.state()
        except DurableGraphError:
            errors += 1
        finally:
            await saver.aclose()
    assert errors > 3


async def test_a_flipped_bit_in_the_schema_is_an_error_of_the_library(tmp_path: Path) -> None:
    """SQLite quotes the damaged text in its error, and Python cannot decode it."""
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        await saver.list_threads()
    whole = path.read_bytes()
    start = whole.index(b"CREATE TABLE threads")
    raised = []

    for place in range(start, start + 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
        try:
            async with SqliteSaver(path) as saver:
                await saver.list_threads()
        except DurableGraphError as error:
            raised.append(error)

    assert any("is not valid text" in str(error) for error in raised)
    assert len(raised) > 30
