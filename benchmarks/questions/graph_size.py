"""Does a superstep cost more in a graph of many nodes, or with many channels that do not change?"""

import warnings
from typing import Any, TypedDict

from benchmarks.contenders import NAMES, new_thread
from benchmarks.lab import Lab, Work
from durable_graph import END, START, CompiledGraph, MemorySaver, StateGraph, UnreachableNodeWarning


class Counter(TypedDict, total=False):
    """All that a node of this graph reads: what it costs to hand over a wide state is another question."""

    count: int


async def count(state: Counter) -> Counter:
    return {"count": state.get("count", 0) + 1}


def counting(channels: int, nodes: int, supersteps: int) -> CompiledGraph[Any]:
    """A loop of one node, with nodes that never run and channels that never change."""
    fields: Any = {"count": int, **{f"channel_{number}": int for number in range(channels)}}
    builder: Any = StateGraph(TypedDict("State", fields, total=False))  # type: ignore[operator]  # made while running
    builder.add_node("count", count)
    for number in range(nodes - 1):
        builder.add_node(f"node_{number}", count)
    builder.add_conditional_edges(
        "count", lambda state: "count" if state["count"] < supersteps else END, ["count", END]
    )
    builder.add_edge(START, "count")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreachableNodeWarning)
        compiled: CompiledGraph[Any] = builder.compile()
    return compiled


def running(channels: int, nodes: int, supersteps: int, *, has_saver: bool) -> Work:
    graph = counting(channels, nodes, supersteps)
    given = {f"channel_{number}": number for number in range(channels)}

    async def run() -> object:
        if not has_saver:
            return await graph.ainvoke(given, recursion_limit=supersteps + 1)
        # Not compiled again: that does grow with the graph.
        stored: CompiledGraph[Any] = CompiledGraph(graph.topology, MemorySaver())
        return await stored.ainvoke(given, new_thread(supersteps))

    return run


async def measure(lab: Lab) -> None:
    # So many that what the input costs, which is accepted once, does not count.
    supersteps = lab.size(3_000, 3)
    for has_saver in (False, True):
        works = {
            f"{channels:,} channels, {nodes:,} nodes": running(channels, nodes, supersteps, has_saver=has_saver)
            for channels, nodes in ((10, 1), (10, 1_000), (1_000, 1), (3_000, 1))
        }
        store = NAMES["memory" if has_saver else "none"]
        await lab.measure(f"size of the graph, {store}", "superstep", works, supersteps, rounds=5, clock="CPU")
