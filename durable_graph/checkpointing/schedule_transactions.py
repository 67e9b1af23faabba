"""The reads and writes of schedules that all databases have in common, free of I/O.

A transaction locks the schedule's row first, then the rows of threads in the order of their keys, then runs. Nothing
locks a schedule after a thread.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from durable_graph.checkpointing import schedule_rules
from durable_graph.checkpointing.columns import Columns, key_of
from durable_graph.checkpointing.queries import Query, first_of
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.checkpointing.run_changes import run_from
from durable_graph.checkpointing.run_transactions import Clock, accept, cancel_run, time_of
from durable_graph.checkpointing.schedule_rules import Ref
from durable_graph.checkpointing.schedule_store import (
    DueSchedules,
    Fate,
    Fired,
    Firing,
    FoundSchedule,
    SchedulePage,
    ScheduleRow,
)
from durable_graph.checkpointing.transactions import Part, Transaction, WriteResult
from durable_graph.run_records import NewRun


def list_schedules(limit: int, after: str, clock: Clock) -> Part[SchedulePage]:
    """See `ScheduleStore.list_schedules`."""
    found = yield Query("list_schedules", {"after": after, "limit": limit})
    return SchedulePage(list(map(schedule_from, found)), (yield from time_of(clock)))


def create(row: ScheduleRow) -> Transaction[ScheduleRow]:
    """See `ScheduleStore.create`."""
    yield Query("add_schedule", columns_of(row))
    (columns,) = yield Query("find_schedule", {"named": row.name})
    return WriteResult(schedule_from(columns))


def replace(row: ScheduleRow) -> Transaction[bool]:
    """See `ScheduleStore.replace`."""
    if (yield Query("swap_schedule", columns_of(row))):
        return WriteResult(result=True)
    columns = yield from first_of("find_schedule_by_id", id=row.id)
    return WriteResult(columns is not None and schedule_from(columns) == row)


def fire(firing: Firing, clock: Clock) -> Transaction[Fired]:
    """See `ScheduleStore.fire`."""
    columns = yield from first_of("lock_schedule", id=firing.id)
    row = None if columns is None else schedule_from(columns)
    unfinished = [] if row is None else (yield from _unfinished(row))
    fate = schedule_rules.fate_of(row, firing, is_busy=bool(unfinished))
    if row is None or fate is Fate.STALE:
        return WriteResult(Fired(Fate.STALE))
    fired = Fired(fate)
    if fate is Fate.FIRED and firing.run is not None:
        fired = yield from _start(firing.run, schedule_rules.cancelled_by(row, firing, unfinished), clock)
        if fired.stored_graph is not None:
            firing = schedule_rules.refused(firing, firing.run, fired.stored_graph)
    after = schedule_rules.after_firing(row, firing, fired, unfinished, (yield from time_of(clock)))
    yield Query("swap_schedule", columns_of(after))
    return WriteResult(fired)


def _unfinished(row: ScheduleRow) -> Part[list[Ref]]:
    found = []
    for thread, seq in schedule_rules.runs_in(row):
        columns = yield from first_of("find_run", thread_key=key_of(thread), seq=seq)
        if columns is not None and not run_from(columns).state.is_ended:
            found.append((thread, seq))
    return found


def _start(run: NewRun, cancelled: Sequence[Ref], clock: Clock) -> Part[Fired]:
    """Accept the run, and cancel runs before it."""
    if cancelled:
        yield from _lock_families({key_of(run.thread), *(key_of(thread) for thread, _ in cancelled)})
    for thread, seq in cancelled:
        yield from cancel_run(thread, seq, schedule_rules.CANCELLED, drawn_incarnation(), clock)
    accepted = (yield from accept(run, clock)).result
    return schedule_rules.fired_by(run, accepted)


def _lock_families(threads: set[int]) -> Part[None]:
    """Lock threads, and the parents of their runs, which `cancel_run` locks. All writers lock several threads in the
    order of their keys, which prevents deadlocks."""
    keys = set(threads)
    for key in threads:
        unfinished = yield Query("find_unfinished_runs", {"thread_key": key})
        keys |= {run.parent_key for run in map(run_from, unfinished) if run.parent_key}
    for key in sorted(keys):
        yield Query("lock_thread", {"thread_key": key})


def find(schedule: str | int, clock: Clock) -> Part[FoundSchedule]:
    """See `ScheduleStore.find`."""
    if isinstance(schedule, int):
        columns = yield from first_of("find_schedule_by_id", id=schedule)
    else:
        columns = yield from first_of("find_schedule", named=schedule)
    return FoundSchedule(None if columns is None else schedule_from(columns), (yield from time_of(clock)))


def due(sought: Mapping[str, Any], limit: int, clock: Clock) -> Part[DueSchedules]:
    """See `ScheduleStore.due`. `sought` are the parameters of the graphs. One query if none is due."""
    found = yield Query("find_next_schedule", dict(sought))
    (first,) = found[0]
    if first is None:
        return DueSchedules([], 0, None)
    now = yield from time_of(clock)
    if first > now:
        return DueSchedules([], now, first - now)
    rows = yield Query("find_due_schedules", {**sought, "now": now, "limit": limit})
    return DueSchedules(list(map(schedule_from, rows)), now, None)


def columns_of(row: ScheduleRow) -> dict[str, Any]:
    """The parameters of a statement that stores the row."""
    return {**msgspec.structs.asdict(row), "is_paused": int(row.is_paused)}


def schedule_from(columns: Columns) -> ScheduleRow:
    """The schedule in the columns of a row."""
    row = ScheduleRow(*columns)
    return msgspec.structs.replace(row, is_paused=bool(row.is_paused))
