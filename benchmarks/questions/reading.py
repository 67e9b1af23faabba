"""What does reading a long thread cost?"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.contenders import Place
from benchmarks.engines.floor import Floor
from benchmarks.engines.log import Store, restored
from benchmarks.lab import Lab, Work
from benchmarks.libraries import Library
from benchmarks.record import FLOOR
from benchmarks.shapes import Shape, chat

THREAD: Any = {"configurable": {"thread_id": "t"}}


async def grown(library: Library, saver: Any, shape: Shape) -> Any:
    """A graph, with a thread of so many turns."""
    graph = shape.build(library).compile(checkpointer=saver)
    config = {**THREAD, "recursion_limit": shape.units + 10}
    await graph.ainvoke(dict(shape.given), config, durability="async")
    return graph


def read_state(graph: Any) -> Work:
    async def read() -> None:
        assert (await graph.aget_state(THREAD)).values["turn"]

    return read


def read_ten(graph: Any) -> Work:
    async def read() -> None:
        assert [snapshot.values async for snapshot in graph.aget_state_history(THREAD, limit=10)]

    return read


def read_rows(store: Store, shape: Shape) -> Work:
    """Read and decode each row of the thread, once."""

    async def read() -> None:
        assert shape.has_ended_well(restored(await store.load("t"), shape.program.appended))

    return read


READS: dict[str, Callable[[Any], Work]] = {"aget_state": read_state, "history of 10": read_ten}


async def measure(lab: Lab) -> None:
    shape = chat(lab.size(1_000, 12))
    # What is read does not depend on the disk: the server has it in memory.
    disk = lab.disks[-1]
    for place, name in ((Place("sqlite", disk), "SQLite"), (Place("postgres", disk), "PostgreSQL")):
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(place.store("async"))
            assert store is not None
            await Floor(shape.program, store, "async").run("t", shape.given)
            graphs = {
                library.name: await grown(library, await stack.enter_async_context(place.saver(library)), shape)
                for library in lab.libraries
            }
            for title, read in READS.items():
                works: dict[str, Work] = {FLOOR: read_rows(store, shape)}
                works.update({library: read(graph) for library, graph in graphs.items()})
                await lab.measure(f"{title}, {shape.units:,} turns, {name}", "read", works, 1, rounds=41, unit="ms")
