"""Nodes that wait for other runs, and hold their worker's slots meanwhile."""

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    CompiledGraph,
    RunDeadlockError,
    RunFailedError,
    StateGraph,
    UnknownRunError,
)
from durable_graph.runs import App

pytestmark = pytest.mark.every_store


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    wait: bool


def graph_of(node: Any) -> CompiledGraph[Any, Any, Any, Any]:
    return StateGraph(State).add_node("node", node).add_edge(START, "node").compile()


async def work(state: State) -> State:
    return {"log": ["worked"]}


def parents(saver: Checkpointer, how: str = "run") -> App:
    """Graphs of which `parent` waits for a run of `child` in its node."""

    async def wait(state: State) -> State:
        if how == "run":
            return {"log": (await app.run("child", {}))["log"]}
        handle = await app.start("child", {})
        if how == "events":
            async for _ in handle.events():
                pass
        elif how == "cancelled":
            await handle.cancel()
            return {"log": [str((await handle.status()).state)]}
        return {"log": (await handle.result())["log"]}

    app = App({"parent": graph_of(wait), "child": graph_of(work)}, saver)
    return app


@pytest.mark.parametrize("how", ["run", "result", "events"])
async def test_a_node_that_waits_for_its_own_slot_gets_an_error(saver: Checkpointer, how: str) -> None:
    app = parents(saver, how)
    async with app.worker(concurrency=1):
        handle = await app.start("parent", {})
        with pytest.raises(RunFailedError, match="RunDeadlockError") as failed:
            await handle.result(30)
        assert "the only slot is held by nodes that wait" in failed.value.error
        assert "raise concurrency=, or start another worker" in failed.value.error
        # The run that it waited for is accepted, and executed in the slot that is free now.
        (child,) = await app.runs(graph="child")
        assert (await (await app.find(child.run_id)).result(30))["log"] == ["worked"]


async def test_of_the_nodes_in_all_slots_one_gets_an_error_and_the_others_continue(saver: Checkpointer) -> None:
    entered = asyncio.Barrier(3)

    async def wait(state: State) -> State:
        await entered.wait()
        return {"log": (await app.run("child", {}))["log"]}

    app = App({"parent": graph_of(wait), "child": graph_of(work)}, saver)
    async with app.worker(concurrency=3):
        handles = [await app.start("parent", {}) for _ in range(3)]
        results = await asyncio.gather(*(each.result(30) for each in handles), return_exceptions=True)
    failed = [each for each in results if isinstance(each, RunFailedError)]
    assert [each for each in results if each not in failed] == [{"log": ["worked"]}] * 2
    assert len(failed) == 1
    assert "all 3 slots are held by nodes that wait" in failed[0].error


async def test_a_node_waits_for_a_run_while_a_slot_is_free_or_becomes_free(saver: Checkpointer) -> None:
    app = parents(saver)
    async with app.worker(concurrency=2):
        for each in [await app.start(graph, {}) for graph in ("parent", *["child"] * 4)]:
            assert (await each.result(30))["log"] == ["worked"]


async def test_a_node_waits_for_a_run_that_another_worker_may_execute(saver: Checkpointer) -> None:
    app = parents(saver)
    elsewhere = App({"child": graph_of(work)}, saver)
    async with app.worker(concurrency=1), elsewhere.worker():
        assert (await (await app.start("parent", {})).result(30))["log"] == ["worked"]


async def test_a_second_worker_of_the_process_has_a_slot_for_the_run(saver: Checkpointer) -> None:
    app = parents(saver)
    async with app.worker(concurrency=1), app.worker(concurrency=1):
        assert (await (await app.start("parent", {})).result(30))["log"] == ["worked"]


async def test_a_node_cancels_a_run_without_waiting_for_a_slot(saver: Checkpointer) -> None:
    app = parents(saver, "cancelled")
    async with app.worker(concurrency=1):
        assert (await (await app.start("parent", {})).result(30))["log"] == ["cancelled"]


@pytest.mark.parametrize("is_own", [True, False])
async def test_a_node_that_waits_for_its_own_thread_gets_an_error(saver: Checkpointer, *, is_own: bool) -> None:
    refused: list[str] = []

    async def wait(state: State) -> State:
        if not state.get("wait"):
            return {"log": ["later"]}
        own = await app.runs(thread_id="t", state="running")
        handle = await app.find(own[0].run_id) if is_own else await app.start("parent", {"wait": False}, thread_id="t")
        with pytest.raises(RunDeadlockError, match="of its own thread 't'") as caught:
            await handle.result()
        refused.append(caught.value.run_id)
        return {"log": ["caught"]}

    app = App({"parent": graph_of(wait)}, saver)
    async with app.worker(concurrency=5):
        handle = await app.start("parent", {"wait": True}, thread_id="t")
        assert (await handle.result(30))["log"] == ["caught"]
    assert (refused == [handle.run_id]) is is_own


async def test_code_that_outlives_its_node_waits_as_other_code_does(saver: Checkpointer) -> None:
    tasks: list[asyncio.Task[Any]] = []
    may_wait = asyncio.Event()

    async def wait_later() -> Any:
        await may_wait.wait()
        return await (await app.start("child", {}, thread_id="t")).result(30)

    async def leave(state: State) -> State:
        tasks.append(asyncio.create_task(wait_later()))
        return {"log": ["left"]}

    app = App({"parent": graph_of(leave), "child": graph_of(work)}, saver)
    async with app.worker(concurrency=1):
        assert (await (await app.start("parent", {}, thread_id="p")).result(30))["log"] == ["left"]
        may_wait.set()
        assert (await tasks[0])["log"] == ["worked"]


async def test_the_run_that_a_node_waits_for_is_deleted(saver: Checkpointer) -> None:
    has_begun = asyncio.Event()

    async def wait(state: State) -> State:
        handle = await app.start("child", {}, thread_id="child", delay=3600)
        has_begun.set()
        try:
            await handle.result()
        except UnknownRunError:
            return {"log": ["unknown"]}
        return {}

    app = App({"parent": graph_of(wait), "child": graph_of(work)}, saver)
    async with app.worker(concurrency=2):
        handle = await app.start("parent", {})
        await has_begun.wait()
        await saver.delete_thread("child")
        assert (await handle.result(30))["log"] == ["unknown"]
