"""The limits of a queue over four worker processes: a rate, and a limit of each key with keys of very different load.

**Fair share.** A key is eligible while it has runs that no worker has claimed, and fewer running ones than its limit.
Its fair share is one start in as many starts of the queue as keys were waiting when it became eligible, and at least
`FREE_KEYS`: fewer keys than that leave slots free, and then none waits for another. Its wait is the number of starts of
the queue from then until its own.
"""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Sequence

import pytest

from durable_graph.queue_records import QueueLimits, Rate
from durable_graph.runs import App
from tests.crash.conftest import IS_LONG, Echo
from tests.runs.engine.processes import PATIENCE, Process, Processes
from tests.runs.engine.queue_worker import QUEUE, Line, QueueLog, queue_app_at, work_in_queue
from tests.runs.engine.worker_process import Place, WorkerJob

pytestmark = pytest.mark.slow

WORKERS = 4
LEASE = 2.0
RATE = Rate(50, per=1)
SECONDS = 60 if IS_LONG else 2
PER_KEY = 2
KEYS = 100
LARGEST_LOAD = 400 if IS_LONG else 40
NODE_SECONDS = (0.1, 0.4) if IS_LONG else (0.02, 0.1)
KILLS = (0, 4) if IS_LONG else (0,)
OUTAGE = 2 * LEASE
"""Seconds after a kill in which runs of the killed process still hold slots."""
WINDOW = 1_000_000

RATED = QueueLimits(QUEUE, rate=RATE)
KEYED = QueueLimits(QUEUE, concurrency=20, per_key=PER_KEY)
FREE_KEYS = 20 // PER_KEY


def started(processes: Processes, limits: QueueLimits) -> Process:
    # No worker has slots for all starts of a second.
    job = WorkerJob(processes.place, LEASE, concurrency=20, max_crashes=1000)
    return processes.start(work_in_queue, job, limits)


@pytest.fixture
async def app(place: Place, request: pytest.FixtureRequest) -> AsyncIterator[App]:
    async with queue_app_at(place, RATED if "rate" in request.node.name else KEYED) as opened:
        yield opened


async def put(app: App, runs: Iterable[tuple[str, float]]) -> None:
    """Start runs of these keys, whose nodes take so many seconds. The thread of a run begins with its key."""
    waiting = [
        app.start("hold", {"seconds": seconds}, thread_id=f"{key} {number}", queue=QUEUE, limit_key=key)
        for number, (key, seconds) in enumerate(runs)
    ]
    for first in range(0, len(waiting), 200):
        await asyncio.gather(*waiting[first : first + 200])


async def left(app: App) -> int:
    stats = {each.queue: each for each in (await app.stats()).queues}[QUEUE]
    return stats.ready + stats.running


async def kill_some(
    processes: Processes, workers: list[Process], limits: QueueLimits, kills: int, seconds: float
) -> dict[int, float]:
    """Kill workers in even intervals, and start others. Returns the times of the kills by process id."""
    killed: dict[int, float] = {}
    chance = random.Random(20_27)
    for _ in range(kills):
        await asyncio.sleep(seconds / (kills + 1))
        victim = workers.pop(chance.randrange(len(workers)))
        victim.send(signal.SIGKILL)
        await victim.ended()
        killed[victim.pid] = time.monotonic()
        workers.append(started(processes, limits))
    return killed


@pytest.mark.parametrize("kills", KILLS)
async def test_no_second_has_more_starts_than_the_rate(
    app: App, place: Place, processes: Processes, echo: Echo, kills: int
) -> None:
    # More than the rate allows, so that runs are waiting at every moment.
    await put(app, (("key", 0.2) for _ in range(RATE.number * (SECONDS + 3))))
    workers = [started(processes, RATED) for _ in range(WORKERS)]
    killing = asyncio.create_task(kill_some(processes, workers, RATED, kills, SECONDS))
    log = QueueLog(place.folder)
    async with asyncio.timeout(2 * SECONDS + PATIENCE):
        while _span(_claims(log)) < SECONDS * WINDOW:  # noqa: ASYNC110  # other processes set no event of this one
            await asyncio.sleep(0.2)
    await killing
    times = [line.now for line in _claims(log)]
    assert most_in_a_window(times) <= RATE.number
    # Without the first second, whose starts come at once.
    rate = sum(at - times[0] >= WINDOW for at in times) * 1_000_000 / (times[-1] - times[0])
    echo(
        f"rate {place.dsn[:8] or 'sqlite'}, {kills} kills: {len(times)} starts, {rate:.2f} a second, "
        f"at most {most_in_a_window(times)} in any second"
    )
    if IS_LONG:
        assert rate >= 0.96 * RATE.number
    assert len({line.pid for line in _claims(log)}) > 1


def _claims(log: QueueLog) -> list[Line]:
    return sorted((line for line in log.lines() if line.kind == "claim"), key=lambda line: line.now)


def _span(claims: Sequence[Line]) -> int:
    return claims[-1].now - claims[0].now if claims else 0


def most_in_a_window(times: Sequence[int]) -> int:
    """The largest number of these times in any window of a second, which includes one of its ends."""
    first, most = 0, 0
    for last, at in enumerate(times):
        while at - times[first] >= WINDOW:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("kills", KILLS)
async def test_no_key_waits_for_more_than_three_fair_shares(
    app: App, place: Place, processes: Processes, echo: Echo, kills: int
) -> None:
    chance = random.Random(20_27)
    loads = {f"key{number:02}": max(1, LARGEST_LOAD // (number + 1)) for number in range(KEYS)}
    runs = [(key, chance.uniform(*NODE_SECONDS)) for key, load in loads.items() for _ in range(load)]
    # The largest backlogs were there first.
    await put(app, runs)
    workers = [started(processes, KEYED) for _ in range(WORKERS)]
    killing = asyncio.create_task(kill_some(processes, workers, KEYED, kills, 20))
    async with asyncio.timeout(3 * PATIENCE):
        while await left(app):  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.1)
    killed = await killing
    lines = QueueLog(place.folder).lines()
    assert len({line.thread for line in lines if line.kind == "end"}) == len(runs)
    most, most_of_key = most_at_once(lines, killed)
    worst = shares(lines, loads, killed.values())
    echo(
        f"keys {place.dsn[:8] or 'sqlite'}, {kills} kills: {len(runs)} runs of {KEYS} keys (1 to {LARGEST_LOAD}), "
        f"at most {most} at once and {most_of_key} of a key, worst wait {max(worst):.2f} fair shares"
    )
    assert most <= (KEYED.concurrency or 0)
    assert most_of_key <= PER_KEY
    assert max(worst) <= 3


def most_at_once(lines: Sequence[Line], killed: dict[int, float]) -> tuple[int, int]:
    """The largest numbers of nodes at any moment, in all and of a key. A killed process executes none."""
    now: dict[str, int] = {}
    most, most_of_key = 0, 0
    for line in lines:
        if line.kind == "claim":
            continue
        now = {thread: pid for thread, pid in now.items() if killed.get(pid, line.at) >= line.at}
        if line.kind == "begin":
            now[line.thread] = line.pid
        else:
            now.pop(line.thread, None)
        most = max(most, len(now))
        most_of_key = max([most_of_key, *Counter(thread.split()[0] for thread in now).values()])
    return most, most_of_key


def shares(lines: Sequence[Line], loads: dict[str, int], kills: Collection[float]) -> list[float]:
    """The wait of each start in fair shares. A run of a killed process counts as running until it is claimed again, and
    waits that touch the time after a kill are left out: the process may have claimed runs that it did not log."""
    waiting, running, begun = dict(loads), set[str](), 0
    eligible: dict[str, tuple[int, int, float]] = dict.fromkeys(loads, (0, len(loads), lines[0].at))
    waits: list[float] = []
    for line in lines:
        key = line.thread.split()[0]
        if line.kind == "claim":
            if line.thread not in running:
                waiting[key] -= 1
                running.add(line.thread)
                since = eligible.pop(key, None)
                if since is not None and not any(since[2] - OUTAGE < kill < line.at for kill in kills):
                    waits.append((begun - since[0]) / since[1])
            begun += 1
        elif line.kind == "end":
            running.discard(line.thread)
        of_key = sum(1 for thread in running if thread.startswith(f"{key} "))
        if waiting[key] and of_key < PER_KEY and key not in eligible:
            eligible[key] = begun, max(sum(1 for count in waiting.values() if count), FREE_KEYS), line.at
    return waits
