"""Retention deletes a run while a follower reads its events."""

from datetime import timedelta
from typing import Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, StateGraph, UnknownRunError, get_stream_writer
from durable_graph.runs import App
from durable_graph.runs.upkeep import Retention, Upkeep
from durable_graph.testing import run_app

pytestmark = pytest.mark.every_store


class State(TypedDict, total=False):
    log: str


async def test_a_follower_of_a_run_that_retention_deletes_gets_an_error_and_no_early_end(saver: Checkpointer) -> None:
    async def work(state: State) -> State:
        for number in range(200):
            get_stream_writer()(number)
        return {"log": "worked"}

    graph: Any = StateGraph(State).add_node("work", work).add_edge(START, "work").compile()
    app = App({"g": graph}, saver)
    async with run_app(app):
        handle = await app.start("g", {}, thread_id="t", events="all")
        await handle.result(20)
        seen = 0

        async def follow() -> None:
            nonlocal seen
            async for _ in handle.events():
                seen += 1
                if seen == 10:
                    app.store.skew += timedelta(days=8) // timedelta(microseconds=1)
                    assert (await Upkeep(saver, app.store, Retention()).once()).runs == 1

        with pytest.raises(UnknownRunError):
            await follow()
        assert 10 <= seen < 200
        # Its thread continues.
        assert await app.run("g", {}, thread_id="t") == {"log": "worked"}
