"""Followers of a run: when they come, when they end, and how slowly they read."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from durable_graph import (
    START,
    CheckpointCommitted,
    Checkpointer,
    Command,
    CustomEvent,
    InvalidOptionError,
    LoggedEvent,
    MemorySaver,
    RunInterrupted,
    Runtime,
    Send,
    StateGraph,
    TaskFailed,
    TaskInterrupted,
)
from durable_graph.checkpointing.event_log import KeepsEvents
from durable_graph.checkpointing.run_ids import parts_of
from durable_graph.errors import MissingPowerError, UnknownRunError
from durable_graph.extending import logged_items
from durable_graph.runs import App, RunHandle
from tests.runs.engine.events import (
    SHAPES,
    Gate,
    Reader,
    State,
    add,
    breakpoints,
    chain,
    finished,
    gated_fan,
    graph_of,
    nested,
    news,
    of_kind,
    question,
    question_beside_work,
    replayed,
    result_of,
    results_in,
    waiting,
)

pytestmark = pytest.mark.every_store


# Waiting and ending


async def test_the_first_follower_of_a_waiting_run_gets_its_question_and_the_recorded_results(
    saver: Checkpointer,
) -> None:
    app = App({"g": question_beside_work()}, saver)
    handle = await app.start("g", {})
    async with app.worker():
        await waiting(handle)
        reader = Reader(handle)
        stopped = await reader.until(lambda event: isinstance(event, RunInterrupted))
        assert isinstance(stopped, RunInterrupted)
        assert [each.value for each in stopped.interrupts] == ["ok?"]
        assert stopped.values == {"count": 1, "found": [1]}
        assert results_in(reader.seen) == ["a", "one"]
        assert [each.node for each in of_kind(TaskInterrupted, reader.seen)] == ["q"]
        seen = list(reader.seen)
        await app.answer(handle.thread_id, "yes")
        events = await reader.rest()
    assert events[: len(seen)] == seen
    assert results_in(events) == ["a", "one", "q", "z"]
    assert await replayed(handle) == events


async def test_a_breakpoint_is_an_event(saver: Checkpointer) -> None:
    app = App({"g": breakpoints()}, saver)
    handle = await app.start("g", {}, events="all")
    reader = Reader(handle)
    async with app.worker():
        stopped = await reader.until(lambda event: isinstance(event, RunInterrupted))
        assert isinstance(stopped, RunInterrupted)
        assert (stopped.interrupts, stopped.next, stopped.values["count"]) == ((), ("b",), 1)
        await handle.cancel()
        assert await reader.rest() == await replayed(handle)


async def test_the_events_of_a_failed_run_end_with_its_failure(saver: Checkpointer) -> None:
    async def fail(state: State) -> State:
        message = "no"
        raise ValueError(message)

    app = App({"g": graph_of({"a": add, "fail": fail}, (START, "a"), ("a", "fail"))}, saver)
    handle, unfollowed = await app.start("g", {}, events="all"), await app.start("g", {})
    async with app.worker():
        await handle.status()
        await finished(app, handle)
        await finished(app, unfollowed)
    for each in (handle, unfollowed):
        last = (await replayed(each))[-1].event
        assert isinstance(last, TaskFailed)
        assert "no" in last.error


async def test_a_retried_run_continues_its_events(saver: Checkpointer) -> None:
    is_broken = True

    async def fail(state: State) -> State:
        if is_broken:
            message = "no"
            raise ValueError(message)
        return {"count": 7}

    app = App({"g": graph_of({"a": add, "fail": fail}, (START, "a"), ("a", "fail"))}, saver)
    handle = await app.start("g", {}, events="all")
    async with app.worker():
        await finished(app, handle)
        before = await replayed(handle)
        is_broken = False
        await app.retry(handle.run_id)
        await finished(app, handle)
    after = await replayed(handle)
    assert after[: len(before)] == before
    assert results_in(after[len(before) :]) == ["fail"]
    assert await replayed(handle, after=before[-1].id) == after[len(before) :]


async def test_a_pruned_thread_has_fewer_events_with_the_same_ids(saver: Checkpointer) -> None:
    app = App({"g": nested()}, saver)
    handle = await app.start("g", {}, events="all")
    async with app.worker():
        await handle.result(20)
    before = await replayed(handle)
    await saver.prune(handle.thread_id, keep_last=1)
    after = await replayed(handle)
    assert len(after) < len(before)
    assert [each for each in before if each in after] == after
    assert after[-1].id == before[-1].id


async def test_the_events_of_a_cancelled_run_end(saver: Checkpointer) -> None:
    gate = Gate()
    app = App({"g": gated_fan(gate)}, saver)
    handle = await app.start("g", {}, events="all")
    reader = Reader(handle)
    async with app.worker(lease=0.3):
        await reader.until(result_of("one"))
        await handle.cancel()
        events = await reader.rest()
    assert (await handle.status()).state == "cancelled"
    assert await replayed(handle) == events


async def test_each_run_of_a_thread_has_its_own_events(saver: Checkpointer) -> None:
    app = App({"g": question()}, saver)
    first = await app.start("g", {}, thread_id="t", events="all")
    second = await app.start("g", {}, thread_id="t", events="all")
    async with app.worker():
        await finished(app, first)
        await finished(app, second)
    one, two = await replayed(first), await replayed(second)
    assert len(one) == len(two)
    assert one[-1].id < two[0].id
    assert results_in(one) == results_in(two) == ["a", "q", "z"]


# Slow, late and refused followers


async def test_a_follower_that_does_not_read_does_not_delay_the_run(saver: Checkpointer) -> None:
    async def talk(state: State, runtime: Runtime[Any]) -> State:
        for number in range(500):
            await runtime.stream_writer({"number": number})
        return {"count": 1}

    app = App({"g": graph_of({"a": talk, "b": talk}, (START, "a"), ("a", "b"))}, saver)
    handle = await app.start("g", {}, events="all")
    slow, fast = Reader(handle), Reader(handle)
    async with app.worker():
        await slow.until(lambda event: isinstance(event, CheckpointCommitted))
        events = await fast.rest()
        assert await handle.result(20) == {"count": 1, "found": []}
    assert len(of_kind(CustomEvent, events)) == 1000
    assert await slow.rest() == events


async def test_a_run_without_followers_stores_no_events(saver: Checkpointer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(saver, KeepsEvents)
    asked: list[str] = []

    def note(name: str) -> None:
        method = getattr(saver.events, name)

        async def noted(*given: Any) -> Any:
            asked.append(name)
            return await method(*given)

        monkeypatch.setattr(saver.events, name, noted)

    for name in ("tail", "results", "open_events", "append", "follow"):
        note(name)
    app = App({"g": question_beside_work(), "n": news()}, saver)
    handles = [await app.start("g", {}), await app.start("n", {})]
    async with app.worker():
        for handle in handles:
            await finished(app, handle)
    assert asked == []
    for handle in handles:
        seq = parts_of(handle.run_id)[1]
        page = await saver.events.tail(handle.thread_id, seq, 0, 100)
        assert page is not None
        assert page.rows == ()


@pytest.mark.parametrize("after", [-1, True, "7", 1.0, 1 << 53, (1 << 53) - 1])
async def test_an_id_that_no_event_can_have_is_refused(saver: Checkpointer, after: Any) -> None:
    app = App({"g": chain()}, saver)
    handle = await app.start("g", {})
    with pytest.raises(InvalidOptionError, match="after"):
        await anext(handle.events(after=after))


async def test_events_of_an_unknown_or_deleted_run_are_refused(saver: Checkpointer) -> None:
    app = App({"g": chain()}, saver)
    handle = await app.start("g", {})
    await saver.delete_thread(handle.thread_id)
    with pytest.raises(UnknownRunError):
        await anext(handle.events())


async def test_a_follower_of_a_run_that_is_deleted_meanwhile_gets_an_error(saver: Checkpointer) -> None:
    app = App({"g": question()}, saver)
    handle = await app.start("g", {})
    reader = Reader(handle)
    async with app.worker():
        await reader.until(lambda event: isinstance(event, RunInterrupted))
        await saver.delete_thread(handle.thread_id)
        with pytest.raises(UnknownRunError):
            await reader.rest()


async def test_an_unknown_choice_of_events_is_refused(saver: Checkpointer) -> None:
    app = App({"g": chain()}, saver)
    unknown: Any = "some"
    with pytest.raises(InvalidOptionError, match="'all' or 'followed'"):
        await app.start("g", {}, events=unknown)


async def test_a_saver_without_events_is_refused_by_name() -> None:
    class NoEvents(MemorySaver):
        def __init__(self) -> None:
            super().__init__()
            del self.events

    app = App({"g": chain()}, NoEvents())
    handle = await app.start("g", {})
    with pytest.raises(MissingPowerError, match="NoEvents"):
        await anext(handle.events())
    with pytest.raises(MissingPowerError, match="NoEvents"):
        await app.start("g", {}, events="all")
    async with app.worker():
        assert await handle.result(20) == {"count": 3, "found": []}


# From now on, and in batches


async def test_a_follower_from_now_on_gets_only_later_events(saver: Checkpointer) -> None:
    app = App({"g": question()}, saver)
    handle = await app.start("g", {"count": 0}, events="all")
    async with app.worker():
        await waiting(handle)
        before = await replayed_so_far(handle)
        newest = await handle.newest_event_id()
        assert newest >= before[-1].id
        await app.answer(handle.thread_id, "yes")
        later = await replayed(handle, after=newest)
        assert [*before, *later] == await replayed(handle)
        assert results_in(later) == ["q", "z"]


async def replayed_so_far(handle: RunHandle) -> list[LoggedEvent]:
    """The events of a run that has not ended."""
    found: list[LoggedEvent] = []
    async with aclosing(handle.event_batches()) as batches:
        async for batch in batches:
            if not batch.events:
                return found
            found += batch.events
    return found


async def test_the_newest_id_is_one_that_no_event_exceeds_at_any_time(saver: Checkpointer) -> None:
    app = App({"g": nested()}, saver)
    handle = await app.start("g", {"count": 0}, events="all")
    assert await replayed_so_far(handle) == []
    seen = [await handle.newest_event_id()]
    async with app.worker(), aclosing(handle.events()) as events:
        async for event in events:
            newest = await handle.newest_event_id()
            assert newest >= event.id
            seen.append(newest)
    assert seen == sorted(seen)
    await app.graph("g").adelete_thread(handle.thread_id)
    with pytest.raises(UnknownRunError):
        await handle.newest_event_id()


async def test_a_batch_without_events_says_where_the_run_stands(saver: Checkpointer) -> None:
    app = App({"g": question()}, saver)
    handle = await app.start("g", {"count": 0}, events="all")
    stands: list[tuple[bool, bool]] = []
    starts: list[bool] = []
    async with app.worker(), aclosing(handle.event_batches()) as batches:
        async for batch in batches:
            if batch.events:
                starts.append(batch.is_start)
            else:
                stands.append((batch.is_waiting, batch.has_ended))
                if stands[-1] == (True, False):
                    await finished(app, handle)
    assert (True, False) in stands
    assert stands[-1] == (False, True)
    assert starts == [True, *[False] * (len(starts) - 1)]


async def test_a_batch_after_an_id_of_an_earlier_run_is_a_start(saver: Checkpointer) -> None:
    app = App({"g": chain()}, saver)
    async with app.worker():
        first = await app.start("g", {"count": 0}, thread_id="t", events="all")
        await first.result(20)
        newest = await first.newest_event_id()
        second = await app.start("g", {"count": 0}, thread_id="t", events="all")
        await second.result(20)
        events = await replayed(second)
        for after, is_start in ((0, True), (newest, True), (events[0].id - 1, True), (events[0].id, False)):
            async with aclosing(second.event_batches(after=after)) as batches:
                assert (await anext(batches)).is_start is is_start


async def test_a_delayed_task_is_an_interrupt_that_the_clock_ends(saver: Checkpointer) -> None:
    async def plan(state: State) -> Command[Any]:
        return Command(goto=Send("later", {"count": 1}, after=3600))

    nodes = {"plan": plan, "later": add}
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("plan", nodes["plan"], destinations=("later",))
    builder.add_node("later", nodes["later"])
    app = App({"g": builder.add_edge(START, "plan").compile()}, saver)
    handle = await app.start("g", {"count": 0}, events="all")
    async with app.worker():
        await waiting(handle)
        stopped = (await replayed_so_far(handle))[-1].event
        assert isinstance(stopped, RunInterrupted)
        snapshot = await app.graph("g").aget_state({"configurable": {"thread_id": handle.thread_id}})
        assert [each.id for each in stopped.interrupts] == [each.id for each in snapshot.interrupts]
        assert [each.is_sleep for each in stopped.interrupts] == [True]


@pytest.mark.parametrize("shape", SHAPES)
async def test_items_of_logged_events_do_not_depend_on_earlier_ones(saver: Checkpointer, shape: str) -> None:
    app = App({"g": SHAPES[shape]()}, saver)
    handle = await app.start("g", {"count": 0}, events="all")
    async with app.worker():
        async with asyncio.timeout(30):
            while not (status := await handle.stopped()).has_ended:
                await (app.answer(handle.thread_id, "yes") if status.interrupts else app.resume(handle.thread_id))
    events = await replayed(handle)
    graph = app.graph("g")
    items = logged_items(graph)
    whole = [items(each.event) for each in events]
    assert whole == [logged_items(graph)(each.event) for each in events]
    modes = {mode for each in whole for mode, _ in each}
    assert {"values", "updates", "tasks", "checkpoints", "debug"} <= modes
