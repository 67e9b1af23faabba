"""Runs leave no cycles that hold states, and reading a thread causes no garbage collections."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import END, START, MemorySaver, StateGraph, add_messages


@dataclass
class Note:
    id: str
    text: str


class State(TypedDict):
    notes: Annotated[list[Note], add_messages]


# Async, because a worker thread keeps the arguments of its last call alive for a moment.
async def note(state: State) -> Any:
    return {"notes": []}


def noting(saver: MemorySaver, nodes: int = 1) -> Any:
    builder: Any = StateGraph(State)
    for number in range(nodes):
        builder.add_node(f"note {number}", note)
        builder.add_edge(START, f"note {number}")
        builder.add_edge(f"note {number}", END)
    return builder.compile(saver)


@contextmanager
def without_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("nodes", [1, 3])
async def test_the_state_of_a_run_is_freed_together_with_its_result(nodes: int) -> None:
    graph = noting(MemorySaver(), nodes)
    with without_collection():
        result = await graph.ainvoke({"notes": [Note("a", "first")]}, thread_id="t")
        kept = weakref.ref(result["notes"][0])
        del result

        assert kept() is None


async def test_a_long_thread_is_read_without_garbage_collections() -> None:
    graph = noting(MemorySaver())
    notes = [Note(f"n{number}", "text") for number in range(3_000)]
    await graph.ainvoke({"notes": notes}, thread_id="t")
    begun: list[int] = []

    def note_start(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            begun.append(info["generation"])

    gc.collect()
    gc.callbacks.append(note_start)
    try:
        await graph.aget_state(thread_id="t")
    finally:
        gc.callbacks.remove(note_start)

    # Otherwise there would be about one collection for each 700 of the 6,000 objects.
    assert len(begun) <= 2
    assert gc.isenabled()


async def test_a_disabled_garbage_collector_stays_disabled() -> None:
    graph = noting(MemorySaver())
    await graph.ainvoke({"notes": [Note("a", "first")]}, thread_id="t")
    with without_collection():
        await graph.aget_state(thread_id="t")

        assert not gc.isenabled()
