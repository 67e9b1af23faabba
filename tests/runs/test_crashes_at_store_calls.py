"""A process that executes runs dies at each call of its store, and another process finishes its runs."""

import asyncio
import time
import warnings
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import count
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, Command, CompiledGraph, MemorySaver, Send, StateGraph, receive
from durable_graph.errors import DurableGraphError, UnreachableNodeWarning
from durable_graph.run_records import RunState
from durable_graph.runs import App
from durable_graph.testing import CrashingSaver, CrashPoint
from durable_graph.testing.conformance.run_store_under_test import runs_of
from durable_graph.testing.crash import MOMENTS
from tests.crash.conftest import IS_LONG

pytestmark = pytest.mark.every_store

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
LEASE = 0.2
"""In seconds: how long a worker whose store refuses its calls tries to record the ends of its runs."""


class State(TypedDict, total=False):
    log: Annotated[list[str], add]


Graph = CompiledGraph[Any, Any, Any, Any]
Begun = list[tuple[str, int]]
"""The nodes that have begun, each with the time by which the store's clock was moved then."""


class Life:
    """One process: an app whose worker executes runs until they end or wait, or until the process dies."""

    def __init__(self, graph: Graph, saver: CrashingSaver, thread: str) -> None:
        self.saver, self.thread = saver, thread
        self.app = App({"graph": graph}, saver)

    async def settle(self) -> None:
        """Execute the runs that are due. Returns early if the process dies."""
        # On a slow machine the lease may end several times without progress.
        async with self.app.worker(grace=0, lease=LEASE, max_crashes=100) as worker:
            while not self.saver.crashed and (worker.running or await self._is_busy()):
                worker.nudge()
                await asyncio.sleep(0.001)
        (run,) = await runs_of(self.saver.inner).list_runs(thread=self.thread)
        assert run.state not in (RunState.FAILED, RunState.QUARANTINED), run.error

    async def _is_busy(self) -> bool:
        # The calls of the test itself are not calls of the process. One row is read: other workers may free the run.
        runs = runs_of(self.saver.inner)
        run = await runs.find_unfinished(self.thread)
        if run is None or run.state is not RunState.WAITING:
            return run is not None
        return run.due < time.time_ns() // 1000 + runs.skew + HOUR // timedelta(microseconds=1)


async def survive(
    inner: Checkpointer, graph: Graph, thread: str, script: Callable[[Life], Awaitable[None]], point: CrashPoint
) -> bool:
    """Run the script for a thread in a process that dies at this point, and, if it died, again in another one, which
    shares the store. Whether it died."""
    life = Life(graph, CrashingSaver(inner, point), thread)
    try:
        await script(life)
    except DurableGraphError:
        if not life.saver.crashed:
            raise
    if not life.saver.crashed:
        return False
    runs = life.app.store
    # The lease of the dead process ends.
    runs.lease_skew += HOUR // timedelta(microseconds=1)
    again = Life(graph, CrashingSaver(inner), thread)
    await again.app.store.sweep(5)
    await script(again)
    return True


async def try_all(saver: Checkpointer, trial: Callable[[CrashPoint], Awaitable[bool]], least: int) -> None:
    """Try the moments of every call, until a process makes fewer calls. At least so many calls are expected.

    On a database, the short form tries one moment of each second call, the moments in turn.
    """
    has_all = IS_LONG or isinstance(saver, MemorySaver)
    for call in count(1, 1 if has_all else 2):
        moments = MOMENTS if has_all else [MOMENTS[call // 2 % len(MOMENTS)]]
        if not any([await trial(CrashPoint(call, moment)) for moment in moments]):
            assert call > least
            return


def graph_with_delays(begun: Begun, skew: Callable[[], int]) -> Graph:
    def noted(name: str) -> Any:
        async def node(state: State) -> State:
            begun.append((name, skew()))
            return {"log": [name]}

        return node

    async def first(state: State) -> Command[Any]:
        begun.append(("first", skew()))
        return Command(update={"log": ["first"]}, goto=["now", Send("later", {}, after=DAY)])

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("first", first, destinations=("now", "later"))
    for name in ("now", "later", "last"):
        builder.add_node(name, noted(name))
    builder.add_edge(START, "first")
    builder.add_edge(["now", "later"], "last")
    return builder.compile()


async def test_a_delayed_task_begins_once_it_is_due_wherever_a_process_dies(saver: Checkpointer) -> None:
    threads = count()

    async def trial(point: CrashPoint) -> bool:
        begun: Begun = []
        runs = runs_of(saver)
        start = runs.skew
        thread = f"thread {next(threads)}"
        graph = graph_with_delays(begun, lambda: runs.skew - start)

        async def script(life: Life) -> None:
            handle = await life.app.start("graph", {}, thread_id=thread, key="start")
            await life.settle()
            if runs.skew - start < DAY // timedelta(microseconds=1) and not life.saver.crashed:
                status = await handle.status()
                assert status.state == "waiting"
                assert "later" not in [name for name, _ in begun]
                runs.skew = start + (DAY + HOUR) // timedelta(microseconds=1)
            await life.settle()
            if not life.saver.crashed:
                assert await handle.result(20) == {"log": ["first", "now", "later", "last"]}

        died = await survive(saver, graph, thread, script, point)
        for name, at in begun:
            assert name in ("first", "now") or at > DAY // timedelta(microseconds=1)
        return died

    await try_all(saver, trial, 10)


def graph_with_updates() -> Graph:
    async def wait(state: State) -> State:
        return {"log": [await receive("go")]}

    async def extra(state: State) -> State:
        return {"log": ["extra"]}

    async def last(state: State) -> State:
        return {"log": ["last"]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for node in (wait, extra, last):
        builder.add_node(node)
    builder.add_edge(START, "wait")
    builder.add_edge("wait", "last")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreachableNodeWarning)
        return builder.compile()


async def test_updates_are_applied_once_and_in_order_wherever_a_process_dies(saver: Checkpointer) -> None:
    graph = graph_with_updates()
    threads = count()

    async def trial(point: CrashPoint) -> bool:
        thread = f"thread {next(threads)}"

        async def script(life: Life) -> None:
            app = life.app
            handle = await app.start("graph", {}, thread_id=thread, key="start")
            await app.update(thread, {"log": ["one"]}, key="1")
            await life.settle()
            await app.update(thread, {"log": ["two"]}, goto="extra", key="2")
            await app.update(thread, {"log": ["three"]}, key="3")
            await life.settle()
            await app.signal(thread, "go", "went", key="go")
            await life.settle()
            if not life.saver.crashed:
                log = (await handle.result(20))["log"]
                assert log[:3] == ["one", "two", "three"]
                assert sorted(log[3:]) == ["extra", "last", "went"]
                assert log.index("went") < log.index("last")

        return await survive(saver, graph, thread, script, point)

    await try_all(saver, trial, 15)


async def test_a_run_of_a_queue_with_limits_ends_once_wherever_a_process_dies(saver: Checkpointer) -> None:
    threads = count()

    async def step(state: State) -> State:
        return {"log": ["step"]}

    graph = StateGraph(State).add_node("step", step).add_edge(START, "step").compile()

    async def trial(point: CrashPoint) -> bool:
        thread = f"thread {next(threads)}"

        async def script(life: Life) -> None:
            life.app.queue("limited", concurrency=1, per_key=1)
            handle = await life.app.start("graph", {}, thread_id=thread, key="start", queue="limited", limit_key="a")
            await life.settle()
            if not life.saver.crashed:
                assert await handle.result(20) == {"log": ["step"]}
                (limited,) = (await life.app.stats()).queues
                # Nothing of the dead process holds the only slot.
                assert (limited.ready, limited.running) == (0, 0)

        return await survive(saver, graph, thread, script, point)

    await try_all(saver, trial, 5)
