"""How long does reading a very long thread keep the event loop from other tasks?"""

import asyncio
import gc
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.contenders import Place
from benchmarks.lab import Lab
from benchmarks.questions.reading import THREAD, grown, read_state, read_ten
from benchmarks.record import OURS
from benchmarks.shapes import chat


class Callbacks:
    """While it is entered: the CPU time of the longest callback of the event loop, in seconds."""

    def __init__(self) -> None:
        self.longest: float = 0.0

    def __enter__(self) -> "Callbacks":
        self._run: Any = asyncio.events.Handle._run

        def measured(handle: Any) -> None:
            began = time.thread_time()
            self._run(handle)
            self.longest = max(self.longest, time.thread_time() - began)

        asyncio.events.Handle._run = measured  # type: ignore[method-assign,assignment]  # nothing else sees each callback
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.events.Handle._run = self._run  # type: ignore[method-assign]


def _forget_most_memory() -> None:
    """Begin to measure it anew, where the system can."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _most_memory() -> float:
    """The most memory that the process had, in MB."""
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(lab: Lab) -> None:
    _forget_most_memory()
    turns = lab.size(20_000, 12)
    disk = lab.disks[-1]
    for place, name in ((Place("sqlite", disk), "SQLite"), (Place("postgres", disk), "PostgreSQL")):
        async with place.saver(lab.ours) as saver:
            await _measure_on(lab, await grown(lab.ours, saver, chat(turns)), turns, name)
    most = {OURS: [float(round(_most_memory()))]}
    lab.add(f"most memory of the process, {turns:,} turns", "process", most, unit="MB")


async def _measure_on(lab: Lab, graph: Any, turns: int, store: str) -> None:
    async def filtered() -> object:
        found = graph.aget_state_history(THREAD, limit=1, filter={"source": "input"})
        return [snapshot.values async for snapshot in found]

    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "aget_state": read_state(graph),
        "history of 10": read_ten(graph),
        "history with a filter": filtered,
        "one more turn": lambda: graph.ainvoke({"turn": turns - 1}, THREAD),
        "aupdate_state": lambda: graph.aupdate_state(THREAD, {"turn": 0}),
    }
    # A collection of garbage costs what the process holds, whoever sets it off: only that of the reads counts.
    gc.collect()
    gc.freeze()
    for title, read in reads.items():
        began = time.perf_counter()
        with Callbacks() as callbacks:
            await read()
            # The callback that read last ends here.
            await asyncio.sleep(0)
        seconds = time.perf_counter() - began
        found = {"longest callback, CPU": callbacks.longest, "the whole read": seconds}
        lab.add(
            f"{title}, {turns:,} turns, {store}",
            "read",
            {what: [round(took * 1e3, 2)] for what, took in found.items()},
            unit="ms",
        )
    gc.unfreeze()
