"""A process that executes parents and children, or a run that continues as new, dies at each call of its store."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from itertools import count
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    ChildFailedError,
    CompiledGraph,
    ContinueAsNew,
    MemorySaver,
    StateGraph,
    entrypoint,
    receive,
    start_child,
    task,
)
from durable_graph.errors import DurableGraphError
from durable_graph.runs import App
from durable_graph.testing import CrashingSaver, CrashPoint
from durable_graph.testing.conformance.run_store_under_test import runs_of
from durable_graph.testing.crash import MOMENTS
from tests.crash.conftest import IS_LONG
from tests.runs.test_crashes_at_store_calls import HOUR, LEASE, try_all

pytestmark = pytest.mark.every_store

Graphs = Mapping[str, CompiledGraph[Any, Any, Any, Any]]


class State(TypedDict, total=False):
    number: int
    log: Annotated[list[Any], add]


class Life:
    """One process: an app whose worker executes runs until none is due, or until the process dies."""

    def __init__(self, graphs: Graphs, saver: CrashingSaver) -> None:
        self.saver = saver
        self.app = App(graphs, saver)

    @property
    def has_died(self) -> bool:
        return self.saver.crashed

    async def settle(self) -> None:
        """Execute the runs that are due. Returns early if the process dies."""
        async with self.app.worker(grace=0, lease=LEASE, max_crashes=100) as worker:
            while not self.has_died and (worker.running or await self._is_busy()):
                worker.nudge()
                await asyncio.sleep(0.001)

    async def keep_up(self) -> None:
        """Do the upkeep of a worker once."""
        await self.app.worker()._upkeep.once()

    async def _is_busy(self) -> bool:
        # The calls of the test itself are not calls of the process.
        stats = await runs_of(self.saver.inner).queue_stats()
        return any(queue.ready or queue.running for queue in stats)


async def survive(
    inner: Checkpointer, graphs: Graphs, script: Callable[[Life], Awaitable[None]], point: CrashPoint
) -> bool:
    """Run the script in a process that dies at this point, and, if it died, again in another one, which shares the
    store. Whether it died."""
    life = Life(graphs, CrashingSaver(inner, point))
    try:
        await script(life)
    except DurableGraphError:
        if not life.has_died:
            raise
    if not life.has_died:
        return False
    # The lease of the dead process ends.
    life.app.store.lease_skew += HOUR // timedelta(microseconds=1)
    again = Life(graphs, CrashingSaver(inner))
    await again.app.store.sweep(100)
    await script(again)
    return True


async def try_calls(saver: Checkpointer, trial: Callable[[CrashPoint], Awaitable[bool]], least: int) -> None:
    """As `try_all`. The short form tries one moment of each call, and on a database of each third call."""
    if IS_LONG:
        return await try_all(saver, trial, least)
    step = 1 if isinstance(saver, MemorySaver) else 3
    for call in count(1, step):
        if not await trial(CrashPoint(call, MOMENTS[call // step % len(MOMENTS)])):
            assert call > least
            return None
    return None


def chain(node: Any) -> CompiledGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder.compile()


async def ship(state: State) -> Any:
    if state["number"] == 2:
        message = "no stock"
        raise ValueError(message)
    return {"log": [state["number"]]}


async def wait(state: State) -> Any:
    return {"log": [await receive("never")]}


async def order(state: State) -> Any:
    first, second = await start_child("ship", {"number": 1}), await start_child("ship", {"number": 2}, key="second")
    try:
        await second.result()
    except ChildFailedError as error:
        failure = error.kind
    return {"log": [(await first.result())["log"], failure]}


async def test_a_parent_gets_the_outcomes_of_its_children_wherever_a_process_dies(saver: Checkpointer) -> None:
    graphs = {"order": chain(order), "ship": chain(ship)}
    threads = count()

    async def trial(point: CrashPoint) -> bool:
        thread = f"thread {next(threads)}"

        async def script(life: Life) -> None:
            handle = await life.app.start("order", {}, thread_id=thread, key="start")
            await life.settle()
            if not life.has_died:
                assert (await handle.result(20))["log"] == [[1], "failed"]

        return await survive(saver, graphs, script, point)

    await try_calls(saver, trial, 15)
    # Each parent has two children, whatever happened.
    children = [run for run in await App(graphs, saver).runs(graph="ship", limit=10_000) if run.parent is not None]
    assert len(children) == 2 * next(threads)


async def cancelled_order(state: State) -> Any:
    return await (await start_child("middle", {})).result()


async def middle(state: State) -> Any:
    return await (await start_child("wait", {})).result()


async def test_children_are_cancelled_with_their_parent_wherever_a_process_dies(saver: Checkpointer) -> None:
    graphs = {"order": chain(cancelled_order), "middle": chain(middle), "wait": chain(wait)}
    threads = count()

    async def trial(point: CrashPoint) -> bool:
        thread = f"thread {next(threads)}"

        async def script(life: Life) -> None:
            app = life.app
            handle = await app.start("order", {}, thread_id=thread, key="start")
            await life.settle()
            if not (await handle.status()).has_ended:
                await handle.cancel()
            # If the process died after that, no caller cancels again: the upkeep of another worker does.
            for _ in range(2):
                await life.keep_up()
                await life.settle()
            if not life.has_died:
                open_runs = [run for run in await app.runs(limit=10_000) if not run.has_ended]
                assert open_runs == []

        return await survive(saver, graphs, script, point)

    await try_calls(saver, trial, 15)


@task
async def double(number: int) -> int:
    return 2 * number


@entrypoint()
async def counting(number: int) -> Any:
    doubled = await double(number)
    return ContinueAsNew(number - 1) if number else doubled


async def test_a_run_continues_as_new_wherever_a_process_dies(saver: Checkpointer) -> None:
    threads = count()

    async def trial(point: CrashPoint) -> bool:
        thread = f"thread {next(threads)}"

        async def script(life: Life) -> None:
            handle = await life.app.start("counting", 2, thread_id=thread, key="start")
            await life.settle()
            if not life.has_died:
                assert await handle.result(20) == 0
                assert len(await life.app.runs(thread_id=thread)) == 1

        return await survive(saver, {"counting": counting}, script, point)

    await try_calls(saver, trial, 8)
