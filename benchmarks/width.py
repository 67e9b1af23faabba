"""Whether a superstep costs more in a graph of many nodes, or with many channels that do not change."""

import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

from benchmarks.measure import Figure, median_of, report
from durable_graph import END, START, CompiledGraph, MemorySaver, StateGraph, UnreachableNodeWarning

# So many that what the input costs, which is accepted once, does not count.
SUPERSTEPS = 3_000


class Counter(TypedDict, total=False):
    """All that a node of this graph reads: what it costs to hand over a wide state is the node's own affair."""

    count: int


async def count(state: Counter) -> Counter:
    return {"count": state.get("count", 0) + 1}


def is_over(state: Counter) -> str:
    return "count" if state["count"] < SUPERSTEPS else END


def counting(channels: int, nodes: int) -> CompiledGraph[Any]:
    """A loop of one node, beside nodes that never run and channels that never change."""
    fields: Any = {"count": int, **{f"channel_{number}": int for number in range(channels)}}
    builder: Any = StateGraph(TypedDict("State", fields, total=False))  # type: ignore[operator]  # made while running
    builder.add_node("count", count)
    for number in range(nodes):
        builder.add_node(f"node_{number}", count)
    builder.add_conditional_edges("count", is_over, ["count", END])
    builder.add_edge(START, "count")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreachableNodeWarning)
        compiled: CompiledGraph[Any] = builder.compile()
    return compiled


def running(channels: int, nodes: int, has_saver: bool) -> Callable[[], Awaitable[object]]:
    graph = counting(channels, nodes)
    given = {f"channel_{number}": number for number in range(channels)}

    async def run() -> object:
        if not has_saver:
            return await graph.ainvoke(given)
        # Not compiled again: that does grow with the graph.
        stored: CompiledGraph[Any] = CompiledGraph(graph.topology, MemorySaver())
        return await stored.ainvoke(given, thread_id="t")

    return run


def main() -> None:
    for has_saver in (False, True):
        floor = median_of("10 channels, 1 node", SUPERSTEPS, running(10, 0, has_saver))
        figures: list[Figure] = [
            median_of("10 channels, 1,000 nodes", SUPERSTEPS, running(10, 999, has_saver)),
            median_of("1,000 channels, 1 node", SUPERSTEPS, running(1_000, 0, has_saver)),
            median_of("3,000 channels, 1 node", SUPERSTEPS, running(3_000, 0, has_saver)),
        ]
        report(f"A superstep, {'MemorySaver' if has_saver else 'no checkpointer'}", floor, figures)


if __name__ == "__main__":
    main()
