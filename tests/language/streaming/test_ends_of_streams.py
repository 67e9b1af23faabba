"""Emitting, reading and asking for the output after the end of a stream: no caller waits for ever."""

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


async def test_events_that_are_emitted_after_the_run_are_dropped_without_waiting(
    saver: Checkpointer, durability: Durability
) -> None:
    over = asyncio.Event()
    left_behind: list[asyncio.Task[None]] = []

    async def emit_later(writer: StreamWriter) -> None:
        await over.wait()
        for number in range(BUFFER * 3):
            await writer(number)

    async def begins(state: State, writer: StreamWriter) -> None:
        left_behind.append(asyncio.create_task(emit_later(writer)))

    graph = chain(("begins", begins)).compile(saver)

    assert await stream_parts(graph, {}, stream_mode="custom", durability=durability) == []
    over.set()
    async with asyncio.timeout(20):
        await left_behind[0]


async def test_a_thread_that_outlives_the_run_emits_without_waiting_for_the_reader(saver: Checkpointer) -> None:
    over = threading.Event()
    left_behind: list[asyncio.Future[None]] = []

    def emit_later(writer: StreamWriter) -> None:
        over.wait(20)
        for number in range(BUFFER * 3):
            writer(number)

    async def begins(state: State, writer: StreamWriter) -> None:
        left_behind.append(asyncio.ensure_future(asyncio.to_thread(emit_later, writer)))

    graph = chain(("begins", begins)).compile(saver)

    assert await stream_parts(graph, {}, stream_mode="custom") == []
    over.set()
    async with asyncio.timeout(20):
        await left_behind[0]


async def test_a_stream_ends_with_its_run_although_background_tasks_still_emit(saver: Checkpointer) -> None:
    async def emits_for_ever(writer: StreamWriter) -> None:
        while True:
            await writer("more")
            await asyncio.sleep(0)

    left_behind: list[asyncio.Task[None]] = []

    async def begins(state: State, writer: StreamWriter) -> None:
        left_behind.extend(asyncio.create_task(emits_for_ever(writer)) for _ in range(3))

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
async def test_reading_events_after_the_block_is_an_error(
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
async def test_a_reader_that_waits_for_an_event_gets_an_error_when_the_block_is_left(
    saver: Checkpointer, on_disconnect: OnDisconnect
) -> None:
    may_continue = asyncio.Event()

    async def waits(state: State) -> None:
        await may_continue.wait()

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
        may_continue.set()
        if on_disconnect == "continue":
            await graph.ainvoke({}, thread_id="t", if_busy="wait")


async def test_reading_the_output_of_a_cancelled_run_is_an_error_and_not_a_cancellation(saver: Checkpointer) -> None:
    """A `CancelledError` without a cancellation would silently end a child of a task group."""
    graph = chain(("a", node), ("b", node)).compile(saver)

    async with graph.stream({}, thread_id="t") as events:
        async for _ in events:
            break

    with pytest.raises(InvalidCallError, check=of_kind("stream"), match="was cancelled"):
        _ = events.output
