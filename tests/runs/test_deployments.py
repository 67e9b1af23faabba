"""Rolling deployments: workers with an older and a newer version of a graph, and workers with other graphs."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from durable_graph import START, Checkpointer, CompiledGraph, StateGraph, interrupt
from durable_graph.runs import App
from durable_graph.testing import move_clock
from tests.runs.engine.processes import until


class State(TypedDict, total=False):
    approved: str


async def prepare(state: State) -> State:
    return {}


async def approve(state: State) -> State:
    return {"approved": interrupt("Ship it?")}


def older() -> CompiledGraph[Any, Any, Any, Any]:
    return StateGraph(State).add_node("prepare", prepare).add_edge(START, "prepare").compile()


def newer() -> CompiledGraph[Any, Any, Any, Any]:
    builder = StateGraph(State).add_node("prepare", prepare).add_node("approve", approve)
    return builder.add_edge(START, "prepare").add_edge("prepare", "approve").compile()


async def test_a_worker_without_the_nodes_of_a_run_leaves_it_to_a_worker_that_has_them(saver: Checkpointer) -> None:
    new, old = App({"order": newer()}, saver), App({"order": older()}, saver)
    handle = await new.start("order", {}, thread_id="t")
    async with new.worker():
        await handle.stopped(20)
    await new.answer("t", "ada")

    async with old.worker():

        async def is_released() -> bool:
            status = await handle.status()
            return status.attempt >= 2 and status.state == "ready"

        await until(is_released, "the release by the older version")
        status = await handle.status()
    # Not at once, so that the older worker does not take it again and again.
    assert status.due is not None
    assert status.due > datetime.now(UTC)
    assert (status.crashes, status.error) == (0, None)

    await move_clock(saver, timedelta(hours=1))
    async with new.worker():
        assert await handle.result(20) == {"approved": "ada"}


async def test_a_worker_claims_no_run_of_a_graph_that_it_does_not_have(saver: Checkpointer) -> None:
    both, one = App({"order": older(), "other": older()}, saver), App({"other": older()}, saver)
    order = await both.start("order", {})
    async with one.worker():
        await (await one.start("other", {})).result(20)
        assert (await order.status()).attempt == 0
    async with both.worker():
        await order.result(20)
