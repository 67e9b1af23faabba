"""`run_app`: an app with a worker in the test's own event loop, and a clock that the test moves."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio

from durable_graph.checkpointing.schedule_store import KeepsSchedules
from durable_graph.run_records import QueueStats
from durable_graph.runs import App, Worker

_LOOK = 0.001


class RunningApp:
    """An app whose worker runs in this event loop. See `run_app`."""

    def __init__(self, app: App, worker: Worker) -> None:
        self.app = app
        self.worker = worker

    async def settle(self) -> None:
        """Wait until no run can continue by itself now: each has ended, or waits for an answer, a later time or the
        rate of its queue."""
        while True:
            looks = self.worker.looks
            self.worker.nudge()
            # Read before the runs, which then include the run of an occurrence that is fired meanwhile.
            has_due_schedule = await self._has_due_schedule()
            # One statement: between two, a run may begin, or be due again.
            queues = [each for each in (await self.app.stats()).queues if each.workers or each.queue in self.app.names]
            is_running = self.worker.running or any(each.running for each in queues)
            due = [each for each in queues if each.oldest_due]
            if not (is_running or has_due_schedule) and (not due or await self._are_held_back(due, looks)):
                return
            await anyio.sleep(_LOOK)

    async def _are_held_back(self, due: list[QueueStats], looks: int) -> bool:
        """Whether the rates of these queues, of which no run is executed, leave their due runs waiting."""
        if any(each.limits is None or each.limits.rate is None for each in due):
            return False
        # The first of the looks that follow may have begun before the runs were due.
        while self.worker.looks < looks + 2 and not self.worker.running:
            self.worker.nudge()
            await anyio.sleep(_LOOK)
        return not self.worker.running

    async def _has_due_schedule(self) -> bool:
        saver = self.app.checkpointer
        if not isinstance(saver, KeepsSchedules):
            return False
        self.worker.schedules.nudge()
        return bool((await saver.schedules.due(self.app.names, limit=1)).rows)

    async def move(self, by: timedelta) -> None:
        """Move the clock of the store's runs forward, and wait until what is due then has been done."""
        self.app.store.skew += by // timedelta(microseconds=1)
        await self.settle()


@asynccontextmanager
async def run_app(app: App, *, concurrency: int = 10) -> AsyncGenerator[RunningApp]:
    """Run an app in a test: `async with run_app(app) as running: ...`

    A worker executes its runs in this event loop. `await running.settle()` waits until no run can continue by itself.
    `await running.move(timedelta(days=3))` moves the clock, so that a test of a run that sleeps for days takes
    milliseconds. The clock of leases is not moved.
    """
    async with app.worker(concurrency=concurrency) as worker:
        running = RunningApp(app, worker)
        yield running
