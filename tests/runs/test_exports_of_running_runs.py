"""A thread is exported while a worker executes its run: the run continues in the other store, with its updates."""

import asyncio
from operator import add
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, MemorySaver, StateGraph, export_threads, import_threads
from durable_graph.runs import App

pytestmark = pytest.mark.every_store


class State(TypedDict, total=False):
    log: Annotated[list[str], add]


async def test_a_run_that_is_executed_continues_in_the_other_store_with_its_update(
    saver: Checkpointer, tmp_path: Path
) -> None:
    reached, is_open = asyncio.Event(), asyncio.Event()

    async def first(state: State) -> State:
        return {"log": ["first"]}

    async def second(state: State) -> State:
        reached.set()
        await is_open.wait()
        return {"log": ["second"]}

    builder: Any = StateGraph(State).add_node("first", first).add_node("second", second)
    graph = builder.add_edge(START, "first").add_edge("first", "second").compile()
    here, target = App({"g": graph}, saver), MemorySaver()
    there = App({"g": graph}, target)
    async with here.worker(), there.worker():
        handle = await here.start("g", {}, thread_id="t", key="key")
        later = await here.start("g", {}, thread_id="t")
        await reached.wait()
        await here.update("t", {"log": ["update"]}, key="change")
        await export_threads(saver, tmp_path / "threads")
        await import_threads(target, tmp_path / "threads")
        assert not await there.update("t", {"log": ["again"]}, key="change")
        is_open.set()
        expected = ["first", "update", "second"]
        for app in (here, there):
            log = (await (await app.find(handle.run_id)).result(20))["log"]
            assert sorted(log) == sorted(expected)
            assert (await (await app.find(later.run_id)).result(20))["log"] == [*log, "first", "second"]
            assert not (await app.start("g", {}, thread_id="t", key="key")).is_new
