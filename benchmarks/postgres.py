"""What a superstep costs on PostgreSQL: alone, and of 200 threads at once."""

import asyncio
import gc
import itertools
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import asyncpg

from benchmarks.measure import Figure, report
from benchmarks.peers import PEER_MODES, dbos_steps, has_dbos, has_peer_postgres, peer_graph_class, peer_postgres
from benchmarks.superstep import State, step
from durable_graph import START, StateGraph
from durable_graph_postgres import PostgresSaver
from tests.postgres.server import started

CHAIN = 100
THREADS, SUPERSTEPS = 200, 20
ROUNDS = 7

Work = Callable[[], Awaitable[object]]
_NUMBERS = itertools.count()

DURABLE: Mapping[str, str] = {"fsync": "on", "synchronous_commit": "on"}
"""What production has. The data is in a temporary folder, on whatever disk that is."""


def chain(graph_class: Any, length: int) -> Any:
    """So many nodes, one after the other."""
    builder = graph_class(State)
    before = START
    for number in range(length):
        builder.add_node(f"n{number}", step)
        builder.add_edge(before, f"n{number}")
        before = f"n{number}"
    return builder


def config_of(steps: int) -> Any:
    """For a run on a thread of its own."""
    return {"configurable": {"thread_id": f"{uuid.uuid4()}-{next(_NUMBERS)}"}, "recursion_limit": steps + 2}


async def interleaved(works: Mapping[str, tuple[int, Work]], rounds: int = ROUNDS) -> dict[str, Figure]:
    """The median time of one unit of each, in rounds of all of them, after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, (units, work) in works.items():
            gc.collect()
            began = time.perf_counter()
            await work()
            if number:
                times[name].append((time.perf_counter() - began) / units)
    return {name: Figure(name, statistics.median(found)) for name, found in times.items()}


async def inserts(connection: Any) -> None:
    for _ in range(CHAIN):
        await connection.execute("INSERT INTO floor (value) VALUES ($1)", b"x" * 100)


def alone(graph: Any, **options: Any) -> Work:
    async def run() -> None:
        await graph.ainvoke({"count": 0}, config_of(CHAIN), **options)

    return run


def together(graph: Any, **options: Any) -> Work:
    async def run() -> None:
        runs = (graph.ainvoke({"count": 0}, config_of(SUPERSTEPS), **options) for _ in range(THREADS))
        await asyncio.gather(*runs)

    return run


async def measure(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE floor (no bigserial PRIMARY KEY, value bytea)")
    async with PostgresSaver(dsn) as saver:
        long = chain(StateGraph, CHAIN).compile(saver)
        short = chain(StateGraph, SUPERSTEPS).compile(saver)
        works: dict[str, tuple[int, Work]] = {"one row, one INSERT": (CHAIN, lambda: inserts(connection))}
        for mode in ("sync", "async", "exit"):
            works[f"durable_graph, {mode}"] = CHAIN, alone(long, durability=mode)
        wide: dict[str, tuple[int, Work]] = {
            "durable_graph": (THREADS * SUPERSTEPS, together(short, durability="sync")),
        }
        opened = []
        if has_peer_postgres():
            peer = peer_graph_class()
            for mode in PEER_MODES:
                manager: AbstractAsyncContextManager[Any] = peer_postgres(dsn, mode)
                peers = await manager.__aenter__()
                opened.append(manager)
                await peers.setup()
                graph = chain(peer, CHAIN).compile(checkpointer=peers)
                works[f"LangGraph, {mode}, sync"] = CHAIN, alone(graph, durability="sync")
                graph = chain(peer, SUPERSTEPS).compile(checkpointer=peers)
                wide[f"LangGraph, {mode}"] = THREADS * SUPERSTEPS, together(graph, durability="sync")
        figures = await interleaved(works)
        floor, *others = figures.values()
        report(f"A superstep on PostgreSQL, one run of {CHAIN}", floor, others)
        spread = await interleaved(wide, 3)
        for manager in opened:
            await manager.__aexit__(None, None, None)
    await connection.close()
    report(f"A superstep on PostgreSQL, {THREADS} threads at once", floor, list(spread.values()))


def main() -> None:
    with started(settings=DURABLE) as server:
        asyncio.run(measure(server.url))
    if has_dbos():
        with started(settings=DURABLE) as server:
            seconds = [dbos_steps(server.url, THREADS, SUPERSTEPS) for _ in range(3)]
        print(f"{'DBOS, steps of as many workflows':<44}{statistics.median(seconds) * 1e6:>10.1f} us")


if __name__ == "__main__":
    main()
