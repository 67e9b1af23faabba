"""A run that is started while an earlier run of its thread has not ended waits for it, is refused, or cancels it."""

import asyncio
import operator
from typing import Annotated, Any, Literal, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    CompiledGraph,
    InvalidOptionError,
    KeyReusedError,
    MemorySaver,
    StateGraph,
    interrupt,
)
from durable_graph.checkpointing.run_store import KeepsRuns
from durable_graph.errors import RunFailedError
from durable_graph.run_records import NewWorker, RunState, Settlement
from durable_graph.runs import App, RunHandle, graph_calls
from durable_graph.testing import CrashingSaver, crash_points
from durable_graph.testing.crash import CrashPoint, SimulatedCrashError
from tests.runs.test_app import reached

pytestmark = pytest.mark.every_store

LEASE = 0.3
HOUR = 3600 * 1_000_000

IfBusy = Literal["wait", "interrupt", "rollback"]


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Work:
    """A graph of two nodes. The second one holds the runs with the input "hold" until `open`, and asks in those with
    the input "ask"."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

        def name_of(state: State) -> str:
            return next(each for each in reversed(state["log"]) if " " not in each)

        async def begin(state: State) -> State:
            return {"log": [f"began {name_of(state)}"]}

        async def work(state: State) -> State:
            name = name_of(state)
            if name == "ask":
                interrupt("ok?")
            if name == "hold":
                self.entered.set()
                await self.open.wait()
            return {"log": [f"did {name}"]}

        builder = StateGraph(State).add_node("begin", begin).add_node("work", work)
        self.graph: CompiledGraph[Any, Any, Any, Any] = (
            builder.add_edge(START, "begin").add_edge("begin", "work").compile()
        )


BEFORE = ["first", "began first", "did first"]
NEW = ["new", "began new", "did new"]


def given(name: str) -> dict[str, list[str]]:
    return {"log": [name]}


async def finished(app: App) -> None:
    """The thread has a finished run."""
    async with app.worker():
        await (await app.start("work", given("first"), thread_id="t")).result(20)


async def ended(handle: RunHandle) -> str:
    with pytest.raises(RunFailedError) as failed:
        await handle.result(20)
    return failed.value.kind


@pytest.mark.parametrize(
    ("if_busy", "log"),
    [("interrupt", [*BEFORE, "hold", "began hold", *NEW]), ("rollback", [*BEFORE, *NEW])],
)
async def test_a_run_cancels_the_run_that_a_worker_executes(
    saver: Checkpointer, if_busy: IfBusy, log: list[str]
) -> None:
    work = Work()
    app = App({"work": work.graph}, saver)
    await finished(app)
    async with app.worker(lease=LEASE):
        old = await app.start("work", given("hold"), thread_id="t")
        blocked = await app.start("work", given("blocked"), thread_id="t")
        await work.entered.wait()
        new = await app.start("work", given("new"), thread_id="t", if_busy=if_busy)
        assert (await blocked.status()).state == "cancelled"
        assert await new.result(20) == {"log": log}
    assert [await ended(each) for each in (old, blocked)] == ["cancelled", "cancelled"]
    assert (await app.graph("work").aget_state(thread_id="t")).status == "done"


@pytest.mark.parametrize(
    ("if_busy", "log"),
    [("interrupt", [*BEFORE, "ask", "began ask", *NEW]), ("rollback", [*BEFORE, *NEW])],
)
async def test_a_run_cancels_the_run_that_waits(saver: Checkpointer, if_busy: IfBusy, log: list[str]) -> None:
    app = App({"work": Work().graph}, saver)
    await finished(app)
    old = await app.start("work", given("ask"), thread_id="t")
    async with app.worker():
        await reached(old, "waiting")
    new = await app.start("work", given("new"), thread_id="t", if_busy=if_busy)
    # The cancellation and the acceptance are recorded together: no worker is needed for either.
    assert [(await each.status()).state for each in (old, new)] == ["cancelled", "ready"]
    async with app.worker():
        assert await new.result(20) == {"log": log}
    history = [each async for each in app.graph("work").aget_state_history(thread_id="t")]
    logs = [each.values.get("log", []) for each in history]
    # The checkpoints of the cancelled run stay in the history.
    assert [*BEFORE, "ask", "began ask"] in logs
    assert (await app.graph("work").aget_state(thread_id="t")).values == {"log": log}


@pytest.mark.parametrize("if_busy", ["interrupt", "rollback"])
async def test_a_run_cancels_a_run_that_has_not_begun(saver: Checkpointer, if_busy: IfBusy) -> None:
    app = App({"work": Work().graph}, saver)
    await finished(app)
    old = await app.start("work", given("old"), thread_id="t")
    new = await app.start("work", given("new"), thread_id="t", if_busy=if_busy)
    async with app.worker():
        assert await new.result(20) == {"log": [*BEFORE, *NEW]}
    assert await ended(old) == "cancelled"


async def test_the_first_run_of_a_thread_is_rolled_back(saver: Checkpointer) -> None:
    work = Work()
    app = App({"work": work.graph}, saver)
    async with app.worker(lease=LEASE):
        old = await app.start("work", given("hold"), thread_id="t")
        await work.entered.wait()
        new = await app.start("work", given("new"), thread_id="t", if_busy="rollback")
        assert await new.result(20) == {"log": NEW}
        assert await ended(old) == "cancelled"
        # The thread continues from there.
        later = await app.start("work", given("first"), thread_id="t")
        assert await later.result(20) == {"log": [*NEW, *BEFORE]}
    assert [each.values.get("log") async for each in app.graph("work").aget_state_history(thread_id="t", limit=1)] == [
        [*NEW, *BEFORE]
    ]


async def test_a_rollback_of_a_rollback_begins_before_both(saver: Checkpointer) -> None:
    app = App({"work": Work().graph}, saver)
    await finished(app)
    old = await app.start("work", given("ask"), thread_id="t")
    async with app.worker():
        await reached(old, "waiting")
    for name in ("second", "third"):
        await app.start("work", given(name), thread_id="t", if_busy="rollback")
    new = await app.start("work", given("new"), thread_id="t", if_busy="rollback")
    async with app.worker():
        assert await new.result(20) == {"log": [*BEFORE, *NEW]}


@pytest.mark.parametrize("if_busy", ["interrupt", "rollback"])
async def test_a_repeated_request_cancels_nothing_again(saver: Checkpointer, if_busy: IfBusy) -> None:
    app = App({"work": Work().graph}, saver)
    await app.start("work", given("old"), thread_id="t")
    new = await app.start("work", given("new"), thread_id="t", key="k", if_busy=if_busy)
    again = await app.start("work", given("new"), thread_id="t", key="k", if_busy=if_busy)
    assert (again.run_id, again.is_new) == (new.run_id, False)
    assert (await again.status()).state == "ready"
    with pytest.raises(KeyReusedError):
        await app.start("work", given("other"), thread_id="t", key="k", if_busy=if_busy)
    assert (await new.status()).state == "ready"


async def test_a_cancelled_run_of_a_dead_worker_ends_without_executing_a_node(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies after it was asked to cancel its run: another one ends the run without executing a node."""
    assert isinstance(saver, KeepsRuns)
    work = Work()
    app = App({"work": work.graph}, saver)
    await finished(app)
    async with app.worker(lease=60) as dying:
        old = await app.start("work", given("hold"), thread_id="t")
        await work.entered.wait()
        # The notice does not reach it, and its next heartbeat is far away.
        monkeypatch.setattr(dying, "find_requests", lambda: None)
        new = await app.start("work", given("new"), thread_id="t", if_busy="rollback")
        assert [(await each.status()).state for each in (old, new)] == ["running", "blocked"]
        # The lease ends, and the worker does not notice it.
        saver.runs.lease_skew += HOUR
        work.entered.clear()
        async with app.worker(lease=LEASE):
            assert await new.result(20) == {"log": [*BEFORE, *NEW]}
        assert not work.entered.is_set()
    assert await ended(old) == "cancelled"


async def test_a_late_cancellation_of_an_ended_run_does_not_cancel_the_next_run(saver: Checkpointer) -> None:
    assert isinstance(saver, KeepsRuns)
    app = App({"work": Work().graph}, saver)
    old = await app.start("work", given("old"), thread_id="t")
    await saver.runs.register(NewWorker(1, 60_000_000, "a worker"))
    (claim,) = await saver.runs.claim(1, ["work"], 1)
    new = await app.start("work", given("new"), thread_id="t", if_busy="interrupt")
    await saver.runs.settle(Settlement("t", claim.seq, 1, claim.attempt, RunState.CANCELLED))
    # As by a worker that receives the cancellation when its run has ended.
    assert not await graph_calls.cancel(app.graph("work"), saver, claim)
    assert [(await each.status()).state for each in (old, new)] == ["cancelled", "ready"]
    async with app.worker():
        assert await new.result(20) == {"log": NEW}


async def test_a_run_cannot_be_rolled_back_once_the_checkpoint_before_it_is_pruned(saver: Checkpointer) -> None:
    app = App({"work": Work().graph}, saver)
    await finished(app)
    old = await app.start("work", given("ask"), thread_id="t")
    async with app.worker():
        await reached(old, "waiting")
    await saver.prune("t")
    with pytest.raises(InvalidOptionError, match="pruned"):
        await app.start("work", given("new"), thread_id="t", if_busy="rollback")
    assert (await old.status()).state == "waiting"
    assert len(await app.runs()) == 2


async def test_an_unknown_value_is_refused(saver: Checkpointer) -> None:
    app = App({"work": Work().graph}, saver)
    unknown: Any = "replace"
    with pytest.raises(InvalidOptionError, match="'interrupt'"):
        await app.start("work", given("new"), thread_id="t", if_busy=unknown)
    assert await app.runs() == []


@pytest.mark.slow
@pytest.mark.parametrize("if_busy", ["interrupt", "rollback"])
async def test_a_process_that_dies_at_any_call_leaves_the_new_run_to_others(if_busy: IfBusy) -> None:
    """The process starts the new run and executes the old one. It dies at each call of the store in turn."""
    expected = [*BEFORE, *(["hold", "began hold"] if if_busy == "interrupt" else []), *NEW]
    calls = await _cancelled_at(if_busy, None, expected)
    assert calls > 5
    for point in crash_points(calls):
        await _cancelled_at(if_busy, point, expected)


async def _cancelled_at(if_busy: IfBusy, point: CrashPoint | None, expected: list[str]) -> int:
    """Returns the number of calls from the start of the new run on."""
    inner = MemorySaver()
    others = App({"work": Work().graph}, inner)
    await finished(others)
    work, crashing = Work(), CrashingSaver(inner)
    app = App({"work": work.graph}, crashing)
    async with app.worker(lease=LEASE, grace=0):
        old = await app.start("work", given("hold"), thread_id="t")
        await work.entered.wait()
        before = crashing.calls
        if point is not None:
            crashing.point = CrashPoint(before + point.call, point.moment)
        try:
            new = await app.start("work", given("new"), thread_id="t", key="k", if_busy=if_busy)
            if point is None:
                await new.result(20)
            else:
                await _until_over(crashing, new)
        except SimulatedCrashError:
            pass
    inner.runs.lease_skew += HOUR
    # The caller does not know whether its call had an effect.
    again = await others.start("work", given("new"), thread_id="t", key="k", if_busy=if_busy)
    async with others.worker(lease=LEASE):
        assert await again.result(20) == {"log": expected}, point
        assert await ended(await others.find(old.run_id)) == "cancelled"
    assert len(await others.runs(thread_id="t")) == 3
    return crashing.calls - before


async def _until_over(crashing: CrashingSaver, new: RunHandle) -> None:
    """The process has died, or has executed the new run before it could."""
    async with asyncio.timeout(20):
        while not crashing.crashed and not (await new.status()).has_ended:  # noqa: ASYNC110  # no event tells it
            await asyncio.sleep(0.01)
