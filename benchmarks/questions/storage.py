"""How many bytes does a thread take, and what does the first read of it cost?

The values are random: they do not compress.
"""

import operator
import random
import string
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NamedTuple, TypedDict

import asyncpg

from benchmarks.contenders import new_thread
from benchmarks.flush import Disk
from benchmarks.lab import Lab
from benchmarks.libraries import Library
from benchmarks.record import OURS
from durable_graph import END, START

PAYLOAD = "the payload"


class Appending(TypedDict):
    items: Annotated[list[str], operator.add]


def text(size: int) -> str:
    return "".join(random.choices(string.ascii_letters, k=size))


class Growth(NamedTuple):
    """A graph that writes so many bytes of payload in so many supersteps."""

    build: Callable[[Library], Any]
    given: dict[str, Any]
    supersteps: int
    payload: int


def appending(supersteps: int, size: int) -> Growth:
    """Each superstep appends a text to the one list of the state."""

    async def append(state: Any) -> Any:
        return {"items": [text(size)]}

    def build(library: Library) -> Any:
        builder = library.state_graph(Appending)
        builder.add_node("append", append)
        builder.add_edge(START, "append")
        builder.add_conditional_edges("append", lambda state: END if len(state["items"]) >= supersteps else "append")
        return builder

    return Growth(build, {"items": []}, supersteps, supersteps * size)


def one_of_many(supersteps: int, channels: int, size: int) -> Growth:
    """Each superstep changes one channel of so many."""
    fields: Any = {"count": int, **{f"channel_{number}": str for number in range(channels)}}
    wide: Any = TypedDict("Wide", fields, total=False)  # type: ignore[misc]  # made while running

    async def change(state: Any) -> Any:
        return {"count": state["count"] + 1, f"channel_{state['count'] % channels}": text(size)}

    def build(library: Library) -> Any:
        builder = library.state_graph(wide)
        builder.add_node("change", change)
        builder.add_edge(START, "change")
        builder.add_conditional_edges("change", lambda state: END if state["count"] >= supersteps else "change")
        return builder

    given = {"count": 0, **{f"channel_{number}": text(size) for number in range(channels)}}
    return Growth(build, given, supersteps, supersteps * size)


class Grown(NamedTuple):
    size: int
    first_read: float


async def on_sqlite(library: Library, growth: Growth, disk: Disk) -> Grown:
    """The bytes of the file once it is closed, and the milliseconds of the first read of a saver opened anew."""
    path, thread = disk.new_file(), new_thread(growth.supersteps)
    async with library.sqlite(path) as saver:
        await growth.build(library).compile(checkpointer=saver).ainvoke(growth.given, thread, durability="sync")
    size = path.stat().st_size
    async with library.sqlite(path) as saver:
        graph = growth.build(library).compile(checkpointer=saver)
        # Its file is open once it has looked for a thread.
        await graph.aget_state(new_thread(1))
        return Grown(size, await _milliseconds(lambda: graph.aget_state(thread)))


async def on_postgres(library: Library, growth: Growth, disk: Disk) -> Grown:
    """The bytes of the tables and indexes, and the milliseconds of the first read of a saver opened anew."""
    thread = new_thread(growth.supersteps)
    async with disk.new_database() as dsn:
        async with library.postgres(dsn) as saver:
            await growth.build(library).compile(checkpointer=saver).ainvoke(growth.given, thread, durability="sync")
        size = await size_of(dsn)
        async with library.postgres(dsn) as saver:
            graph = growth.build(library).compile(checkpointer=saver)
            await graph.aget_state(new_thread(1))
            return Grown(size, await _milliseconds(lambda: graph.aget_state(thread)))


async def size_of(dsn: str) -> int:
    """The bytes of all tables of a database but those of the system, with their indexes."""
    connection = await asyncpg.connect(dsn)
    try:
        return int(
            await connection.fetchval(
                "SELECT sum(pg_total_relation_size(c.oid)) "
                "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
            )
        )
    finally:
        await connection.close()


async def _milliseconds(read: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await read()
    return (time.perf_counter() - began) * 1e3


async def measure(lab: Lab) -> None:
    steps = lab.size(1_000, 12)
    disk = lab.disks[-1]
    growths = {
        f"{steps:,} turns of 500 bytes": appending(steps, 500),
        f"{steps:,} times 200 bytes appended": appending(steps, 200),
        f"{steps:,} times one of 300 channels changed": one_of_many(steps, 300, 100),
    }
    for title, growth in growths.items():
        for store, grow in (("SQLite", on_sqlite), ("PostgreSQL", on_postgres)):
            grown = {library.name: await grow(library, growth, disk) for library in lab.libraries}
            sizes = {OURS: [float(grown[OURS].size)], PAYLOAD: [float(growth.payload)]}
            sizes.update({name: [float(found.size)] for name, found in grown.items() if name != OURS})
            lab.add(f"{title}, {store}", "thread", sizes, unit="bytes")
            reads = {name: [round(found.first_read, 3)] for name, found in grown.items()}
            lab.add(f"first read, {title}, {store}", "read", reads, unit="ms")
