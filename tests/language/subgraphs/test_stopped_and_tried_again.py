"""A graph that is stopped because another one beside it fails goes on when their node is tried again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from durable_graph import START, Checkpointer, Command, Durability, RetryPolicy, Runtime, StateGraph, task
from tests.language.subgraphs.at_once import LONG, calling
from tests.language.trails import THREAD, Calls, Trail

AT_ONCE = RetryPolicy(initial_interval=0.0, jitter=False)


async def test_a_retry_that_another_stops_goes_on_as_the_attempt_that_it_was(
    saver: Checkpointer, durability: Durability
) -> None:
    attempts: list[int] = []
    has_failed, is_mended = asyncio.Event(), False

    async def flaky(state: Trail, runtime: Runtime) -> Trail:
        attempts.append(runtime.execution_info.node_attempt)
        if len(attempts) in (1, 3):
            message = "no"
            raise ConnectionError(message)
        if not is_mended:
            has_failed.set()
            await asyncio.Event().wait()
        return {"value": ["flaky"]}

    async def fails_once(state: Trail) -> Trail:
        nonlocal is_mended
        await has_failed.wait()
        if not is_mended:
            is_mended = True
            message = "no"
            raise ConnectionError(message)
        return {"value": ["mended"]}

    retried = StateGraph(Trail).add_node("flaky", flaky, retry_policy=AT_ONCE).add_edge(START, "flaky").compile()
    failing = Calls().chain(("fails_once", fails_once)).compile()

    async def call() -> list[Any]:
        return list(await asyncio.gather(retried.ainvoke({"value": []}), failing.ainvoke({"value": []})))

    graph = calling(call, saver, retry_policy=AT_ONCE)

    assert await graph.ainvoke({"value": []}, THREAD, durability=durability) == {"value": ["flaky", "mended"]}
    assert attempts == [1, 2, 2, 3]


async def test_what_another_stops_does_not_make_its_calls_again(saver: Checkpointer, durability: Durability) -> None:
    calls = Calls()
    is_waiting, is_mended = asyncio.Event(), False

    @task
    async def once() -> str:
        calls.note("once")
        return "once"

    async def waits(state: Trail) -> Trail:
        found = await once()
        is_waiting.set()
        if not is_mended:
            await asyncio.Event().wait()
        return {"value": [found]}

    async def fails_once(state: Trail) -> Trail:
        nonlocal is_mended
        await is_waiting.wait()
        if not is_mended:
            is_mended = True
            message = "no"
            raise ConnectionError(message)
        return {"value": ["mended"]}

    waiting, failing = calls.chain(("waits", waits)).compile(), calls.chain(("fails_once", fails_once)).compile()

    async def call() -> list[Any]:
        return list(await asyncio.gather(waiting.ainvoke({"value": []}), failing.ainvoke({"value": []})))

    graph = calling(call, saver, retry_policy=AT_ONCE)

    assert await graph.ainvoke({"value": []}, THREAD, durability=durability) == {"value": ["once", "mended"]}
    assert calls.taken() == ["once"]


async def test_what_another_stops_at_any_moment_is_written_once(saver: Checkpointer, durability: Durability) -> None:
    for turns in range(30):
        calls = Calls()
        graph = calling(one_that_fails_after(turns, calls), saver, retry_policy=AT_ONCE)

        await graph.ainvoke({"value": []}, thread_id=str(turns), durability=durability)
        # What was written is read back from the store.
        result = await graph.ainvoke(Command(resume="yes"), thread_id=str(turns), durability=durability)

        assert result == {"value": ["in", *LONG, "ask=yes"]}
        assert calls.taken() == [*LONG, "ask", "ask"]


def one_that_fails_after(turns: int, calls: Calls) -> Callable[[], Awaitable[list[Any]]]:
    """Beside a graph that writes step by step, one that fails once, when the loop has turned so often."""
    writing = calls.chain(*LONG, "ask?").compile()
    tries = iter((False, True, True))

    async def fails(state: Trail) -> Trail:
        for _ in range(turns):
            await asyncio.sleep(0)
        if not next(tries):
            message = "no"
            raise ConnectionError(message)
        return {}

    failing = calls.chain(("fails", fails)).compile()

    async def call() -> list[Any]:
        return list(await asyncio.gather(writing.ainvoke({"value": ["in"]}), failing.ainvoke({"value": []})))

    return call


async def test_a_node_that_is_tried_again_finds_no_earlier_one_at_work(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Calls()
    tries = 0

    async def fails_once(state: Trail) -> Trail:
        nonlocal tries
        tries += 1
        if tries == 1:
            message = "no"
            raise ConnectionError(message)
        return {}

    failing, slow = calls.chain(("fails_once", fails_once)).compile(), calls.chain(*LONG).compile()

    async def call() -> list[Any]:
        return list(await asyncio.gather(failing.ainvoke({"value": []}), slow.ainvoke({"value": []})))

    graph = calling(call, saver, retry_policy=AT_ONCE)

    assert await graph.ainvoke({"value": []}, THREAD, durability=durability) == {"value": list(LONG)}
    assert calls.taken() == list(LONG)
