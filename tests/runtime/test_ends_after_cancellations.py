"""Code that ends although it was cancelled: its result is kept, and its failure is retried by the next resume only."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from durable_graph import START, Checkpointer, Durability, RetryPolicy, Runtime, StateGraph, entrypoint, task
from tests.graphs import THREAD, Nodes, State

pytestmark = pytest.mark.every_store

AGAIN = RetryPolicy(initial_interval=0.0, jitter=False)


class Slow:
    """Code that is cancelled while it runs, in a thread or in the loop, and then fails or returns a result."""

    def __init__(self, *, fails: bool) -> None:
        self.calls = Nodes()
        self._is_running, self._may_end = threading.Event(), threading.Event()
        self._fails = fails

    def in_thread(self) -> str:
        self.calls.note("slow")
        self._is_running.set()
        self._may_end.wait(10)
        return self._end()

    async def in_loop(self) -> str:
        self.calls.note("slow")
        self._is_running.set()
        while not self._may_end.is_set():
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                # The code ignores its cancellation.
                continue
        return self._end()

    async def cancelled(self, call: Awaitable[Any]) -> None:
        """Make the call, cancel it once the code runs, and let the code end."""
        run = asyncio.ensure_future(call)
        while not self._is_running.is_set():  # noqa: ASYNC110  # it may be set in a thread
            await asyncio.sleep(0)
        run.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        self._may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await run

    def _end(self) -> str:
        if self._fails:
            self._fails = False
            message = "no"
            raise ConnectionError(message)
        return "slow"


@pytest.mark.parametrize("is_plain", [True, False])
@pytest.mark.parametrize("is_alone", [True, False])
async def test_a_node_that_fails_during_its_cancellation_is_retried_by_the_next_resume(
    saver: Checkpointer, durability: Durability, is_plain: bool, is_alone: bool
) -> None:
    slow = Slow(fails=True)
    attempts: list[int] = []

    def plain(state: State, runtime: Runtime) -> State:
        attempts.append(runtime.execution_info.node_attempt)
        return {"log": [slow.in_thread()]}

    async def in_loop(state: State, runtime: Runtime) -> State:
        attempts.append(runtime.execution_info.node_attempt)
        return {"log": [await slow.in_loop()]}

    action: Any = plain if is_plain else in_loop
    builder = StateGraph(State).add_node("slow", action, retry_policy=AGAIN).add_edge(START, "slow")
    if not is_alone:
        builder.add_node("beside", slow.calls.noting("beside")).add_edge(START, "beside")
    graph = builder.compile(saver)

    await slow.cancelled(graph.ainvoke({"log": []}, THREAD, durability=durability))
    assert attempts == [1]
    assert (await graph.aget_state(THREAD)).next == ("slow",)

    result = await graph.ainvoke(None, THREAD, durability=durability)
    assert sorted(result["log"]) == ([] if is_alone else ["beside"]) + ["slow"]
    assert attempts == [1, 2]


async def test_a_node_that_fails_when_a_failed_sibling_stops_it_is_retried_by_the_next_resume(
    saver: Checkpointer, durability: Durability
) -> None:
    attempts: list[int] = []
    is_mended = False

    async def stopped(state: State, runtime: Runtime) -> State:
        attempts.append(runtime.execution_info.node_attempt)
        if not is_mended:
            try:
                await asyncio.Event().wait()
            finally:
                message = "stopped"
                raise ConnectionError(message)
        return {"log": ["stopped"]}

    async def fails(state: State) -> State:
        if not is_mended:
            message = "no"
            raise ValueError(message)
        return {"log": ["mended"]}

    builder = StateGraph(State).add_node("stopped", stopped, retry_policy=AGAIN).add_node("fails", fails)
    graph = builder.add_edge(START, "stopped").add_edge(START, "fails").compile(saver)

    with pytest.raises(ValueError, match="no"):
        await graph.ainvoke({"log": []}, THREAD, durability=durability)
    assert attempts == [1]

    is_mended = True
    result = await graph.ainvoke(None, THREAD, durability=durability)
    assert sorted(result["log"]) == ["mended", "stopped"]
    assert attempts == [1, 2]


@pytest.mark.parametrize("within", [0, 1])
@pytest.mark.parametrize("is_plain", [True, False])
async def test_a_task_that_fails_during_its_cancellation_is_called_again_by_the_next_resume(
    saver: Checkpointer, durability: Durability, is_plain: bool, within: int
) -> None:
    slow = Slow(fails=True)
    program = calling(slow.in_thread if is_plain else slow.in_loop, saver, within)

    await slow.cancelled(program.ainvoke("go", THREAD, durability=durability))
    assert slow.calls.taken() == ["slow"]

    assert await program.ainvoke(None, THREAD, durability=durability) == "slow"
    assert slow.calls.taken() == ["slow"]


@pytest.mark.parametrize("within", [0, 1])
@pytest.mark.parametrize("is_plain", [True, False])
async def test_the_result_of_a_task_that_ends_after_its_cancellation_is_kept(
    saver: Checkpointer, durability: Durability, is_plain: bool, within: int
) -> None:
    slow = Slow(fails=False)
    program = calling(slow.in_thread if is_plain else slow.in_loop, saver, within)

    await slow.cancelled(program.ainvoke("go", THREAD, durability=durability))
    assert await program.ainvoke(None, THREAD, durability=durability) == "slow"
    assert slow.calls.taken() == ["slow"]


async def test_the_result_of_a_task_is_kept_if_its_run_is_cancelled_before_the_result_is_recorded(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    runs: list[asyncio.Task[Any]] = []

    async def cancels() -> str:
        calls.note("cancels")
        runs[0].cancel()
        return "kept"

    program = calling(cancels, saver, 0)
    runs.append(asyncio.create_task(program.ainvoke("go", THREAD, durability=durability)))
    with pytest.raises(asyncio.CancelledError):
        await runs[0]

    assert await program.ainvoke(None, THREAD, durability=durability) == "kept"
    assert calls.taken() == ["cancels"]


def calling(function: Callable[[], Any], saver: Checkpointer, within: int) -> Any:
    """A workflow that calls the function as a task, `within` tasks deep, and returns its result."""
    called = task(function, retry_policy=AGAIN)

    @task
    async def around() -> Any:
        return await called()

    @entrypoint(checkpointer=saver)
    async def program(_: object) -> Any:
        return await (around() if within else called())

    return program
