"""Nodes, readers and stores with unexpected behaviour: the run still ends, and its error names the cause."""

import asyncio
import operator
import threading
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, TypedDict

import anyio
import pytest

from durable_graph import START, Checkpointer, Durability, MemorySaver, NodeCancelledError, StateGraph
from durable_graph._runtime.entry import options
from durable_graph._runtime.request.run import Request
from durable_graph.records import CommitResult, CommitUnit, SaveResult, WritesBatch
from durable_graph.testing.crash import CrashingSaver


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def parallel(**nodes: Any) -> StateGraph[State]:
    builder = StateGraph(State)
    for name, node in nodes.items():
        builder.add_node(name, node)
        builder.add_edge(START, name)
    return builder


async def writes_a(state: State) -> State:
    return {"log": ["a"]}


async def test_a_node_that_cancels_itself_fails_and_its_siblings_continue(
    saver: Checkpointer, durability: Durability
) -> None:
    attempts: list[str] = []

    async def cancels_itself(state: State) -> State:
        attempts.append("odd")
        me = asyncio.current_task()
        if len(attempts) == 1 and me is not None:
            me.cancel()
            await asyncio.sleep(0)
        return {"log": ["odd"]}

    async def late(state: State) -> State:
        for _ in range(5):
            await asyncio.sleep(0)
        return {"log": ["late"]}

    graph = parallel(a=writes_a, late=late, odd=cancels_itself).compile(saver)

    with pytest.raises(NodeCancelledError, match="'odd'"):
        await graph.ainvoke({}, thread_id="t", durability=durability)

    snapshot = await graph.aget_state(thread_id="t")
    assert [task.name for task in snapshot.tasks if task.result is not None] == ["a", "late"]
    assert [thread.status for thread in await saver.list_threads()] == ["failed"]
    assert await graph.ainvoke(None, thread_id="t") == {"log": ["a", "late", "odd"]}


async def test_a_node_that_a_sibling_cancels_in_its_router_is_named_in_the_error(saver: Checkpointer) -> None:
    choosing: dict[str, asyncio.Task[Any]] = {}
    chooses = asyncio.Event()

    async def choose(state: State) -> list[str]:
        me = asyncio.current_task()
        if not choosing and me is not None:
            choosing["b"] = me
            chooses.set()
            await asyncio.Event().wait()
        return []

    async def cancels_b(state: State) -> State:
        await chooses.wait()
        choosing["b"].cancel()
        return {"log": ["a"]}

    async def writes_b(state: State) -> State:
        return {"log": ["b"]}

    builder = parallel(a=cancels_b, b=writes_b)
    builder.add_conditional_edges("b", choose)
    graph = builder.compile(saver)

    with pytest.raises(NodeCancelledError, match="'b'"):
        await graph.ainvoke({}, thread_id="t")

    assert await graph.ainvoke(None, thread_id="t") == {"log": ["a", "b"]}


class HangingSaver(CrashingSaver):
    """Blocks every write while `open` is cleared."""

    def __init__(self) -> None:
        super().__init__(MemorySaver())
        self.open = asyncio.Event()
        self.open.set()

    async def commit(self, unit: CommitUnit) -> CommitResult:
        await self.open.wait()
        return await super().commit(unit)

    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        await self.open.wait()
        return await super().save_writes(batch)


async def test_a_cancelled_run_waits_for_a_hanging_store_no_longer_than_the_grace_period(
    durability: Durability, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(options, "Request", partial(Request, grace=0.05))
    saver = HangingSaver()
    reached = asyncio.Event()

    async def stubborn(state: State) -> State:
        reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            saver.open.clear()
        return {"log": ["stubborn"]}

    graph = parallel(stubborn=stubborn).compile(saver)
    task = asyncio.create_task(graph.ainvoke({}, thread_id="t", durability=durability))
    await reached.wait()

    task.cancel()
    ended, _ = await asyncio.wait({task}, timeout=10)

    assert ended == {task}
    assert task.cancelled()
    assert "still runs 0.05 seconds after the run was cancelled" in caplog.text
    saver.open.set()
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    assert (await graph.aget_state(thread_id="t")).values == {"log": ["stubborn"]}


async def test_a_node_that_suppresses_the_cancellation_of_a_scope_does_not_break_the_scope() -> None:
    async def stubborn(state: State) -> State:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.Event().wait()
        return {"log": ["stubborn"]}

    graph = parallel(stubborn=stubborn).compile()

    with anyio.move_on_after(0.01) as scope:
        await graph.ainvoke({})

    assert scope.cancelled_caught


async def test_reading_a_stream_outside_of_its_block_is_refused_with_a_remedy() -> None:
    stream = parallel(a=writes_a).compile().stream({})

    with pytest.raises(RuntimeError, match=r"inside `async with graph.stream\(...\) as events`"):
        await anext(stream)


async def test_a_failure_that_stops_its_siblings_does_not_leave_the_caller_cancelled(saver: Checkpointer) -> None:
    async def fails(state: State) -> State:
        raise ValueError("no")

    async def waits(state: State) -> State:
        await asyncio.Event().wait()
        return {"log": ["never"]}

    with pytest.raises(ValueError, match="no"):
        await parallel(a=writes_a, fails=fails, waits=waits).compile(saver).ainvoke({}, thread_id="t")

    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


class NoException(BaseException):
    """A BaseException that some test and web frameworks raise to bypass `except Exception`."""


@pytest.mark.parametrize("siblings", [{}, {"a": writes_a}], ids=["alone", "with a sibling"])
async def test_a_base_exception_of_a_node_is_raised_unchanged(saver: Checkpointer, siblings: dict[str, Any]) -> None:
    async def odd(state: State) -> State:
        raise NoException

    graph = parallel(odd=odd, **siblings).compile(saver)

    with pytest.raises(NoException):
        await graph.ainvoke({}, thread_id="t")

    assert (await graph.aget_state(thread_id="t")).next == ("odd",)


async def test_a_stream_whose_reader_is_cancelled_twice_still_ends_its_run_first(saver: Checkpointer) -> None:
    waits, leaves, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def cleans_up(state: State) -> State:
        try:
            waits.set()
            await asyncio.Event().wait()
        finally:
            leaves.set()
            await may_end.wait()
        return {}

    graph = parallel(a=writes_a, cleans_up=cleans_up).compile(saver)

    async def read() -> None:
        async with graph.stream({}, thread_id="t") as events:
            async for _ in events:
                pass

    reader = asyncio.create_task(read())
    await waits.wait()
    reader.cancel()
    await leaves.wait()
    reader.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not reader.done()
    may_end.set()
    await asyncio.wait({reader})

    assert reader.cancelled()
    assert (await graph.aget_state(thread_id="t")).next == ("cleans_up",)


def extended(value: list[str], more: list[str]) -> list[str]:
    value.extend(more)
    return value


class Extended(TypedDict):
    log: Annotated[list[str], extended]


async def test_a_reducer_that_changes_its_argument_in_place_applies_each_write_once(saver: Checkpointer) -> None:
    async def node(state: Extended) -> Extended:
        return {"log": ["node"]}

    builder = StateGraph(Extended)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_conditional_edges("node", lambda state: "__end__" if state["log"] == ["in", "node"] else "node")
    graph = builder.compile(saver)

    assert await graph.ainvoke({"log": ["in"]}, thread_id="t") == {"log": ["in", "node"]}
    assert (await graph.aget_state(thread_id="t")).values == {"log": ["in", "node"]}


async def test_any_mapping_is_accepted_as_input(saver: Checkpointer) -> None:
    graph = parallel(a=writes_a).compile(saver)

    assert await graph.ainvoke(MappingProxyType({"log": ["in"]}), thread_id="t") == {"log": ["in", "a"]}


async def test_the_result_of_a_sibling_of_a_node_that_raised_a_base_exception_is_kept(saver: Checkpointer) -> None:
    class Odd(BaseException):
        """A BaseException that has no meaning for the event loop."""

    calls: list[str] = []
    begun, gate = threading.Event(), threading.Event()

    def slow(state: State) -> State:
        calls.append("slow")
        begun.set()
        gate.wait(10)
        return {"log": ["slow"]}

    async def odd(state: State) -> State:
        if gate.is_set():
            return {"log": ["odd"]}
        while not begun.is_set():  # noqa: ASYNC110  # it is set in a thread
            await asyncio.sleep(0)
        gate.set()
        raise Odd

    builder = StateGraph(State)
    builder.add_node("slow", slow)
    builder.add_node("odd", odd)
    builder.add_edge(START, "slow")
    builder.add_edge(START, "odd")
    graph = builder.compile(saver)
    with pytest.raises(Odd):
        await graph.ainvoke({}, thread_id="t")

    assert (await graph.ainvoke(None, thread_id="t"))["log"] == ["odd", "slow"]
    assert calls == ["slow"]
