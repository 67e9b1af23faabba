"""What is told, read or asked for after a stream has ended: an error or nothing, and nobody waits for ever."""

import asyncio
import threading
from typing import Any

import pytest

from durable_graph import Checkpointer, Durability, InvalidCallError, StreamWriter
from durable_graph._runtime.events.stream import BUFFER, OnDisconnect
from tests.errors.kinds import of_kind
from tests.graphs import State, chain, stream_parts


async def node(state: State) -> State:
    return {"log": ["done"]}


async def test_what_is_reported_after_the_run_is_received_by_nobody_and_waits_for_nobody(
    saver: Checkpointer, durability: Durability
) -> None:
    over = asyncio.Event()
    left_behind: list[asyncio.Task[None]] = []

    async def tell_later(writer: StreamWriter) -> None:
        await over.wait()
        for number in range(BUFFER * 3):
            await writer(number)

    async def begins(state: State, writer: StreamWriter) -> None:
        left_behind.append(asyncio.create_task(tell_later(writer)))

    graph = chain(("begins", begins)).compile(saver)

    assert await stream_parts(graph, {}, stream_mode="custom", durability=durability) == []
    over.set()
    async with asyncio.timeout(20):
        await left_behind[0]


async def test_a_thread_that_outlives_the_run_does_not_wait_for_its_reader(saver: Checkpointer) -> None:
    over = threading.Event()
    left_behind: list[asyncio.Future[None]] = []

    def tell_later(writer: StreamWriter) -> None:
        over.wait(20)
        for number in range(BUFFER * 3):
            writer(number)

    async def begins(state: State, writer: StreamWriter) -> None:
        left_behind.append(asyncio.ensure_future(asyncio.to_thread(tell_later, writer)))

    graph = chain(("begins", begins)).compile(saver)

    assert await stream_parts(graph, {}, stream_mode="custom") == []
    over.set()
    async with asyncio.timeout(20):
        await left_behind[0]


async def test_a_loop_ends_with_the_run_whatever_is_still_told(saver: Checkpointer) -> None:
    async def tells_for_ever(writer: StreamWriter) -> None:
        while True:
            await writer("more")
            await asyncio.sleep(0)

    left_behind: list[asyncio.Task[None]] = []

    async def begins(state: State, writer: StreamWriter) -> None:
        left_behind.extend(asyncio.create_task(tells_for_ever(writer)) for _ in range(3))

    graph = chain(("begins", begins)).compile(saver)

    async with asyncio.timeout(20):
        async for _ in graph.astream({}, thread_id="t", stream_mode="custom"):
            await asyncio.sleep(0)
    for each in left_behind:
        each.cancel()
    await asyncio.wait(left_behind)

    assert await graph.ainvoke({}, thread_id="other") == {"log": []}


@pytest.mark.parametrize("on_disconnect", ["cancel", "continue"])
@pytest.mark.parametrize("is_read_to_its_end", [True, False])
async def test_events_are_read_inside_of_the_block_only(
    saver: Checkpointer, on_disconnect: OnDisconnect, *, is_read_to_its_end: bool
) -> None:
    graph = chain(("a", node), ("b", node)).compile(saver)

    async with graph.stream({}, thread_id="t", on_disconnect=on_disconnect) as events:
        async for _ in events:
            if not is_read_to_its_end:
                break

    with pytest.raises(InvalidCallError, check=of_kind("stream"), match="its block has ended"):
        await anext(events)


@pytest.mark.parametrize("on_disconnect", ["cancel", "continue"])
async def test_who_still_waits_for_an_event_learns_that_the_block_was_left(
    saver: Checkpointer, on_disconnect: OnDisconnect
) -> None:
    goes_on = asyncio.Event()

    async def waits(state: State) -> None:
        await goes_on.wait()

    graph = chain(("waits", waits)).compile(saver)

    async def read_all(events: Any) -> None:
        async for _ in events:
            pass

    async with asyncio.timeout(20):
        async with graph.stream({}, thread_id="t", on_disconnect=on_disconnect) as events:
            reader = asyncio.create_task(read_all(events))
            while not events._is_awaited:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0)
        with pytest.raises(InvalidCallError, check=of_kind("stream"), match="its block has ended"):
            await reader
        goes_on.set()
        if on_disconnect == "continue":
            await graph.ainvoke({}, thread_id="t", if_busy="wait")


async def test_a_run_that_was_cancelled_has_no_output_and_cancels_nobody_who_asks(saver: Checkpointer) -> None:
    """A `CancelledError` where nobody cancelled anything would end a task group's child without a word."""
    graph = chain(("a", node), ("b", node)).compile(saver)

    async with graph.stream({}, thread_id="t") as events:
        async for _ in events:
            break

    with pytest.raises(InvalidCallError, check=of_kind("stream"), match="was cancelled"):
        _ = events.output
