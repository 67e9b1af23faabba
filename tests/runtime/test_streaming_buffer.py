"""The buffer between a run and its reader: bounded, in order, and harmless whatever the reader does."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from durable_graph import (
    CustomEvent,
    EventStream,
    InvalidCallError,
    InvalidOptionError,
    ReaderGap,
    StreamOverflowError,
    StreamWriter,
)
from durable_graph._runtime.events import stream as streams
from durable_graph._runtime.events.sink import EventSink, NullSink, Tee
from durable_graph._runtime.events.stream import BUFFER, PUSHED
from tests.errors.kinds import of_kind


def event(number: int) -> CustomEvent:
    return CustomEvent(thread_id="t", step=1, task_id="id", node="node", data=number)


def numbers(events: list[Any]) -> list[int]:
    return [each.data for each in events]


def emitting(count: int, done: list[int] | None = None) -> Callable[[EventSink], Awaitable[str]]:
    """A run that emits `count` events, and adds each to `done` once it is emitted."""

    async def run(sink: EventSink) -> str:
        for number in range(count):
            await sink.emit(event(number))
            if done is not None:
                done.append(number)
        return "output"

    return run


async def never_ending(sink: EventSink) -> None:
    """A run that emits one event and does not end."""
    await sink.emit(event(0))
    await asyncio.Event().wait()


async def until_all_tasks_wait() -> None:
    """Wait until every task is waiting: in these tests, tasks wait for each other only."""
    for _ in range(200):
        await asyncio.sleep(0)


# In order, and bounded


async def test_events_are_read_in_the_order_in_which_they_were_emitted() -> None:
    async with EventStream(emitting(1000)) as events:
        seen = [each async for each in events]

    assert numbers(seen) == list(range(1000))
    assert events.output == "output"


async def test_the_run_waits_for_a_reader_that_is_behind() -> None:
    done: list[int] = []

    async with EventStream(emitting(500, done)) as events:
        await until_all_tasks_wait()
        assert len(done) == BUFFER
        await anext(events)
        await until_all_tasks_wait()
        assert len(done) == BUFFER + 1
        assert len([each async for each in events]) == 499


async def test_all_tasks_that_wait_for_room_continue_once_there_is_room() -> None:
    async def run(sink: EventSink) -> None:
        await asyncio.gather(*(emitting(100)(sink) for _ in range(20)))

    async with EventStream(run) as events:
        await until_all_tasks_wait()
        assert len(events._events) == BUFFER + 20
        assert len([each async for each in events]) == 2000


async def test_unawaited_events_are_buffered_up_to_a_hard_limit() -> None:
    """LangGraph (P30): events of nodes are buffered without limit."""
    overflown: list[StreamOverflowError] = []

    async def run(sink: EventSink) -> None:
        writer = StreamWriter(sink, event, lambda: None)
        try:
            for number in range(100_000):
                writer(number)
        except StreamOverflowError as error:
            overflown.append(error)

    async with EventStream(run) as events:
        seen = [each async for each in events]

    assert numbers(seen) == list(range(PUSHED))
    assert overflown[0].limit == PUSHED
    assert "await writer(data)" in str(overflown[0])


async def test_an_awaited_writer_waits_for_room() -> None:
    done: list[int] = []

    async def run(sink: EventSink) -> None:
        writer = StreamWriter(sink, event, lambda: None)
        for number in range(PUSHED * 2):
            await writer(number)
            done.append(number)

    async with EventStream(run) as events:
        await until_all_tasks_wait()
        assert len(done) == BUFFER
        assert len([each async for each in events]) == PUSHED * 2


async def test_a_writer_that_is_not_awaited_leaves_no_warning_behind(recwarn: pytest.WarningsRecorder) -> None:
    async def run(sink: EventSink) -> None:
        StreamWriter(sink, event, lambda: None)(1)

    async with EventStream(run) as events:
        assert numbers([each async for each in events]) == [1]
    gc.collect()

    assert not recwarn.list


async def test_a_writer_without_a_reader_makes_no_event_and_sends_a_heartbeat() -> None:
    made: list[int] = []
    beats: list[str] = []

    def make(number: int) -> CustomEvent:
        made.append(number)
        return event(number)

    await StreamWriter(NullSink(), make, lambda: beats.append("beat"))(1)

    assert (made, beats) == ([], ["beat"])


# Events that the reader does not want


async def test_events_that_the_reader_does_not_want_take_no_room() -> None:
    async def run(sink: EventSink) -> None:
        for number in range(PUSHED * 2):
            sink.push(event(number))
        await emitting(BUFFER * 4)(sink)

    async with EventStream(run, wants=lambda _: False) as events:
        assert [each async for each in events] == []


async def test_events_that_the_reader_does_not_want_cause_no_gap() -> None:
    async with EventStream(emitting(BUFFER * 4), on_slow_reader="gap", wants=lambda _: False) as events:
        await until_all_tasks_wait()
        assert [each async for each in events] == []


# Gaps


async def test_with_gap_the_run_never_waits_and_the_reader_gets_the_number_of_dropped_events() -> None:
    done: list[int] = []

    async with EventStream(emitting(500, done), on_slow_reader="gap") as events:
        await until_all_tasks_wait()
        assert len(done) == 500
        assert len(events._events) == BUFFER + 1
        seen = [each async for each in events]

    assert numbers(seen[:-1]) == list(range(BUFFER))
    gap = seen[-1]
    assert isinstance(gap, ReaderGap)
    assert (gap.dropped, gap.thread_id) == (500 - BUFFER, "t")


async def test_after_a_gap_the_reader_receives_later_events() -> None:
    may_go_on = asyncio.Event()

    async def run(sink: EventSink) -> None:
        await emitting(BUFFER + 7)(sink)
        await may_go_on.wait()
        await sink.emit(event(1000))

    async with EventStream(run, on_slow_reader="gap") as events:
        await until_all_tasks_wait()
        before = [await anext(events) for _ in range(10)]
        may_go_on.set()
        after = [each async for each in events]

    received = [each.dropped if isinstance(each, ReaderGap) else each for each in before + after]
    received = [each.data if isinstance(each, CustomEvent) else each for each in received]
    assert received == [*range(BUFFER), 7, 1000]


async def test_with_gap_a_flood_of_unawaited_events_is_no_error() -> None:
    async def run(sink: EventSink) -> str:
        for number in range(PUSHED * 2):
            sink.push(event(number))
        return "output"

    async with EventStream(run, on_slow_reader="gap") as events:
        seen = [each async for each in events]

    assert len(seen) == BUFFER + 1
    assert isinstance(seen[-1], ReaderGap)
    assert seen[-1].dropped == PUSHED * 2 - BUFFER
    assert events.output == "output"


async def test_no_event_is_lost_or_counted_twice_whatever_the_reader_does() -> None:
    async with EventStream(emitting(1000), on_slow_reader="gap") as events:
        seen = 0
        async for each in events:
            seen += each.dropped if isinstance(each, ReaderGap) else 1
            for _ in range(seen % 7):
                await asyncio.sleep(0)

    assert seen == 1000


# From threads


async def test_a_worker_thread_blocks_until_there_is_room() -> None:
    done: list[int] = []

    def flood(writer: StreamWriter) -> None:
        for number in range(BUFFER * 20):
            writer(number)
            done.append(number)

    async def run(sink: EventSink) -> None:
        await asyncio.to_thread(flood, StreamWriter(sink, event, lambda: None))

    most = 0
    async with EventStream(run) as events:
        seen = []
        async for each in events:
            seen.append(each)
            most = max(most, len(events._events))

    assert numbers(seen) == done == list(range(BUFFER * 20))
    assert most <= BUFFER + 1


async def test_with_gap_a_worker_thread_does_not_block() -> None:
    def flood(sink: EventSink) -> None:
        for number in range(1000):
            sink.push(event(number))

    async def run(sink: EventSink) -> None:
        await anyio.to_thread.run_sync(flood, sink)

    async with EventStream(run, on_slow_reader="gap") as events:
        seen = [each async for each in events]

    assert sum(each.dropped if isinstance(each, ReaderGap) else 1 for each in seen) == 1000


async def test_a_worker_thread_that_waits_for_room_is_released_when_the_reader_leaves() -> None:
    is_over = asyncio.Event()

    def flood(sink: EventSink) -> None:
        for number in range(1000):
            sink.push(event(number))

    async def run(sink: EventSink) -> None:
        try:
            await asyncio.to_thread(flood, sink)
        finally:
            is_over.set()

    async with asyncio.timeout(20):
        async with EventStream(run, on_disconnect="continue") as events:
            await anext(events)
        await is_over.wait()


# One reader


async def test_a_second_reader_is_refused_and_the_first_one_continues() -> None:
    may_end = asyncio.Event()

    async def run(sink: EventSink) -> None:
        await may_end.wait()
        await sink.emit(event(1))

    async with EventStream(run) as events:
        first = asyncio.ensure_future(anext(events))
        await until_all_tasks_wait()
        with pytest.raises(InvalidCallError, check=of_kind("stream"), match="one reader"):
            await anext(events)
        may_end.set()
        assert numbers([await first]) == [1]


async def test_a_reader_that_is_cancelled_while_it_waits_can_read_later_events() -> None:
    may_go_on = asyncio.Event()

    async def run(sink: EventSink) -> None:
        await may_go_on.wait()
        await emitting(3)(sink)

    async with EventStream(run) as events:
        waiting = asyncio.ensure_future(anext(events))
        await until_all_tasks_wait()
        waiting.cancel()
        await asyncio.wait({waiting})
        may_go_on.set()
        assert numbers([each async for each in events]) == [0, 1, 2]


async def test_an_event_that_arrives_together_with_a_cancellation_is_not_lost() -> None:
    may_go_on = asyncio.Event()

    async def run(sink: EventSink) -> None:
        await may_go_on.wait()
        await emitting(2)(sink)

    async with EventStream(run) as events:
        waiting = asyncio.ensure_future(anext(events))
        await until_all_tasks_wait()
        may_go_on.set()
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        taken = [] if waiting.cancelled() else numbers([waiting.result()])
        assert taken + numbers([each async for each in events]) == [0, 1]


@pytest.mark.parametrize(("option", "value"), [("on_slow_reader", "drop"), ("on_disconnect", "keep")])
def test_an_unknown_option_value_is_refused(option: str, value: Any) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(InvalidOptionError, match=option):
        EventStream(emitting(1), **options)


# Leaving early


async def test_leaving_by_break_ends_the_run_before_the_block_is_left() -> None:
    is_over = False

    async def run(sink: EventSink) -> None:
        nonlocal is_over
        try:
            await never_ending(sink)
        finally:
            await until_all_tasks_wait()
            is_over = True

    async with EventStream(run) as events:
        async for _ in events:
            break

    assert is_over


async def test_leaving_by_an_error_raises_that_error() -> None:
    with pytest.raises(ValueError, match="of the reader"):  # noqa: PT012  # the block is what raises
        async with EventStream(never_ending) as events:
            await anext(events)
            raise ValueError("of the reader")


async def test_leaving_by_a_native_cancellation_leaves_no_run_behind() -> None:
    async def read(events: EventStream) -> None:
        async with events:
            async for _ in events:
                pass

    events = EventStream(never_ending)
    reader = asyncio.ensure_future(read(events))
    await until_all_tasks_wait()
    reader.cancel()
    await asyncio.wait({reader})

    assert reader.cancelled()
    assert events._run is not None
    assert events._run.cancelled()


async def test_leaving_by_a_cancelled_scope_leaves_no_run_behind() -> None:
    events = EventStream(never_ending)
    with anyio.CancelScope() as scope:
        async with events:
            async for _ in events:
                scope.cancel()

    assert scope.cancelled_caught
    assert events._run is not None
    assert events._run.cancelled()


async def test_a_full_buffer_does_not_block_the_run_once_the_reader_has_left() -> None:
    async with asyncio.timeout(20):
        async with EventStream(emitting(100_000)):
            await until_all_tasks_wait()


# Leaving early while the run continues


async def test_with_continue_the_run_continues_to_its_end_without_a_reader() -> None:
    done: list[int] = []

    async with EventStream(emitting(1000, done), on_disconnect="continue") as events:
        await anext(events)
    left_at = len(done)
    gc.collect()
    while events._run in streams._going_on:  # noqa: ASYNC110  # a run without a reader emits nothing at its end
        await asyncio.sleep(0)

    assert left_at < 1000
    assert len(done) == 1000
    assert not events.is_active
    assert events._events == type(events._events)()
    assert events.output == "output"


@pytest.mark.parametrize("is_native", [True, False])
async def test_with_continue_a_cancelled_reader_does_not_cancel_the_run(is_native: bool) -> None:
    may_end = asyncio.Event()
    ended = asyncio.Event()

    async def run(sink: EventSink) -> None:
        await sink.emit(event(0))
        await may_end.wait()
        ended.set()

    async def read() -> None:
        async with EventStream(run, on_disconnect="continue") as events:
            async for _ in events:
                pass

    if is_native:
        reader = asyncio.ensure_future(read())
        await until_all_tasks_wait()
        reader.cancel()
        await asyncio.wait({reader})
    else:
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_soon(scope.cancel)
            await read()
    may_end.set()

    async with asyncio.timeout(20):
        await ended.wait()


async def test_with_continue_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    may_fail = asyncio.Event()

    async def run(sink: EventSink) -> None:
        await sink.emit(event(0))
        await may_fail.wait()
        raise ValueError("unheard of")

    with caplog.at_level(logging.WARNING, logger="durable_graph"):
        async with EventStream(run, on_disconnect="continue") as events:
            await anext(events)
        may_fail.set()
        await until_all_tasks_wait()

    assert "unheard of" in caplog.text
    with pytest.raises(ValueError, match="unheard of"):
        _ = events.output


async def test_a_failure_that_the_reader_has_not_read_is_raised_at_the_end_of_the_block() -> None:
    async def run(sink: EventSink) -> None:
        await sink.emit(event(0))
        raise ValueError("last word")

    with pytest.raises(ValueError, match="last word"):  # noqa: PT012  # the block is what raises
        async with EventStream(run, on_disconnect="continue") as events:
            await until_all_tasks_wait()
            await anext(events)


# Two readers


async def test_two_readers_of_one_run_receive_the_same_events() -> None:
    async def inner(sink: EventSink) -> list[Any]:
        async def run(own: EventSink) -> None:
            both = Tee(own, sink)
            await both.emit(event(1))
            both.push(event(2))
            await both.room()

        async with EventStream(run) as events:
            return [each async for each in events]

    async with EventStream(inner) as events:
        outer = [each async for each in events]

    assert numbers(outer) == numbers(events.output) == [1, 2]


async def test_a_reader_that_has_left_receives_no_events_beside_another_reader() -> None:
    async with EventStream(never_ending) as left:
        await anext(left)

    async def run(sink: EventSink) -> None:
        both = Tee(left, sink)
        assert both.is_active
        await both.emit(event(1))
        both.push(event(2))

    async with EventStream(run) as events:
        assert numbers([each async for each in events]) == [1, 2]
    assert not left._events
