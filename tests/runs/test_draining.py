"""A worker that ends in good order: supersteps in flight finish, and all other work is left to other workers."""

import asyncio
import signal
import time
from datetime import timedelta
from typing import Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, CompiledGraph, StateGraph, interrupt, sleep
from durable_graph.runs import App, RunHandle
from tests.runs.engine.graphs import STEPS, Gate, done_by
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.processes import Processes, all_runs, running_by, until
from tests.runs.engine.worker_process import Place

pytestmark = pytest.mark.every_store

RUNS = 5
NODES = [f"n{number}" for number in range(STEPS)]


class State(TypedDict, total=False):
    log: list[str]


def graph_of(*nodes: Any) -> CompiledGraph[Any, Any, Any, Any]:
    return StateGraph(State).add_sequence(list(nodes)).add_edge(START, nodes[0].__name__).compile()


async def ask(state: State) -> State:
    interrupt("ok?")
    return {}


async def test_a_superstep_in_flight_finishes_and_its_run_is_released(saver: Checkpointer) -> None:
    began: list[str] = []
    is_inside, release = asyncio.Event(), asyncio.Event()

    async def first(state: State) -> State:
        began.append("first")
        is_inside.set()
        await release.wait()
        return {"log": ["first"]}

    async def second(state: State) -> State:
        began.append("second")
        return {"log": [*state["log"], "second"]}

    app = App({"two": graph_of(first, second)}, saver)
    handle = await app.start("two", {})
    worker = app.worker(grace=60)
    async with worker:
        await is_inside.wait()
        # More work than the worker takes on before it ends.
        later = await app.start("two", {})
        draining = asyncio.create_task(worker.drain())
        await asyncio.sleep(0)
        release.set()
        await draining
    assert began.count("second") == 0
    status = await handle.status()
    assert (status.state, status.attempt, status.crashes, status.worker) == ("ready", 1, 0, None)
    assert (await later.status()).state == "ready"
    assert (await app.stats()).workers == 0
    async with app.worker():
        assert await handle.result(20) == {"log": ["first", "second"]}
        assert await later.result(20) == {"log": ["first", "second"]}


async def test_a_node_that_outlasts_the_grace_is_cancelled_and_its_run_is_released(saver: Checkpointer) -> None:
    attempts: list[str] = []
    is_inside = asyncio.Event()

    async def first(state: State) -> State:
        attempts.append("first")
        return {"log": ["first"]}

    async def second(state: State) -> State:
        attempts.append("second")
        is_inside.set()
        if attempts.count("second") == 1:
            await asyncio.Event().wait()
        return {"log": [*state["log"], "second"]}

    app = App({"two": graph_of(first, second)}, saver)
    handle = await app.start("two", {})
    async with app.worker(grace=0.05):
        await is_inside.wait()
    status = await handle.status()
    assert (status.state, status.crashes, status.worker) == ("ready", 0, None)
    assert (await app.stats()).workers == 0
    async with app.worker():
        assert await handle.result(20) == {"log": ["first", "second"]}
    assert attempts == ["first", "second", "second"]


async def rest(state: State) -> State:
    await sleep(timedelta(days=1))
    return {}


async def test_a_drain_whose_caller_is_cancelled_releases_everything(saver: Checkpointer) -> None:
    is_inside = asyncio.Event()

    async def never_ends(state: State) -> State:
        is_inside.set()
        await asyncio.Event().wait()
        return {}

    app = App({"node": graph_of(never_ends)}, saver)
    handle = await app.start("node", {})
    worker = app.worker(grace=3600)
    # Cancelled at each of its first steps, and while it waits for the node.
    for pauses in [*range(1, 12), 200]:
        is_inside.clear()
        await worker.__aenter__()
        await is_inside.wait()
        draining = asyncio.create_task(worker.drain())
        for _ in range(pauses):
            await asyncio.sleep(0)
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        assert (await app.stats()).workers == 0
        assert (await handle.status()).state == "ready"


async def test_two_callers_drain_a_worker_at_once(saver: Checkpointer) -> None:
    is_inside, release = asyncio.Event(), asyncio.Event()

    async def node(state: State) -> State:
        is_inside.set()
        await release.wait()
        return {"log": ["node"]}

    app = App({"node": graph_of(node)}, saver)
    handle = await app.start("node", {})
    async with app.worker(grace=60) as worker:
        await is_inside.wait()
        draining = [asyncio.create_task(worker.drain()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="a worker runs once at a time"):
            await worker.__aenter__()
        release.set()
        await asyncio.gather(*draining)
        assert (await app.stats()).workers == 0
    assert await handle.result(20) == {"log": ["node"]}


async def test_runs_that_wait_do_not_delay_the_end(saver: Checkpointer) -> None:
    app = App({"ask": graph_of(ask), "rest": graph_of(rest)}, saver)
    handles = [await app.start(graph, {}) for graph in ("ask", "rest") for _ in range(10)]
    later = [await app.start("ask", {}, delay=timedelta(days=1)) for _ in range(20)]
    async with app.worker(grace=60):
        await until(lambda: _have_state(handles, "waiting"), "the interrupts and sleeps")
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert await _have_state(handles, "waiting")
    assert await _have_state(later, "ready")
    assert (await app.stats()).workers == 0


async def _have_state(handles: list[RunHandle], state: str) -> bool:
    return all([(await each.status()).state == state for each in handles])


@pytest.mark.slow
async def test_a_process_that_gets_sigterm_finishes_its_supersteps_and_releases_its_runs(
    app: App, processes: Processes, ledger: Ledger, place: Place
) -> None:
    chains = [await app.start("chain", {"seconds": 0.05}) for _ in range(RUNS)]
    gated = await app.start("gated", {})
    asking = await app.start("ask", {})
    worker = processes.worker(lease=30, grace=60)
    await until(lambda: len(ledger.starts(pid=worker.pid)) >= 5 * RUNS, "nodes")
    await until(lambda: _have_state([asking], "waiting"), "the interrupt")
    at = worker.send(signal.SIGTERM)
    # A node that lasts keeps the process until it has finished.
    await until(lambda: _have_one_run(app, worker.pid), "the end of the other runs")
    assert not worker.has_ended
    Gate(place.folder).open()
    assert await worker.ended() == 0

    statuses = [each for each in await all_runs(app) if each.run_id != asking.run_id]
    assert {(each.state, each.attempt, each.crashes, each.worker) for each in statuses} == {("ready", 1, 0, None)}
    assert (await asking.status()).state == "waiting"
    assert (await app.stats()).workers == 0
    # Each node that has begun has been recorded, so that no node is executed twice.
    other = processes.worker(lease=30)
    for each in chains:
        log = done_by((await each.result(60))["log"])
        assert [node for node, _ in log] == NODES
        assert [start.pid for start in ledger.starts() if start.thread == each.thread_id] == [pid for _, pid in log]
    log = done_by((await gated.result(60))["log"])
    assert log == [("first", worker.pid), ("second", worker.pid), ("third", other.pid)]
    assert ledger.starts(pid=worker.pid, since=at + 1) == []


async def _have_one_run(app: App, pid: int) -> bool:
    return len(await running_by(app, pid)) == 1
