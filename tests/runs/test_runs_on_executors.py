"""Runs under a worker whose nodes are on executors: lost processes, and a worker that stops during a call."""

import asyncio
import operator
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, TypedDict

import pytest

from durable_graph import START, Checkpointer, RetryPolicy, Send, StateGraph
from durable_graph.errors import RunFailedError
from durable_graph.runs import App
from tests.runtime import heavy
from tests.runtime.pools import Pools

pytestmark = [pytest.mark.every_store, pytest.mark.slow]


class State(TypedDict, total=False):
    n: int
    folder: str
    results: Annotated[list[int], operator.add]
    pids: Annotated[list[int], operator.add]


@pytest.fixture
def pools() -> Iterator[Pools]:
    made = Pools(2)
    yield made
    made.shutdown()


async def test_a_run_finishes_although_a_process_of_its_pool_is_killed(
    saver: Checkpointer, pools: Pools, tmp_path: Path
) -> None:
    retried = RetryPolicy(initial_interval=0, jitter=False)
    builder = StateGraph(State).add_node("heavy", heavy.kill_itself_once, executor=pools, retry_policy=retried)
    pieces = [Send("heavy", {"n": n, "folder": str(tmp_path)}) for n in range(10)]
    builder.add_conditional_edges(START, lambda _: pieces, ["heavy"])
    app = App({"g": builder.compile()}, saver)

    async with app.worker():
        result = await (await app.start("g", {})).result(30)

    assert result["results"] == list(range(10))
    assert len(pools.made) == 2


async def test_a_run_without_a_policy_fails_and_a_retry_of_the_run_finishes_it(
    saver: Checkpointer, pools: Pools, tmp_path: Path
) -> None:
    builder = StateGraph(State).add_node("heavy", heavy.kill_itself_once, executor=pools).add_edge(START, "heavy")
    app = App({"g": builder.compile()}, saver)

    async with app.worker():
        handle = await app.start("g", {"n": 3, "folder": str(tmp_path)})
        with pytest.raises(RunFailedError, match="ExecutorFailedError"):
            await handle.result(30)
        result = await (await app.retry(handle.run_id)).result(30)

    assert result["results"] == [3]


async def test_a_worker_that_stops_takes_back_a_call_that_has_not_begun_and_another_one_finishes_the_run(
    saver: Checkpointer, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as threads:
        occupied = threads.submit(heavy.wait_for_file, {"n": 0, "folder": str(tmp_path)})
        builder = StateGraph(State).add_node("heavy", heavy.square, executor=threads).add_edge(START, "heavy")
        app = App({"g": builder.compile()}, saver)
        async with app.worker(grace=0):
            handle = await app.start("g", {"n": 5})
            await asyncio.to_thread(until_queued, threads)
        (tmp_path / "go").touch()
        occupied.result()
        async with app.worker():
            result = await handle.result(30)

    assert result["results"] == [25]


def until_queued(threads: ThreadPoolExecutor) -> None:
    while threads._work_queue.empty():
        pass
