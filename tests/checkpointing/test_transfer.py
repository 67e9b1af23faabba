"""Export of threads from any store, and import into any other store without changes."""

import asyncio
import errno
import operator
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CorruptCheckpointError,
    ExportedThread,
    InvalidOptionError,
    MemorySaver,
    StateGraph,
    StoreUnavailableError,
    ThreadExistsError,
    TransferError,
    UnknownThreadError,
    export_threads,
    import_threads,
    interrupt,
)
from durable_graph.checkpointing import transfer
from durable_graph.checkpointing.transfer import COLUMNS
from durable_graph_sqlite import SqliteSaver
from tests.errors.kinds import of_kind
from tests.savers import SAVERS, saver_of
from tests.sqlite.inside import database


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def graph_on(saver: Checkpointer) -> Any:
    def inner(state: State) -> dict[str, list[str]]:
        return {"log": ["inner"]}

    def ask(state: State) -> dict[str, list[str]]:
        return {"log": [interrupt("who?")]}

    nested = StateGraph(State).add_node("inner", inner).add_node("ask", ask).add_edge(START, "inner")
    nested.add_edge("inner", "ask")
    builder = StateGraph(State).add_node("nested", nested.compile()).add_node("other", inner)
    return builder.add_edge(START, "nested").add_edge(START, "other").compile(saver, name="asks")


@pytest.fixture(params=SAVERS)
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Checkpointer]:
    dsn = request.getfixturevalue("postgres") if request.param == "postgres" else ""
    folder = tmp_path / "target"
    folder.mkdir()
    async with saver_of(request.param, folder, dsn) as opened:
        yield opened


async def test_a_thread_continues_in_another_store(saver: Checkpointer, target: Checkpointer, tmp_path: Path) -> None:
    graph, path = graph_on(saver), tmp_path / "threads.export"
    for thread in ("a", "b", "c"):
        await graph.ainvoke({"log": ["go"]}, thread_id=thread)
    await graph.adelete_thread("c")
    listed = await saver.list_threads()
    history = [snapshot async for snapshot in graph.aget_state_history(thread_id="a")]

    assert (await export_threads(saver, path)).threads == 2
    assert (await import_threads(target, path)).threads == 2

    assert await target.list_threads() == listed
    there = graph_on(target)
    assert [snapshot async for snapshot in there.aget_state_history(thread_id="a")] == history
    ended = await there.ainvoke(Command(resume="amy"), thread_id="a")
    # The thread in the first store is unchanged.
    assert (await graph.aget_state(thread_id="a")).next == ("nested",)
    assert ended == await graph.ainvoke(Command(resume="amy"), thread_id="a")
    assert path.stat().st_mode & 0o777 == 0o600


async def test_exports_of_one_thread_are_the_same_from_every_store(
    saver: Checkpointer, target: Checkpointer, tmp_path: Path
) -> None:
    await graph_on(saver).ainvoke({"log": ["go"]}, thread_id="a")
    await export_threads(saver, tmp_path / "first")
    await import_threads(target, tmp_path / "first")
    await export_threads(target, tmp_path / "second")

    back = MemorySaver()
    await import_threads(back, tmp_path / "second")
    first = await graph_on(saver).aget_state(thread_id="a", subgraphs=True)
    assert await graph_on(back).aget_state(thread_id="a", subgraphs=True) == first
    assert await back.list_threads() == await saver.list_threads()


async def test_an_existing_thread_is_never_overwritten(saver: Checkpointer, tmp_path: Path) -> None:
    graph, path = graph_on(saver), tmp_path / "threads.export"
    for thread in ("a", "b"):
        await graph.ainvoke({"log": ["go"]}, thread_id=thread)
    await export_threads(saver, path)
    await graph.ainvoke(Command(resume="amy"), thread_id="a")
    await graph.adelete_thread("b")

    with pytest.raises(ThreadExistsError):
        await import_threads(saver, path)
    imported = await import_threads(saver, path, if_exists="skip")

    assert (imported.threads, imported.skipped) == (1, ("a",))
    assert (await graph.aget_state(thread_id="a")).next == ()
    assert (await graph.aget_state(thread_id="b")).next == ("nested",)


async def test_chosen_threads_are_exported_once(saver: Checkpointer, tmp_path: Path) -> None:
    graph = graph_on(saver)
    for thread in ("a", "b"):
        await graph.ainvoke({"log": ["go"]}, thread_id=thread)

    assert (await export_threads(saver, tmp_path / "one", thread_ids=["b", "b"])).threads == 1
    with pytest.raises(UnknownThreadError):
        await export_threads(saver, tmp_path / "two", thread_ids=["a", "nobody"])
    files = [path.name for path in tmp_path.glob("[!r]*")]  # noqa: ASYNC240  # a test has its event loop to itself
    assert files == ["one"]


async def test_a_damaged_thread_is_exported_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "threads.export"
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        for thread in ("a", "b"):
            await graph_on(saver).ainvoke({"log": ["go"]}, thread_id=thread)
        with database(tmp_path / "runs.db") as db:
            db.execute("UPDATE threads SET head = 9 WHERE thread_id = 'a'")
        assert (await export_threads(saver, path)).threads == 2
    async with SqliteSaver(tmp_path / "other.db") as other:
        assert (await import_threads(other, path)).threads == 2
        assert [(info.thread, info.status) for info in await other.list_threads()] == [
            ("a", "damaged"),
            ("b", "interrupted"),
        ]
        with pytest.raises(CorruptCheckpointError):
            await other.load("a")
    with pytest.raises(CorruptCheckpointError):
        await import_threads(MemorySaver(), path)


async def test_rows_that_postgres_cannot_hold_are_refused_by_name(postgres: str, tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await graph_on(saver).ainvoke({"log": ["go"]}, thread_id="a")
        with database(tmp_path / "runs.db") as db:
            db.execute("UPDATE channel_rows SET kind = 1000000")
        await export_threads(saver, tmp_path / "threads.export")
    async with saver_of("postgres", tmp_path, postgres) as target:
        with pytest.raises(CorruptCheckpointError, match="channel_rows"):
            await import_threads(target, tmp_path / "threads.export")
        assert await target.list_threads() == []


async def test_every_damaged_byte_of_an_export_is_detected_before_anything_is_imported(tmp_path: Path) -> None:
    saver, path = MemorySaver(), tmp_path / "threads.export"
    await graph_on(saver).ainvoke({"log": ["go"]}, thread_id="a")
    await export_threads(saver, path)
    whole = path.read_bytes()
    broken = tmp_path / "broken"
    target = MemorySaver()
    for at in range(0, len(whole), 7):
        broken.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(TransferError, check=of_kind("import")):
            await import_threads(target, broken)
        broken.write_bytes(whole[:at])
        with pytest.raises(TransferError, check=of_kind("import")):
            await import_threads(target, broken)
    broken.write_bytes(whole + b"\0")
    with pytest.raises(TransferError, check=of_kind("import")):
        await import_threads(target, broken)
    assert await target.list_threads() == []


async def test_invalid_exports_and_imports_are_refused(tmp_path: Path) -> None:
    saver: Any = MemorySaver()
    taken = tmp_path / "taken"
    taken.write_text("not to be lost")

    with pytest.raises(InvalidOptionError):
        await export_threads(saver, taken)
    with pytest.raises(InvalidOptionError):
        await import_threads(saver, taken, if_exists="overwrite")  # type: ignore[arg-type]  # it is what is tested
    with pytest.raises(TransferError, check=of_kind("import")):
        await import_threads(saver, taken)
    with pytest.raises(InvalidOptionError, match="export_thread"):
        await export_threads(object(), tmp_path / "new")  # type: ignore[arg-type]  # it is what is tested
    assert taken.read_text() == "not to be lost"


@pytest.mark.parametrize("path", ["missing/threads", "", "a\0b", "\ud800", "taken/threads"])
async def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path, path: str) -> None:
    saver = MemorySaver()
    await graph_on(saver).ainvoke({"log": ["go"]}, thread_id="a")
    (tmp_path / "taken").write_text("a file")
    for call in (export_threads, import_threads):
        with pytest.raises(InvalidOptionError, match="path"):
            await call(saver, tmp_path / path)


async def test_a_full_disk_leaves_no_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = MemorySaver()
    await graph_on(saver).ainvoke({"log": ["go"]}, thread_id="a")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreUnavailableError, check=of_kind("full")):
        await export_threads(saver, tmp_path / "threads")
    assert not any(each.is_file() for each in await asyncio.to_thread(lambda: [*tmp_path.iterdir()]))


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("threads", "origin", "text"), ("channel_rows", "channel", b"bytes"), ("tasks", "digest", "text")],
)
async def test_a_thread_that_no_store_can_hold_does_not_prevent_the_import_of_others(
    target: Checkpointer, tmp_path: Path, table: str, column: str, value: object
) -> None:
    saver = MemorySaver()
    for thread in ("a", "b", "c"):
        await graph_on(saver).ainvoke({"log": ["go"]}, thread_id=thread)
    whole = saver.export_thread

    async def with_another_type(thread: str) -> ExportedThread | None:
        exported = await whole(thread)
        if exported is None or thread != "b":
            return exported
        at = COLUMNS[table].index(column)
        rows = [(*row[:at], value, *row[at + 1 :]) for row in exported.tables[table]]
        return ExportedThread(thread, {**exported.tables, table: rows})

    saver.export_thread = with_another_type  # type: ignore[method-assign]  # as from a damaged database
    await export_threads(saver, tmp_path / "threads")

    with pytest.raises(CorruptCheckpointError, match=f"'b'.*{table}.*{column}"):
        await import_threads(target, tmp_path / "threads")
    assert [info.thread for info in await target.list_threads()] == ["a", "c"]


async def test_a_failed_import_leaves_no_rows_of_its_thread(tmp_path: Path) -> None:
    saver = MemorySaver()
    await graph_on(saver).ainvoke({"log": ["go"]}, thread_id="a")
    exported = await saver.export_thread("a")
    assert exported is not None
    doubled = ExportedThread("a", {**exported.tables, "tasks": exported.tables["tasks"] * 2})
    async with SqliteSaver(tmp_path / "runs.db") as target:
        with pytest.raises(Exception, match="UNIQUE") as caught:
            await target.import_thread(doubled)
        assert not isinstance(caught.value, sqlite3.Error)
        await target.import_thread(exported)
        assert len(await target.list_threads()) == 1


async def test_an_export_succeeds_on_a_file_system_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr("os.link", refused)
    async with MemorySaver() as saver, MemorySaver() as target:
        await graph_on(saver).ainvoke({"log": ["go"]}, thread_id="t")
        await export_threads(saver, tmp_path / "threads.export")
        assert (await import_threads(target, tmp_path / "threads.export")).threads == 1
    assert _names(tmp_path) == ["threads.export"]


async def test_an_export_that_is_cancelled_at_its_start_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_making, may_make = threading.Event(), threading.Event()
    create = transfer._create

    def slowly(target: Path, partial: Path) -> IO[bytes]:
        is_making.set()
        may_make.wait(30)
        return create(target, partial)

    monkeypatch.setattr(transfer, "_create", slowly)
    async with MemorySaver() as saver:
        export = asyncio.create_task(export_threads(saver, tmp_path / "threads.export"))
        await asyncio.to_thread(is_making.wait)
        export.cancel()
        await asyncio.sleep(0)
        may_make.set()
        with pytest.raises(asyncio.CancelledError):
            await export
        # Wait until the threads of the executor have ended.
        await asyncio.get_running_loop().shutdown_default_executor()
    assert _names(tmp_path) == []


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
