"""Time: sleeps, and interrupts whose default answer stands once their time is over. Clocks are moved, nobody waits."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    InterruptAnsweredError,
    InvalidOptionError,
    MissingCheckpointerError,
    RetryPolicy,
    StateGraph,
    interrupt,
    sleep,
    task,
)
from durable_graph.runs import App, RunHandle, RunStatus

pytestmark = pytest.mark.every_store


class State(TypedDict, total=False):
    count: int
    answer: str


def one(node: Any) -> CompiledGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder.compile()


async def reached(handle: RunHandle, state: str) -> RunStatus:
    async with asyncio.timeout(20):
        while (status := await handle.status()).state != state:  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.005)
    return status


def move(saver: Any, by: timedelta) -> None:
    """Move the clock of the store's runs."""
    saver.runs.skew += by // timedelta(microseconds=1)


async def test_a_sleeping_run_is_suspended_until_its_time_and_then_continues(saver: Checkpointer) -> None:
    calls: list[str] = []

    async def node(state: State) -> State:
        calls.append("before")
        await sleep(timedelta(days=3))
        calls.append("after")
        return {"count": 1}

    app = App({"nap": one(node)}, saver)
    handle = await app.start("nap", {})
    async with app.worker() as worker:
        status = await reached(handle, "waiting")
        assert status.due is not None
        assert status.accepted_at is not None
        assert timedelta(days=3) <= status.due - status.accepted_at < timedelta(days=3, minutes=1)
        async with asyncio.timeout(20):
            while worker.running:  # noqa: ASYNC110  # the run is suspended just before its task ends
                await asyncio.sleep(0.001)
        move(saver, timedelta(days=2, hours=23))
        assert (await handle.status()).state == "waiting"
        move(saver, timedelta(hours=2))
        worker.nudge()
        assert await handle.result(20) == {"count": 1}
    assert calls == ["before", "before", "after"]


async def test_results_of_tasks_before_a_sleep_are_kept(saver: Checkpointer) -> None:
    calls: list[str] = []

    @task
    async def pay(amount: int) -> int:
        calls.append("pay")
        return amount

    async def node(state: State) -> State:
        paid = await pay(5)
        await sleep(3600)
        await sleep(3600)
        return {"count": paid}

    app = App({"pay": one(node)}, saver)
    handle = await app.start("pay", {})
    async with app.worker() as worker:
        first = (await reached(handle, "waiting")).due
        move(saver, timedelta(hours=1, minutes=1))
        worker.nudge()
        async with asyncio.timeout(20):
            while (await handle.status()).due in (None, first):  # noqa: ASYNC110  # the store has no event
                await asyncio.sleep(0.005)
        move(saver, timedelta(hours=1, minutes=1))
        worker.nudge()
        assert await handle.result(20) == {"count": 5}
    assert calls == ["pay"]


async def test_a_sleep_without_a_worker_continues_by_ainvoke_after_its_time(saver: Checkpointer) -> None:
    async def node(state: State) -> State:
        await sleep(0.05)
        return {"count": 1}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    graph = builder.compile(saver)
    stopped = await graph.ainvoke({}, thread_id="t")
    (asleep,) = stopped["__interrupt__"]
    assert asleep.is_sleep
    assert asleep.due <= datetime.now(UTC) + timedelta(seconds=0.05)
    async with asyncio.timeout(20):
        while "__interrupt__" in (ended := await graph.ainvoke(None, thread_id="t")):  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.01)
    assert ended == {"count": 1}


async def test_an_interrupt_whose_time_is_over_has_its_default_as_the_answer(saver: Checkpointer) -> None:
    async def node(state: State) -> State:
        return {"answer": interrupt("ok?", timeout=timedelta(days=1), default="no")}

    app = App({"ask": one(node)}, saver)
    handle = await app.start("ask", {}, thread_id="t")
    async with app.worker() as worker:
        assert (await reached(handle, "waiting")).due is not None
        (asked,) = (await app.graph("ask").aget_state(thread_id="t")).interrupts
        move(saver, timedelta(days=1, minutes=1))
        worker.nudge()
        assert await handle.result(20) == {"answer": "no"}
    with pytest.raises(InterruptAnsweredError) as late:
        await app.graph("ask").ainvoke(Command(resume={asked.id: "yes"}), thread_id="t")
    assert late.value.answers == {asked.id: "no"}


async def test_an_answer_before_the_time_stands(saver: Checkpointer) -> None:
    async def node(state: State) -> State:
        return {"answer": interrupt("ok?", timeout=timedelta(days=1), default="no")}

    app = App({"ask": one(node)}, saver)
    handle = await app.start("ask", {}, thread_id="t")
    async with app.worker():
        await reached(handle, "waiting")
    await app.answer("t", "yes")
    move(saver, timedelta(days=2))
    async with app.worker():
        assert await handle.result(20) == {"answer": "yes"}


async def test_a_sleep_is_not_answered_by_a_person(saver: Checkpointer) -> None:
    async def nap(state: State) -> State:
        await sleep(timedelta(days=1))
        return {"count": 1}

    async def ask(state: State) -> State:
        return {"answer": interrupt("ok?")}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("nap", nap)
    builder.add_node("ask", ask)
    builder.add_edge(START, "nap")
    builder.add_edge(START, "ask")
    app = App({"both": builder.compile()}, saver)
    handle = await app.start("both", {}, thread_id="t")
    async with app.worker() as worker:
        due = (await reached(handle, "waiting")).due
        # One question is open: the sleep is none.
        await app.answer("t", "yes")
        async with asyncio.timeout(20):
            while (await handle.status()).attempt < 2 or (await handle.status()).state != "waiting":  # noqa: ASYNC110  # the store has no event
                await asyncio.sleep(0.005)
        assert (await handle.status()).due == due
        move(saver, timedelta(days=1, minutes=1))
        worker.nudge()
        assert await handle.result(20) == {"answer": "yes", "count": 1}


async def test_a_sleep_in_a_nested_graph_suspends_the_outermost_run(saver: Checkpointer) -> None:
    async def nap(state: State) -> State:
        await sleep(timedelta(days=1))
        return {"count": 7}

    app = App({"outer": one(one(nap))}, saver)
    handle = await app.start("outer", {})
    async with app.worker() as worker:
        assert (await reached(handle, "waiting")).due is not None
        move(saver, timedelta(days=1, minutes=1))
        worker.nudge()
        assert await handle.result(20) == {"count": 7}


async def test_a_long_pause_before_a_retry_suspends_the_run(saver: Checkpointer) -> None:
    calls: list[str] = []

    async def node(state: State) -> State:
        calls.append("node")
        if len(calls) < 3:
            message = "no connection"
            raise ConnectionError(message)
        return {"count": len(calls)}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    policy = RetryPolicy(max_attempts=5, initial_interval=3600, backoff_factor=1, max_interval=3600, jitter=False)
    builder.add_node("node", node, retry_policy=policy)
    builder.add_edge(START, "node")
    app = App({"call": builder.compile()}, saver)
    handle = await app.start("call", {})
    async with app.worker() as worker:
        first = (await reached(handle, "waiting")).due
        assert first is not None
        assert timedelta(minutes=59) < first - datetime.now(UTC) <= timedelta(hours=1)
        assert calls == ["node"]
        move(saver, timedelta(hours=1, minutes=1))
        worker.nudge()
        async with asyncio.timeout(20):
            while (await handle.status()).due in (None, first):  # noqa: ASYNC110  # the store has no event
                await asyncio.sleep(0.005)
        assert calls == ["node", "node"]
        move(saver, timedelta(hours=1, minutes=1))
        worker.nudge()
        assert await handle.result(20) == {"count": 3}


async def test_a_sleep_needs_a_store_and_a_possible_duration() -> None:
    async def nap(state: State) -> State:
        await sleep(1)
        return {}

    with pytest.raises(MissingCheckpointerError, match="sleep"):
        await one(nap).ainvoke({})

    async def wrong(state: State) -> State:
        await sleep(-1)
        return {}

    with pytest.raises(InvalidOptionError, match="duration"):
        await one(wrong).ainvoke({})
