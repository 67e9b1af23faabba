"""A child run that is cancelled because a sibling fails continues when their node is retried."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from durable_graph import START, Checkpointer, Command, Durability, RetryPolicy, Runtime, StateGraph, task
from tests.graphs import LONG_CHAIN, THREAD, Nodes, State, graph_calling

AT_ONCE = RetryPolicy(initial_interval=0.0, jitter=False)


async def test_a_retry_cancelled_by_the_failure_of_a_sibling_keeps_its_attempt_number(
    saver: Checkpointer, durability: Durability
) -> None:
    attempts: list[int] = []
    has_failed, is_mended = asyncio.Event(), False

    async def flaky(state: State, runtime: Runtime) -> State:
        attempts.append(runtime.execution_info.node_attempt)
        if len(attempts) in (1, 3):
            message = "no"
            raise ConnectionError(message)
        if not is_mended:
            has_failed.set()
            await asyncio.Event().wait()
        return {"log": ["flaky"]}

    async def fails_once(state: State) -> State:
        nonlocal is_mended
        await has_failed.wait()
        if not is_mended:
            is_mended = True
            message = "no"
            raise ConnectionError(message)
        return {"log": ["mended"]}

    retried = StateGraph(State).add_node("flaky", flaky, retry_policy=AT_ONCE).add_edge(START, "flaky").compile()
    failing = Nodes().chain(("fails_once", fails_once)).compile()

    async def call() -> list[Any]:
        return list(await asyncio.gather(retried.ainvoke({"log": []}), failing.ainvoke({"log": []})))

    graph = graph_calling(call, saver, retry_policy=AT_ONCE)

    assert await graph.ainvoke({"log": []}, THREAD, durability=durability) == {"log": ["flaky", "mended"]}
    assert attempts == [1, 2, 2, 3]


async def test_a_child_run_cancelled_by_the_failure_of_a_sibling_does_not_repeat_finished_calls(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    is_waiting, is_mended = asyncio.Event(), False

    @task
    async def once() -> str:
        calls.note("once")
        return "once"

    async def waits(state: State) -> State:
        found = await once()
        is_waiting.set()
        if not is_mended:
            await asyncio.Event().wait()
        return {"log": [found]}

    async def fails_once(state: State) -> State:
        nonlocal is_mended
        await is_waiting.wait()
        if not is_mended:
            is_mended = True
            message = "no"
            raise ConnectionError(message)
        return {"log": ["mended"]}

    waiting, failing = calls.chain(("waits", waits)).compile(), calls.chain(("fails_once", fails_once)).compile()

    async def call() -> list[Any]:
        return list(await asyncio.gather(waiting.ainvoke({"log": []}), failing.ainvoke({"log": []})))

    graph = graph_calling(call, saver, retry_policy=AT_ONCE)

    assert await graph.ainvoke({"log": []}, THREAD, durability=durability) == {"log": ["once", "mended"]}
    assert calls.taken() == ["once"]


async def test_a_child_run_cancelled_at_any_moment_writes_each_update_once(
    saver: Checkpointer, durability: Durability
) -> None:
    for turns in range(30):
        calls = Nodes()
        graph = graph_calling(with_a_failure_after(turns, calls), saver, retry_policy=AT_ONCE)

        await graph.ainvoke({"log": []}, thread_id=str(turns), durability=durability)
        # The resume reads the written state back from the store.
        result = await graph.ainvoke(Command(resume="yes"), thread_id=str(turns), durability=durability)

        assert result == {"log": ["in", *LONG_CHAIN, "ask=yes"]}
        assert calls.taken() == [*LONG_CHAIN, "ask", "ask"]


def with_a_failure_after(turns: int, calls: Nodes) -> Callable[[], Awaitable[list[Any]]]:
    """A child run of many supersteps, parallel to one that fails once after `turns` iterations of the event loop."""
    writing = calls.chain(*LONG_CHAIN, "ask?").compile()
    tries = iter((False, True, True))

    async def fails(state: State) -> State:
        for _ in range(turns):
            await asyncio.sleep(0)
        if not next(tries):
            message = "no"
            raise ConnectionError(message)
        return {}

    failing = calls.chain(("fails", fails)).compile()

    async def call() -> list[Any]:
        return list(await asyncio.gather(writing.ainvoke({"log": ["in"]}), failing.ainvoke({"log": []})))

    return call


async def test_a_retried_node_finds_no_child_run_of_the_last_attempt_still_running(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    tries = 0

    async def fails_once(state: State) -> State:
        nonlocal tries
        tries += 1
        if tries == 1:
            message = "no"
            raise ConnectionError(message)
        return {}

    failing, slow = calls.chain(("fails_once", fails_once)).compile(), calls.chain(*LONG_CHAIN).compile()

    async def call() -> list[Any]:
        return list(await asyncio.gather(failing.ainvoke({"log": []}), slow.ainvoke({"log": []})))

    graph = graph_calling(call, saver, retry_policy=AT_ONCE)

    assert await graph.ainvoke({"log": []}, THREAD, durability=durability) == {"log": list(LONG_CHAIN)}
    assert calls.taken() == list(LONG_CHAIN)
