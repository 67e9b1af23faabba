"""`App.run`: a run that a worker of this process accepts and claims in one call, and any worker recovers."""

import asyncio
from datetime import timedelta
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, CompiledGraph, KeyReusedError, StateGraph, StoreUnavailableError, sleep
from durable_graph.checkpointing.notices import Notice, RunReady
from durable_graph.checkpointing.notifier import Notifies
from durable_graph.checkpointing.run_store import KeepsRuns
from durable_graph.runs import App, RunHandle
from durable_graph.testing import run_app

pytestmark = pytest.mark.every_store


def joined(old: list[Any], new: list[Any]) -> list[Any]:
    return [*old, *new]


class State(TypedDict, total=False):
    log: Annotated[list[Any], joined]


class Held:
    """A node that waits until the test releases it. `begun` counts its starts."""

    def __init__(self) -> None:
        self.begun = 0
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self, state: State) -> State:
        self.begun += 1
        self.has_begun.set()
        await self.may_end.wait()
        return {"log": ["held"]}


async def returns(state: State) -> State:
    return {"log": ["done"]}


async def sleeps(state: State) -> State:
    await sleep(timedelta(days=1))
    return {"log": ["woken"]}


def graph_of(node: Any) -> CompiledGraph[Any, Any, Any, Any]:
    return StateGraph(State).add_node("node", node).add_edge(START, "node").compile()


def noting(saver: Checkpointer, patch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """The calls of the store of runs from now on that have these names."""
    calls: list[str] = []

    def note(name: str) -> None:
        inner = getattr(saver.runs, name)  # type: ignore[attr-defined]  # the store has runs

        async def call(*given: Any) -> Any:
            calls.append(name)
            return await inner(*given)

        patch.setattr(saver.runs, name, call)  # type: ignore[attr-defined]  # as above

    for name in names:
        note(name)
    return calls


async def only_run(app: App) -> RunHandle:
    async with asyncio.timeout(20):
        while not (found := await app.runs()):  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.001)
    return await app.find(found[0].run_id)


@pytest.mark.parametrize("has_worker", [True, False])
async def test_a_run_is_accepted_and_claimed_in_one_call(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch, has_worker: bool
) -> None:
    app = App({"order": graph_of(returns)}, saver)
    calls = noting(saver, monkeypatch, "accept", "accept_and_claim")
    if has_worker:
        async with app.worker():
            output = await app.run("order", {}, timeout=20)
    else:
        output = await app.run("order", {}, timeout=20)

    assert output == {"log": ["done"]}
    assert calls == ["accept_and_claim"]
    (status,) = await app.runs()
    assert (status.state, status.attempt) == ("done", 1)


async def test_a_run_that_is_claimed_as_it_is_accepted_sends_no_worker_to_claim_it(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(saver, Notifies)
    notify, notices = saver.notifier.notify, list[Notice]()

    def noted(*given: Notice) -> None:
        notices.extend(given)
        notify(*given)

    held = Held()
    app = App({"order": graph_of(held)}, saver)
    async with app.worker():
        monkeypatch.setattr(saver.notifier, "notify", noted)
        running = asyncio.create_task(app.run("order", {}, timeout=20))
        await held.has_begun.wait()
        assert RunReady("order") not in notices
        held.may_end.set()
        await running


async def test_a_run_on_a_used_thread_continues_its_state(saver: Checkpointer) -> None:
    app = App({"order": graph_of(returns)}, saver)
    async with app.worker():
        for number in range(3):
            assert await app.run("order", {}, thread_id="t", timeout=20) == {"log": ["done"] * (number + 1)}


async def test_a_run_with_a_known_key_returns_its_result(saver: Checkpointer) -> None:
    app = App({"order": graph_of(returns)}, saver)
    async with app.worker():
        first = await app.run("order", {"log": [1]}, key="k", timeout=20)
        assert await app.run("order", {"log": [1]}, key="k", timeout=20) == first
        with pytest.raises(KeyReusedError):
            await app.run("order", {"log": [2]}, key="k", timeout=20)
    assert len(await app.runs()) == 1


async def test_a_worker_without_a_free_slot_executes_the_run_later(saver: Checkpointer) -> None:
    held = Held()
    app = App({"held": graph_of(held), "order": graph_of(returns)}, saver)
    async with app.worker(concurrency=1) as worker:
        first = asyncio.ensure_future(app.run("held", {}, timeout=20))
        await only_run(app)
        second = asyncio.ensure_future(app.run("order", {}, timeout=20))
        async with asyncio.timeout(20):
            while len(await app.runs()) < 2:  # noqa: ASYNC110  # the store has no event
                await asyncio.sleep(0.001)
        assert worker.running == 1
        assert (await app.runs(graph="order"))[0].state == "ready"
        held.may_end.set()
        assert await first == {"log": ["held"]}
        assert await second == {"log": ["done"]}


async def test_simultaneous_runs_take_no_more_than_the_slots_of_the_worker(saver: Checkpointer) -> None:
    held = Held()
    app = App({"held": graph_of(held)}, saver)
    async with app.worker(concurrency=3):
        running = [asyncio.ensure_future(app.run("held", {}, timeout=20)) for _ in range(10)]
        async with asyncio.timeout(20):
            while len(await app.runs()) < 10 or held.begun < 3:  # noqa: ASYNC110  # the store has no event
                await asyncio.sleep(0.001)
        assert held.begun == 3
        held.may_end.set()
        assert await asyncio.gather(*running) == [{"log": ["held"]}] * 10
    assert held.begun == 10


async def test_a_claim_takes_no_slot_that_a_run_has_taken_meanwhile(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, taken, claimed = Held(), asyncio.Event(), asyncio.Event()
    app = App({"held": graph_of(held)}, saver)
    waiting = await app.start("held", {})
    claim = app.store.claim

    async def late(*given: Any) -> Any:
        await taken.wait()
        found = await claim(*given)
        if found:
            claimed.set()
        return found

    monkeypatch.setattr(app.store, "claim", late)
    async with app.worker(concurrency=1):
        running = asyncio.ensure_future(app.run("held", {}, timeout=20))
        async with asyncio.timeout(20):
            while not held.begun:  # noqa: ASYNC110  # the node of the library's caller sets no event
                await asyncio.sleep(0.001)
            taken.set()
            await claimed.wait()
            while (await waiting.status()).state == "running":  # noqa: ASYNC110  # the state is in the store
                await asyncio.sleep(0.001)
        assert ((await waiting.status()).state, held.begun) == ("ready", 1)
        held.may_end.set()
        assert (await running, await waiting.result(20)) == ({"log": ["held"]}, {"log": ["held"]})
    assert held.begun == 2


async def test_cancelling_the_caller_cancels_no_run(saver: Checkpointer) -> None:
    held = Held()
    app = App({"held": graph_of(held)}, saver)
    async with app.worker():
        calling = asyncio.ensure_future(app.run("held", {}))
        await asyncio.sleep(0)
        # The acceptance is under way.
        calling.cancel()
        handle = await only_run(app)
        held.may_end.set()
        assert await handle.result(20) == {"log": ["held"]}
    assert held.begun == 1


async def test_a_worker_that_stops_releases_the_run_that_it_accepted(saver: Checkpointer) -> None:
    held = Held()
    app = App({"held": graph_of(held)}, saver)
    async with app.worker(grace=0):
        calling = asyncio.ensure_future(app.run("held", {}, timeout=20))
        handle = await only_run(app)
    status = await handle.status()
    assert (status.state, status.crashes) == ("ready", 0)
    held.may_end.set()
    async with app.worker():
        assert await calling == {"log": ["held"]}


async def test_every_simultaneous_run_without_a_worker_is_executed(saver: Checkpointer) -> None:
    app = App({"order": graph_of(returns)}, saver)
    for _ in range(5):
        first = asyncio.create_task(app.run("order", {}, timeout=20))
        others = []
        for _ in range(10):
            await asyncio.sleep(0.0005)
            others.append(asyncio.create_task(app.run("order", {}, timeout=20)))
        assert await asyncio.gather(first, *others) == [{"log": ["done"]}] * 11
    assert (await app.stats()).workers == 0


async def test_a_run_is_executed_after_the_run_that_had_begun_the_worker(saver: Checkpointer) -> None:
    held = Held()
    app = App({"held": graph_of(held), "order": graph_of(returns)}, saver)
    first = asyncio.create_task(app.run("held", {}, timeout=20))
    await only_run(app)
    second = asyncio.create_task(app.run("order", {}, timeout=20))
    while len(await app.runs()) < 2:  # noqa: ASYNC110  # the store has no event
        await asyncio.sleep(0.001)
    first.cancel()
    await asyncio.sleep(0)
    held.may_end.set()
    await asyncio.wait([first])
    assert await second == {"log": ["done"]}
    assert (await app.stats()).workers == 0


async def test_a_cancelled_run_leaves_no_worker(saver: Checkpointer) -> None:
    app = App({"order": graph_of(returns)}, saver)
    for pauses in range(60):
        calls = [asyncio.create_task(app.run("order", {}, key=f"{pauses}", timeout=20)) for _ in range(2)]
        for _ in range(pauses):
            await asyncio.sleep(0)
        calls[0].cancel()
        assert await calls[1] == {"log": ["done"]}
        await asyncio.wait(calls)
    assert (await app.stats()).workers == 0
    assert len(await app.runs()) == 60


async def test_a_delayed_run_waits_for_its_time(saver: Checkpointer) -> None:
    app = App({"order": graph_of(returns)}, saver)
    async with run_app(app) as running:
        calling = asyncio.ensure_future(app.run("order", {}, delay=timedelta(hours=1), timeout=20))
        handle = await only_run(app)
        assert (await handle.status()).state == "ready"
        await running.move(timedelta(hours=2))
        assert await calling == {"log": ["done"]}


async def test_a_run_that_sleeps_is_claimed_again_at_its_time(saver: Checkpointer) -> None:
    app = App({"order": graph_of(sleeps)}, saver)
    async with run_app(app) as running:
        calling = asyncio.ensure_future(app.run("order", {}, timeout=20))
        handle = await only_run(app)
        await running.settle()
        assert (await handle.status()).state == "waiting"
        await running.move(timedelta(days=2))
        assert await calling == {"log": ["woken"]}


async def test_a_run_whose_claim_had_no_reply_is_released_and_executed(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App({"order": graph_of(returns)}, saver)
    assert isinstance(saver, KeepsRuns)
    accept_and_claim = saver.runs.accept_and_claim

    async def lose(*given: Any) -> Any:
        await accept_and_claim(*given)
        message = "the store"
        raise StoreUnavailableError(message, "no reply")

    monkeypatch.setattr(saver.runs, "accept_and_claim", lose)
    async with app.worker():
        with pytest.raises(StoreUnavailableError):
            await app.run("order", {}, timeout=20)
        handle = await only_run(app)
        assert await handle.result(20) == {"log": ["done"]}
        assert (await handle.status()).attempt == 2


async def test_only_a_worker_of_the_same_event_loop_accepts_the_run(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App({"order": graph_of(returns)}, saver)
    calls = noting(saver, monkeypatch, "accept", "accept_and_claim")
    async with app.worker() as worker:
        here, worker._loop = worker._loop, None
        assert await app.run("order", {}, timeout=20) == {"log": ["done"]}
        worker._loop = here
    assert calls == ["accept"]
