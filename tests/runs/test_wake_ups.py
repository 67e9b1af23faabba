"""Workers and callers are woken by other apps and processes. Without wake-ups they find everything by polling."""

import asyncio
import operator
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, CompiledGraph, MemorySaver, StateGraph, interrupt, receive
from durable_graph.checkpointing.listeners import LocalNotifier
from durable_graph.checkpointing.notices import Notice
from durable_graph.errors import RunFailedError
from durable_graph.run_records import Claim
from durable_graph.runs import App, Worker, following, graph_calls, handle, worker
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver
from tests.checkpointing.sharing import SharingSaver
from tests.runs.engine.graphs import Gate
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.processes import Processes, until
from tests.runs.engine.worker_process import NEVER, Place, WorkerJob, work_when_woken
from tests.savers import SAVERS, dropped, saver_of, schema_of_its_own

PATIENCE = 30.0
ENDLESS = 3600.0
"""In seconds: a lease whose heartbeats are too late for a test."""


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def graphs() -> dict[str, CompiledGraph[Any, Any, Any, Any]]:
    """`one` has one node, `ask` waits for an answer, `topic` for a message, `stuck` until it is cancelled, and `fails`
    fails once."""
    failures = [ValueError("once")]

    async def one(state: State) -> State:
        return {"log": ["done"]}

    async def ask(state: State) -> State:
        return {"log": [interrupt("ok?")]}

    async def topic(state: State) -> State:
        return {"log": [await receive("topic")]}

    async def stuck(state: State) -> State:
        await asyncio.Event().wait()
        return {}

    async def fails(state: State) -> State:
        if failures:
            raise failures.pop()
        return {"log": ["done"]}

    nodes = {"one": one, "ask": ask, "topic": topic, "stuck": stuck, "fails": fails}
    return {
        name: StateGraph(State).add_node(name, node).add_edge(START, name).compile() for name, node in nodes.items()
    }


@asynccontextmanager
async def two_savers(kind: str, folder: Path, dsn: str) -> AsyncIterator[tuple[Checkpointer, Checkpointer]]:
    """Two savers on an empty store, as two processes have them."""
    if kind == "postgres":
        async with (
            schema_of_its_own(dsn) as schema,
            PostgresSaver(dsn, schema=schema) as one,
            PostgresSaver(dsn, schema=schema) as other,
        ):
            yield one, other
        return
    async with saver_of(kind, folder, dsn) as one:
        second = SqliteSaver(folder / "runs.db") if isinstance(one, SqliteSaver) else SharingSaver(one)
        async with second as other:
            yield one, other


@pytest.fixture(params=SAVERS)
async def savers(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Checkpointer, Checkpointer]]:
    dsn = request.getfixturevalue("postgres") if request.param == "postgres" else ""
    async with two_savers(request.param, tmp_path, dsn) as made:
        yield made


@pytest.fixture
def apps(savers: tuple[Checkpointer, Checkpointer], monkeypatch: pytest.MonkeyPatch) -> tuple[App, App]:
    """Two apps on one store, which poll only when a notice wakes them."""
    for module in (worker, handle, following):
        monkeypatch.setattr(module, "_FIRST_LOOK", NEVER)
        monkeypatch.setattr(module, "_LONGEST_LOOK", NEVER)
    one, other = savers
    return App(graphs(), one), App(graphs(), other)


async def is_waiting(app: App) -> bool:
    return [each.state for each in await app.runs()] == ["waiting"]


async def is_running(app: App) -> bool:
    return [each.state for each in await app.runs()] == ["running"]


# Two apps in one process


async def test_a_started_run_wakes_a_worker_and_its_end_wakes_the_caller(apps: tuple[App, App]) -> None:
    app, other = apps
    async with other.worker():
        for _ in range(3):
            run = await app.start("one", {})
            assert await run.result(PATIENCE) == {"log": ["done"]}


async def test_an_answer_wakes_a_worker(apps: tuple[App, App]) -> None:
    app, other = apps
    async with other.worker():
        run = await app.start("ask", {})
        await until(lambda: is_waiting(app), "the question")
        await app.answer(run.thread_id, "yes")
        assert await run.result(PATIENCE) == {"log": ["yes"]}


async def test_a_signal_wakes_a_worker(apps: tuple[App, App]) -> None:
    app, other = apps
    async with other.worker():
        run = await app.start("topic", {})
        await until(lambda: is_waiting(app), "the wait for a message")
        await app.signal(run.thread_id, "topic", "hello")
        assert await run.result(PATIENCE) == {"log": ["hello"]}


async def test_a_retry_wakes_a_worker(apps: tuple[App, App]) -> None:
    app, other = apps
    async with other.worker():
        run = await app.start("fails", {})
        with pytest.raises(RunFailedError, match="once"):
            await run.result(PATIENCE)
        await app.retry(run.run_id)
        assert await run.result(PATIENCE) == {"log": ["done"]}


async def test_a_run_with_a_delay_is_begun_at_its_time(apps: tuple[App, App]) -> None:
    app, other = apps
    async with other.worker():
        await app.start("one", {}, delay=3000)
        run = await app.start("one", {}, delay=0.2)
        assert await run.result(PATIENCE) == {"log": ["done"]}


async def test_a_cancellation_reaches_the_holder_of_a_run_before_its_next_heartbeat(apps: tuple[App, App]) -> None:
    app, other = apps
    async with other.worker(lease=ENDLESS) as holder:
        for _ in range(2):
            run = await app.start("stuck", {})
            await until(lambda: holder.running == 1, "the node")
            async with asyncio.timeout(PATIENCE):
                assert (await run.cancel("stop", wait=True)).state == "cancelled"


async def test_a_cancellation_that_is_being_carried_out_is_not_begun_again(
    apps: tuple[App, App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, other = apps
    begun: list[str] = []
    beats: list[object] = []
    release = asyncio.Event()
    cancel, on_beat = graph_calls.cancel, Worker._on_beat

    async def slow(graph: Any, saver: Checkpointer, claim: Claim) -> bool:
        begun.append(claim.thread)
        await release.wait()
        return await cancel(graph, saver, claim)

    def noting(holder: Worker, beat: Any) -> None:
        beats.append(beat)
        on_beat(holder, beat)

    monkeypatch.setattr(graph_calls, "cancel", slow)
    monkeypatch.setattr(Worker, "_on_beat", noting)
    async with other.worker(lease=ENDLESS) as holder:
        run = await app.start("stuck", {})
        await until(lambda: holder.running == 1, "the node")
        await run.cancel("stop")
        for number in range(1, 4):
            await until(lambda number=number: len(beats) >= number, "a heartbeat with the request")  # type: ignore[misc]
            holder.find_requests()
        assert begun == [run.thread_id]
        release.set()
        async with asyncio.timeout(PATIENCE):
            assert (await run.cancel("stop", wait=True)).state == "cancelled"


async def test_updates_reach_the_holder_of_a_run_before_its_next_heartbeat(apps: tuple[App, App]) -> None:
    app, other = apps
    async with other.worker(lease=ENDLESS) as holder:
        run = await app.start("stuck", {})
        await until(lambda: holder.running == 1, "the node")
        (execution,) = holder._executions.values()
        for text in ("first", "second"):
            execution.owned.has_updates = False
            await app.update(run.thread_id, {"log": [text]})
            await until(lambda: execution.owned.has_updates, "the notice")
        async with asyncio.timeout(PATIENCE):
            await run.cancel("stop", wait=True)


async def test_a_start_that_interrupts_a_run_reaches_its_holder_before_the_next_heartbeat(
    apps: tuple[App, App],
) -> None:
    app, other = apps
    async with other.worker(lease=ENDLESS) as holder:
        first = await app.start("stuck", {}, thread_id="t")
        await until(lambda: holder.running == 1, "the node")
        second = await app.start("stuck", {}, thread_id="t", if_busy="interrupt")
        with pytest.raises(RunFailedError, match="cancelled"):
            await first.result(PATIENCE)
        await until(lambda: _is(app, second.run_id, "running"), "the second run")
        async with asyncio.timeout(PATIENCE):
            await second.cancel("stop", wait=True)


async def test_a_cancelled_run_that_waits_wakes_its_caller_and_the_next_run_of_its_thread(
    apps: tuple[App, App],
) -> None:
    app, other = apps
    async with other.worker():
        first = await app.start("ask", {}, thread_id="t")
        await until(lambda: is_waiting(app), "the question")
        second = await app.start("ask", {}, thread_id="t")
        waiting = asyncio.create_task((await other.find(first.run_id)).result(PATIENCE))
        await app.cancel(first.run_id)
        with pytest.raises(RunFailedError, match="cancelled"):
            await waiting
        await until(lambda: _is(app, second.run_id, "waiting"), "the second question")


async def test_the_released_runs_of_a_stopping_worker_wake_another_worker(apps: tuple[App, App]) -> None:
    app, other = apps
    async with app.worker(grace=0) as stopping:
        await app.start("stuck", {})
        await until(lambda: stopping.running == 1, "the node")
        async with other.worker() as successor:
            await stopping.drain()
            await until(lambda: successor.running == 1, "the claim")
            (run,) = await app.runs()
            await other.cancel(run.run_id)


async def test_followers_of_a_thread_are_woken(apps: tuple[App, App]) -> None:
    app, other = apps
    run = await app.start("ask", {})
    with other.changes.watching_events(run.thread_id, 1) as changed:
        async with app.worker():
            await until(lambda: is_waiting(app), "the question")
        changed.clear()
        await app.answer(run.thread_id, "yes")
        app.changes.has_events(run.thread_id)
        async with asyncio.timeout(PATIENCE):
            await changed.wait()


async def test_a_follower_in_another_app_is_woken_by_events_and_by_the_end(apps: tuple[App, App]) -> None:
    app, other = apps
    run = await app.start("ask", {})
    names: list[str] = []
    is_asking = asyncio.Event()

    async def follow() -> None:
        async for logged in run.events():
            names.append(type(logged.event).__name__)
            if names[-1] == "RunInterrupted":
                is_asking.set()

    following = asyncio.create_task(follow())
    async with other.worker(lease=ENDLESS), asyncio.timeout(PATIENCE):
        await is_asking.wait()
        await app.answer(run.thread_id, "yes")
        await following
    assert names[-1] == "CheckpointCommitted"


async def test_a_queue_of_other_graphs_wakes_no_worker(savers: tuple[Checkpointer, Checkpointer]) -> None:
    _, other = savers
    app = App({"one": graphs()["one"]}, other)
    heard: list[str] = []

    class Worker:
        id = 1

        def nudge(self) -> None:
            heard.append("nudge")

        def find_requests(self) -> None:
            heard.append("requests")

        def expect_updates(self, thread: str) -> None:
            heard.append("look")

    app.changes.begin(Worker())
    App(graphs(), other).changes.is_ready("ask")
    assert heard == []
    App(graphs(), other).changes.is_ready("one")
    assert heard == ["nudge"]


@pytest.mark.parametrize("kind", SAVERS)
def test_apps_wake_each_other_in_one_event_loop_after_another(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (worker, handle, following):
        monkeypatch.setattr(module, "_FIRST_LOOK", NEVER)
        monkeypatch.setattr(module, "_LONGEST_LOOK", NEVER)
    dsn = request.getfixturevalue("postgres") if kind == "postgres" else ""
    schema = "one after another"
    one: Checkpointer
    other: Checkpointer
    if kind == "memory":
        one = MemorySaver()
        other = SharingSaver(one)
    elif kind == "sqlite":
        one, other = (SqliteSaver(tmp_path / "runs.db") for _ in range(2))
    else:
        one, other = (PostgresSaver(dsn, schema=schema) for _ in range(2))
    app, second = App(graphs(), one), App(graphs(), other)

    async def use() -> set[asyncio.Task[Any]]:
        async with second.worker(lease=ENDLESS):
            assert await (await app.start("one", {})).result(PATIENCE) == {"log": ["done"]}
        # The end of the loop cancels it.
        endless = await app.start("ask", {})
        return {asyncio.create_task(endless.result())}

    for _ in range(3):
        asyncio.run(use())
    asyncio.run(one.aclose())
    asyncio.run(other.aclose())
    if kind == "postgres":
        asyncio.run(dropped(dsn, schema))


# Without wake-ups


class Losing(LocalNotifier):
    """Loses every notice."""

    def notify(self, *notices: Notice) -> None:
        pass


async def test_runs_end_when_every_notice_is_lost(
    savers: tuple[Checkpointer, Checkpointer], monkeypatch: pytest.MonkeyPatch
) -> None:
    for saver in savers:
        monkeypatch.setattr(saver, "notifier", Losing())
    one, other = savers
    app, second = App(graphs(), one), App(graphs(), other)
    async with second.worker(lease=1):
        run = await app.start("one", {})
        assert await run.result(PATIENCE) == {"log": ["done"]}
        run = await app.start("topic", {})
        await until(lambda: _is(app, run.run_id, "waiting"), "the wait for a message")
        await app.signal(run.thread_id, "topic", "hello")
        assert await run.result(PATIENCE) == {"log": ["hello"]}
        run = await app.start("stuck", {})
        await until(lambda: _is(app, run.run_id, "running"), "the node")
        async with asyncio.timeout(PATIENCE):
            assert (await run.cancel("stop", wait=True)).state == "cancelled"


async def _is(app: App, run_id: str, state: str) -> bool:
    return (await (await app.find(run_id)).status()).state == state


# Two processes


@pytest.mark.slow
async def test_a_worker_and_a_caller_of_two_processes_wake_each_other(
    app: App, processes: Processes, place: Place, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle, "_FIRST_LOOK", NEVER)
    monkeypatch.setattr(handle, "_LONGEST_LOOK", NEVER)
    processes.start(work_when_woken, WorkerJob(place, lease=ENDLESS))
    for _ in range(3):
        run = await app.start("chain", {})
        await run.result(PATIENCE)
    run = await app.start("gated_first", {})
    await until(lambda: len(ledger.starts()) == 3 * 20 + 1, "the node at the gate")
    async with asyncio.timeout(PATIENCE):
        assert (await run.cancel("stop", wait=True)).state == "cancelled"
    run = await app.start("ask", {})
    await until(lambda: _is(app, run.run_id, "waiting"), "the question")
    await app.answer(run.thread_id, "yes")
    await run.result(PATIENCE)
    Gate(place.folder).open()


async def test_notices_of_a_saver_without_a_notifier_stay_in_its_app(tmp_path: Path) -> None:
    class Bare:
        """A saver with runs, and without a notifier."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            if name == "notifier":
                raise AttributeError(name)
            return getattr(self._inner, name)

    async with saver_of("sqlite", tmp_path, "") as saver:
        bare: Any = Bare(saver)
        app = App(graphs(), bare)
        async with app.worker():
            assert await (await app.start("one", {})).result(PATIENCE) == {"log": ["done"]}
        assert saver.notifier._watch is None  # type: ignore[attr-defined]  # nobody listened
