"""Nodes that stream a nested graph: they receive all of its events, and no deadlock occurs."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any, TypedDict

import pytest

from durable_graph import END, START, Checkpointer, CompiledGraph, MemorySaver, StateGraph, task
from durable_graph._runtime.request.run import Durability
from durable_graph.records import CommitResult, CommitUnit, SaveResult, WritesBatch

SUPERSTEPS = 60
"""With three events each, more than a stream buffers and a run with "async" may be ahead."""


class State(TypedDict, total=False):
    count: int


async def counted(state: State) -> State:
    return {"count": state["count"] + 1}


def chain(length: int) -> CompiledGraph[State]:
    """A nested graph of `length` sequential nodes."""
    builder = StateGraph(State)
    names = [f"n{place:03}" for place in range(length)]
    for name in names:
        builder.add_node(name, counted)
    for source, target in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(source, target)
    return builder.compile()


class BusySaver(MemorySaver):
    """A store that takes some turns of the event loop for each call."""

    async def commit(self, unit: CommitUnit) -> CommitResult:
        await _turns()
        return await super().commit(unit)

    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        await _turns()
        return await super().save_writes(batch)


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def one_node(node: Any) -> StateGraph[State]:
    return StateGraph(State).add_node("node", node).add_edge(START, "node")


@task
async def look_up(count: int) -> int:
    return count


async def test_a_node_receives_all_events_of_a_nested_run_that_it_streams(durability: Durability) -> None:
    """With "async" the run ended while its last commits were still in progress, and its stream ended with it."""
    inner, kinds = chain(4), []

    async def node(state: State) -> State:
        async with inner.stream({"count": 0}) as events:
            kinds.extend([type(event).__name__ async for event in events])
        return {"count": 1}

    await one_node(node).compile(BusySaver()).ainvoke({"count": 0}, thread_id="t", durability=durability)

    assert Counter(kinds) == {"CheckpointCommitted": 5, "TaskStarted": 4, "TaskFinished": 4}


async def test_a_node_receives_all_events_of_a_nested_run_that_fails(durability: Durability) -> None:
    async def fail(state: State) -> State:
        raise ConnectionError

    inner = StateGraph(State).add_node("a", counted).add_node("b", fail).add_edge(START, "a").add_edge("a", "b")
    graph, kinds = inner.compile(), []

    async def node(state: State) -> State:
        with suppress(ConnectionError):
            async with graph.stream({"count": 0}) as events:
                async for event in events:
                    kinds.append(type(event).__name__)
        return {"count": 1}

    await one_node(node).compile(BusySaver()).ainvoke({"count": 0}, thread_id="t", durability=durability)

    assert Counter(kinds) == {"CheckpointCommitted": 2, "TaskStarted": 2, "TaskFinished": 1, "TaskFailed": 1}


@pytest.mark.parametrize("call", ["task", "graph"])
async def test_a_node_may_call_a_task_or_a_graph_while_it_streams_a_nested_run(
    saver: Checkpointer, durability: Durability, call: str
) -> None:
    """Once a deadlock with "async": the call waited for events, the events for the reader, the reader for the call."""
    inner, other = chain(SUPERSTEPS), chain(20)

    async def node(state: State) -> State:
        seen = 0
        async with inner.stream({"count": 0}, recursion_limit=SUPERSTEPS) as events:
            async for _ in events:
                seen += 1
                if seen == 1:
                    await asyncio.sleep(0.1)  # for the run to be as far ahead as it may
                    await (look_up(seen) if call == "task" else other.ainvoke({"count": seen}))
        return {"count": seen}

    graph = one_node(node).compile(saver)
    async with asyncio.timeout(60):
        result = await graph.ainvoke({"count": 0}, thread_id="t", durability=durability)

    assert result["count"] == 3 * SUPERSTEPS + 1
