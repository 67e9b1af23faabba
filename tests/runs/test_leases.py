"""What a worker does while its lease is in question: nodes that block, a store that is away, a thread that is taken."""

import asyncio
import time
from typing import Any, TypedDict

import pytest

from durable_graph import START, CheckpointConflictError, Checkpointer, CompiledGraph, StateGraph
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.errors import RunFailedError, StoreUnavailableError
from durable_graph.run_records import NewWorker
from durable_graph.runs import App, RunHandle
from durable_graph.runs.lease import Lease
from durable_graph.testing import expire_leases
from tests.runs.engine.graphs import Gate, done_by
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.outages import Outage, outage_of
from tests.runs.engine.processes import Processes, until
from tests.runs.engine.worker_process import Place, invoke

pytestmark = pytest.mark.every_store

LEASE = 0.3


class State(TypedDict, total=False):
    count: int


class Steps:
    """A graph of three nodes, which note that they begin. The second one waits for `release`."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.cancelled: list[str] = []
        self.is_inside = asyncio.Event()
        self.release = asyncio.Event()

    def graph(self) -> CompiledGraph[Any, Any, Any, Any]:
        return StateGraph(State).add_sequence([self.first, self.second, self.third]).add_edge(START, "first").compile()

    async def first(self, state: State) -> State:
        self.began.append("first")
        return {"count": 1}

    async def second(self, state: State) -> State:
        self.began.append("second")
        self.is_inside.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.append("second")
            raise
        return {"count": state["count"] + 1}

    async def third(self, state: State) -> State:
        self.began.append("third")
        return {"count": state["count"] + 1}


async def test_a_lease_whose_event_loop_was_closed_is_renewed_no_more(saver: Checkpointer) -> None:
    app = App({"steps": Steps().graph()}, saver)
    worker = drawn_incarnation()
    await app.store.register(NewWorker(worker, round(LEASE * 1_000_000), "a worker"))

    async def begin() -> Lease:
        return Lease(app.store, worker, LEASE, time.monotonic(), lambda _: None)

    def leave() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin())
        # Nobody has left the block of the worker.
        loop.close()

    await asyncio.to_thread(leave)
    async with asyncio.timeout(20):
        while (await app.stats()).workers:  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(LEASE / 3)


@pytest.fixture
def outage(saver: Checkpointer) -> Outage:
    return outage_of(saver)


@pytest.fixture
def steps() -> Steps:
    return Steps()


async def has_no_lease(app: App) -> bool:
    return (await app.stats()).workers == 0


# A node that blocks


@pytest.mark.slow
async def test_a_node_that_blocks_the_event_loop_keeps_the_lease(
    app: App, processes: Processes, ledger: Ledger
) -> None:
    handle = await app.start("block", {"seconds": 2.0})
    holder = processes.worker(lease=0.5)
    await until(lambda: len(ledger.starts(pid=holder.pid)) == 2, "the node that blocks")
    processes.worker(lease=0.5)
    log = done_by((await handle.result(60))["log"])
    assert log == [("first", holder.pid), ("second", holder.pid), ("third", holder.pid)]
    status = await handle.status()
    assert (status.attempt, status.crashes) == (1, 0)


# A store that is away


async def test_a_worker_without_a_store_begins_no_node_after_its_lease_and_registers_again(
    saver: Checkpointer, outage: Outage, steps: Steps
) -> None:
    app = App({"steps": steps.graph()}, saver)
    handle = await app.start("steps", {})
    async with app.worker(lease=LEASE) as worker:
        await steps.is_inside.wait()
        before = worker.id
        outage.absent = {"heartbeat", "sweep"}
        await until(lambda: has_no_lease(app), "the end of the lease")
        steps.release.set()
        await until(lambda: worker.running == 0, "the end of the execution")
        assert steps.began == ["first", "second"]
        outage.end()
        assert await handle.result(20) == {"count": 3}
        assert worker.id != before
    assert steps.began == ["first", "second", "third"]
    assert await has_no_lease(app)


async def test_the_tasks_of_a_superstep_that_wait_for_their_turn_do_not_begin_without_a_lease(
    saver: Checkpointer, outage: Outage
) -> None:
    began: list[str] = []
    is_inside, release = asyncio.Event(), asyncio.Event()

    def node(name: str) -> Any:
        async def execute(state: State) -> State:
            began.append(name)
            is_inside.set()
            await release.wait()
            return {}

        return execute

    builder = StateGraph(State)
    for name in ("a", "b", "c"):
        builder.add_node(name, node(name)).add_edge(START, name)
    app = App({"fan": builder.compile()}, saver)
    handle = await app.start("fan", {}, max_concurrency=1)
    async with app.worker(lease=LEASE) as worker:
        await is_inside.wait()
        outage.absent = {"heartbeat", "sweep"}
        await until(lambda: has_no_lease(app), "the end of the lease")
        release.set()
        await until(lambda: worker.running == 0, "the end of the execution")
        assert began == ["a"]
        outage.end()
        await handle.result(20)
    # The result of the first one was recorded: nobody else had claimed the run.
    assert began == ["a", "b", "c"]


async def test_a_worker_that_the_store_has_forgotten_gives_up_its_executions_and_registers_again(
    saver: Checkpointer, steps: Steps
) -> None:
    app = App({"steps": steps.graph()}, saver)
    handle = await app.start("steps", {})
    async with app.worker(lease=LEASE) as worker:
        await steps.is_inside.wait()
        before = worker.id
        await app.store.unregister(before)
        await until(lambda: steps.cancelled == ["second"], "the cancellation")
        steps.release.set()
        assert await handle.result(20) == {"count": 3}
        assert worker.id != before
    assert steps.began == ["first", "second", "second", "third"]
    status = await handle.status()
    assert (status.attempt, status.crashes) == (2, 0)


async def test_a_lease_that_was_over_is_not_renewed(saver: Checkpointer, outage: Outage, steps: Steps) -> None:
    """Executions have stopped because of its end, and the store has not noticed it."""
    app = App({"steps": steps.graph()}, saver)
    handle = await app.start("steps", {})
    async with app.worker(lease=LEASE) as worker:
        await steps.is_inside.wait()
        before = worker.id
        # The store renews the lease, and its reply is lost.
        outage.mute = {"heartbeat"}
        renewed = outage.calls["heartbeat"]
        await until(lambda: outage.calls["heartbeat"] >= renewed + 12, "the end of the lease in the worker's view")
        steps.release.set()
        await until(lambda: worker.running == 0, "the end of the execution")
        assert steps.began == ["first", "second"]
        outage.end()
        assert await handle.result(20) == {"count": 3}
        assert worker.id != before
    assert await has_no_lease(app)


async def test_a_worker_without_a_lease_asks_for_no_runs(saver: Checkpointer, outage: Outage, steps: Steps) -> None:
    app = App({"steps": steps.graph()}, saver)
    async with app.worker(lease=LEASE):
        outage.absent = {"heartbeat", "sweep"}
        await until(lambda: has_no_lease(app), "the end of the lease")
        handle = await app.start("steps", {})
        before = outage.calls["claim"], outage.calls["next_due"]
        tried = outage.calls["heartbeat"]
        await until(lambda: outage.calls["heartbeat"] >= tried + 5, "heartbeats")
        assert (outage.calls["claim"], outage.calls["next_due"]) == before
        outage.end()
        steps.release.set()
        await handle.result(20)


async def test_an_end_that_the_store_did_not_record_is_recorded_when_the_store_is_back(
    saver: Checkpointer, outage: Outage, steps: Steps
) -> None:
    app = App({"steps": steps.graph()}, saver)
    steps.release.set()
    # The limit is exceeded between two supersteps, so that no commit carries the failure.
    handle = await app.start("steps", {}, recursion_limit=2)
    outage.absent = {"settle"}
    async with app.worker(lease=60):
        await until(lambda: outage.calls["settle"] > 0, "the attempt")
        assert (await handle.status()).state == "running"
        outage.end()
        with pytest.raises(RunFailedError, match="2 supersteps"):
            await handle.result(20)


async def test_a_worker_that_stops_while_the_store_is_unavailable_does_not_wait_for_the_end_of_its_lease(
    saver: Checkpointer, outage: Outage, steps: Steps
) -> None:
    app = App({"steps": steps.graph()}, saver)
    handle = await app.start("steps", {})
    async with asyncio.timeout(20):
        async with app.worker(lease=3600, grace=0):
            await steps.is_inside.wait()
            outage.absent = {"settle", "unregister"}
    assert steps.cancelled == ["second"]
    assert outage.calls["settle"] == 1
    assert (await handle.status()).state == "running"


async def test_runs_whose_claim_had_no_reply_are_executed_by_the_same_worker(
    saver: Checkpointer, outage: Outage, steps: Steps
) -> None:
    app = App({"steps": steps.graph()}, saver)
    steps.release.set()
    handle = await app.start("steps", {})
    outage.mute = {"claim"}
    async with app.worker(lease=60):
        await until(lambda: _has_been_claimed(app), "the claim")
        outage.end()
        assert await handle.result(20) == {"count": 3}
    assert (await handle.status()).crashes == 0


async def test_a_cancellation_that_the_store_did_not_take_is_repeated(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch, steps: Steps
) -> None:
    """The run was cancelled while its worker was dead: the next one finds the request at its claim."""
    app = App({"steps": steps.graph()}, saver)
    handle = await app.start("steps", {})
    async with app.worker(lease=60) as worker:
        await steps.is_inside.wait()
        held = worker.id
        # The worker does not know the request: its next heartbeat is far away.
        await handle.cancel("stop")
        await app.store.unregister(held)
        load, fails = saver.load, True

        async def failing(*given: Any) -> Any:
            nonlocal fails
            if fails:
                fails = False
                raise StoreUnavailableError("the store", "it is away")
            return await load(*given)

        monkeypatch.setattr(saver, "load", failing)
        async with App({"steps": steps.graph()}, saver).worker():
            with pytest.raises(RunFailedError, match="cancelled"):
                await handle.result(20)
        steps.release.set()


async def test_a_worker_that_leaves_while_it_registers_again_leaves_nothing_behind(
    saver: Checkpointer, outage: Outage
) -> None:
    app = App({"steps": Steps().graph()}, saver)
    async with app.worker(lease=LEASE) as worker:
        outage.mute = {"register"}
        await app.store.unregister(worker.id)
        before = outage.calls["register"]
        await until(lambda: outage.calls["register"] > before, "the registration")
    assert await has_no_lease(app)


# A thread that a worker has claimed


async def test_a_call_whose_thread_a_worker_of_its_process_claims_stores_nothing_more(
    saver: Checkpointer, steps: Steps
) -> None:
    app = App({"steps": steps.graph()}, saver)
    graph = app.graph("steps")
    call = asyncio.create_task(graph.ainvoke({"count": 100}, thread_id="t"))
    await steps.is_inside.wait()
    handle = await app.start("steps", {}, thread_id="t")
    async with app.worker():
        await until(lambda: _has_been_claimed(app), "the claim")
        steps.release.set()
        with pytest.raises(CheckpointConflictError):
            await call
        assert await handle.result(20) == {"count": 3}
    sources = [each.metadata["source"] async for each in graph.aget_state_history(thread_id="t") if each.metadata]
    assert sources == ["loop", "loop", "loop", "input", "loop", "input"]


async def _has_been_claimed(app: App) -> bool:
    return all(each.attempt for each in await app.runs())


@pytest.mark.slow
async def test_a_call_whose_thread_a_worker_of_another_process_claims_stores_nothing_more(
    app: App, processes: Processes, ledger: Ledger, place: Place
) -> None:
    caller = processes.start(invoke, place, "gated", "t")
    await until(lambda: len(ledger.starts(pid=caller.pid)) == 2, "the node of the call")
    handle = await app.start("gated", {}, thread_id="t")
    worker = processes.worker()
    await until(lambda: len(ledger.starts(pid=worker.pid)) == 2, "the node of the run")
    Gate(place.folder).open()
    assert await caller.ended() == 0
    assert (place.folder / "outcome").read_text() == "CheckpointConflictError"
    log = done_by((await handle.result(60))["log"])
    # The first node of the call was recorded before the claim.
    assert [pid for _, pid in log] == [caller.pid, worker.pid, worker.pid, worker.pid]
    assert [each.pid for each in ledger.starts()].count(caller.pid) == 2
    assert len([each async for each in app.graph("gated").aget_state_history(thread_id="t")]) == 6


# A run that was quarantined while its worker was alive


@pytest.mark.parametrize("inside", ["first", "second"])
async def test_a_retry_continues_from_a_commit_that_followed_the_quarantine(
    saver: Checkpointer, outage: Outage, inside: str
) -> None:
    """Only a claim shuts the worker out, and nobody claims a quarantined run."""
    began: list[str] = []
    is_inside, release = asyncio.Event(), asyncio.Event()

    def node(name: str) -> Any:
        async def execute(state: State) -> State:
            began.append(name)
            if name == inside:
                is_inside.set()
                await release.wait()
            return {"count": state.get("count", 0) + 1}

        return name, execute

    names = ["first", "second", "third"]
    app = App(
        {"steps": StateGraph(State).add_sequence([node(name) for name in names]).add_edge(START, "first").compile()},
        saver,
    )
    handle = await app.start("steps", {"count": 10})
    async with app.worker(lease=LEASE) as worker:
        await is_inside.wait()
        outage.absent = {"heartbeat", "sweep"}
        await until(lambda: has_no_lease(app), "the end of the lease")
        outage.absent = {"heartbeat"}
        await app.store.sweep(1)
        assert (await handle.status()).state == "quarantined"
        release.set()
        await until(lambda: worker.running == 0, "the end of the execution")
        status = await handle.status()
        assert (status.state, status.ended_at is None, status.error is None) == ("quarantined", False, False)
        outage.end()
        await app.retry(handle.run_id)
        assert await handle.result(20) == {"count": 13}
    assert began == names


async def test_a_quarantined_run_whose_worker_finishes_it_is_done(saver: Checkpointer, outage: Outage) -> None:
    is_inside, release = asyncio.Event(), asyncio.Event()

    async def only(state: State) -> State:
        is_inside.set()
        await release.wait()
        return {"count": 1}

    app = App({"one": StateGraph(State).add_node("only", only).add_edge(START, "only").compile()}, saver)
    handle = await app.start("one", {})
    async with app.worker(lease=LEASE):
        await is_inside.wait()
        outage.absent = {"heartbeat", "sweep"}
        await until(lambda: has_no_lease(app), "the end of the lease")
        outage.absent = {"heartbeat"}
        await app.store.sweep(1)
        with pytest.raises(RunFailedError, match="quarantined"):
            await handle.result(20)
        release.set()
        await until(lambda: _is_done(handle), "the end of the run")
        assert await handle.result(20) == {"count": 1}
        assert (await handle.status()).error is None
        outage.end()


async def _is_done(handle: RunHandle) -> bool:
    return (await handle.status()).state == "done"


async def test_a_worker_that_is_cancelled_while_the_store_registers_it_leaves_no_lease(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App({"steps": Steps().graph()}, saver)
    register, is_asked, may_register = app.store.register, asyncio.Event(), asyncio.Event()

    async def late(worker: NewWorker) -> None:
        is_asked.set()
        await may_register.wait()
        await register(worker)

    # As a saver whose call goes on after its caller was cancelled.
    monkeypatch.setattr(
        type(app.store), "register", lambda _, worker: asyncio.shield(asyncio.create_task(late(worker)))
    )
    entering = asyncio.create_task(app.worker().__aenter__())
    await is_asked.wait()
    entering.cancel()
    # It waits for the call, and does not end before.
    assert await asyncio.wait([entering], timeout=0.2) == (set(), {entering})
    may_register.set()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert (await app.stats()).workers == 0


async def test_a_worker_that_is_dead_by_the_stores_clock_does_not_look_for_runs_without_a_pause(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    are_enough = asyncio.Event()

    async def note(event: asyncio.Event, seconds: float) -> bool:
        pauses.append(seconds)
        if len(pauses) == 5:
            are_enough.set()
        await asyncio.sleep(0)
        return False

    app = App({"steps": Steps().graph()}, saver)
    async with app.worker(lease=3600):
        await expire_leases(saver)
        monkeypatch.setattr("durable_graph.runs.worker.is_set_within", note)
        await app.start("steps", {})
        pauses.clear()
        are_enough.clear()
        async with asyncio.timeout(20):
            await are_enough.wait()
    # The run may have become due between two statements: then one pause is short.
    assert sorted(pauses[:5])[1] > 0.001
