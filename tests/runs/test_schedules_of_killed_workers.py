"""Four processes with workers are killed while they fire the occurrences of a schedule: each has one run.

The schedule is made by a process whose clock is behind: by the clock of the workers all its occurrences are due. The
long form has those of a year, with both changes of the zone's clock.
"""

import random
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from durable_graph.runs import App, ScheduleHandle
from tests.crash.conftest import IS_LONG, Echo
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.processes import Processes, all_runs, until

pytestmark = pytest.mark.slow

ZONE = "Europe/Berlin"
HOURS = (2, 10, 18)
DAYS = 365 if IS_LONG else 14
WORKERS = 4
KILLS = 20 if IS_LONG else 2


def wanted(first: datetime, last: datetime) -> Iterator[str]:
    """Half past each of the hours of each day, and three o'clock instead of half past two where that is missing."""
    day = first.astimezone(ZoneInfo(ZONE)).date()
    while day <= last.date() + timedelta(days=1):
        for hour in HOURS:
            moment = datetime(day.year, day.month, day.day, hour, 30, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
            if moment.astimezone(ZoneInfo(ZONE)).hour != hour:
                moment -= timedelta(minutes=30)
            if first < moment <= last:
                yield moment.isoformat().replace("+00:00", "Z")
        day += timedelta(days=1)


async def declared(app: App, **options: Any) -> tuple[ScheduleHandle, list[str]]:
    """A schedule that is made `DAYS` ago by the clock of the workers, and its occurrences until now."""
    behind = timedelta(days=DAYS) // timedelta(microseconds=1)
    app.store.skew -= behind
    cron = f"30 {','.join(map(str, HOURS))} * * *"
    every: dict[str, Any] = {"catch_up": timedelta(days=10_000), "zone": ZONE, **options}
    until = datetime.now(UTC)
    handle = await app.schedule("all-year", "quick", {}, cron=cron, until=until, **every)
    app.store.skew += behind
    status = await handle.status()
    assert status.created_at is not None
    return handle, list(wanted(status.created_at, until))


async def kill_workers(processes: Processes, handle: ScheduleHandle, number: int) -> int:
    """Run four workers, and kill one after the other while the occurrences are fired. Returns the number of kills."""
    chance = random.Random(20_31)
    workers = [processes.worker(lease=1, max_crashes=1000) for _ in range(WORKERS)]
    killed = 0
    while (await handle.status()).overdue or killed < min(number, 1):
        # Each kill is after some more occurrences, so that the kills are spread over them.
        fired, wait = (await handle.status()).fired, chance.randint(1, 5)

        async def has_moved(fired: int = fired, wait: int = wait) -> bool:
            status = await handle.status()
            return status.fired >= fired + wait or not status.overdue

        await until(has_moved, "the next occurrences")
        if killed < number:
            workers.pop(chance.randrange(WORKERS)).send(signal.SIGKILL)
            workers.append(processes.worker(lease=1, max_crashes=1000))
            killed += 1
    return killed


async def test_each_occurrence_has_one_run_whichever_worker_is_killed(
    app: App, processes: Processes, ledger: Ledger, echo: Echo
) -> None:
    handle, occurrences = await declared(app, overlap="parallel")
    assert len(occurrences) >= 3 * DAYS - 3
    killed = await kill_workers(processes, handle, KILLS)

    async def have_ended() -> bool:
        return all(run.has_ended for run in await all_runs(app))

    await until(have_ended, "the ends of the runs")
    runs = await all_runs(app)
    assert sorted(str(run.metadata["occurrence"]) for run in runs) == occurrences
    assert Counter(run.state for run in runs) == {"done": len(occurrences)}
    status = await handle.status()
    assert (status.fired, status.skipped, status.next, status.error) == (len(occurrences), 0, None, None)
    begun = Counter(start.thread for start in ledger.starts())
    assert set(begun) == {f"all-year-{each}" for each in occurrences}
    again = sum(begun.values()) - len(occurrences)
    echo(f"{len(occurrences)} occurrences, {killed} kills: each has one run; {again} nodes began again")


async def test_each_occurrence_cancels_the_run_before_it_once_whichever_worker_is_killed(
    app: App, processes: Processes
) -> None:
    handle, occurrences = await declared(app, overlap="cancel")
    await kill_workers(processes, handle, KILLS)

    async def have_ended() -> bool:
        return all(run.has_ended for run in await all_runs(app))

    await until(have_ended, "the ends of the runs")
    runs = await all_runs(app)
    assert sorted(str(run.metadata["occurrence"]) for run in runs) == occurrences
    assert {run.state for run in runs} <= {"done", "cancelled"}
    assert (await handle.status()).fired == len(occurrences)
