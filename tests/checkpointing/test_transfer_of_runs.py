"""Export and import of threads with their runs, messages and request keys, between stores."""

from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    CompiledGraph,
    CorruptCheckpointError,
    ExportedThread,
    KeyReusedError,
    MemorySaver,
    StateGraph,
    export_threads,
    import_threads,
    interrupt,
    receive,
    start_child,
)
from durable_graph.checkpointing.run_store import KeepsRuns, RunStore
from durable_graph.checkpointing.transfer import COLUMNS
from durable_graph.run_records import NewWorker, RunState
from durable_graph.runs import App, RunStatus
from durable_graph.testing import run_app
from durable_graph.testing.conformance.run_store_under_test import accept
from tests.checkpointing.test_transfer import target
from tests.runs.test_app import reached

__all__ = ["target"]

pytestmark = pytest.mark.every_store

HOUR = 3600 * 1_000_000


class State(TypedDict, total=False):
    id: int
    said: list[str]


def app_on(saver: Checkpointer) -> App:
    """An order that waits for two parcels, and then for an answer."""

    async def parcels(state: State) -> State:
        return {"said": [await receive("parcel"), await receive("parcel")]}

    async def ask(state: State) -> State:
        return {"said": [*state["said"], interrupt("ok?")]}

    builder = StateGraph(State).add_node("parcels", parcels).add_node("ask", ask)
    return App({"order": builder.add_edge(START, "parcels").add_edge("parcels", "ask").compile()}, saver)


def runs_of(saver: Checkpointer) -> RunStore:
    assert isinstance(saver, KeepsRuns)
    return saver.runs


async def moved(saver: Checkpointer, target: Checkpointer, path: Path) -> None:
    await export_threads(saver, path)
    await import_threads(target, path)


async def test_a_run_continues_in_another_store(saver: Checkpointer, target: Checkpointer, tmp_path: Path) -> None:
    app, there = app_on(saver), app_on(target)
    handle = await app.start("order", {"id": 7}, {"metadata": {"user": "Ada"}}, key="order-7")
    later = await app.start("order", {"id": 8}, thread_id="run-order-7", delay=timedelta(days=3))
    async with app.worker():
        await reached(handle, "waiting")
        assert await app.signal("run-order-7", "parcel", "one", key="1")
    await app.signal("run-order-7", "parcel", "two", key="2")

    await moved(saver, target, tmp_path / "threads")

    found = await there.find(handle.run_id)
    assert await _statuses(there) == await _statuses(app)
    assert [each.metadata for each in await there.runs()] == [{"user": "Ada"}, {}]
    # The keys of requests and of messages are in the other store, also the key of a message that was taken.
    assert not (await there.start("order", {"id": 7}, key="order-7")).is_new
    with pytest.raises(KeyReusedError):
        await there.start("order", {"id": 9}, key="order-7")
    for key in ("1", "2"):
        assert not await there.signal("run-order-7", "parcel", "again", key=key)
    async with there.worker():
        await reached(found, "waiting")
        await there.answer("run-order-7", "yes")
        assert await found.result(20) == {"id": 7, "said": ["one", "two", "yes"]}
    assert (await (await there.find(later.run_id)).status()).state == "ready"


async def test_a_run_that_was_running_is_ready_in_the_other_store(
    saver: Checkpointer, target: Checkpointer, tmp_path: Path
) -> None:
    seq = await accept(saver)
    await runs_of(saver).register(NewWorker(1, HOUR, "worker"))
    assert await runs_of(saver).claim(1, ["queue"], 1)

    await moved(saver, target, tmp_path / "threads")

    run, here = await runs_of(target).find_run("thread", seq), await runs_of(saver).find_run("thread", seq)
    assert run is not None
    assert here is not None
    assert (here.state, here.worker) == (RunState.RUNNING, 1)
    assert (run.state, run.worker, run.attempt) == (RunState.READY, 0, 1)
    await runs_of(target).register(NewWorker(2, HOUR, "worker"))
    (claim,) = await runs_of(target).claim(2, ["queue"], 1)
    assert (claim.seq, claim.input, claim.options, claim.attempt) == (seq, b"input", b"options", 2)


async def test_runs_are_the_same_after_an_export_of_an_import(
    saver: Checkpointer, target: Checkpointer, tmp_path: Path
) -> None:
    app = app_on(saver)
    waiting = await app.start("order", {"id": 1}, key="one")
    async with app.worker():
        await reached(waiting, "waiting")
    cancelled = await app.start("order", {"id": 2}, key="two")
    await cancelled.cancel("too late")
    await moved(saver, target, tmp_path / "first")
    back = MemorySaver()
    await moved(target, back, tmp_path / "second")
    assert await _statuses(app_on(back)) == await _statuses(app)
    for thread in ("run-one", "run-two"):
        first, second = [await _exported(each, thread) for each in (target, back)]
        assert _without_made_at(first) == _without_made_at(second)


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("state", 9, "state is 9"),
        ("thread_id", "another", "thread_id"),
        ("input", "text", "input"),
        ("graph", None, "graph"),
        ("waits_on", "{", "waits_on"),
        ("waits_on", '{"topics": 1}', "waits_on"),
        ("metadata", "[]", "metadata"),
    ],
)
async def test_an_invalid_run_is_refused(
    saver: Checkpointer, tmp_path: Path, column: str, value: object, why: str
) -> None:
    source = MemorySaver()
    await accept(source)
    exported = await _exported(source, "thread")
    at = COLUMNS["runs"].index(column)
    rows = [(*row[:at], value, *row[at + 1 :]) for row in exported.tables["runs"]]

    async def damaged(thread: str) -> ExportedThread | None:
        return ExportedThread(thread, {**exported.tables, "runs": rows})

    source.export_thread = damaged  # type: ignore[method-assign]  # as from a damaged database
    await export_threads(source, tmp_path / "threads")
    with pytest.raises(CorruptCheckpointError, match=f"a row of runs.*{why}"):
        await import_threads(saver, tmp_path / "threads")
    assert await saver.list_threads() == []


async def _statuses(app: App) -> list[RunStatus]:
    return await app.runs()


async def _exported(saver: Any, thread: str) -> ExportedThread:
    exported: ExportedThread | None = await saver.export_thread(thread)
    assert exported is not None
    return exported


def _without_made_at(exported: ExportedThread) -> dict[str, list[Any]]:
    """MemorySaver keeps no times of messages."""
    at = COLUMNS["messages"].index("made_at")
    messages = [(*row[:at], *row[at + 1 :]) for row in exported.tables["messages"]]
    tables = {**exported.tables, "messages": messages}
    return {table: sorted(map(tuple, rows), key=repr) for table, rows in tables.items()}


async def test_a_parent_and_its_child_continue_in_another_store(
    saver: Checkpointer, target: Checkpointer, tmp_path: Path
) -> None:
    async def parent(state: State) -> Any:
        child = await start_child("child", {"id": 7})
        return {"said": [*(await child.result())["said"], "parent"]}

    async def child(state: State) -> State:
        return {"said": [await receive("parcel")]}

    def graph_of(node: Any) -> CompiledGraph[Any, Any, Any, Any]:
        return StateGraph(State).add_node("node", node).add_edge(START, "node").compile()

    def family_on(store: Checkpointer) -> App:
        return App({"parent": graph_of(parent), "child": graph_of(child)}, store)

    app, there = family_on(saver), family_on(target)
    handle = await app.start("parent", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()

    await moved(saver, target, tmp_path / "threads")

    assert await _statuses(there) == await _statuses(app)
    (child_id,) = (await (await there.find(handle.run_id)).status()).children
    thread = (await there.find(child_id)).thread_id
    async with run_app(there):
        await there.signal(thread, "parcel", "one")
        assert (await (await there.find(handle.run_id)).result(20))["said"] == ["one", "parent"]
