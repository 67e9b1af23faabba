"""What does a superstep cost where many threads run at once?"""

import asyncio
from contextlib import AsyncExitStack

from benchmarks.contenders import NAMES, RunOnce, contenders, places
from benchmarks.lab import Lab
from benchmarks.peers import dbos_workflows, other_connections
from benchmarks.shapes import chain


def together(run: RunOnce, threads: int) -> RunOnce:
    async def all_of_them() -> None:
        await asyncio.gather(*(run() for _ in range(threads)))

    return all_of_them


async def measure(lab: Lab) -> None:
    threads = lab.size(200, 3)
    shape = chain(lab.size(20, 2))
    for place in places(lab, "sqlite", "postgres"):
        is_on_postgres = place.kind == "postgres"
        others = [other for peer in lab.peers for other in other_connections(peer)] if is_on_postgres else []
        async with contenders(lab, shape, place, others=others) as runs, AsyncExitStack() as stack:
            works = {name: together(run, threads) for name, run in runs.items()}
            if lab.peers and is_on_postgres and place.disk is not None:
                dsn = await stack.enter_async_context(place.disk.new_database())
                works["DBOS, steps"] = await stack.enter_async_context(dbos_workflows(dsn, threads, shape.units))
            for run in runs.values():
                # A round of all threads takes LangGraph ten seconds, so one run has to do to warm up.
                await run()
            await lab.measure(
                f"{threads} threads of {shape.units}, {NAMES[place.kind]}",
                "superstep",
                works,
                threads * shape.units,
                rounds=3,
                flush=place.flush,
                is_warm=True,
            )
