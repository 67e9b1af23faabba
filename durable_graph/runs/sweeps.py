"""The repeated calls of a worker for the runs that no living worker executes."""

import asyncio
import logging
import random
from collections.abc import Sequence

from durable_graph.checkpointing.run_store import RunStore
from durable_graph.errors import DurableGraphError
from durable_graph.runs.changes import Changes

_LONGEST_PAUSE = 10.0
"""Seconds between two looks for deadlines, if a lease is long. A run that was accepted meanwhile may have an earlier
deadline."""
_SHORT_PAUSE = 100_000
"""Microseconds."""
_BATCH = 50

_logger = logging.getLogger("durable_graph")


class Sweeps:
    """The sweeps of one worker. Each method runs until it is cancelled."""

    def __init__(self, runs: RunStore, changes: Changes, queues: Sequence[str]) -> None:
        self._runs, self._changes, self._queues = runs, changes, queues

    async def free_runs(self, ttl: float, max_crashes: int) -> None:
        """Free the runs of dead workers, about four times in `ttl` seconds."""
        while True:
            await asyncio.sleep(spread(ttl / 4) / 1_000_000)
            try:
                swept = await self._runs.sweep(max_crashes)
            except DurableGraphError as error:
                _logger.warning("a worker cannot look for runs of dead workers: %s", error)
            else:
                if swept.ready or swept.quarantined:
                    # This worker may have no slot for them.
                    self._changes.is_ready(*self._queues)

    async def apply_deadlines(self, ttl: float) -> None:
        """Fail runs whose deadline passes while no worker executes them: they are blocked, or every slot is in use.

        It looks for deadlines as often as `free_runs` for dead workers, and when the next one passes.
        """
        while True:
            pause = spread(min(ttl / 4, _LONGEST_PAUSE)) / 1_000_000
            try:
                wait = await self._runs.next_deadline()
                if wait == 0 and not await self._fail_overdue():
                    # Another worker fails them, or has their threads locked.
                    wait = _SHORT_PAUSE
            except DurableGraphError as error:
                _logger.warning("a worker cannot look for deadlines: %s", error)
            else:
                if wait is not None:
                    pause = min(pause, wait / 1_000_000)
            await asyncio.sleep(pause)

    async def _fail_overdue(self) -> bool:
        failed = await self._runs.fail_overdue(limit=_BATCH)
        for thread, seq in failed:
            self._changes.has_changed(thread, seq)
        if failed:
            # The next run of each thread may begin.
            self._changes.is_ready(*self._queues)
        return bool(failed)


def spread(seconds: float) -> int:
    """About so many seconds, in microseconds, so that neither workers nor runs come all at once."""
    return round(seconds * random.uniform(0.5, 1.5) * 1_000_000)  # noqa: S311  # spreads the load
