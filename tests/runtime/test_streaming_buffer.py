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


def telling(count: int, done: list[int] | None = None) -> Callable[[EventSink], Awaitable[str]]:
    """A run that tells `count` events, and notes each in `done` once it may go on."""

    async def run(audience: EventSink) -> str:
        for number in range(count):
            await audience.emit(event(number))
            if done is not None:
                done.append(number)
        return "output"

    return run


async def never(audience: EventSink) -> None:
    """A run that tells one event and does not end."""
    await audience.emit(event(0))
    await asyncio.Event().wait()


async def until_nothing_moves() -> None:
    """Until every task has come to where it waits: in here none waits for anything but another."""
    for _ in range(200):
        await asyncio.sleep(0)


# In order, and bounded


async def test_events_come_in_the_order_in_which_they_were_reported() -> None:
    async with EventStream(telling(1000)) as events:
        seen = [each async for each in events]

    assert numbers(seen) == list(range(1000))
    assert events.output == "output"


async def test_the_run_waits_for_a_reader_that_is_behind() -> None:
    done: list[int] = []

    async with EventStream(telling(500, done)) as events:
        await until_nothing_moves()
        assert len(done) == BUFFER
        await anext(events)
        await until_nothing_moves()
        assert len(done) == BUFFER + 1
        assert len([each async for each in events]) == 499


async def test_everybody_who_waits_for_room_continues_once_there_is() -> None:
    async def run(audience: EventSink) -> None:
        await asyncio.gather(*(telling(100)(audience) for _ in range(20)))

    async with EventStream(run) as events:
        await until_nothing_moves()
        assert len(events._events) == BUFFER + 20
        assert len([each async for each in events]) == 2000


async def test_what_is_not_awaited_is_taken_up_to_a_hard_bound() -> None:
    """LangGraph (P30): what nodes tell is buffered without limit."""
    overflown: list[StreamOverflowError] = []

    async def run(audience: EventSink) -> None:
        writer = StreamWriter(audience, event, lambda: None)
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

    async def run(audience: EventSink) -> None:
        writer = StreamWriter(audience, event, lambda: None)
        for number in range(PUSHED * 2):
            await writer(number)
            done.append(number)

    async with EventStream(run) as events:
        await until_nothing_moves()
        assert len(done) == BUFFER
        assert len([each async for each in events]) == PUSHED * 2


async def test_a_writer_that_is_not_awaited_leaves_no_warning_behind(recwarn: pytest.WarningsRecorder) -> None:
    async def run(audience: EventSink) -> None:
        StreamWriter(audience, event, lambda: None)(1)

    async with EventStream(run) as events:
        assert numbers([each async for each in events]) == [1]
    gc.collect()

    assert not recwarn.list


async def test_a_writer_that_nobody_hears_makes_nothing_and_shows_that_its_node_is_alive() -> None:
    made: list[int] = []
    beats: list[str] = []

    def make(number: int) -> CustomEvent:
        made.append(number)
        return event(number)

    await StreamWriter(NullSink(), make, lambda: beats.append("beat"))(1)

    assert (made, beats) == ([], ["beat"])


# Only what the reader wants


async def test_what_the_reader_does_not_want_needs_no_room() -> None:
    async def run(audience: EventSink) -> None:
        for number in range(PUSHED * 2):
            audience.push(event(number))
        await telling(BUFFER * 4)(audience)

    async with EventStream(run, wants=lambda told: False) as events:
        assert [each async for each in events] == []


async def test_what_the_reader_does_not_want_is_not_missed_either() -> None:
    async with EventStream(telling(BUFFER * 4), on_slow_reader="gap", wants=lambda told: False) as events:
        await until_nothing_moves()
        assert [each async for each in events] == []


# Gaps


async def test_with_gap_the_run_never_waits_and_the_reader_learns_what_it_missed() -> None:
    done: list[int] = []

    async with EventStream(telling(500, done), on_slow_reader="gap") as events:
        await until_nothing_moves()
        assert len(done) == 500
        assert len(events._events) == BUFFER + 1
        seen = [each async for each in events]

    assert numbers(seen[:-1]) == list(range(BUFFER))
    gap = seen[-1]
    assert isinstance(gap, ReaderGap)
    assert (gap.dropped, gap.thread_id) == (500 - BUFFER, "t")


async def test_after_a_gap_the_reader_hears_on() -> None:
    may_go_on = asyncio.Event()

    async def run(audience: EventSink) -> None:
        await telling(BUFFER + 7)(audience)
        await may_go_on.wait()
        await audience.emit(event(1000))

    async with EventStream(run, on_slow_reader="gap") as events:
        await until_nothing_moves()
        before = [await anext(events) for _ in range(10)]
        may_go_on.set()
        after = [each async for each in events]

    told = [each.dropped if isinstance(each, ReaderGap) else each for each in before + after]
    told = [each.data if isinstance(each, CustomEvent) else each for each in told]
    assert told == [*range(BUFFER), 7, 1000]


async def test_with_gap_a_flood_that_is_not_awaited_is_no_error() -> None:
    async def run(audience: EventSink) -> str:
        for number in range(PUSHED * 2):
            audience.push(event(number))
        return "output"

    async with EventStream(run, on_slow_reader="gap") as events:
        seen = [each async for each in events]

    assert len(seen) == BUFFER + 1
    assert isinstance(seen[-1], ReaderGap)
    assert seen[-1].dropped == PUSHED * 2 - BUFFER
    assert events.output == "output"


async def test_no_event_is_lost_or_counted_twice_whatever_the_reader_does() -> None:
    async with EventStream(telling(1000), on_slow_reader="gap") as events:
        seen = 0
        async for each in events:
            seen += each.dropped if isinstance(each, ReaderGap) else 1
            for _ in range(seen % 7):
                await asyncio.sleep(0)

    assert seen == 1000


# From threads


async def test_a_thread_waits_for_room_where_it_is() -> None:
    done: list[int] = []

    def flood(writer: StreamWriter) -> None:
        for number in range(BUFFER * 20):
            writer(number)
            done.append(number)

    async def run(audience: EventSink) -> None:
        await asyncio.to_thread(flood, StreamWriter(audience, event, lambda: None))

    most = 0
    async with EventStream(run) as events:
        seen = []
        async for each in events:
            seen.append(each)
            most = max(most, len(events._events))

    assert numbers(seen) == done == list(range(BUFFER * 20))
    assert most <= BUFFER + 1


async def test_with_gap_a_thread_does_not_wait() -> None:
    def flood(audience: EventSink) -> None:
        for number in range(1000):
            audience.push(event(number))

    async def run(audience: EventSink) -> None:
        await anyio.to_thread.run_sync(flood, audience)

    async with EventStream(run, on_slow_reader="gap") as events:
        seen = [each async for each in events]

    assert sum(each.dropped if isinstance(each, ReaderGap) else 1 for each in seen) == 1000


async def test_a_thread_that_waits_for_room_is_let_go_when_the_reader_leaves() -> None:
    is_over = asyncio.Event()

    def flood(audience: EventSink) -> None:
        for number in range(1000):
            audience.push(event(number))

    async def run(audience: EventSink) -> None:
        try:
            await asyncio.to_thread(flood, audience)
        finally:
            is_over.set()

    async with asyncio.timeout(20):
        async with EventStream(run, on_disconnect="continue") as events:
            await anext(events)
        await is_over.wait()


# One reader


async def test_a_second_reader_is_refused_and_the_first_reads_on() -> None:
    may_end = asyncio.Event()

    async def run(audience: EventSink) -> None:
        await may_end.wait()
        await audience.emit(event(1))

    async with EventStream(run) as events:
        first = asyncio.ensure_future(anext(events))
        await until_nothing_moves()
        with pytest.raises(InvalidCallError, check=of_kind("stream"), match="one reader"):
            await anext(events)
        may_end.set()
        assert numbers([await first]) == [1]


async def test_a_reader_that_is_cancelled_while_it_waits_can_read_on() -> None:
    may_go_on = asyncio.Event()

    async def run(audience: EventSink) -> None:
        await may_go_on.wait()
        await telling(3)(audience)

    async with EventStream(run) as events:
        waiting = asyncio.ensure_future(anext(events))
        await until_nothing_moves()
        waiting.cancel()
        await asyncio.wait({waiting})
        may_go_on.set()
        assert numbers([each async for each in events]) == [0, 1, 2]


async def test_an_event_is_not_lost_to_a_cancellation_that_comes_with_it() -> None:
    may_go_on = asyncio.Event()

    async def run(audience: EventSink) -> None:
        await may_go_on.wait()
        await telling(2)(audience)

    async with EventStream(run) as events:
        waiting = asyncio.ensure_future(anext(events))
        await until_nothing_moves()
        may_go_on.set()
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        taken = [] if waiting.cancelled() else numbers([waiting.result()])
        assert taken + numbers([each async for each in events]) == [0, 1]


@pytest.mark.parametrize(("option", "value"), [("on_slow_reader", "drop"), ("on_disconnect", "keep")])
def test_an_option_that_there_is_not_is_refused(option: str, value: Any) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(InvalidOptionError, match=option):
        EventStream(telling(1), **options)


# Leaving early


async def test_leaving_by_break_ends_the_run_before_the_block_is_left() -> None:
    is_over = False

    async def run(audience: EventSink) -> None:
        nonlocal is_over
        try:
            await never(audience)
        finally:
            await until_nothing_moves()
            is_over = True

    async with EventStream(run) as events:
        async for _ in events:
            break

    assert is_over


async def test_leaving_by_an_error_raises_that_error() -> None:
    with pytest.raises(ValueError, match="of the reader"):  # noqa: PT012  # the block is what raises
        async with EventStream(never) as events:
            await anext(events)
            raise ValueError("of the reader")


async def test_leaving_by_a_native_cancellation_leaves_no_run_behind() -> None:
    async def read(events: EventStream) -> None:
        async with events:
            async for _ in events:
                pass

    events = EventStream(never)
    reader = asyncio.ensure_future(read(events))
    await until_nothing_moves()
    reader.cancel()
    await asyncio.wait({reader})

    assert reader.cancelled()
    assert events._run is not None
    assert events._run.cancelled()


async def test_leaving_by_a_cancelled_scope_leaves_no_run_behind() -> None:
    events = EventStream(never)
    with anyio.CancelScope() as scope:
        async with events:
            async for _ in events:
                scope.cancel()

    assert scope.cancelled_caught
    assert events._run is not None
    assert events._run.cancelled()


async def test_a_full_buffer_holds_nobody_up_once_the_reader_has_left() -> None:
    async with asyncio.timeout(20):
        async with EventStream(telling(100_000)):
            await until_nothing_moves()


# Leaving early and letting the run go on


async def test_with_continue_the_run_continues_unheard_to_its_end() -> None:
    done: list[int] = []

    async with EventStream(telling(1000, done), on_disconnect="continue") as events:
        await anext(events)
    left_at = len(done)
    gc.collect()
    while events._run in streams._going_on:  # noqa: ASYNC110  # the run tells nobody that it has ended
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

    async def run(audience: EventSink) -> None:
        await audience.emit(event(0))
        await may_end.wait()
        ended.set()

    async def read() -> None:
        async with EventStream(run, on_disconnect="continue") as events:
            async for _ in events:
                pass

    if is_native:
        reader = asyncio.ensure_future(read())
        await until_nothing_moves()
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

    async def run(audience: EventSink) -> None:
        await audience.emit(event(0))
        await may_fail.wait()
        raise ValueError("unheard of")

    with caplog.at_level(logging.WARNING, logger="durable_graph"):
        async with EventStream(run, on_disconnect="continue") as events:
            await anext(events)
        may_fail.set()
        await until_nothing_moves()

    assert "unheard of" in caplog.text
    with pytest.raises(ValueError, match="unheard of"):
        _ = events.output


async def test_a_failure_that_the_reader_left_before_is_raised_where_it_leaves() -> None:
    async def run(audience: EventSink) -> None:
        await audience.emit(event(0))
        raise ValueError("last word")

    with pytest.raises(ValueError, match="last word"):  # noqa: PT012  # the block is what raises
        async with EventStream(run, on_disconnect="continue") as events:
            await until_nothing_moves()
            await anext(events)


# Two audiences


async def test_two_readers_of_one_run_hear_the_same() -> None:
    async def inner(audience: EventSink) -> list[Any]:
        async def run(own: EventSink) -> None:
            both = Tee(own, audience)
            await both.emit(event(1))
            both.push(event(2))
            await both.room()

        async with EventStream(run) as events:
            return [each async for each in events]

    async with EventStream(inner) as events:
        outer = [each async for each in events]

    assert numbers(outer) == numbers(events.output) == [1, 2]


async def test_of_two_readers_the_one_that_left_is_not_told() -> None:
    async with EventStream(never) as left:
        await anext(left)

    async def run(audience: EventSink) -> None:
        both = Tee(left, audience)
        assert both.is_active
        await both.emit(event(1))
        both.push(event(2))

    async with EventStream(run) as events:
        assert numbers([each async for each in events]) == [1, 2]
    assert not left._events
