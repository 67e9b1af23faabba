"""A process that makes, fires and changes schedules dies at each call of its store: each occurrence has one run."""

import asyncio
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from durable_graph import Checkpointer
from durable_graph.errors import DurableGraphError
from durable_graph.run_records import RunRow
from durable_graph.runs import App
from durable_graph.testing import CrashingSaver, CrashPoint
from durable_graph.testing.conformance.run_store_under_test import runs_of
from tests.crash.conftest import IS_LONG
from tests.runs.test_crashes_at_store_calls import LEASE, try_all
from tests.runs.test_schedules import MINUTE, NEW_YEAR, begin_at, graph_of, report

pytestmark = pytest.mark.every_store

EVERY: dict[str, Any] = {"cron": "* * * * *", "catch_up": timedelta(days=1)}


async def all_runs(saver: Checkpointer, name: str) -> list[RunRow]:
    return await runs_of(saver).list_runs(metadata=f'{{"schedule":"{name}"}}')


async def live(saver: CrashingSaver, name: str, overlap: Any) -> None:
    """One process: it makes a schedule, fires two occurrences, triggers a run, and pauses the schedule."""
    app = App({"report": graph_of(report)}, saver)
    await begin_at(App({"report": graph_of(report)}, saver.inner), NEW_YEAR)
    handle = await app.schedule(name, "report", overlap=overlap, **EVERY)
    app.store.skew += 2 * MINUTE // timedelta(microseconds=1)
    async with app.worker(grace=0, lease=LEASE, max_crashes=100) as worker:
        async with asyncio.timeout(20):
            while not saver.crashed and not await _has_fired(saver.inner, name):
                worker.schedules.nudge()
                worker.nudge()
                if overlap == "queue":
                    # The clock looks for the end of the run once a second.
                    app.store.skew += 100_000
                await asyncio.sleep(0.001)
    await handle.trigger()
    await handle.pause()


async def _has_fired(inner: Checkpointer, name: str) -> bool:
    occurrences = [run for run in await all_runs(inner, name) if run.state.is_ended]
    return len({run.thread for run in occurrences if "trigger" not in run.thread}) >= 2


@pytest.mark.parametrize("overlap", ["parallel", "queue"] if IS_LONG else ["parallel"])
async def test_each_occurrence_has_one_run_wherever_a_process_dies(saver: Checkpointer, overlap: str) -> None:
    names = count()

    async def trial(point: CrashPoint) -> bool:
        name = f"schedule {next(names)}"
        first = CrashingSaver(saver, point)
        try:
            await live(first, name, overlap)
        except DurableGraphError:
            if not first.crashed:
                raise
        if first.crashed:
            # The lease of the dead process ends.
            runs_of(saver).lease_skew += 3_600_000_000
            await runs_of(saver).sweep(5)
            await live(CrashingSaver(saver), name, overlap)
        found = await all_runs(saver, name)
        fired = [run for run in found if "trigger" not in run.thread]
        assert [run.thread for run in fired] == [f"{name}-2031-01-01T00:0{minute}:00Z" for minute in (1, 2)]
        # A process that died may have triggered a run as well.
        assert len(found) - len(fired) in ((1, 2) if first.crashed else (1,))
        status = await (await App({"report": graph_of(report)}, saver).find_schedule(name)).status()
        assert (status.fired, status.skipped, status.is_paused) == (len(found), 0, True)
        return first.crashed

    await try_all(saver, trial, 10)
