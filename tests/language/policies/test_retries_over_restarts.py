"""The count of attempts and the time of the next attempt are stored, and a restart changes neither."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from durable_graph import START, Checkpointer, Durability, MemorySaver, RetryPolicy, Runtime, StateGraph
from tests.graphs import State
from tests.language.policies.clock import in_no_time, now


def flaky_graph(saver: Checkpointer, policy: RetryPolicy, began: list[tuple[int, float]]) -> Any:
    """A graph of a node that always fails, and that records the number and the time of each attempt."""

    async def flaky(state: State, runtime: Runtime[None]) -> State:
        began.append((runtime.execution_info.node_attempt, now()))
        message = f"number {runtime.execution_info.node_attempt}"
        raise ConnectionError(message)

    builder = StateGraph(State)
    builder.add_node("flaky", flaky, retry_policy=policy)
    builder.add_edge(START, "flaky")
    return builder.compile(saver)


async def stopped_after(attempts: int, graph: Any, began: list[tuple[int, float]], given: Any, **options: Any) -> None:
    """Run until this number of attempts has failed, and cancel the run in the pause that follows."""
    running = asyncio.create_task(graph.ainvoke(given, thread_id="t", **options))
    while len(began) < attempts:  # noqa: ASYNC110  # while a task is ready, the clock does not jump over the pause
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
def test_attempts_before_a_restart_are_counted(mode: Durability) -> None:
    """In LangGraph every process begins again with the first attempt."""
    policy = RetryPolicy(initial_interval=0.5, max_attempts=3, jitter=False)
    began: list[tuple[int, float]] = []

    async def twice() -> None:
        saver = MemorySaver()
        await stopped_after(1, flaky_graph(saver, policy, began), began, {}, durability=mode)
        with pytest.raises(ConnectionError, match="number 3"):
            await flaky_graph(saver, policy, began).ainvoke(None, thread_id="t", durability=mode)

    in_no_time(twice())
    assert [attempt for attempt, _ in began] == [1, 2, 3]


def test_the_pause_before_the_next_attempt_continues_after_a_restart() -> None:
    """In LangGraph the next attempt starts without a pause."""
    policy = RetryPolicy(initial_interval=1000, backoff_factor=2, max_interval=10_000, max_attempts=3, jitter=False)
    began: list[tuple[int, float]] = []

    async def twice() -> None:
        saver = MemorySaver()
        await stopped_after(1, flaky_graph(saver, policy, began), began, {})
        with pytest.raises(ConnectionError, match="number 3"):
            await flaky_graph(saver, policy, began).ainvoke(None, thread_id="t")

    in_no_time(twice())
    # The due time is one of the wall clock, on which almost no time has passed.
    assert [when for _, when in began] == [pytest.approx(each, abs=60) for each in (0, 1000, 3000)]


def test_an_attempt_that_became_due_before_the_restart_starts_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = RetryPolicy(initial_interval=1000, max_interval=1000, max_attempts=2, jitter=False)
    wall_clock = time.time
    began: list[tuple[int, float]] = []

    async def twice() -> None:
        saver = MemorySaver()
        await stopped_after(1, flaky_graph(saver, policy, began), began, {})
        monkeypatch.setattr(time, "time", lambda: wall_clock() + 1001)
        with pytest.raises(ConnectionError, match="number 2"):
            await flaky_graph(saver, policy, began).ainvoke(None, thread_id="t")

    in_no_time(twice())
    assert [when for _, when in began] == [pytest.approx(0, abs=0.1)] * 2


async def test_every_store_keeps_the_count_of_attempts(saver: Checkpointer) -> None:
    policy = RetryPolicy(initial_interval=0.05, max_attempts=2, jitter=False)
    began: list[tuple[int, float]] = []
    await stopped_after(1, flaky_graph(saver, policy, began), began, {})

    with pytest.raises(ConnectionError, match="number 2"):
        await flaky_graph(saver, policy, began).ainvoke(None, thread_id="t")

    assert [attempt for attempt, _ in began] == [1, 2]


async def test_new_input_restarts_the_count_of_attempts(saver: Checkpointer) -> None:
    policy = RetryPolicy(initial_interval=0, max_attempts=2, jitter=False)
    began: list[tuple[int, float]] = []
    graph = flaky_graph(saver, policy, began)

    for _ in range(2):
        with pytest.raises(ConnectionError, match="number 2"):
            await graph.ainvoke({}, thread_id="t")

    assert Counter(attempt for attempt, _ in began) == {1: 2, 2: 2}
