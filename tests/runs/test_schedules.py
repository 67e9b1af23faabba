"""Schedules: workers start runs by a calendar. Clocks are moved, nobody waits."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    MemorySaver,
    MissingPowerError,
    ScheduleExistsError,
    Send,
    StateGraph,
    UnknownNameError,
    UnknownScheduleError,
    WrongGraphError,
    interrupt,
    start_child,
)
from durable_graph.checkpointing.schedule_store import KeepsSchedules, ScheduleStore
from durable_graph.runs import App, RunStatus, ScheduleHandle
from durable_graph.testing import CrashingSaver, RunningApp, run_app

pytestmark = pytest.mark.every_store

MINUTE = timedelta(minutes=1)


class State(TypedDict, total=False):
    day: str
    count: int


Graph = CompiledGraph[Any, Any, Any, Any]


def graph_of(node: Any) -> Graph:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder.compile()


async def report(state: State) -> State:
    return {"count": state.get("count", 0) + 1}


class Gate:
    """A graph whose runs end when they are let through."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.graph: Graph = graph_of(self._node)

    async def _node(self, state: State) -> State:
        await self.open.wait()
        return {"count": 1}


def schedules_of(app: App) -> ScheduleStore:
    assert isinstance(app.checkpointer, KeepsSchedules)
    return app.checkpointer.schedules


async def begin_at(app: App, moment: datetime) -> None:
    """Move the clock of the store to a time."""
    now = (await schedules_of(app).find("")).now
    app.store.skew += (moment - datetime.fromtimestamp(now / 1_000_000, UTC)) // timedelta(microseconds=1)


async def looked(running: RunningApp) -> None:
    """Wait until the clock has fired, skipped or held what is due."""
    async with asyncio.timeout(20):
        while (await schedules_of(running.app).due(running.app.names, limit=1)).rows:
            running.worker.schedules.nudge()
            await asyncio.sleep(0.001)


async def passed(running: RunningApp, by: timedelta) -> None:
    running.app.store.skew += by // timedelta(microseconds=1)
    await looked(running)


NEW_YEAR = datetime(2031, 1, 1, 0, 0, 30, tzinfo=UTC)


@asynccontextmanager
async def running_app(saver: Checkpointer, graph: Graph | None = None) -> AsyncGenerator[RunningApp]:
    app = App({"report": graph or graph_of(report)}, saver)
    await begin_at(app, NEW_YEAR)
    async with run_app(app) as running:
        yield running


async def runs_of(app: App, name: str = "nightly") -> list[RunStatus]:
    found = await app.runs(metadata={"schedule": name})
    return sorted(found, key=lambda run: str(run.metadata["occurrence"]))


async def occurrences(app: App, name: str = "nightly") -> list[str]:
    return [str(run.metadata["occurrence"]) for run in await runs_of(app, name)]


async def test_a_schedule_starts_a_run_at_each_occurrence(saver: Checkpointer) -> None:
    seen: list[Any] = []

    async def node(state: State, config: Any) -> State:
        seen.append((config["metadata"]["schedule"], config["metadata"]["occurrence"], state["day"]))
        return {"count": 1}

    async with running_app(saver, graph_of(node)) as running:
        app = running.app
        handle = await app.schedule("nightly", "report", {"day": "x"}, {"metadata": {"team": 7}}, cron="*/10 * * * *")
        assert handle.is_new
        for _ in range(3):
            await running.move(10 * MINUTE)
        status = await handle.status()
        runs = await runs_of(app)
        assert [run.thread_id for run in runs] == [f"nightly-2031-01-01T00:{each}:00Z" for each in (10, 20, 30)]
        assert {run.state for run in runs} == {"done"}
        assert {run.metadata["team"] for run in runs} == {7}
    assert seen == [("nightly", f"2031-01-01T00:{each}:00Z", "x") for each in (10, 20, 30)]
    assert (status.fired, status.skipped, status.overdue) == (3, 0, timedelta(0))
    assert status.last == datetime(2031, 1, 1, 0, 30, tzinfo=UTC)
    assert status.next == datetime(2031, 1, 1, 0, 40, tzinfo=UTC)
    assert status.last_run_id == runs[-1].run_id


async def test_a_schedule_is_the_same_in_every_process_that_declares_it(saver: Checkpointer) -> None:
    apps = [App({"report": graph_of(report)}, saver) for _ in range(2)]
    first, *others = [
        await app.schedule("nightly", "report", {"count": 1}, cron="0 2 * * *", zone="Europe/Berlin", recursion_limit=9)
        for app in apps * 2
    ]
    assert [first.is_new, *(each.is_new for each in others)] == [True, False, False, False]
    assert {each.id for each in others} == {first.id}
    assert len(await apps[0].schedules()) == 1


async def test_simultaneous_declarations_make_one_schedule(saver: Checkpointer) -> None:
    app = App({"report": graph_of(report)}, saver)
    made = await asyncio.gather(*(app.schedule("nightly", "report", cron="0 2 * * *") for _ in range(5)))
    assert sum(each.is_new for each in made) == 1
    assert len({each.id for each in made}) == 1


async def test_different_content_is_an_error_that_names_the_differences(saver: Checkpointer) -> None:
    app = App({"report": graph_of(report)}, saver)
    await app.schedule("nightly", "report", {"count": 1}, cron="0 2 * * *")
    with pytest.raises(
        ScheduleExistsError, match=r"another value of cron, jitter, input; .*if_different='change'"
    ) as error:
        await app.schedule("nightly", "report", {"count": 2}, cron="0 3 * * *", jitter=5)
    assert error.value.differences == ("cron", "jitter", "input")
    for options, differs in (
        ({"recursion_limit": 3}, "the options of its runs"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"overlap": "queue"}, "overlap"),
        ({"thread_id": "t"}, "thread_id"),
    ):
        with pytest.raises(ScheduleExistsError) as error:
            await app.schedule("nightly", "report", {"count": 1}, cron="0 2 * * *", **options)
        assert error.value.differences == (differs,)
    handle = await app.schedule("nightly", "report", {"count": 2}, cron="0 3 * * *", if_different="change")
    status = await handle.status()
    assert (status.cron, handle.is_new) == ("0 3 * * *", False)
    assert status.next is not None
    assert status.next.hour == 3


async def test_a_store_without_schedules_is_refused_by_name() -> None:
    saver = CrashingSaver(MemorySaver())
    del saver.schedules
    app = App({"report": graph_of(report)}, saver)
    for call in (
        app.schedule("nightly", "report", cron="0 2 * * *"),
        app.schedules(),
        app.find_schedule("nightly"),
    ):
        with pytest.raises(MissingPowerError, match="CrashingSaver has no power 'schedules'"):
            await call
    async with run_app(app) as running:
        assert await app.run("report", {}) == {"count": 1}
        await running.settle()


async def test_a_paused_schedule_fires_nothing_and_continues_from_the_next_occurrence(saver: Checkpointer) -> None:
    async with running_app(saver) as running:
        app = running.app
        handle = await app.schedule("nightly", "report", cron="* * * * *", paused=True)
        await running.move(5 * MINUTE)
        assert await occurrences(app) == []
        status = await handle.resume()
        assert not status.is_paused
        await running.move(MINUTE)
        paused = await handle.pause()
        assert (paused.is_paused, paused.next) == (True, None)
        await running.move(5 * MINUTE)
        await handle.resume()
        assert await handle.resume() == await handle.status()
        await running.move(MINUTE)
        assert await occurrences(app) == ["2031-01-01T00:06:00Z", "2031-01-01T00:12:00Z"]
        assert (await handle.status()).skipped == 0


async def test_a_trigger_starts_a_run_now_also_while_the_schedule_is_paused(saver: Checkpointer) -> None:
    async with running_app(saver) as running:
        app = running.app
        handle = await app.schedule("nightly", "report", {"count": 4}, cron="0 2 * * *", paused=True)
        runs = [await handle.trigger() for _ in range(2)]
        assert [await run.result(20) for run in runs] == [{"count": 5}] * 2
        assert len({run.thread_id for run in runs}) == 2
        status = await handle.status()
        assert (status.fired, status.skipped, status.is_paused) == (2, 0, True)
        assert status.last_run_id == runs[-1].run_id
        assert (await runs[0].status()).metadata["schedule"] == "nightly"


async def test_simultaneous_triggers_start_a_run_each(saver: Checkpointer) -> None:
    async with running_app(saver) as running:
        handle = await running.app.schedule("nightly", "report", cron="0 2 * * *")
        runs = await asyncio.gather(*(handle.trigger() for _ in range(4)))
        assert len({run.run_id for run in runs}) == 4
        assert (await handle.status()).fired == 4


async def test_a_changed_schedule_keeps_its_counters(saver: Checkpointer) -> None:
    async with running_app(saver) as running:
        app = running.app
        handle = await app.schedule("nightly", "report", {"count": 1}, cron="0 * * * *", recursion_limit=7)
        await running.move(60 * MINUTE)
        changed = await handle.change(cron="30 * * * *", input={"count": 9}, jitter=0, until=None)
        assert changed.next == datetime(2031, 1, 1, 1, 30, tzinfo=UTC)
        await running.move(30 * MINUTE)
        first, second = await runs_of(app)
        assert [await (await app.find(run.run_id)).result() for run in (first, second)] == [{"count": 2}, {"count": 10}]
        assert (await handle.status()).fired == 2
        await handle.change(priority="high")
        assert [await (await handle.trigger()).result(20)] == [{"count": 10}]
        assert [run.priority for run in await runs_of(app)] == [2, 2, 1]
        unchanged = await handle.status()
        assert (await handle.change()).next == unchanged.next


async def test_a_deleted_schedule_fires_nothing_and_its_runs_stay(saver: Checkpointer) -> None:
    async with running_app(saver) as running:
        app = running.app
        handle = await app.schedule("nightly", "report", cron="* * * * *")
        await running.move(MINUTE)
        assert (await handle.delete(), await handle.delete()) == (True, False)
        await running.move(MINUTE)
        assert len(await runs_of(app)) == 1
        for call in (handle.status(), handle.pause(), handle.resume(), handle.trigger(), handle.change(jitter=1)):
            with pytest.raises(UnknownScheduleError, match="no schedule 'nightly'"):
                await call
        again = await app.schedule("nightly", "report", cron="* * * * *")
        assert (again.is_new, again.id != handle.id) == (True, True)


async def test_schedules_are_listed_by_name_in_pages(saver: Checkpointer) -> None:
    app = App({"report": graph_of(report)}, saver)
    for name in ("b", "ä", "a", "B"):
        await app.schedule(name, "report", cron="0 2 * * *", metadata={"name": name})
    names, after = [], None
    while page := await app.schedules(limit=3, after=after):
        names += [each.name for each in page]
        after = page[-1]
    assert names == ["B", "a", "b", "ä"]
    assert after is not None
    assert after.metadata == {"name": "ä"}
    found = await app.find_schedule("ä")
    assert (await app.find_schedule(found.id)).name == "ä"
    assert (await found.status()) == after


async def test_an_occurrence_is_skipped_while_the_run_before_it_has_not_ended(saver: Checkpointer) -> None:
    gate = Gate()
    async with running_app(saver, gate.graph) as running:
        handle = await running.app.schedule("nightly", "report", cron="* * * * *")
        for _ in range(3):
            await passed(running, MINUTE)
        status = await handle.status()
        assert (status.fired, status.skipped) == (1, 2)
        gate.open.set()
        await running.settle()
        await running.move(MINUTE)
        assert await occurrences(running.app) == ["2031-01-01T00:01:00Z", "2031-01-01T00:04:00Z"]


@pytest.mark.parametrize(("overlap", "minutes", "skipped"), [("queue", [1, 2, 3, 4], 0), ("queue_one", [1, 2], 2)])
async def test_occurrences_wait_for_the_end_of_the_run_before_them(
    saver: Checkpointer, overlap: Any, minutes: list[int], skipped: int
) -> None:
    gate = Gate()
    async with running_app(saver, gate.graph) as running:
        app = running.app
        handle = await app.schedule("nightly", "report", cron="* * * * *", overlap=overlap)
        for _ in range(4):
            await passed(running, MINUTE)
        status = await handle.status()
        assert (status.fired, status.skipped) == (1, skipped)
        assert status.waiting == datetime(2031, 1, 1, 0, 2, tzinfo=UTC)
        assert len(await runs_of(app)) == 1
        gate.open.set()
        for _ in range(4):
            # The clock looks for the end of the run once a second.
            await running.settle()
            await passed(running, timedelta(seconds=2))
        await running.settle()
        assert await occurrences(app) == [f"2031-01-01T00:0{each}:00Z" for each in minutes]
        status = await handle.status()
        assert (status.waiting, status.skipped) == (None, skipped)


async def test_an_occurrence_cancels_the_run_before_it(saver: Checkpointer) -> None:
    gate = Gate()
    async with running_app(saver, gate.graph) as running:
        app = running.app
        handle = await app.schedule("nightly", "report", cron="* * * * *", overlap="cancel")
        for _ in range(2):
            await passed(running, MINUTE)
        async with asyncio.timeout(20):
            while (await runs_of(app))[0].state != "cancelled":  # noqa: ASYNC110  # the store has no event
                await asyncio.sleep(0.005)
        gate.open.set()
        await running.settle()
        first, second = await runs_of(app)
        assert (first.state, second.state) == ("cancelled", "done")
        assert first.error == "the next occurrence of its schedule, with overlap='cancel', takes its place"
        assert ((await handle.status()).fired, (await handle.status()).skipped) == (2, 0)


async def test_an_occurrence_cancels_the_children_of_the_run_before_it(saver: Checkpointer) -> None:
    async def parent(state: State) -> State:
        child = await start_child("child", {"day": "monday"})
        return {"count": (await child.result())["count"]}

    async def ask(state: State) -> State:
        return {"count": interrupt("how many?")}

    async with run_app(App({"report": graph_of(parent), "child": graph_of(ask)}, saver)) as running:
        app = running.app
        await begin_at(app, NEW_YEAR)
        await app.schedule("nightly", "report", cron="* * * * *", overlap="cancel")
        for _ in range(2):
            await passed(running, MINUTE)
            await running.settle()
        assert [run.state for run in await runs_of(app)] == ["cancelled", "waiting"]
        # The worker cancels the child once the occurrence is recorded.
        children = await app.runs(graph="child")
        async with asyncio.timeout(20):
            while sorted(child.state for child in children) != ["cancelled", "waiting"]:
                await asyncio.sleep(0.001)
                children = await app.runs(graph="child")
        (cancelled,) = [child for child in children if child.state == "cancelled"]
        assert cancelled.error == "its parent was cancelled"


async def test_a_trigger_starts_a_run_beside_those_that_occurrences_cancel(saver: Checkpointer) -> None:
    gate = Gate()
    async with running_app(saver, gate.graph) as running:
        app = running.app
        handle = await app.schedule("nightly", "report", cron="* * * * *", overlap="cancel")
        await passed(running, MINUTE)
        (first,) = await runs_of(app)
        await handle.trigger()
        row = await app.store.find_unfinished(first.thread_id)
        assert row is not None
        assert row.request == 0
        gate.open.set()
        await running.settle()
        assert [run.state for run in await runs_of(app)] == ["done", "done"]


async def test_occurrences_run_beside_each_other(saver: Checkpointer) -> None:
    gate = Gate()
    async with running_app(saver, gate.graph) as running:
        await running.app.schedule("nightly", "report", cron="* * * * *", overlap="parallel")
        for _ in range(3):
            await passed(running, MINUTE)
        assert {run.state for run in await runs_of(running.app)} <= {"running", "ready"}
        gate.open.set()
        await running.settle()
        assert [run.state for run in await runs_of(running.app)] == ["done"] * 3


async def test_the_runs_of_a_fixed_thread_continue_with_its_state(saver: Checkpointer) -> None:
    async with running_app(saver) as running:
        app = running.app
        handle = await app.schedule("nightly", "report", cron="* * * * *", thread_id="the-thread")
        for _ in range(3):
            await running.move(MINUTE)
        assert {run.thread_id for run in await runs_of(app)} == {"the-thread"}
        assert (await app.graph("report").aget_state(thread_id="the-thread")).values == {"count": 3}
        assert await (await handle.trigger()).result(20) == {"count": 4}
        await handle.change(input=Command(update={"count": 40}, goto=[Send("node", {"count": 40})]))
        # Other options keep the input.
        await handle.change(priority="high")
        await running.move(MINUTE)
        assert (await app.graph("report").aget_state(thread_id="the-thread")).values == {"count": 41}


async def test_a_thread_of_another_graph_skips_the_occurrence_with_a_reason(saver: Checkpointer) -> None:
    app = App({"report": graph_of(report), "other": graph_of(report)}, saver)
    await begin_at(app, NEW_YEAR)
    async with run_app(app) as running:
        await app.run("other", {}, thread_id="t")
        handle = await app.schedule("nightly", "report", cron="* * * * *", thread_id="t")
        await running.move(MINUTE)
        status = await handle.status()
        assert (status.fired, status.skipped) == (0, 1)
        assert status.error == "thread 't' belongs to the graph 'other', and not to 'report'"
        with pytest.raises(WrongGraphError, match="'other'"):
            await handle.trigger()
        await handle.change(thread_id=None)
        await running.move(MINUTE)
        assert ((await handle.status()).fired, (await handle.status()).error) == (1, None)


@pytest.mark.parametrize(
    ("catch_up", "minutes"),
    [
        ("last", [30]),
        (None, []),
        (timedelta(minutes=15), [20, 25, 30]),
        (timedelta(days=1), [5, 10, 15, 20, 25, 30]),
    ],
)
async def test_missed_occurrences_are_fired_as_catch_up_says(
    saver: Checkpointer, catch_up: Any, minutes: list[int]
) -> None:
    app = App({"report": graph_of(report)}, saver)
    await begin_at(app, NEW_YEAR)
    handle = await app.schedule("nightly", "report", cron="*/5 * * * *", catch_up=catch_up, overlap="parallel")
    app.store.skew += timedelta(minutes=32) // timedelta(microseconds=1)
    assert (await handle.status()).overdue > timedelta(minutes=27)
    async with run_app(app) as running:
        await running.settle()
        assert await occurrences(app) == [f"2031-01-01T00:{each:02}:00Z" for each in minutes]
        status = await handle.status()
        assert (status.fired, status.skipped) == (len(minutes), 6 - len(minutes))
        await running.move(3 * MINUTE)
        assert (await occurrences(app))[-1] == "2031-01-01T00:35:00Z"


async def test_a_long_outage_is_passed_over_in_several_steps_and_counted(saver: Checkpointer) -> None:
    app = App({"report": graph_of(report)}, saver)
    await begin_at(app, NEW_YEAR)
    handle = await app.schedule("nightly", "report", cron="* * * * *")
    app.store.skew += timedelta(minutes=1000) // timedelta(microseconds=1)
    async with run_app(app) as running:
        await running.settle()
        status = await handle.status()
        assert (status.fired, status.skipped) == (1, 999)
        assert await occurrences(app) == ["2031-01-01T16:40:00Z"]


async def test_jitter_delays_an_occurrence_by_the_same_time_everywhere(saver: Checkpointer) -> None:
    async with running_app(saver) as running:
        app = running.app
        handle = await app.schedule("nightly", "report", cron="0 * * * *", jitter=timedelta(minutes=20))
        row = (await schedules_of(app).find("nightly")).row
        assert row is not None
        delay = timedelta(microseconds=row.due - row.next)
        assert timedelta(0) < delay < timedelta(minutes=20)
        await running.move(timedelta(minutes=59, seconds=29) + delay)
        assert await occurrences(app) == []
        await running.move(timedelta(seconds=2))
        assert await occurrences(app) == ["2031-01-01T01:00:00Z"]
        again = (await schedules_of(app).find("nightly")).row
        assert again is not None
        assert again.due - again.next != row.due - row.next
        assert (await handle.status()).jitter == timedelta(minutes=20)


async def test_a_schedule_ends_with_its_last_possible_occurrence(saver: Checkpointer) -> None:
    async with running_app(saver) as running:
        app = running.app
        end = datetime(2031, 1, 1, 0, 2, 30, tzinfo=UTC)
        handle = await app.schedule("nightly", "report", cron="* * * * *", until=end, catch_up=timedelta(days=1))
        for _ in range(10):
            await running.move(MINUTE)
        await running.move(10 * MINUTE)
        status = await handle.status()
        assert (status.next, status.until) == (None, end)
        assert await occurrences(app) == ["2031-01-01T00:01:00Z", "2031-01-01T00:02:00Z"]
        await handle.change(until=None)
        await running.move(MINUTE)
        assert (await occurrences(app))[-1] == "2031-01-01T00:21:00Z"


async def test_a_schedule_whose_graph_no_worker_has_is_overdue(saver: Checkpointer) -> None:
    maker = App({"report": graph_of(report), "other": graph_of(report)}, saver)
    async with running_app(saver) as running:
        handle = await maker.schedule("nightly", "other", cron="* * * * *")
        await running.move(10 * MINUTE)
        status = await handle.status()
        assert (status.fired, status.skipped) == (0, 0)
        assert timedelta(minutes=8) < status.overdue < timedelta(minutes=11)
        with pytest.raises(UnknownNameError):
            await (await running.app.find_schedule("nightly")).trigger()
    async with run_app(maker) as knowing:
        await knowing.settle()
        assert ((await handle.status()).fired, (await handle.status()).skipped) == (1, 9)


async def test_many_clocks_fire_each_occurrence_once(saver: Checkpointer) -> None:
    app = App({"report": graph_of(report)}, saver)
    await begin_at(app, NEW_YEAR)
    handle: ScheduleHandle = await app.schedule(
        "nightly", "report", cron="* * * * *", overlap="parallel", catch_up=timedelta(days=1)
    )
    async with app.worker(), app.worker(), run_app(app) as running:
        for _ in range(4):
            app.store.skew += timedelta(minutes=5) // timedelta(microseconds=1)
            for worker in list(app._workers):
                worker.schedules.nudge()
            await running.settle()
        assert (await handle.status()).fired == 20
        found = await occurrences(app)
        assert len(found) == len(set(found)) == 20


async def test_a_new_schedule_is_noticed_by_the_workers_of_its_app(saver: Checkpointer) -> None:
    async with running_app(saver) as running:
        app = running.app
        # The first look of the clock has found nothing, and the next one is seconds away.
        await running.settle()
        handle = await app.schedule("nightly", "report", cron="* * * * * *")
        async with asyncio.timeout(20):
            while not (await handle.status()).fired:  # noqa: ASYNC110  # the store has no event
                await asyncio.sleep(0.01)
