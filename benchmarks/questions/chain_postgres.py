"""What does a superstep cost on PostgreSQL, in each durability?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from benchmarks.contenders import contenders, places
from benchmarks.engines.log import Durability
from benchmarks.flush import Disk
from benchmarks.lab import Lab, Work
from benchmarks.peers import other_connections
from benchmarks.shapes import chain


@asynccontextmanager
async def one_row_each(disk: Disk, commits: int) -> AsyncIterator[Work]:
    """So many commits of one row: what the server asks for."""
    async with disk.new_database() as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE rows (number bigserial PRIMARY KEY, value bytea)")

        async def run() -> None:
            for _ in range(commits):
                await connection.execute("INSERT INTO rows (value) VALUES ($1)", b"x" * 100)

        try:
            yield run
        finally:
            await connection.close()


async def measure(lab: Lab) -> None:
    shape = chain(lab.size(100, 3))
    modes: tuple[Durability, ...] = ("sync", "async", "exit")
    for place in places(lab, "postgres"):
        assert place.disk is not None
        for durability in modes:
            others = [other for peer in lab.peers for other in other_connections(peer)] if durability == "sync" else []
            async with (
                contenders(lab, shape, place, durability, others) as runs,
                one_row_each(place.disk, shape.units) as inserts,
            ):
                works = {**runs, "one INSERT": inserts} if durability == "sync" else runs
                await lab.measure(
                    f"chain, PostgreSQL, {durability}", "superstep", works, shape.units, rounds=11, flush=place.flush
                )
