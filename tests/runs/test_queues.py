"""Queues with limits: declared by apps, enforced over workers, and visible in the statistics of every app."""

import asyncio
import math
from collections import Counter
from datetime import timedelta
from typing import Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, CompiledGraph, MemorySaver, StateGraph, interrupt, start_child
from durable_graph.checkpointing.queue_store import QueueClaims
from durable_graph.errors import InvalidOptionError, MissingPowerError, ScheduleExistsError
from durable_graph.runs import App, QueueLimits, Rate, RunHandle, worker
from durable_graph.testing import run_app

pytestmark = pytest.mark.every_store

ENDLESS = 3600.0
PATIENCE = 60.0


class State(TypedDict, total=False):
    name: str


def graph_of(node: Any) -> CompiledGraph[Any, Any, Any, Any]:
    return StateGraph(State).add_node("node", node).add_edge(START, "node").compile()


class Slots:
    """A node that notes how many of its runs are executed at each moment, in all and by the key in their name."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.now: Counter[str] = Counter()
        self.most = 0
        self.most_of_key = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def node(self, state: State) -> State:
        key = state["name"].split()[0]
        self.begun.append(state["name"])
        self.now[key] += 1
        self.most = max(self.most, self.now.total())
        self.most_of_key = max(self.most_of_key, self.now[key])
        await self.gate.wait()
        # Others have several turns of the event loop to begin meanwhile.
        for _ in range(20):
            await asyncio.sleep(0)
        self.now[key] -= 1
        return {}


@pytest.fixture
def slots() -> Slots:
    return Slots()


async def start(app: App, *names: str, keyed: bool = True, **options: Any) -> list[RunHandle]:
    """Start a run of each name, whose first word is its key."""
    return [
        await app.start("work", {"name": name}, queue="q", limit_key=name.split()[0] if keyed else None, **options)
        for name in names
    ]


async def ended(handles: list[RunHandle]) -> None:
    for handle in handles:
        await handle.result(PATIENCE)


# Limits


async def test_limits_hold_at_each_moment_over_two_workers(saver: Checkpointer, slots: Slots) -> None:
    app = App({"work": graph_of(slots.node)}, saver)
    app.queue("q", concurrency=3, per_key=2)
    handles = await start(app, *(f"a {number}" for number in range(20)), *(f"b {number}" for number in range(4)))
    async with app.worker(), app.worker():
        await ended(handles)
    assert len(slots.begun) == 24
    assert (slots.most, slots.most_of_key) == (3, 2)


async def test_a_rate_holds_in_each_window(saver: Checkpointer, slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    # No polling: the rate has to wake the worker.
    monkeypatch.setattr(worker, "_LONGEST_LOOK", ENDLESS)
    app = App({"work": graph_of(slots.node)}, saver)
    app.queue("q", rate=Rate(3, per=0.2))
    times = claim_times(saver)
    async with app.worker():
        await ended(await start(app, *map(str, range(10)), keyed=False))
    assert len(times) == 10
    assert all(later - first > 200_000 for first, later in zip(times, times[3:], strict=False))


def claim_times(saver: Any) -> list[int]:
    """The times of the claims from queues with limits, by the store's clock, from now on."""
    times: list[int] = []
    claim = saver.queues.claim

    async def noted(*arguments: Any) -> QueueClaims:
        found: QueueClaims = await claim(*arguments)
        times.extend(each.now for each in found.claims)
        return found

    saver.queues.claim = noted
    return times


async def test_a_slot_that_is_freed_wakes_the_worker_that_waits_for_it(
    saver: Checkpointer, slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def gated(state: State) -> State:
        await gate.wait()
        return {}

    apps = [App({"gated": graph_of(gated)}, saver), App({"work": graph_of(slots.node)}, saver)]
    for app in apps:
        app.queue("q", concurrency=1)
    async with apps[0].worker():
        holder = await apps[0].start("gated", {}, queue="q")
        while (await holder.status()).state != "running":  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.01)
        monkeypatch.setattr(worker, "_FIRST_LOOK", ENDLESS)
        monkeypatch.setattr(worker, "_LONGEST_LOOK", ENDLESS)
        async with apps[1].worker() as second:
            waiting = await start(apps[1], "a")
            # The first of these looks may have begun before the start.
            for _ in range(2):
                looks = second.looks
                second.nudge()
                while second.looks == looks:  # noqa: ASYNC110  # a look has no event
                    await asyncio.sleep(0.001)
            assert (await waiting[0].status()).state == "ready"
            gate.set()
            await ended(waiting)


async def test_a_run_that_waits_holds_no_slot(saver: Checkpointer, slots: Slots) -> None:
    async def ask(state: State) -> State:
        return {"name": interrupt("who?")}

    app = App({"work": graph_of(slots.node), "ask": graph_of(ask)}, saver)
    app.queue("q", concurrency=1, per_key=1)
    async with app.worker():
        asking = await app.start("ask", {}, queue="q", limit_key="a")
        await ended(await start(app, "a 1", "a 2"))
        assert (await asking.status()).state == "waiting"
        await app.answer(asking.thread_id, "me")
        assert await asking.result(PATIENCE) == {"name": "me"}


async def test_a_run_of_a_caller_obeys_the_limits(saver: Checkpointer, slots: Slots) -> None:
    app = App({"work": graph_of(slots.node)}, saver)
    app.queue("q", concurrency=2)
    async with app.worker():
        await asyncio.gather(*(app.run("work", {"name": f"a {n}"}, queue="q", timeout=PATIENCE) for n in range(8)))
    # Without a worker, too: the call has one of its own.
    await asyncio.gather(*(app.run("work", {"name": f"a {n}"}, queue="q", timeout=PATIENCE) for n in range(8)))
    assert len(slots.begun) == 16
    assert slots.most <= 2


async def test_runs_of_graphs_need_no_slot_of_a_queue(saver: Checkpointer, slots: Slots) -> None:
    app = App({"work": graph_of(slots.node)}, saver)
    app.queue("q", concurrency=1)
    handles = [await app.start("work", {"name": f"a {number}"}) for number in range(10)]
    limited = await start(app, *(f"b {number}" for number in range(5)))
    async with app.worker():
        await ended(handles + limited)
    assert slots.most > 2


async def test_a_moved_clock_moves_the_windows_of_a_rate(saver: Checkpointer, slots: Slots) -> None:
    app = App({"work": graph_of(slots.node)}, saver)
    app.queue("q", rate=Rate(3, per=3600))
    handles = await start(app, *map(str, range(7)), keyed=False)
    async with run_app(app) as running:
        for begun in (3, 6, 7):
            await running.settle()
            assert len(slots.begun) == begun
            await running.move(timedelta(seconds=3601))
        await ended(handles)


# Turns


async def test_keys_take_turns_and_do_not_wait_for_the_backlog_of_another_key(
    saver: Checkpointer, slots: Slots
) -> None:
    app = App({"work": graph_of(slots.node)}, saver)
    app.queue("q", concurrency=1)
    backlog = await start(app, *(f"big {number}" for number in range(20)))
    small = await start(app, "small 0", "small 1", "tiny 0")
    async with app.worker():
        await ended(backlog + small)
    places = [slots.begun.index(name) for name in ("tiny 0", "small 0", "small 1")]
    assert places[0] < 3
    assert places[1] < 3
    assert places[2] < 6
    assert [each for each in slots.begun if each.startswith("big")] == [f"big {number}" for number in range(20)]


async def test_priorities_precede_turns(saver: Checkpointer, slots: Slots) -> None:
    app = App({"work": graph_of(slots.node)}, saver)
    app.queue("q", concurrency=1)
    handles = await start(app, "a 0", "a 1", "b 0", priority="low")
    handles += await start(app, "a first", priority="first")
    handles += await start(app, "b high", "a high", "a high 2", priority="high")
    async with app.worker():
        await ended(handles)
    assert slots.begun[0] == "a first"
    assert sorted(slots.begun[1:4]) == ["a high", "a high 2", "b high"]
    assert slots.begun.index("a high 2") == 3


# Apps with different graphs and declarations


async def test_a_run_in_a_queue_that_no_worker_serves_stays_ready_and_is_visible(
    saver: Checkpointer, slots: Slots
) -> None:
    app = App({"work": graph_of(slots.node)}, saver)
    handles = await start(app, "a 0", "a 1")
    async with app.worker():
        (stats,) = (await app.stats()).queues
        assert (stats.queue, stats.ready, stats.workers, stats.limits) == ("q", 2, 0, None)
    app.queue("q", concurrency=2, rate=Rate(100))
    async with app.worker():
        await ended(handles)
        (stats,) = (await app.stats()).queues
        assert (stats.queue, stats.ready, stats.workers) == ("q", 0, 1)
    (stats,) = (await app.stats()).queues
    assert stats.limits == QueueLimits("q", 2, None, Rate(100, per=1))
    assert stats.workers == 0
    assert stats.declared_at > 0


async def test_statistics_count_running_and_waiting_runs_of_a_queue(saver: Checkpointer) -> None:
    gate = asyncio.Event()

    async def gated(state: State) -> State:
        await gate.wait()
        return {}

    app = App({"work": graph_of(gated)}, saver)
    app.queue("q", concurrency=2)
    handles = await start(app, "a", "b", "c")
    own = await app.start("work", {})
    async with app.worker():
        while (await own.status()).state != "running" or (await app.stats()).queues[0].running < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        queue, of_graph = (await app.stats()).queues
        assert (queue.queue, queue.running, queue.ready, queue.workers) == ("q", 2, 1, 1)
        assert (of_graph.queue, of_graph.running, of_graph.limits, of_graph.workers) == ("work", 1, None, 1)
        gate.set()
        await ended([*handles, own])


async def test_the_limits_of_the_newest_deployment_hold_for_all_workers(saver: Checkpointer, slots: Slots) -> None:
    old, new = (App({"work": graph_of(slots.node)}, saver) for _ in range(2))
    old.queue("q", concurrency=1)
    new.queue("q", concurrency=3)
    async with old.worker():
        await ended(await start(old, *(f"a {number}" for number in range(4))))
        assert slots.most == 1
        async with new.worker():
            pass
        (stats,) = (await old.stats()).queues
        assert stats.limits == QueueLimits("q", 3)
        # Only the old worker is left.
        slots.gate.clear()
        handles = await start(old, *(f"a {number}" for number in range(12)))
        while (await old.stats()).queues[0].running < 3:  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.01)
        slots.gate.set()
        await ended(handles)
        assert slots.most == 3


async def test_a_worker_leaves_the_runs_of_graphs_that_it_does_not_have(saver: Checkpointer, slots: Slots) -> None:
    other = Slots()
    first = App({"work": graph_of(slots.node)}, saver)
    second = App({"other": graph_of(other.node)}, saver)
    for app in (first, second):
        app.queue("q", concurrency=1)
    unknown = [await second.start("other", {"name": f"b {number}"}, queue="q") for number in range(5)]
    known = await start(first, "a 0", "a 1")
    async with first.worker():
        await ended(known)
        assert {(await each.status()).state for each in unknown} == {"ready"}
        assert {(await each.status()).attempt for each in unknown} == {0}
        async with second.worker():
            await ended(unknown)
    assert len(other.begun) == 5


async def test_a_worker_releases_a_run_of_an_unknown_graph(saver: Checkpointer, slots: Slots) -> None:
    app, other = App({"q": graph_of(slots.node)}, saver), App({"work": graph_of(slots.node)}, saver)
    # The name of the queue is that of a graph in the other app.
    (handle,) = await start(other, "a 0")
    own = await app.start("q", {"name": "b 0"})
    async with app.worker() as running:
        await own.result(PATIENCE)
        while (await handle.status()).attempt == 0 or running.running:  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.01)
        status = await handle.status()
        assert (status.state, status.crashes) == ("ready", 0)
        assert status.due is not None
        assert status.accepted_at is not None
        assert status.due > status.accepted_at
    assert slots.begun == ["b 0"]


# Bad calls


@pytest.mark.parametrize(
    ("option", "options"),
    [
        *(("concurrency", {"concurrency": value}) for value in (0, -1, 1.5, True, "2", 1_000_001)),
        *(("per_key", {"per_key": value}) for value in (0, -3, math.inf)),
        *(("rate", {"rate": value}) for value in (50, (50, 1))),
        *(("name", {"name": value}) for value in ("", "a\0b", "x" * 256, "\ud800", 7, None, "work")),
    ],
)
def test_a_declaration_with_a_wrong_option_is_refused(option: str, options: dict[str, Any]) -> None:
    app = App({"work": graph_of(Slots().node)}, MemorySaver())
    with pytest.raises(InvalidOptionError) as caught:
        app.queue(**{"name": "q", **options})
    assert caught.value.option == option


@pytest.mark.parametrize("number", [0, -1, 2.0, True, None, 1_000_001])
def test_a_rate_has_a_positive_number(number: Any) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        Rate(number)
    assert caught.value.option == "number"


@pytest.mark.parametrize("per", [0, -1, math.nan, math.inf, True, "1", 0.0001, 1e9])
def test_a_rate_has_a_positive_time(per: Any) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        Rate(1, per=per)
    assert caught.value.option == "per"


@pytest.mark.parametrize(
    ("option", "options"),
    [
        *(("limit_key", {"queue": "q", "limit_key": value}) for value in ("", 3, "a\0b", "\ud800", "x" * 256)),
        ("limit_key", {"limit_key": "a"}),
        ("limit_key", {"queue": "work", "limit_key": "a"}),
        *(("queue", {"queue": value}) for value in ("", 3, "a\0b", "other")),
    ],
)
async def test_a_start_with_a_wrong_option_is_refused(option: str, options: dict[str, Any]) -> None:
    app = App({"work": graph_of(Slots().node), "other": graph_of(Slots().node)}, MemorySaver())
    with pytest.raises(InvalidOptionError) as caught:
        await app.start("work", {}, **options)
    assert caught.value.option == option
    assert await app.runs() == []


def test_a_queue_has_one_declaration_in_an_app() -> None:
    app = App({"work": graph_of(Slots().node)}, MemorySaver())
    app.queue("q", concurrency=1)
    app.queue("q", concurrency=1)
    with pytest.raises(InvalidOptionError, match="one declaration"):
        app.queue("q", concurrency=2)


async def test_a_saver_without_queues_is_named() -> None:
    class NoQueues(MemorySaver):
        def __init__(self) -> None:
            super().__init__()
            del self.queues

    app = App({"work": graph_of(Slots().node)}, NoQueues())
    with pytest.raises(MissingPowerError, match="'queues'"):
        app.queue("q")
    with pytest.raises(MissingPowerError, match="'queues'"):
        await app.start("work", {}, queue="q")
    handle = await app.start("work", {"name": "a"}, queue="work")
    assert [each.queue for each in (await app.stats()).queues] == ["work"]
    async with app.worker():
        await handle.result(PATIENCE)


# Runs that schedules and nodes start


async def test_occurrences_of_a_schedule_are_in_the_queue_that_it_names(saver: Checkpointer, slots: Slots) -> None:
    app = App({"work": graph_of(slots.node)}, saver)
    app.queue("q", concurrency=1)
    options: dict[str, Any] = {"queue": "q", "limit_key": "a"}
    for number in range(3):
        await app.schedule(f"s{number}", "work", {"name": f"a {number}"}, cron="0 * * * *", **options)
    again = await app.schedule("s0", "work", {"name": "a 0"}, cron="0 * * * *", **options)
    async with run_app(app) as running:
        await running.move(timedelta(hours=1))

    assert (slots.most, len(slots.begun), again.is_new) == (1, 3, False)
    with pytest.raises(ScheduleExistsError, match="options of its runs"):
        await app.schedule("s0", "work", {"name": "a 0"}, cron="0 * * * *", queue="q", limit_key="b")
    with pytest.raises(InvalidOptionError, match="limit_key"):
        await app.schedule("s4", "work", {"name": "a 0"}, cron="0 * * * *", limit_key="b")


async def test_children_are_in_the_queue_that_their_parent_names(saver: Checkpointer, slots: Slots) -> None:
    async def parent(state: State) -> State:
        children = [await start_child("work", {"name": f"a {number}"}, queue="q") for number in range(4)]
        await asyncio.gather(*(child.result() for child in children))
        with pytest.raises(InvalidOptionError, match="limit_key"):
            await start_child("work", {"name": "b"}, limit_key="b")
        return {}

    app = App({"work": graph_of(slots.node), "parent": graph_of(parent)}, saver)
    app.queue("q", concurrency=2)
    async with app.worker(concurrency=1), app.worker(concurrency=1), app.worker(concurrency=1):
        await ended([await app.start("parent", {}) for _ in range(2)])

    assert {row.queue for row in await app.store.list_runs(graph="work")} == {"q"}
    assert (slots.most <= 2, len(slots.begun)) == (True, 8)
