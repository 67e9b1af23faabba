"""Runs of threads with a damaged row."""

import asyncio
from pathlib import Path
from typing import Any, TypedDict

import pytest

from durable_graph import START, StateGraph, interrupt
from durable_graph.errors import CorruptCheckpointError, RunFailedError
from durable_graph.runs import App
from durable_graph_sqlite import SqliteSaver
from tests.sqlite.inside import database


class State(TypedDict, total=False):
    log: str


async def work(state: State) -> State:
    return {"log": "worked"}


async def test_the_run_of_a_damaged_thread_fails_and_gives_its_slot_back(tmp_path: Path) -> None:
    graph: Any = StateGraph(State).add_node("work", work).add_edge(START, "work").compile()
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        app = App({"g": graph}, saver)
        await app.run("g", {}, thread_id="damaged")
        damaged = await app.start("g", {}, thread_id="damaged")
        with database(tmp_path / "runs.db") as db:
            db.execute("UPDATE threads SET head = 9 WHERE thread_id = 'damaged'")
        async with app.worker(concurrency=1):
            with pytest.raises(RunFailedError, match="damaged"):
                await damaged.result(20)
            async with asyncio.timeout(20):
                assert await app.run("g", {}, thread_id="sound") == {"log": "worked"}
        assert [each.status for each in await saver.list_threads()] == ["damaged", "done"]


async def ask(state: State) -> State:
    return {"log": interrupt("ok?")}


@pytest.mark.parametrize(
    ("column", "text", "remedy"),
    [("waits_on", "no JSON", "cancel the run"), ("waits_on", "[]", "cancel the run"), ("metadata", "{", "delete")],
)
async def test_a_damaged_row_of_a_run_is_an_error_that_names_the_run(
    tmp_path: Path, column: str, text: str, remedy: str
) -> None:
    graph: Any = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile()
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        app = App({"g": graph}, saver)
        async with app.worker():
            handle = await app.start("g", {}, {"metadata": {"user": "ann"}}, thread_id="t")
            await handle.stopped(20)
        with database(tmp_path / "runs.db") as db:
            db.execute(f"UPDATE runs SET {column} = ?", (text,))  # noqa: S608  # a column's name
        for read in (app.runs, handle.status, lambda: app.unfinished("t")):
            with pytest.raises(CorruptCheckpointError, match=f"run {handle.run_id}.*{remedy}") as raised:
                await read()
            assert raised.value.thread_id == "t"
        if column == "waits_on":
            summary = await app.threads.get("t")
            assert (summary.status, "cancel the run" in (summary.error or "")) == ("error", True)
            assert (await handle.cancel()).state == "cancelled"
