"""What do many sleeping runs cost, and how fast are they executed if all are due at once?

One worker has them all. Its process, which also starts the runs, is the one whose CPU and memory are measured. What the
process held before is kept from the garbage collector: a service would not have the modules of the benchmarks.
"""

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypedDict

from benchmarks.lab import Lab
from benchmarks.record import OURS
from benchmarks.runs.contenders import StoreName
from benchmarks.runs.stores import Place, Stores
from durable_graph import START, StateGraph, sleep
from durable_graph.runs import App, RunHandle
from durable_graph.runs.worker import Worker

_TOGETHER: Final = 1_000
_CONCURRENCY: Final = 400
_TIMER: Final = 0.3
_IDLE_SECONDS: Final = 10.0
_SETTLING_SECONDS: Final = 3.0


class State(TypedDict, total=False):
    seconds: float
    is_woken: bool


class Woken:
    """The times at which nodes continued."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def nap(self, state: State) -> State:
        await sleep(timedelta(seconds=state["seconds"]))
        self.times.append(time.time())
        return {"is_woken": True}


@asynccontextmanager
async def _working(place: Place, woken: Woken) -> AsyncIterator[tuple[App, Worker]]:
    graph: Any = StateGraph(State).add_node("nap", woken.nap).add_edge(START, "nap").compile()
    # The URL is read outside of the event loop.
    opened = await asyncio.to_thread(App, {"nap": graph}, place.url)
    async with opened as app, app.worker(concurrency=_CONCURRENCY, lease=30) as worker:
        yield app, worker


async def _sleeping(app: App, number: int) -> None:
    """Start runs until this number sleeps."""
    begun = sum(each.waiting for each in await app.store.queue_stats())
    for first in range(begun, number, _TOGETHER):
        among = range(first, min(number, first + _TOGETHER))
        await asyncio.gather(*(app.start("nap", {"seconds": 86_400.0}, thread_id=f"order {each}") for each in among))
    while True:
        counts = await app.store.queue_stats()
        if sum(each.waiting for each in counts) == number:
            return
        await asyncio.sleep(0.5)


async def _lateness(app: App, woken: Woken, timers: int) -> list[float]:
    """The milliseconds by which single timers among the sleeping runs were late."""
    late = []
    for _ in range(timers):
        woken.times.clear()
        began = time.time()
        handle: RunHandle = await app.start("nap", {"seconds": _TIMER})
        await handle.result(60)
        late.append((woken.times[0] - began - _TIMER) * 1e3)
    return late


async def _all_due(app: App, worker: Worker, woken: Woken, number: int) -> float:
    """The runs per second that are executed once all are due."""
    woken.times.clear()
    began = time.perf_counter()
    app.store.skew += timedelta(days=2) // timedelta(microseconds=1)
    worker.nudge()
    while len(woken.times) < number or worker.running:  # noqa: ASYNC110  # the worker has no event for it
        await asyncio.sleep(0.05)
    return number / (time.perf_counter() - began)


def _resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096 / 1e6


async def measure_sleeping(lab: Lab, stores: Stores, size: int, names: Sequence[StoreName]) -> None:
    """Add the rows of these stores for this number of sleeping runs."""
    number = lab.size(size, 20)
    for store in names:
        async with stores.new(store) as place:
            await _measure(lab, place, number)


async def _measure(lab: Lab, place: Place, number: int) -> None:
    def add(work: str, of: str, figures: list[float], unit: Any, clock: Any = "elapsed") -> None:
        rounded = [round(figure, 3) for figure in figures]
        lab.add(f"{number:,} sleeping runs, {place.store}: {work}", of, {OURS: rounded}, unit=unit, clock=clock)

    woken = Woken()
    gc.collect()
    gc.freeze()
    async with _working(place, woken) as (app, worker):
        await _sleeping(app, 1)
        empty, memory, began = await place.stored_bytes(), _resident_megabytes(), time.perf_counter()
        await _sleeping(app, number)
        seconds = time.perf_counter() - began
        add("accepted, claimed and suspended", "run", [seconds / number * 1e6], "us")
        add("stored", "run", [(await place.stored_bytes() - empty) / number], "bytes")
        add("memory of the worker's process", "process", [_resident_megabytes() - memory], "MB")
        await asyncio.sleep(lab.size(1, 0) * _SETTLING_SECONDS)
        idle = _IDLE_SECONDS if lab.size(1, 0) else 0.2
        before = time.process_time()
        await asyncio.sleep(idle)
        add("an idle worker", "second", [(time.process_time() - before) / idle * 1e3], "ms", "CPU")
        late = await _lateness(app, woken, lab.size(20, 2))
        add(f"lateness of a timer of {_TIMER} s, median", "timer", [statistics.median(late)], "ms")
        add(f"lateness of a timer of {_TIMER} s, largest", "timer", [max(late)], "ms")
        before, server = time.process_time(), place.server_cpu()
        rate = await _all_due(app, worker, woken, number)
        used = time.process_time() - before + place.server_cpu() - server
        add("all due at once", "run", [1e6 / rate], "us")
        add("all due at once, with the server", "run", [used / number * 1e6], "us", "CPU")
