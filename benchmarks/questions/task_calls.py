"""What does a call of a `@task` in a node cost?

durable_graph commits its record before the node gets the result. LangGraph writes it while the node continues.
"""

from typing import Any
from uuid import uuid4

from benchmarks.contenders import RunOnce, measure_on_each_store, new_thread
from benchmarks.engines.log import TASK, Store
from benchmarks.lab import Lab, Work
from benchmarks.libraries import Library
from benchmarks.shapes import Counting
from durable_graph import START


def calling(library: Library, saver: Any, calls: int) -> RunOnce:
    """One node that calls a task so many times, one call after the other."""

    @library.task  # type: ignore[untyped-decorator]  # of either library
    async def doubled(number: int) -> int:
        return 2 * number

    async def node(state: Any) -> Any:
        return {"count": sum([await doubled(number) for number in range(calls)])}

    builder = library.state_graph(Counting)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    graph = builder.compile(checkpointer=saver)

    async def run() -> None:
        result = await graph.ainvoke({"count": 0}, new_thread(calls), durability="sync")
        assert result["count"] == calls * (calls - 1)

    return run


def committing(store: Store, calls: int) -> Work:
    """One row for each call, which the caller waits for."""

    async def run() -> None:
        thread = uuid4().hex
        for number in range(calls):
            committed = store.put([(thread, 1, TASK, number, b"x" * 100)])
            if committed is not None:
                await committed

    return run


async def measure(lab: Lab) -> None:
    await measure_on_each_store(lab, "@task", "call", lab.size(100, 3), committing, calling)
