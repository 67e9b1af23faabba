"""The clock of a worker: it fires the occurrences of schedules that are due, beside the clocks of other workers."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.checkpointing.schedule_rules import checked, runs_in
from durable_graph.checkpointing.schedule_store import Cause, Fate, Firing, KeepsSchedules, ScheduleRow, ScheduleStore
from durable_graph.checkpointing.waiting import is_set_within
from durable_graph.errors import DurableGraphError, StoreUnavailableError
from durable_graph.errors.shown import logged
from durable_graph.run_records import NewRun
from durable_graph.runs.changes import Changes
from durable_graph.runs.occurrences import calendar_of, due_at, passed, queued_after
from durable_graph.runs.operations import cancel_children, for_row
from durable_graph.runs.scheduled_runs import run_of

_LONGEST_PAUSE = 10.0
"""Seconds between two looks, at most: another process may have made a schedule."""
_PAUSE_AFTER_FAILURE = 1.0
_POLL = 1_000_000
"""Microseconds between two looks for the end of the run that an occurrence waits for."""
_BATCH = 16

_logger = logging.getLogger("durable_graph")


class ScheduleClock:
    """Fires the due occurrences of the schedules of some graphs. Every worker has a clock, and one of them fires each
    occurrence: the store accepts the run only if the row has not changed since the clock has read it."""

    def __init__(
        self,
        graphs: Mapping[str, CompiledGraph[Any, Any, Any, Any]],
        saver: Checkpointer,
        runs: RunStore,
        changes: Changes,
    ) -> None:
        self._graphs, self._saver, self._runs, self._changes = graphs, saver, runs, changes
        self._failures = 0
        self._nudge = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def nudge(self) -> None:
        """Look for due schedules now, if the clock runs in this event loop."""
        if self._loop is asyncio.get_running_loop():
            self._nudge.set()

    async def repeat(self) -> None:
        """Fire occurrences until cancelled. Returns at once for a saver without schedules."""
        if not isinstance(self._saver, KeepsSchedules):
            return
        self._loop = asyncio.get_running_loop()
        while True:
            self._nudge.clear()
            try:
                pause = await self.look(self._saver.schedules)
            except DurableGraphError as error:
                _logger.warning("a worker cannot look for due schedules: %s", error)
                pause = _PAUSE_AFTER_FAILURE
            if pause:
                await is_set_within(self._nudge, pause)

    async def look(self, schedules: ScheduleStore) -> float:
        """Fire the due occurrences, and return the seconds until the next look."""
        # Schedules that fail stay due: they must not take the places of the others.
        found = await schedules.due(list(self._graphs), limit=_BATCH + self._failures)
        if not found.rows:
            return _LONGEST_PAUSE if found.wait is None else min(found.wait / 1_000_000, _LONGEST_PAUSE)
        failures = 0
        for row in found.rows:
            try:
                await self._fire(schedules, row, found.now)
            except StoreUnavailableError:
                raise
            except (DurableGraphError, msgspec.MsgspecError) as error:
                # A schedule that fails must not stop the others: its row is damaged, or this machine lacks its zone.
                _logger.error("schedule %r cannot be fired: %s", row.name, logged(error), exc_info=error)  # noqa: TRY400
                failures += 1
        is_new, self._failures = failures > self._failures, failures
        return _PAUSE_AFTER_FAILURE if failures and not is_new else 0

    async def _fire(self, schedules: ScheduleStore, row: ScheduleRow, now: int) -> None:
        calendar = await calendar_of(checked(row).cron, row.zone)
        found = passed(row, calendar, now)
        poll = now + _POLL
        if found.next != row.next:
            firing = Firing(
                row.id, row.revision, Cause.NEXT, found.at, found.next, found.due, poll, skipped=found.skipped
            )
        elif row.held:
            held = queued_after(row, calendar)
            due = due_at(row, row.next)
            firing = Firing(row.id, row.revision, Cause.HELD, row.held, row.next, due, poll, held=held)
        else:
            # No occurrence is due after all: another version of the time zones computed the stored time.
            firing = Firing(row.id, row.revision, Cause.NEXT, 0, row.next, due_at(row, row.next), poll)
        run: NewRun | None = None
        try:
            run = run_of(row, self._graphs[row.graph], firing.at, self._saver.max_value_bytes) if firing.at else None
            fired = await schedules.fire(msgspec.structs.replace(firing, run=run))
        except StoreUnavailableError:
            raise
        except (DurableGraphError, msgspec.MsgspecError) as error:
            _logger.error("an occurrence of schedule %r cannot be fired: %s", row.name, logged(error))  # noqa: TRY400
            fired = await schedules.fire(msgspec.structs.replace(firing, error=for_row(str(error))))
        if fired.fate is Fate.FIRED:
            self._changes.is_ready(row.graph if run is None else run.queue)
            await self._notify_of_cancelled(row)

    async def _notify_of_cancelled(self, row: ScheduleRow) -> None:
        """The workers of the runs that the occurrence has cancelled look for the request now, and the children of those
        that have ended are cancelled."""
        for thread, seq in runs_in(row) if row.overlap == "cancel" else ():
            run = await self._runs.find_run(thread, seq)
            if run is not None:
                self._changes.is_cancelled(run)
                for child in await cancel_children(self._runs, run):
                    self._changes.is_cancelled(child)
