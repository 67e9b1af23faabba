"""A schedule as its callers see it, from any process."""

import os
from datetime import datetime, timedelta
from typing import Any, Protocol, Unpack

import msgspec

from durable_graph._runtime.entry.options import Config
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.run_ids import run_id
from durable_graph.checkpointing.schedule_rules import checked, metadata_of, runs_in
from durable_graph.checkpointing.schedule_store import Cause, Fate, Firing, Overlap, ScheduleRow, ScheduleStore
from durable_graph.errors import UnknownOptionError, WrongGraphError
from durable_graph.run_records import NewRun
from durable_graph.runs.handle import RunHandle, RunsOfApp
from durable_graph.runs.messages import Graph
from durable_graph.runs.schedule_changes import Change, change_row, find_row, paused, redeclared, resumed
from durable_graph.runs.schedule_options import (
    CHANGES,
    SCHEDULED_OPTIONS,
    CatchUp,
    Declaration,
    ScheduleChanges,
    ScheduledStart,
    catch_up_of,
    check_overlap,
    declared_columns,
    read_columns,
    read_metadata,
    start_of,
    started,
    stored_input,
    with_stored_options,
)
from durable_graph.runs.scheduled_runs import run_of
from durable_graph.runs.times import moment


class ScheduleStatus(msgspec.Struct, frozen=True):
    """A schedule as its row says. Times are aware datetimes in UTC.

    `next` is the next occurrence (None: there is none, or the schedule is paused), `last` the last occurrence that was
    fired, and `last_run_id` the id of its run. `waiting` is the first occurrence that waits for the end of an earlier
    run. `fired` is the number of runs that the schedule has started, including triggered ones. `skipped` is the number
    of occurrences without a run: those skipped by `overlap` or `catch_up`, and those that could not be fired; `error`
    has the reason of the last one. Neither counts occurrences during a pause. `overdue` is the time for which a due
    occurrence has not been fired: if it grows, no worker that has the graph is alive. `metadata` is that of the
    schedule, not of its runs.
    """

    name: str
    id: str
    graph: str
    cron: str
    zone: str
    overlap: Overlap
    catch_up: CatchUp
    jitter: timedelta
    until: datetime | None
    thread_id: str | None
    is_paused: bool
    next: datetime | None
    last: datetime | None
    last_run_id: str | None
    waiting: datetime | None
    fired: int
    skipped: int
    overdue: timedelta
    error: str | None
    metadata: dict[str, Any]
    created_at: datetime | None
    updated_at: datetime | None


def schedule_status_of(row: ScheduleRow, now: int) -> ScheduleStatus:
    """The status that a schedule's row shows at the store's time. Raises `DamagedRowError`."""
    runs = runs_in(checked(row))
    return ScheduleStatus(
        name=row.name,
        id=schedule_id(row.id),
        graph=row.graph,
        cron=row.cron,
        zone=row.zone,
        overlap=row.overlap,
        catch_up=catch_up_of(row),
        jitter=timedelta(microseconds=row.jitter),
        until=moment(row.until),
        thread_id=row.thread,
        is_paused=row.is_paused,
        next=None if row.is_paused else moment(row.next),
        last=moment(row.last),
        last_run_id=run_id(key_of(runs[-1][0]), runs[-1][1]) if runs else None,
        waiting=moment(row.held),
        fired=row.fired,
        skipped=row.skipped,
        overdue=timedelta(microseconds=max(now - row.due, 0)),
        error=row.error,
        metadata=metadata_of(row),
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
    )


def schedule_id(id_: int) -> str:
    """The id of a schedule as text: a UUID, like those of runs."""
    return run_id(id_, 0)


class SchedulesOfApp(RunsOfApp, Protocol):
    """What a handle needs of its `App`."""

    def graph(self, name: str) -> Graph: ...

    def schedule_store(self) -> ScheduleStore: ...

    def scheduled_run(self, graph: str, given: Any, config: Config | None, thread: str, options: Any) -> NewRun: ...

    def schedule_changed(self) -> None: ...

    @property
    def max_value_bytes(self) -> int: ...


class ScheduleHandle:
    """A handle of a schedule, to read, change and trigger it. Any process gets one by `await app.find_schedule(name)`.

    `is_new` says whether this call of `App.schedule` made the schedule. All methods raise `UnknownScheduleError` once
    the schedule is deleted (`delete` returns False), and all but `delete` raise `DamagedRowError` for a damaged row.
    """

    __slots__ = ("_app", "_id", "id", "is_new", "name")

    def __init__(self, app: SchedulesOfApp, name: str, id_: int, *, is_new: bool = False) -> None:
        self._app = app
        self._id = id_
        self.name: str = name
        self.id: str = schedule_id(id_)
        self.is_new: bool = is_new

    def __repr__(self) -> str:
        return f"<ScheduleHandle {self.name!r}>"

    async def status(self) -> ScheduleStatus:
        """The schedule's status now."""
        return schedule_status_of(*await self._row())

    async def pause(self) -> ScheduleStatus:
        """Fire nothing until `resume`. Runs that the schedule has started continue. Nothing changes if it is paused."""
        return await self._changed(paused)

    async def resume(self) -> ScheduleStatus:
        """Fire again, from the next occurrence on. Occurrences during the pause are not fired."""
        return await self._changed(resumed)

    async def delete(self) -> bool:
        """Delete the schedule. Its runs and their threads stay. False if it was deleted before."""
        return await self._app.schedule_store().delete(self._id)

    async def trigger(self) -> RunHandle:
        """Start a run now, beside unfinished runs, also while the schedule is paused. The next occurrence does not
        change. The run's `metadata["occurrence"]` is the time of this call.

        Raises `UnknownNameError` if this app does not have the schedule's graph, and `WrongGraphError` for a fixed
        thread of another graph.
        """
        # One key for all attempts: the run is started once.
        name = f"trigger-{os.urandom(8).hex()}"
        while True:
            row, now = await self._row()
            run = run_of(row, self._app.graph(row.graph), now, self._app.max_value_bytes, trigger=name)
            firing = Firing(row.id, row.revision, Cause.TRIGGER, now, row.next, row.due, row.due, run=run)
            fired = await self._app.schedule_store().fire(firing)
            if fired.fate is Fate.FIRED:
                self._app.changes.is_ready(run.queue)
                return RunHandle(self._app, fired.thread, fired.seq)
            if fired.fate is Fate.PASSED:
                raise WrongGraphError(run.thread, stored=fired.stored_graph, called=run.graph)

    async def change(self, **changes: Unpack[ScheduleChanges]) -> ScheduleStatus:
        """Change the given parameters of `App.schedule` for all later occurrences, and keep the others. If `config` or
        one option of the runs is given, it replaces all of them.

        With another `cron` or `zone` the occurrences are computed anew from now on, and occurrences that are due but
        not fired are dropped. Other changes keep the next occurrence.

        Raises `InvalidOptionError` and the errors of an invalid input.
        """
        UnknownOptionError.check("ScheduleHandle.change", changes, known=CHANGES)
        columns = read_columns(changes)
        text = read_metadata(changes["metadata"]) if "metadata" in changes else None

        async def change(row: ScheduleRow, now: int) -> ScheduleRow:
            declared = {**declared_columns(row), **columns}
            check_overlap(declared["overlap"], declared["thread"])
            start = self._start(row, changes)
            stored = Declaration(declared, start, row.metadata if text is None else text).stored()
            return await redeclared(row, stored, now)

        return await self._changed(change)

    def _start(self, row: ScheduleRow, changes: ScheduleChanges) -> ScheduledStart:
        stored = start_of(row)
        options = {name: value for name, value in changes.items() if name in SCHEDULED_OPTIONS}
        has_options = "config" in changes or bool(options)
        if "input" not in changes and not has_options:
            return stored
        graph = self._app.graph(row.graph)
        given = changes["input"] if "input" in changes else stored_input(graph, stored)
        given = {} if given is None else given
        run = self._app.scheduled_run(row.graph, given, changes.get("config"), row.thread or row.name, options)
        start = started(graph, given, run)
        return start if has_options else with_stored_options(graph, start, stored, self._app.max_value_bytes)

    async def _row(self) -> tuple[ScheduleRow, int]:
        return await find_row(self._app.schedule_store(), self._id, self.name)

    async def _changed(self, change: Change) -> ScheduleStatus:
        row = await change_row(self._app.schedule_store(), self._id, self.name, change)
        self._app.schedule_changed()
        return schedule_status_of(row, row.updated_at)
