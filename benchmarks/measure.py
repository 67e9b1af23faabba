"""Timing: medians of rounds, and a table of ratios."""

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

ROUNDS = 7


@dataclass(frozen=True)
class Figure:
    """`seconds` per unit of what was measured."""

    name: str
    seconds: float


def median_of(name: str, units: int, work: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> Figure:
    """The median time that `work` takes for one of its `units`, over rounds in fresh event loops."""

    async def timed() -> float:
        gc.collect()
        began = time.perf_counter()
        await work()
        return time.perf_counter() - began

    asyncio.run(timed())
    return Figure(name, statistics.median(asyncio.run(timed()) for _ in range(rounds)) / units)


def report(title: str, floor: Figure, figures: list[Figure]) -> None:
    """A table: microseconds, and how many times the floor."""
    print(f"\n{title}\n{'-' * len(title)}")
    for figure in [floor, *figures]:
        print(f"{figure.name:<44}{figure.seconds * 1e6:>10.1f} us{figure.seconds / floor.seconds:>10.1f} x")
