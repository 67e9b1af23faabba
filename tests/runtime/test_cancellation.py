"""Cancelling keeps finished work, leaves no task behind, and leaves the thread resumable."""

import asyncio
import operator
import threading
from collections import Counter
from typing import Annotated, Any, TypedDict

import anyio
import anyio.to_thread
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_graph import (
    END,
    START,
    Checkpointer,
    Durability,
    GraphRecursionError,
    MemorySaver,
    NodeCancelledError,
    Runtime,
    StateGraph,
)


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def with_one_stuck(calls: Counter[str], stuck: asyncio.Event, gate: asyncio.Event) -> StateGraph[State]:
    """a and b finish, c waits for the gate, then d. `stuck` is set once c waits."""

    def logging(name: str) -> Any:
        async def node(state: State) -> State:
            calls[name] += 1
            if name == "c":
                stuck.set()
                await gate.wait()
            return {"log": [name]}

        return node

    builder = StateGraph(State)
    for name in "abcd":
        builder.add_node(name, logging(name))
    for name in "abc":
        builder.add_edge(START, name)
    builder.add_edge(["a", "b", "c"], "d")
    return builder


async def settled() -> None:
    """Wait until every task that does not wait for the gate has finished."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("how", ["task.cancel", "twice", "anyio scope", "timeout"])
async def test_finished_results_are_kept_however_the_run_is_cancelled(
    saver: Checkpointer, durability: Durability, how: str
) -> None:
    calls: Counter[str] = Counter()
    stuck, gate = asyncio.Event(), asyncio.Event()
    graph = with_one_stuck(calls, stuck, gate).compile(saver)

    async def call() -> Any:
        return await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    before = asyncio.all_tasks()
    match how:
        case "task.cancel" | "twice":
            task = asyncio.create_task(call())
            await stuck.wait()
            await settled()
            task.cancel()
            if how == "twice":
                await asyncio.sleep(0)
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        case "anyio scope":
            async with anyio.create_task_group() as group:
                group.start_soon(call)
                await stuck.wait()
                await settled()
                group.cancel_scope.cancel()
        case "timeout":
            with pytest.raises(TimeoutError):  # noqa: PT012  # the timeout has to begin inside
                async with asyncio.timeout(None) as timeout:
                    stuck_task = asyncio.create_task(stuck.wait())
                    stuck_task.add_done_callback(lambda _: timeout.reschedule(asyncio.get_running_loop().time() + 0.05))
                    await call()

    assert {task for task in asyncio.all_tasks() if not _is_savers_own(task)} <= before
    gate.set()
    result = await graph.ainvoke(None, thread_id="t")
    assert result["log"] == ["in", "a", "b", "c", "d"]
    assert calls == {"a": 1, "b": 1, "c": 2, "d": 1}


def _is_savers_own(task: "asyncio.Task[Any]") -> bool:
    return "durable_graph_sqlite" in repr(task.get_coro())


async def test_a_cancelled_run_waits_for_a_plain_function_in_its_thread_and_keeps_its_result(
    saver: Checkpointer,
) -> None:
    entered, gate = threading.Event(), threading.Event()
    calls: Counter[str] = Counter()

    def slow(state: State) -> State:
        calls["slow"] += 1
        entered.set()
        gate.wait(10)
        return {"log": ["slow"]}

    builder = StateGraph(State)
    builder.add_node("slow", slow)
    builder.add_edge(START, "slow")
    graph = builder.compile(saver)
    task = asyncio.create_task(graph.ainvoke({}, thread_id="t"))
    while not entered.is_set():  # noqa: ASYNC110  # it is set in a thread
        await asyncio.sleep(0)

    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.values, snapshot.next) == ({"log": ["slow"]}, ("slow",))
    assert (await graph.ainvoke(None, thread_id="t"))["log"] == ["slow"]
    assert calls == {"slow": 1}


async def test_a_run_that_is_cancelled_in_a_router_is_not_stored_as_failed(
    saver: Checkpointer, durability: Durability
) -> None:
    choosing = asyncio.Event()

    async def node(state: State) -> State:
        return {"log": ["node"]}

    async def choose(state: State) -> str:
        if not choosing.is_set():
            choosing.set()
            await asyncio.Event().wait()
        return END

    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_conditional_edges("node", choose)
    graph = builder.compile(saver)
    task = asyncio.create_task(graph.ainvoke({}, thread_id="t", durability=durability))
    await choosing.wait()

    task.cancel()

    await asyncio.wait({task})
    assert task.cancelled()
    assert [thread.status for thread in await saver.list_threads()] == ["running"]
    assert await graph.ainvoke(None, thread_id="t") == {"log": ["node"]}


@pytest.mark.parametrize("ended_by", ["cancellation", "failure"])
async def test_a_plain_function_that_waits_for_a_worker_thread_is_not_started_after_its_run_has_ended(
    saver: Checkpointer, ended_by: str
) -> None:
    threads = int(anyio.to_thread.current_default_thread_limiter().total_tokens)
    begun: list[str] = []
    gate, full = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def occupying(state: State, runtime: Runtime) -> None:
        begun.append(runtime.execution_info.node)
        if len(begun) == threads:
            loop.call_soon_threadsafe(full.set)
        gate.wait(10)

    async def failing(state: State) -> None:
        await full.wait()
        loop.call_soon(gate.set)
        raise ValueError("failing")

    builder = StateGraph(State)
    for number in range(threads + 10):
        builder.add_node(f"occupying {number}", occupying)
        builder.add_edge(START, f"occupying {number}")
    if ended_by == "failure":
        builder.add_node("failing", failing)
        builder.add_edge(START, "failing")
    task = asyncio.create_task(builder.compile(saver).ainvoke({}, thread_id="t"))
    await full.wait()

    if ended_by == "cancellation":
        task.cancel()
        await asyncio.sleep(0)
        gate.set()

    await asyncio.wait({task})
    assert task.cancelled() if ended_by == "cancellation" else isinstance(task.exception(), ValueError)
    await anyio.to_thread.run_sync(lambda: None)  # functions that still waited for a thread would have started
    assert len(begun) == threads


async def test_a_coroutine_that_a_plain_function_returns_after_a_cancellation_is_not_started(
    saver: Checkpointer,
) -> None:
    entered, gate = threading.Event(), threading.Event()
    begun = 0

    async def late(state: State) -> State:
        nonlocal begun
        begun += 1
        return {"log": ["late"]}

    def handing_back(state: State) -> Any:
        entered.set()
        gate.wait(10)
        return late(state)

    builder = StateGraph(State)
    builder.add_node("late", handing_back)
    builder.add_edge(START, "late")
    graph = builder.compile(saver)
    task = asyncio.create_task(graph.ainvoke({}, thread_id="t"))
    while not entered.is_set():  # noqa: ASYNC110  # it is set in a thread
        await asyncio.sleep(0)

    task.cancel()
    await asyncio.sleep(0)
    gate.set()
    await asyncio.wait({task})

    assert task.cancelled()
    assert begun == 0
    assert [each.error for each in (await graph.aget_state(thread_id="t")).tasks] == [None]
    assert await graph.ainvoke(None, thread_id="t") == {"log": ["late"]}


async def test_a_node_that_raises_a_cancellation_of_its_own_fails(saver: Checkpointer) -> None:
    async def node(state: State) -> None:
        raise asyncio.CancelledError

    builder = StateGraph(State)
    builder.add_node("odd", node)
    builder.add_edge(START, "odd")

    with pytest.raises(NodeCancelledError, match="'odd' raised CancelledError by itself"):
        await builder.compile(saver).ainvoke({}, thread_id="t")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=st.integers(0, 120), again=st.booleans(), mode=st.sampled_from(["sync", "async", "exit"]))
def test_a_cancellation_at_any_moment_loses_no_finished_result(turns: int, again: bool, mode: Durability) -> None:
    asyncio.run(_cancel_after(turns, again, mode))


async def _cancel_after(turns: int, again: bool, mode: Durability) -> None:
    calls: Counter[str] = Counter()
    finished: list[str] = []
    store = MemorySaver()

    def node(name: str, length: int) -> Any:
        async def run(state: State) -> State:
            calls[name] += 1
            for _ in range(length):
                await asyncio.sleep(0)
            finished.append(name)
            return {"log": [name]}

        return run

    builder = StateGraph(State)
    for place, name in enumerate("abcde"):
        builder.add_node(name, node(name, place * 3))
    for name in "abc":
        builder.add_edge(START, name)
    builder.add_edge(["a", "b", "c"], "d")
    builder.add_edge("d", "e")
    graph = builder.compile(store)
    task = asyncio.create_task(graph.ainvoke({"log": ["in"]}, thread_id="t", durability=mode))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    if again:
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait({task})
    kept = list(finished)

    assert asyncio.all_tasks() == {asyncio.current_task()}
    if not (await graph.aget_state(thread_id="t")).metadata:
        assert calls.total() == 0  # nothing runs before the input is durable
        return
    if (await graph.aget_state(thread_id="t")).next or not task.cancelled():
        final = task.result() if not task.cancelled() else await graph.ainvoke(None, thread_id="t")
        assert final["log"] == ["in", "a", "b", "c", "d", "e"]
    assert all(finished.count(name) == 1 for name in kept)
    assert all(calls[name] == 1 for name in kept)


async def test_a_node_may_catch_an_error_of_its_own_task_group(saver: Checkpointer) -> None:
    """Before Python 3.13 the group leaves a cancellation that nobody requested on the task that it ran in."""

    async def fails() -> None:
        raise ValueError

    async def careful(state: State) -> State:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
        except* ValueError:
            pass
        return {"log": ["careful"]}

    builder = StateGraph(State)
    builder.add_sequence([("careful", careful), ("again", careful)])
    builder.add_edge(START, "careful")
    graph = builder.compile(saver)

    assert (await graph.ainvoke({}, thread_id="t"))["log"] == ["careful", "careful"]


async def test_a_run_whose_nodes_never_wait_lets_other_tasks_run(saver: Checkpointer, durability: Durability) -> None:
    turns = 0

    async def turning() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    builder = _never_waiting()
    config = {"recursion_limit": 100}
    stored = builder.compile(saver).ainvoke({}, config, thread_id="t", durability=durability)
    for run in (builder.compile().ainvoke({}, config), stored):
        other = asyncio.create_task(turning())
        turns = 0
        with pytest.raises(GraphRecursionError):
            await run
        other.cancel()

        assert turns >= 100


async def test_a_run_whose_nodes_never_wait_can_be_cancelled() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await _never_waiting().compile().ainvoke({}, {"recursion_limit": 1_000_000_000})


def _never_waiting() -> StateGraph[State]:
    async def node(state: State) -> State:
        return {}

    return StateGraph(State).add_node("node", node).add_edge(START, "node").add_edge("node", "node")
