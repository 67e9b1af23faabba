"""The directory of threads in a file: damaged rows, and the indexes by which a search begins."""

import re
from pathlib import Path
from typing import Any

import pytest

from durable_graph import export_threads, import_threads
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.directory import DeletedThread, ThreadQuery
from durable_graph.checkpointing.directory_rules import entries_of
from durable_graph.errors import CorruptCheckpointError
from durable_graph.testing.conformance.directory_under_test import create, directory_of, entry_at, ids, update
from durable_graph.testing.conformance.saver_under_test import commit
from durable_graph.testing.rows import Writer
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.statements import SQL
from tests.sqlite.inside import count, database, traced

KEY = key_of("thread")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def changed(path: Path, statement: str) -> None:
    with database(path) as db:
        assert db.execute(statement).rowcount == 1


async def test_a_thread_with_a_damaged_row_is_in_error_and_hides_no_other(path: Path) -> None:
    async with SqliteSaver(path) as saver:
        for thread in ("other", "thread"):
            await create(saver, thread, {"user": "ann"})
        changed(path, "UPDATE threads SET created_at = 7 WHERE thread_id = 'thread'")
        entry = await entry_at(saver)
        assert (entry.status, entry.metadata, entry.created_at) == ("error", {"user": "ann"}, 0)
        assert entry.error == "its bytes do not match its digest"
        # A search compares the stored status, which may be the damage.
        assert await ids(saver, {"user": "ann"}) == ["other", "thread"]
        assert await ids(saver, status="idle") == ["other", "thread"]
        assert await directory_of(saver).delete("thread") == DeletedThread(is_deleted=True)
        assert await ids(saver) == ["other"]
        assert (count(path, "thread_metadata"), count(path, "metadata_entries")) == (1, 1)


async def test_a_thread_with_an_id_that_is_no_text_hides_no_other(path: Path) -> None:
    async with SqliteSaver(path) as saver:
        for thread in ("other", "thread"):
            await create(saver, thread)
        changed(path, "UPDATE threads SET thread_id = CAST(x'74ff' AS TEXT) WHERE thread_id = 'thread'")
        found = await directory_of(saver).search(
            ThreadQuery(), sort_by="thread_id", descending=False, limit=10, offset=0
        )
        assert [(each.thread, each.status) for each in found] == [("other", "idle"), ("t\udcff", "error")]


@pytest.mark.parametrize("damage", ["", "[1]", '{"user":', "nothing"])
async def test_a_thread_with_damaged_metadata_is_in_error_and_is_not_updated(path: Path, damage: str) -> None:
    async with SqliteSaver(path) as saver:
        for thread in ("other", "thread"):
            await create(saver, thread, {"user": "ann"})
        changed(path, f"UPDATE thread_metadata SET metadata = '{damage}' WHERE thread_key = {KEY}")
        entry = await entry_at(saver)
        assert (entry.status, entry.metadata) == ("error", {})
        assert entry.error == "the row of its metadata is damaged: it is no JSON object"
        assert await ids(saver, {"user": "ann"}) == ["other", "thread"]
        with pytest.raises(CorruptCheckpointError, match="the row of its metadata"):
            await update(saver, {"user": "bob"})
        await update(saver, {"user": "bob"}, "other")
        assert await directory_of(saver).delete("thread") == DeletedThread(is_deleted=True)


async def test_an_export_of_damaged_metadata_is_imported_nowhere(path: Path, tmp_path: Path) -> None:
    async with SqliteSaver(path) as saver, SqliteSaver(tmp_path / "other.db") as target:
        for thread in ("other", "thread"):
            await create(saver, thread, {"user": "ann"})
        changed(path, f"UPDATE thread_metadata SET metadata = '[1]' WHERE thread_key = {KEY}")
        await export_threads(saver, tmp_path / "threads")
        with pytest.raises(CorruptCheckpointError, match="a row of thread_metadata"):
            await import_threads(target, tmp_path / "threads")
        assert await ids(target, {"user": "ann"}) == ["other"]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({"prefix": "t/", "following": "t0"}, "sqlite_autoindex_threads_1 (thread_id>? AND thread_id<?)"),
        ({"entry": b"e", "entries": '["65"]'}, "threads_of_entry (digest=?)"),
        ({"keys": "[1]"}, "t USING INTEGER PRIMARY KEY (rowid=?)"),
    ],
)
@pytest.mark.parametrize("name", ["search_threads", "count_threads"])
async def test_a_search_begins_with_an_index(path: Path, name: str, query: dict[str, Any], index: str) -> None:
    async with SqliteSaver(path) as saver:
        await saver.list_threads()
    given: dict[str, Any] = {**dict.fromkeys(re.findall(r":(\w+)", SQL[name])), "prefix": "", "entries": "[]", **query}
    with database(path) as db:
        plan = [detail for *_, detail in db.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", given)]
    assert [detail for detail in plan if detail.startswith("SEARCH") and index in detail]
    scanned = {detail.split()[1] for detail in plan if detail.startswith("SCAN")}
    # Lists of parameters, and results of the statement's own parts.
    parts = {"json_each", "w", "candidates", "found", "placed", "page"}
    assert not {each for each in scanned - parts if not each.startswith("(subquery")}


async def test_a_search_by_metadata_reads_the_threads_that_have_them_alone(path: Path) -> None:
    async with SqliteSaver(path) as saver:
        for number in range(300):
            await create(saver, f"thread {number}", {"user": "ann" if number % 100 == 0 else "bob"})
    with database(path) as db:
        counted: list[int] = []
        db.set_progress_handler(lambda: counted.append(1), 100)
        given = dict.fromkeys(re.findall(r":(\w+)", SQL["count_threads"]))
        for user in ("ann", "bob"):
            counted.clear()
            (entry,) = entries_of({"user": user})
            sought = {**given, "prefix": "", "entry": entry, "entries": "[]"}
            (found,) = db.execute(SQL["count_threads"], sought).fetchone()
            assert found == (3 if user == "ann" else 297)
            if user == "ann":
                few = len(counted)
        assert few * 20 < len(counted)


async def test_commits_neither_read_nor_write_metadata(path: Path) -> None:
    async with SqliteSaver(path) as saver:
        await create(saver, metadata={"user": "ann"})
        found = await saver.load("thread")
        assert found is not None
        writer = Writer.at(found)
        statements = await traced(saver)
        for _ in range(3):
            await commit(saver, writer)
        assert statements
        assert not [each for each in statements if "metadata_entries" in each or "thread_metadata" in each]
