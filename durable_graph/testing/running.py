"""`run_app`: an app with a worker in the test's own event loop, and a clock that the test moves."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio

from durable_graph.checkpointing.schedule_store import KeepsSchedules
from durable_graph.runs import App, Worker

_LOOK = 0.001


class RunningApp:
    """An app whose worker runs in this event loop. See `run_app`."""

    def __init__(self, app: App, worker: Worker) -> None:
        self.app = app
        self.worker = worker

    async def settle(self) -> None:
        """Wait until no run can continue by itself now: each has ended, or waits for an answer or a later time."""
        while True:
            self.worker.nudge()
            # First, because the run of an occurrence that is fired meanwhile is found below.
            has_due_schedule = await self._has_due_schedule()
            # One statement: between two, a run may begin, or be due again.
            queues = [each for each in (await self.app.stats()).queues if each.workers or each.queue in self.app.names]
            is_due = has_due_schedule or any(each.running or each.oldest_due for each in queues)
            if not (self.worker.running or is_due):
                return
            await anyio.sleep(_LOOK)

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
