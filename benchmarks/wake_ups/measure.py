"""Measuring wake-ups: from the start of a run to its result between two processes, and an idle worker."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from benchmarks.flush import Disk
from benchmarks.wake_ups.notifying import HOWS, commits_per_second
from benchmarks.wake_ups.worker_process import app_at, worker_process

STORES = ("SQLite", "PostgreSQL")


class Sizes(NamedTuple):
    """How many runs, with and without a pause of so many seconds before each, and how many seconds of the others."""

    runs: int = 300
    paused_runs: int = 40
    pause: float = 1.5
    idle: float = 10.0
    rounds: int = 5
    writing: float = 3.0


TINY = Sizes(runs=2, paused_runs=1, pause=0.01, idle=0.01, rounds=1, writing=0.05)


class Figures(NamedTuple):
    """The name of a row, its unit, and its figures."""

    name: str
    unit: str
    figures: Sequence[float]


async def measure(disk: Disk, sizes: Sizes) -> AsyncIterator[Figures]:
    """All rows, one after the other."""
    for store in STORES:
        async with _url(store, disk) as url:
            with worker_process(url) as worker:
                yield Figures(
                    f"{store}: start to result, one run after the other", "ms", await _runs(url, sizes.runs, 0)
                )
                paused = await _runs(url, sizes.paused_runs, sizes.pause)
                yield Figures(f"{store}: start to result, {sizes.pause:g} s after the run before", "ms", paused)
                await asyncio.sleep(sizes.pause)
                before = worker.cpu()
                await asyncio.sleep(sizes.idle)
                share = 100 * (worker.cpu() - before) / sizes.idle if sizes.idle else 0.0
                yield Figures(f"{store}: CPU of an idle worker, over {sizes.idle:g} s", "%", [share])
    async with disk.new_database() as dsn:
        rates: dict[str, list[float]] = {how: [] for how in HOWS}
        for _ in range(sizes.rounds):
            for how in HOWS:
                rates[how].append(await commits_per_second(dsn, how, sizes.writing))
        for how in HOWS:
            yield Figures(f"PostgreSQL: 8 writers, notices {how}", "commits/s", rates[how])


async def _runs(url: str, runs: int, pause: float) -> list[float]:
    """The milliseconds of each run. The first one of the process is not counted."""
    found = []
    async with app_at(url) as app:
        for number in range(runs + 1):
            await asyncio.sleep(pause)
            began = time.perf_counter()
            result = await (await app.start("one", {"number": number})).result()
            if number:
                found.append((time.perf_counter() - began) * 1e3)
            assert result == {"number": number + 1}
    return found


@asynccontextmanager
async def _url(store: str, disk: Disk) -> AsyncIterator[str]:
    if store == "SQLite":
        yield f"sqlite:///{disk.new_file()}"
    else:
        async with disk.new_database() as dsn:
            yield dsn


def line_of(row: Figures) -> str:
    """A row for the terminal: the median, and the last decile where there are enough figures."""
    median = statistics.median(row.figures)
    if len(row.figures) < 10:
        return f"{row.name}: {median:.2f} {row.unit} ({min(row.figures):.2f}-{max(row.figures):.2f})"
    last = statistics.quantiles(row.figures, n=10, method="inclusive")[-1]
    return f"{row.name}: p50 {median:.1f} {row.unit}, p90 {last:.1f} {row.unit}, of {len(row.figures)}"
