"""The common part of the clauses of a store of schedules: functions with assertions. Times are in microseconds."""

from typing import Any

import msgspec

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.checkpointing.schedule_store import (
    LAST,
    NEVER,
    Cause,
    Fate,
    Fired,
    Firing,
    KeepsSchedules,
    ScheduleRow,
    ScheduleStore,
)
from durable_graph.run_records import RunState
from durable_graph.testing.conformance.run_store_under_test import HOUR, claim_one, end_of, new_run, runs_of

PAST = HOUR
"""A time that every store's clock has passed."""


def schedules_of(saver: Checkpointer) -> ScheduleStore:
    """The saver's schedules."""
    assert isinstance(saver, KeepsSchedules), f"{saver} keeps no schedules"
    return saver.schedules


def new_schedule(name: str = "nightly", **fields: Any) -> ScheduleRow:
    """A schedule to store, whose occurrence at `PAST` is due. Its id is random."""
    row = ScheduleRow(
        id=drawn_incarnation(),
        name=name,
        revision=1,
        graph="graph",
        cron="0 * * * *",
        zone="UTC",
        overlap="skip",
        catch_up=LAST,
        jitter=0,
        until=NEVER,
        thread=None,
        is_paused=False,
        next=PAST,
        due=PAST,
        held=0,
        last=0,
        fired=0,
        skipped=0,
        created_at=PAST,
        updated_at=PAST,
        runs="",
        error=None,
        metadata="{}",
        digest=b"digest",
        start=b"start",
    )
    return msgspec.structs.replace(row, **fields)


async def create(saver: Checkpointer, name: str = "nightly", **fields: Any) -> ScheduleRow:
    """Store a schedule, assert that it is new, and return it."""
    row = new_schedule(name, **fields)
    assert await schedules_of(saver).create(row) == row
    return row


async def schedule_at(saver: Checkpointer, row: ScheduleRow) -> ScheduleRow:
    """The schedule as it is now. It exists."""
    found = await schedules_of(saver).find(row.id)
    assert found.row is not None, f"schedule {row.name!r} is not there"
    return found.row


def firing_of(row: ScheduleRow, cause: Cause = Cause.NEXT, *, thread: str = "", **fields: Any) -> Firing:
    """The firing of the schedule's occurrence: the one at `next`, whose follower is an hour later, or the held one."""
    at = row.held if cause is Cause.HELD else row.next
    following = row.next + (HOUR if cause is Cause.NEXT else 0)
    run = new_run(thread or row.thread or f"{row.name}-{at}", key=f"{row.id}:{cause.name}:{at}")
    firing = Firing(row.id, row.revision, cause, at, following, following, PAST, run=run)
    return msgspec.structs.replace(firing, **fields)


async def fire(saver: Checkpointer, row: ScheduleRow, cause: Cause = Cause.NEXT, **fields: Any) -> Fired:
    """Fire the schedule as it is now."""
    return await schedules_of(saver).fire(firing_of(await schedule_at(saver, row), cause, **fields))


async def fired(saver: Checkpointer, row: ScheduleRow, cause: Cause = Cause.NEXT, **fields: Any) -> Fired:
    """Fire the schedule as it is now, and assert that a run was started."""
    found = await fire(saver, row, cause, **fields)
    assert found.fate is Fate.FIRED, found
    assert await runs_of(saver).find_run(found.thread, found.seq) is not None
    return found


async def end_run(saver: Checkpointer, worker: int = 1) -> None:
    """Claim the only run that is due, and end it."""
    claim = await claim_one(saver, worker)
    assert await runs_of(saver).settle(end_of(claim, worker, RunState.FAILED, error="failed"))


async def number_of_runs(saver: Checkpointer) -> int:
    """The number of runs in the store."""
    return len(await runs_of(saver).list_runs(limit=1000))
