"""What does a run of one superstep cost, from its acceptance to its recorded result?

All runs are accepted first, and executed then by one or by four worker processes. CPU time counts that of the processes
that accept and execute, and that of the server, without what a process takes to start. The time until a result is that
of single runs, one after the other, on idle workers.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from benchmarks.lab import Lab
from benchmarks.runs.contenders import StoreName, present
from benchmarks.runs.processes import process
from benchmarks.runs.stores import Place, Stores

_LOOK: Final = 0.1
_PATIENCE: Final = 240.0

Figures = dict[str, float]


async def measure_one_step(
    lab: Lab, stores: Stores, size: int, names: Sequence[StoreName], workers: Sequence[int] = (1, 4)
) -> None:
    """Add the rows of these stores, with this number of workers, for this number of runs a round."""
    number, results = lab.size(size, 8), lab.size(8, 2)
    for store in names:
        for each in workers:
            await _measure(lab, stores, store, each, number, results)


async def _measure(lab: Lab, stores: Stores, store: StoreName, workers: int, number: int, results: int) -> None:
    names = list(present(store))
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for turn in range(lab.rounds(3)):
        # Each round begins with another contender.
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            async with stores.new(store) as place:
                found[name].append(await _round(place, name, workers, number, results))
    title = f"one-step runs, {store}, {workers} worker{'s' if workers > 1 else ''}"
    parts = {
        "": ("accept", "accept, server", "execute", "execute, server"),
        ", accepting": ("accept", "accept, server"),
        ", workers": ("execute",),
        ", server of the workers": ("execute, server",),
    }
    for part, fields in parts.items():
        if "server" in part and store == "SQLite":
            continue
        samples = {name: [round(sum(each[one] for one in fields), 1) for each in found[name]] for name in names}
        lab.add(f"{title}{part}", "run", samples, clock="CPU")
    lab.add(f"{title}, executing", "run", {name: [each["elapsed"] for each in found[name]] for name in names})
    times = {name: [each["result"] for each in found[name]] for name in names if "result" in found[name][0]}
    lab.add(f"{title}, from start to result", "run", times, unit="ms")


async def _round(place: Place, name: str, workers: int, number: int, results: int) -> Figures:
    """Microseconds for each run, and the median milliseconds until a result."""
    scale = 1e6 / number
    with ExitStack() as stack:
        accepting = stack.enter_context(process("accept", name, place.url))
        server = place.server_cpu()
        accepting.ask(f"fill {number}")
        told = await asyncio.to_thread(accepting.told)
        figures = {"accept": told.cpu * scale, "accept, server": (place.server_cpu() - server) * scale}
        working = [stack.enter_context(process("work", name, place.url)) for _ in range(workers)]
        server, began = place.server_cpu(), time.perf_counter()
        for each in working:
            each.ask("begin")
        while await place.answer(present(place.store)[name].left[place.store]):
            await asyncio.sleep(_LOOK)
            is_at_work = all(each.is_alive for each in working) and time.perf_counter() - began < _PATIENCE
            assert is_at_work, f"{name} has not executed its runs"
        figures["elapsed"] = round((time.perf_counter() - began) * scale, 1)
        figures["execute, server"] = (place.server_cpu() - server) * scale
        for each in working:
            each.ask("tell")
        figures["execute"] = sum([(await asyncio.to_thread(each.told)).cpu for each in working]) * scale
        accepting.ask(f"results {results}")
        if times := (await asyncio.to_thread(accepting.told)).results:
            figures["result"] = round(statistics.median(times) * 1e3, 1)
    return figures
