"""Count the cost of a superstep on each store, and print the figures as JSON.

usage: python -m tests.path [--trace] none|memory|sqlite|postgres=DSN ...

With `--trace`, it prints the modules that one call of two nodes enters, in order, and no figures.
"""

import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from durable_graph import START, Checkpointer, CompiledGraph, MemorySaver, StateGraph
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver
from tests.path.counting import Counts, Entered, Tracer, counted, suspended_in_the_library
from tests.path.databases import PostgresMeter, SqliteMeter, added
from tests.path.graphs import INPUT, SHAPES, State, chain
from tests.path.source import imported_modules, of_the_source
from tests.postgres.proxy import proxied
from tests.savers import schema_of_its_own

FEW, MANY = 50, 150
"""The figures of one unit are the difference of two runs, so that the costs before and after the units cancel out."""


@asynccontextmanager
async def _opened(store: str) -> AsyncIterator[Checkpointer | None]:
    kind, _, dsn = store.partition("=")
    if kind == "none":
        yield None
    elif kind == "memory":
        yield MemorySaver()
    elif kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            async with SqliteSaver(Path(folder) / "runs.db") as sqlite:
                yield sqlite
    else:
        async with schema_of_its_own(dsn) as schema, PostgresSaver(dsn, schema=schema) as postgres:
            yield postgres


class _Threads:
    """A graph on a store, called on a new thread each time."""

    def __init__(self, graph: CompiledGraph[Any], saver: Checkpointer | None) -> None:
        self._graph = graph
        self._saver = saver

    async def call(self, name: str) -> None:
        if self._saver is None:
            await self._graph.ainvoke(INPUT, recursion_limit=10 * MANY)
        else:
            await self._graph.ainvoke(INPUT, thread_id=name, recursion_limit=10 * MANY)


async def _entered(store: str) -> Entered:
    with Tracer() as tracer:
        async with _opened(store) as saver:
            threads = _Threads(chain(2).compile(saver), saver)
            await threads.call("first")
            return await tracer.entered_by(threads.call("second"))


async def _per_unit(shape: str, saver: Checkpointer | None) -> dict[str, float]:
    counts: dict[int, Counts] = {}
    for units in (FEW, MANY):
        threads = _Threads(SHAPES[shape](units).compile(saver), saver)
        for warm in range(2):
            await threads.call(f"{shape} {units} warm {warm}")
        # The counts depend on the moment at which a database answers, so the median run is used.
        runs = [await counted(threads.call(f"{shape} {units} {number}")) for number in range(5)]
        counts[units] = Counts({name: statistics.median_low(run[name] for run in runs) for name in runs[0]})
    return counts[MANY].each(counts[FEW], MANY - FEW)


async def _written_to_sqlite(shape: str) -> dict[str, float]:
    """The cost of one unit for a file. Each number of units has its own file, since the log depends on its content."""
    counts: dict[int, Counts] = {}
    for units in (FEW, MANY):
        async with _opened("sqlite") as saver:
            assert isinstance(saver, SqliteSaver)
            threads = _Threads(SHAPES[shape](units).compile(saver), saver)
            await threads.call("warm")
            meter = await SqliteMeter.of(saver)
            counts[units] = await added(meter.read, threads.call("written"))
    return counts[MANY].each(counts[FEW], MANY - FEW)


async def _written_to_postgres(dsn: str, shape: str) -> dict[str, float]:
    """The cost of one unit for the server, counted by the server and by a proxy."""
    async with schema_of_its_own(dsn) as schema, proxied(dsn) as proxy:

        async def call(units: int, name: str) -> None:
            async with PostgresSaver(proxy.url, schema=schema) as saver:
                await _Threads(SHAPES[shape](units).compile(saver), saver).call(f"{shape} {units} {name}")

        administrator = await asyncpg.connect(dsn)
        try:
            meter = PostgresMeter(proxy, administrator, schema)
            await call(MANY, "warm")
            counts = {units: await added(meter.read, call(units, "written")) for units in (FEW, MANY)}
        finally:
            await administrator.close()
    return counts[MANY].each(counts[FEW], MANY - FEW)


async def figures(store: str) -> dict[str, dict[str, float]]:
    entered = await _entered(store)
    once: dict[str, float] = {"modules": len(entered.modules), "functions": entered.functions, "jumps": entered.jumps}
    async with _opened(store) as saver:
        found = {"two nodes": once, **{shape: await _per_unit(shape, saver) for shape in SHAPES}}
    kind, _, dsn = store.partition("=")
    for shape in SHAPES:
        if kind == "sqlite":
            found[shape] |= await _written_to_sqlite(shape)
        elif kind == "postgres":
            found[shape] |= await _written_to_postgres(dsn, shape)
    return found


async def coroutines_above_a_node() -> int:
    """The number of coroutines of the library that are suspended while a node of a graph on a MemorySaver runs."""
    found: list[int] = []

    async def node(state: State) -> State:
        await asyncio.sleep(0)
        tasks = asyncio.all_tasks()
        found.append(sum(suspended_in_the_library(task.get_coro()) for task in tasks))
        return {"count": 1}

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile(MemorySaver())
    await graph.ainvoke(INPUT, thread_id="t")
    return found[0]


async def _trace(store: str) -> None:
    for number, module in enumerate((await _entered(store)).modules, 1):
        print(f"{number:3} {module}")


def main() -> None:
    _, *arguments = sys.argv
    if "--trace" in arguments:
        for store in arguments[1:]:
            asyncio.run(_trace(store))
    else:
        found: dict[str, Any] = {store.partition("=")[0]: asyncio.run(figures(store)) for store in arguments}
        found["library"] = {
            "imported modules": imported_modules(),
            "coroutines above a node": asyncio.run(coroutines_above_a_node()),
            **of_the_source(),
        }
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
