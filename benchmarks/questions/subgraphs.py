"""What does a nested graph of one node cost?"""

from contextlib import AsyncExitStack
from typing import Any

from benchmarks.contenders import NAMES, RunOnce, new_thread, places
from benchmarks.lab import Lab
from benchmarks.libraries import Library
from benchmarks.shapes import Counting, add_one
from durable_graph import END, START


def nested(library: Library, length: int) -> Any:
    """A chain of so many nested graphs."""
    inner = library.state_graph(Counting)
    inner.add_node("add", add_one)
    inner.add_edge(START, "add")
    inner.add_edge("add", END)
    compiled = inner.compile()
    builder = library.state_graph(Counting)
    before = START
    for number in range(length):
        builder.add_node(f"g{number}", compiled)
        builder.add_edge(before, f"g{number}")
        before = f"g{number}"
    return builder


def invoking(library: Library, saver: Any, length: int) -> RunOnce:
    graph = nested(library, length).compile(checkpointer=saver)
    options: dict[str, Any] = {} if saver is None else {"durability": "sync"}

    async def run() -> None:
        result = await graph.ainvoke({"count": 0}, new_thread(length), **options)
        assert result["count"] == length

    return run


async def measure(lab: Lab) -> None:
    length = lab.size(20, 2)
    for place in places(lab, "none", "sqlite"):
        async with AsyncExitStack() as stack:
            works = {
                library.name: invoking(library, await stack.enter_async_context(place.saver(library)), length)
                for library in lab.libraries
            }
            await lab.measure(
                f"nested graphs, {NAMES[place.kind]}",
                "nested graph",
                works,
                length,
                rounds=7,
                flush=place.flush,
                clock=place.clock,
            )
