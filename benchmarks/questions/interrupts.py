"""What does a question cost: a run until it asks, and its resumption with the answer?"""

from typing import Any
from uuid import uuid4

from benchmarks.contenders import RunOnce, measure_on_each_store, new_thread
from benchmarks.engines.log import SNAPSHOT, SUPERSTEP, TASK, Store
from benchmarks.lab import Lab, Work
from benchmarks.libraries import Library
from benchmarks.shapes import Counting
from durable_graph import START


def asking(library: Library, saver: Any, threads: int) -> RunOnce:
    """So many threads, one after the other, each with one question."""

    async def node(state: Any) -> Any:
        return {"name": library.interrupt("Go on?")}

    builder = library.state_graph(Counting)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    graph = builder.compile(checkpointer=saver)

    async def run() -> None:
        for _ in range(threads):
            thread = new_thread(1)
            await graph.ainvoke({"count": 0}, thread, durability="sync")
            result = await graph.ainvoke(library.command(resume="yes"), thread, durability="sync")
            assert result["name"] == "yes"

    return run


def committing(store: Store, threads: int) -> Work:
    """The input, the question, a load, the answer and the result: three commits, as the first two are one."""

    async def run() -> None:
        for _ in range(threads):
            thread = uuid4().hex
            first = [(thread, 0, SNAPSHOT, 0, b"x" * 100), (thread, 1, TASK, 0, b"x" * 100)]
            for rows in (first, [(thread, 1, TASK, 1, b"x" * 100)], [(thread, 1, SUPERSTEP, 0, b"x" * 100)]):
                if rows is not first:
                    assert await store.load(thread)
                committed = store.put(rows)
                if committed is not None:
                    await committed

    return run


async def measure(lab: Lab) -> None:
    await measure_on_each_store(lab, "interrupt and resume", "pair", lab.size(30, 2), committing, asking)
