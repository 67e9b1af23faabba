"""A soak: `make soak`, 20 minutes, or `make soak MINUTES=3`. Half of the time on a SQLite file, half on PostgreSQL.

Runs are started at a steady rate: chains of nodes, sleepers, and receivers of duplicated signals. Workers are killed,
drained, stopped and started at random. One worker lives from the beginning to the end.

**What has to hold.** Every accepted run ends exactly once with the right output, and no recorded result is executed
again. The measures of the living worker are flat: after a warm-up of a tenth of the time, the median of the last third
of its samples exceeds that of the first third by at most the limits in `LIMITS`. The same holds for the connections of
the server.
"""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import asyncpg

from durable_graph.errors import ThreadFinishedError
from durable_graph.runs import App, RunHandle
from tests.postgres.server import started
from tests.runs.engine.ends import NODES, check_order
from tests.runs.engine.graphs import done_by
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.observed_worker import Sample, samples_of, work_observed
from tests.runs.engine.processes import Process, Processes, all_runs, stop, until
from tests.runs.engine.worker_process import Place, WorkerJob, app_at

LEASE = 2.0
WORKERS = 3
"""Besides the one that lives."""
RATE = 15.0
"""Runs that are started each second."""
CONCURRENCY = 50
PAUSE = (0.5, 4.0)
"""Seconds between two disturbances."""
PATIENCE = 120.0

MEGABYTE = 1_000_000
GROWS = "GROWS"


@dataclass(frozen=True, slots=True)
class Limit:
    """By how much the median of the last third may exceed that of the first: a part of it, and a number."""

    part: float
    number: float

    def holds(self, first: float, last: float) -> bool:
        return last <= first * (1 + self.part) + self.number


LIMITS: Final[dict[str, Limit]] = {
    "memory": Limit(0.05, 2 * MEGABYTE),
    "descriptors": Limit(0.0, 1),
    "threads": Limit(0.0, 1),
    # A sample may be taken with more or fewer runs in progress.
    "tasks": Limit(0.25, 5),
    "objects": Limit(0.05, 2_000),
    "connections": Limit(0.0, 3),
}


def thirds(values: Sequence[float], times: Sequence[float], seconds: float) -> tuple[float, float]:
    """The medians of the first and the last third of the values, after the warm-up."""
    start = times[0] + seconds / 10
    third = (times[-1] - start) / 3
    first = [value for value, at in zip(values, times, strict=True) if start <= at <= start + third]
    last = [value for value, at in zip(values, times, strict=True) if at >= times[-1] - third]
    return median(first), median(last)


def growth(samples: Sequence[Sample], connections: Sequence[tuple[float, int]], seconds: float) -> list[str]:
    """A line for each measure: the two medians, and whether the limit is kept."""
    lines = []
    measured: dict[str, tuple[list[float], list[float]]] = {
        name: ([float(getattr(each, name)) for each in samples], [each.at for each in samples])
        for name in ("memory", "descriptors", "threads", "tasks", "objects")
    }
    if connections:
        measured["connections"] = [float(count) for _, count in connections], [at for at, _ in connections]
    for name, (values, times) in measured.items():
        first, last = thirds(values, times, seconds)
        unit = 1 if name != "memory" else MEGABYTE
        verdict = "flat" if LIMITS[name].holds(first, last) else GROWS
        lines.append(f"{name}: {first / unit:,.1f} in the first third, {last / unit:,.1f} in the last: {verdict}")
    return lines


@dataclass(slots=True)
class Load:
    """Runs that are started at a steady rate. `wrong` are the runs that did not end as they have to."""

    app: App
    chance: random.Random
    handles: list[RunHandle] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    async def start_all(self, end: float) -> None:
        """Start runs until the time, and wait until each has ended."""
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < end:
                kind = self.chance.choice(["chain", "chain", "sleeper", "receiver"])
                group.create_task(self.run_one(kind))
                await asyncio.sleep(self.chance.uniform(0, 2 / RATE))

    async def run_one(self, kind: str) -> None:
        """Start a run, and wait for its end."""
        self.kinds[kind] += 1
        handle = await self.app.start(kind, {"seconds": 0.02})
        self.handles.append(handle)
        if kind == "receiver":
            await self._signal(handle.thread_id)
        output = await handle.result(PATIENCE)
        expected = {"chain": NODES, "sleeper": ["sleep", "after"], "receiver": ["receive 0", "receive 1", "receive 2"]}
        nodes = [node for node, _ in done_by(output["log"])] if kind != "receiver" else output["log"]
        if nodes != expected[kind]:
            self.wrong.append(f"{kind} {handle.run_id}: {output}")

    async def _signal(self, thread: str) -> None:
        for number in range(3):
            await asyncio.sleep(self.chance.uniform(0, 1))
            for _ in range(2):
                # The second copy of the last one may come after the end of the run.
                try:
                    await self.app.signal(thread, "topic", number, key=str(number))
                except ThreadFinishedError:
                    self.kinds["signals after the end"] += 1


@dataclass(slots=True)
class Disturbances:
    """Kills, drains, stops and starts workers at random. Their number stays about the same."""

    processes: Processes
    chance: random.Random
    workers: list[Process] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    stopped: set[int] = field(default_factory=set)

    async def disturb(self, end: float) -> None:
        """Until the time."""
        while time.monotonic() < end:
            while len(self.workers) < WORKERS:
                self.workers.append(self.processes.worker(lease=LEASE, concurrency=CONCURRENCY))
                self.counts["started"] += 1
            await asyncio.sleep(self.chance.uniform(*PAUSE))
            victim = self.workers.pop(self.chance.randrange(len(self.workers)))
            how = self.chance.choice(["killed", "killed", "drained", "stopped"])
            self.counts[how] += 1
            match how:
                case "killed":
                    victim.send(signal.SIGKILL)
                case "drained":
                    victim.send(signal.SIGTERM)
                case "stopped":
                    # It continues after its lease, and stays.
                    self.stopped.add(victim.pid)
                    await stop(victim)
                    await asyncio.sleep(LEASE * 1.5)
                    victim.send(signal.SIGCONT)
                    self.workers.append(victim)
            if how != "stopped":
                await victim.ended()
                self.processes.forget(victim)


async def _count_connections(dsn: str, every: float, counts: list[tuple[float, int]]) -> None:
    """Append the number of the server's connections every few seconds."""
    connection = await asyncpg.connect(dsn)
    try:
        while True:
            query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            counts.append((time.monotonic(), await connection.fetchval(query)))
            await asyncio.sleep(every)
    finally:
        await connection.close()


class Soaked(NamedTuple):
    """The violations of a soak, the lines of its counts, and the lines of the living worker's measures."""

    broken: list[str]
    counted: list[str]
    held: list[str]


async def soak(place: Place, seconds: float, seed: int) -> Soaked:
    """Run the soak on one store."""
    chance = random.Random(seed)
    path = place.folder / "samples"
    connections: list[tuple[float, int]] = []
    with Processes(place) as processes:
        job = WorkerJob(place, LEASE, CONCURRENCY)
        every = min(1.0, seconds / 100)
        living = processes.start(work_observed, job, path, every)
        await until(lambda: bool(samples_of(path)), "the worker that lives")
        async with app_at(place) as app:
            load, disturbances = Load(app, chance), Disturbances(processes, chance)
            # Of a soak of a few seconds, the other workers might execute all runs.
            await load.run_one("chain")
            end = time.monotonic() + seconds
            counting = asyncio.create_task(_count_connections(place.dsn, every, connections)) if place.dsn else None
            async with asyncio.TaskGroup() as group:
                group.create_task(load.start_all(end))
                group.create_task(disturbances.disturb(end))
            if counting is not None:
                counting.cancel()
            broken = [*load.wrong, *await _ends(app, place, load, disturbances.stopped)]
            living.send(signal.SIGTERM)
            if await living.ended() != 0:
                broken.append("the worker that lives has failed")
    samples = [each for each in samples_of(path) if each.at <= end]
    held = growth(samples, [each for each in connections if each[0] <= end], seconds)
    own = len(Ledger(place.folder).starts(pid=living.pid))
    if not own:
        broken.append("the worker that lives has executed nothing")
    counted = [
        f"runs: {dict(load.kinds)}",
        f"workers: {dict(disturbances.counts)}",
        f"nodes of the worker that lives: {own}",
    ]
    return Soaked(broken, counted, held)


async def _ends(app: App, place: Place, load: Load, stopped: set[int]) -> list[str]:
    """The violations by the ends of the runs."""
    accepted = {each.run_id for each in load.handles}
    runs = await all_runs(app)
    broken = [f"{each.run_id} is {each.state}: {each.error}" for each in runs if each.state != "done"]
    if accepted != {each.run_id for each in runs} or len(accepted) != len(runs):
        broken.append(f"{len(accepted)} runs were accepted, and {len(runs)} ended")
    chains = {each.thread_id for each in runs if each.graph == "chain"}
    try:
        check_order(Ledger(place.folder), chains, stopped)
    except AssertionError as error:
        broken.append(f"a recorded result was executed again: {error}")
    return broken


@contextmanager
def places() -> Iterator[list[tuple[str, Place]]]:
    """A file and a server of its own."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, started() as server:
        found = []
        for name, dsn in (("SQLite", ""), ("PostgreSQL", server.url)):
            own = Path(folder, name)
            own.mkdir()
            found.append((name, Place(own, dsn)))
        yield found


def main() -> int:
    """Run both soaks, print what was counted, and exit with 1 for a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.runs.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20, help="of both soaks together; at least 1")
    parser.add_argument("--seed", type=int, default=20_26)
    given = parser.parse_args()
    if given.minutes < 1:
        parser.error("--minutes: at least 1, or the thirds have too few samples")
    broken: list[str] = []
    with places() as both:
        for name, place in both:
            print(f"{name}: {given.minutes / 2:g} minutes", flush=True)
            soaked = asyncio.run(soak(place, given.minutes * 30, given.seed))
            print(*(f"  {line}" for line in (*soaked.counted, *soaked.held)), sep="\n", flush=True)
            broken += [*soaked.broken, *(line for line in soaked.held if line.endswith(GROWS))]
    for line in broken:
        print(f"VIOLATION: {line}")
    print("all runs ended once, and nothing grows" if not broken else f"{len(broken)} violations")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
