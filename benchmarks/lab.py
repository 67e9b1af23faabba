"""What a question measures with: contenders, stores and rounds."""

import gc
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from benchmarks.flush import Disk
from benchmarks.libraries import Library
from benchmarks.record import Clock, Flush, Row, Unit

Work = Callable[[], Awaitable[object]]

US: Final = 1e6
MS: Final = 1e3


class Lab:
    """`libraries` are the contenders, this library first; `disks` are where databases may be.

    A tiny lab measures a few units in two rounds: the figures mean nothing, and their shape is the same.
    """

    def __init__(
        self,
        libraries: Sequence[Library],
        disks: Sequence[Disk],
        *,
        is_tiny: bool = False,
        rounds: int | None = None,
        report: Callable[[Row], None] = lambda row: None,
    ) -> None:
        self.libraries = libraries
        self.disks = disks
        self.question = ""
        self.rows: list[Row] = []
        self._is_tiny = is_tiny
        self._rounds = rounds
        self._report = report

    @property
    def ours(self) -> Library:
        return self.libraries[0]

    @property
    def peers(self) -> Sequence[Library]:
        return self.libraries[1:]

    def size(self, full: int, tiny: int) -> int:
        """How many units of a work."""
        return tiny if self._is_tiny else full

    def rounds(self, usual: int) -> int:
        """How many rounds, where the question has its own number unless the command line names one."""
        return self._rounds or (2 if self._is_tiny else usual)

    async def measure(
        self,
        work: str,
        of: str,
        works: Mapping[str, Work],
        units: int,
        *,
        rounds: int,
        flush: Flush = "none",
        unit: Unit = "us",
        clock: Clock = "elapsed",
        is_warm: bool = False,
    ) -> None:
        """Add a row of the time that each work takes for one of its units."""
        samples = await self.timed(works, units, rounds=rounds, unit=unit, clock=clock, is_warm=is_warm)
        self.add(work, of, samples, flush=flush, unit=unit, clock=clock)

    async def timed(
        self,
        works: Mapping[str, Work],
        units: int,
        *,
        rounds: int,
        unit: Unit = "us",
        clock: Clock = "elapsed",
        is_warm: bool = False,
        prepare: Callable[[str], object] = lambda name: None,
    ) -> dict[str, list[float]]:
        """The time that each work takes for one of its units, in each round."""
        samples = await interleaved(works, self.rounds(rounds), clock=clock, is_warm=is_warm, prepare=prepare)
        scale = (US if unit == "us" else MS) / units
        return {name: [round(seconds * scale, 3) for seconds in found] for name, found in samples.items()}

    def add(
        self,
        work: str,
        of: str,
        samples: dict[str, list[float]],
        *,
        flush: Flush = "none",
        unit: Unit = "us",
        clock: Clock = "elapsed",
    ) -> None:
        row = Row(question=self.question, work=work, of=of, unit=unit, flush=flush, clock=clock, samples=samples)
        self.rows.append(row)
        self._report(row)


async def interleaved(
    works: Mapping[str, Work],
    rounds: int,
    *,
    clock: Clock = "elapsed",
    is_warm: bool = False,
    prepare: Callable[[str], object] = lambda name: None,
) -> dict[str, list[float]]:
    """The seconds of each work in each round, after a round to warm up if they are not warm.

    Each round begins with another work, so that none always runs after the same one. What the process held before is
    kept from the garbage collector while a work is timed: another library's modules would count. `prepare` is called
    with the name of a work before each of its rounds, and is not timed.
    """
    now = time.process_time if clock == "CPU" else time.perf_counter
    names = list(works)
    samples: dict[str, list[float]] = {name: [] for name in names}
    try:
        for number in range(0 if is_warm else -1, rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                prepare(name)
                gc.collect()
                gc.freeze()
                began = now()
                await works[name]()
                seconds = now() - began
                if number >= 0:
                    samples[name].append(seconds)
    finally:
        gc.unfreeze()
    return samples
