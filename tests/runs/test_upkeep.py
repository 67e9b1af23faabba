"""A worker deletes old runs and threads, and makes runs ready whose wake-up was lost."""

import asyncio
from datetime import timedelta
from typing import Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    InvalidOptionError,
    StateGraph,
    delete_expired_threads,
    interrupt,
    receive,
    sleep,
)
from durable_graph.checkpointing.notices import Notice, RunReady
from durable_graph.checkpointing.notifier import Notifies
from durable_graph.checkpointing.run_store import KeepsRuns, RunStore
from durable_graph.errors import UnknownRunError
from durable_graph.run_records import RunState, RunUpdate
from durable_graph.runs import App, upkeep
from durable_graph.runs.upkeep import Cleaned, Retention, Upkeep, read_retention
from durable_graph.testing.conformance.run_store_under_test import save_with, writer_of
from tests.runs.test_app import reached

pytestmark = pytest.mark.every_store

DAY = 24 * 3600 * 1_000_000
NOTHING = Cleaned(0, 0, 0, 0)


class State(TypedDict, total=False):
    log: str


async def note(state: State) -> State:
    return {"log": f"{state.get('log', '')}noted"}


async def ask(state: State) -> State:
    return {"log": interrupt("ok?")}


async def listen(state: State) -> State:
    return {"log": await receive("parcel")}


async def rest(state: State) -> State:
    await sleep(timedelta(days=3))
    return {}


def app_on(saver: Checkpointer, **options: Any) -> App:
    graphs = {
        node.__name__: StateGraph(State).add_node("node", node).add_edge(START, "node").compile()
        for node in (note, ask, listen, rest)
    }
    return App(graphs, saver, **options)


def runs_of(saver: Checkpointer) -> RunStore:
    assert isinstance(saver, KeepsRuns)
    return saver.runs


def upkeep_of(saver: Checkpointer, **retention: Any) -> Upkeep:
    return Upkeep(saver, runs_of(saver), Retention(**retention))


async def test_a_worker_deletes_a_run_after_keep_results(saver: Checkpointer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(upkeep, "_PAUSE", 0.01)
    app = app_on(saver)
    async with app.worker():
        handle = await app.start("note", {}, key="order-7")
        assert await handle.result(20) == {"log": "noted"}
        runs_of(saver).skew += 6 * DAY
        later = await app.start("note", {}, thread_id="run-order-7")
        await later.result(20)
        assert (await handle.status()).state == "done"
        runs_of(saver).skew += 2 * DAY
        async with asyncio.timeout(20):
            while handle.run_id in [each.run_id for each in await app.runs()]:  # noqa: ASYNC110  # the store has no event
                await asyncio.sleep(0.01)
        with pytest.raises(UnknownRunError):
            await handle.result()
        # The later run is not old enough, and the key of the deleted run can be used again.
        assert (await later.status()).state == "done"
        again = await app.start("note", {"log": "again "}, key="order-7")
        assert again.is_new
        assert await again.result(20) == {"log": "again noted"}


async def test_a_waiting_caller_gets_an_error_once_the_run_is_deleted(saver: Checkpointer) -> None:
    app = app_on(saver)
    handle = await app.start("note", {})
    waiting = asyncio.create_task(handle.result(20))
    await asyncio.sleep(0)
    await handle.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    runs_of(saver).skew += DAY
    assert await upkeep_of(saver, results=timedelta(hours=1)).once() == Cleaned(0, 1, 0, 0)
    for call in (handle.result, handle.status, handle.cancel):
        with pytest.raises(UnknownRunError):
            await call()
    with pytest.raises(UnknownRunError):
        await app.retry(handle.run_id)


async def test_runs_are_kept_with_their_thread_without_keep_results(saver: Checkpointer) -> None:
    app = app_on(saver)
    handle = await app.start("note", {})
    await handle.cancel()
    runs_of(saver).skew += 9999 * DAY
    assert await upkeep_of(saver, results=None).once() == NOTHING
    assert (await handle.status()).state == "cancelled"


async def test_a_pruned_thread_keeps_the_results_of_its_runs_until_these_are_deleted(saver: Checkpointer) -> None:
    app = app_on(saver)
    handles = []
    async with app.worker():
        for _ in range(3):
            handles.append(await app.start("note", {}, thread_id="t"))
            await handles[-1].result(20)
    assert await saver.prune("t") == 3
    expected = [{"log": "noted" * count} for count in (1, 2, 3)]
    assert [await each.result(1) for each in handles] == expected
    history = [each.values.get("log") async for each in app.graph("note").aget_state_history(thread_id="t")]
    assert history == ["noted" * count for count in (3, 2, 1)]
    runs_of(saver).skew += 8 * DAY
    assert (await upkeep_of(saver).once()).runs == 3
    assert await saver.prune("t") == 2


async def test_threads_are_kept_by_default_and_deleted_by_status_with_keep_threads(saver: Checkpointer) -> None:
    app = app_on(saver)
    async with app.worker():
        await (await app.start("note", {}, thread_id="done")).result(20)
        waiting = await app.start("ask", {}, thread_id="asks")
        cancelled = await app.start("ask", {}, thread_id="cancelled")
        for each in (waiting, cancelled):
            await reached(each, "waiting")
    await cancelled.cancel()
    assert await upkeep_of(saver).once() == NOTHING
    done = read_retention(None, timedelta(0))
    assert (await Upkeep(saver, runs_of(saver), done).once()).threads == 1
    assert await _threads(saver) == ["asks", "cancelled"]
    every: Any = {"done": timedelta(0), "cancelled": timedelta(0), "interrupted": timedelta(0)}
    assert (await upkeep_of(saver, threads=every).once()).threads == 1
    # A thread with an unfinished run stays, whatever its status.
    assert await _threads(saver) == ["asks"]
    assert (await waiting.status()).state == "waiting"
    await waiting.cancel()
    assert (await upkeep_of(saver, threads=every).once()).threads == 1
    with pytest.raises(UnknownRunError):
        await waiting.status()


async def test_an_expired_thread_is_not_deleted_with_a_run_that_was_accepted_meanwhile(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_on(saver)
    async with app.worker():
        await (await app.start("note", {}, thread_id="t")).result(20)
    found = type(runs_of(saver)).find_unfinished

    async def then_accept(runs: Any, thread: str) -> Any:
        before = await found(runs, thread)
        await app.start("note", {}, thread_id=thread, delay=timedelta(days=3))
        return before

    monkeypatch.setattr(type(runs_of(saver)), "find_unfinished", then_accept)
    assert (await delete_expired_threads(saver, older_than=timedelta(0))).threads == 0
    assert [each.state for each in await app.runs()] == ["done", "ready"]


async def test_the_rows_that_deletions_left_are_removed(saver: Checkpointer, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_on(saver)
    handle = await app.start("note", {}, thread_id="t")
    await handle.cancel()
    await saver.delete_thread("t")
    assert await upkeep_of(saver).once() == NOTHING
    monkeypatch.setattr(upkeep, "PROTECTION", timedelta(0))
    assert await upkeep_of(saver).once() == Cleaned(0, 0, 0, deletions=1)


async def test_a_worker_continues_a_run_whose_wake_up_was_lost(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_on(saver)
    handle = await app.start("listen", {}, thread_id="t")
    async with app.worker():
        status = await reached(handle, "waiting")
    assert (status.topics, status.interrupts) == (("parcel",), ())
    row = await runs_of(saver).find_run("t", (await runs_of(saver).list_runs())[0].seq)
    assert row is not None
    await app.signal("t", "parcel", "one")
    # As if the sender had not seen the run.
    lost = RunUpdate(row.seq, RunState.WAITING, inbox=1 << 40, waits_on=row.waits_on)
    await save_with(saver, await writer_of(saver, "t"), lost, "interrupted")
    assert (await handle.status()).state == "waiting"
    monkeypatch.setattr(upkeep, "_FIRST_PAUSE", 0.01)
    assert isinstance(saver, Notifies)
    notify, notices = saver.notifier.notify, list[Notice]()

    def noted(*given: Notice) -> None:
        notices.extend(given)
        notify(*given)

    monkeypatch.setattr(saver.notifier, "notify", noted)
    async with app.worker():
        assert await handle.result(20) == {"log": "one"}
        # The worker that repaired the run may have no place for it.
        assert RunReady("listen") in notices


async def test_a_waiting_run_shows_its_interrupts_and_its_time(saver: Checkpointer) -> None:
    app = app_on(saver)
    asks = await app.start("ask", {}, {"metadata": {"user": "Ada"}}, thread_id="asks")
    rests = await app.start("rest", {}, thread_id="rests")
    async with app.worker():
        found = [await reached(each, "waiting") for each in (asks, rests)]
        (task,) = (await app.graph("ask").aget_state(thread_id="asks")).tasks
        assert [each.interrupts for each in found] == [tuple(each.id for each in task.interrupts), ()]
        assert [each.due is None for each in found] == [True, False]
        assert [each.metadata for each in found] == [{"user": "Ada"}, {}]
        await app.answer("asks", "yes")
        await asks.result(20)
    assert (await asks.status()).interrupts == ()


async def test_runs_are_listed_by_metadata(saver: Checkpointer) -> None:
    app = app_on(saver)
    for thread, metadata in (("a", {"user": "Ada", "vip": True}), ("b", {"user": "Ada"}), ("c", {})):
        await app.start("note", {}, {"metadata": metadata}, thread_id=thread)
    assert [each.thread_id for each in await app.runs(metadata={"user": "Ada"})] == ["a", "b"]
    assert [each.thread_id for each in await app.runs(metadata={"user": "Ada", "vip": True})] == ["a"]
    assert [each.thread_id for each in await app.runs(metadata={"user": "Bob"})] == []
    assert len(await app.runs(metadata={})) == 3
    unusable: Any
    for unusable in ({"user": 0.5}, {"user": ["Ada"]}, {"user": "A\0"}, {1: "x"}):
        with pytest.raises(InvalidOptionError, match="metadata"):
            await app.runs(metadata=unusable)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"keep_results": 7}, "keep_results"),
        ({"keep_results": timedelta(days=-1)}, "keep_results"),
        ({"keep_threads": 7}, "keep_threads"),
        ({"keep_threads": timedelta(seconds=-1)}, "keep_threads"),
        ({"keep_threads": {"finished": timedelta(1)}}, "finished"),
        ({"keep_threads": {"done": 7}}, "done"),
    ],
)
async def test_an_invalid_time_is_refused(saver: Checkpointer, options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOptionError, match=named):
        app_on(saver, **options)


async def _threads(saver: Checkpointer) -> list[str]:
    return [info.thread for info in await saver.list_threads()]
