"""Changes of a schedule's row by callers. Each compares the row's revision, and is made again if it has changed."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.run_ids import parts_of
from durable_graph.checkpointing.schedule_rules import checked
from durable_graph.checkpointing.schedule_store import KeepsSchedules, ScheduleRow, ScheduleStore
from durable_graph.errors import MissingPowerError, UnknownRunError, UnknownScheduleError
from durable_graph.records import is_text
from durable_graph.run_records import NEVER
from durable_graph.runs.occurrences import Calendar, calendar_of, due_at, next_within

Change = Callable[[ScheduleRow, int], Awaitable[ScheduleRow]]
"""The row after a change at the store's time. The same row: nothing is to be changed."""


def schedules_of(saver: Checkpointer) -> ScheduleStore:
    """The saver's schedules. Raises `MissingPowerError`."""
    if not isinstance(saver, KeepsSchedules):
        raise MissingPowerError(type(saver).__name__, "schedules")
    return saver.schedules


async def find_row(schedules: ScheduleStore, schedule: str | int, shown: str) -> tuple[ScheduleRow, int]:
    """The row of the schedule, and the store's time. Raises `UnknownScheduleError`, which shows it as `shown`, and
    `DamagedRowError`."""
    found = await schedules.find(schedule)
    if found.row is None:
        raise UnknownScheduleError(shown)
    return checked(found.row), found.now


async def find_named_row(schedules: ScheduleStore, schedule: object) -> tuple[ScheduleRow, int]:
    """The row of the schedule with this name, or with this id as text, and the store's time. It may be damaged.

    Raises `UnknownScheduleError`.
    """
    if not isinstance(schedule, str) or not is_text(schedule) or "\0" in schedule:
        raise UnknownScheduleError(str(schedule))
    found = await schedules.find(schedule)
    if found.row is not None:
        return found.row, found.now
    try:
        id_, _ = parts_of(schedule)
    except UnknownRunError:
        raise UnknownScheduleError(schedule) from None
    found = await schedules.find(id_)
    if found.row is None:
        raise UnknownScheduleError(schedule)
    return found.row, found.now


async def change_row(schedules: ScheduleStore, schedule: str | int, shown: str, change: Change) -> ScheduleRow:
    """Change the row of the schedule, and return it. Raises `UnknownScheduleError`."""
    while True:
        row, now = await find_row(schedules, schedule, shown)
        after = await change(row, now)
        if after == row:
            return row
        after = msgspec.structs.replace(after, revision=row.revision + 1, updated_at=now)
        if await schedules.replace(after):
            return after


def new_row(
    id_: int, name: str, stored: dict[str, Any], calendar: Calendar, now: int, *, is_paused: bool
) -> ScheduleRow:
    """The row of a new schedule. `stored` are its declared columns."""
    row = ScheduleRow(
        id=id_,
        name=name,
        revision=1,
        is_paused=is_paused,
        next=NEVER,
        due=NEVER,
        held=0,
        last=0,
        fired=0,
        skipped=0,
        created_at=now,
        updated_at=now,
        runs="",
        error=None,
        **stored,
    )
    return _from_now(row, calendar, now)


async def paused(row: ScheduleRow, now: int) -> ScheduleRow:
    """The row of a schedule that fires nothing."""
    return row if row.is_paused else msgspec.structs.replace(row, is_paused=True, due=NEVER)


async def resumed(row: ScheduleRow, now: int) -> ScheduleRow:
    """The row of a schedule that fires again. The occurrences that have passed meanwhile are not fired."""
    if not row.is_paused:
        return row
    calendar = await calendar_of(row.cron, row.zone)
    return _from_now(msgspec.structs.replace(row, is_paused=False, error=None), calendar, now)


async def triggered(row: ScheduleRow, now: int) -> ScheduleRow:
    """The row of a schedule that a worker fires once now, as soon as no earlier run of it is unfinished."""
    if row.held:
        return row
    return msgspec.structs.replace(row, held=now, due=NEVER if row.is_paused else now)


async def redeclared(row: ScheduleRow, stored: dict[str, Any], now: int) -> ScheduleRow:
    """The row with other declared columns. With another calendar its occurrences begin anew from now."""
    after = msgspec.structs.replace(row, **stored)
    calendar = await calendar_of(after.cron, after.zone)
    if (after.cron, after.zone) != (row.cron, row.zone):
        return _from_now(msgspec.structs.replace(after, held=0), calendar, now)
    if after.until != row.until and row.next > now:
        return _from_now(after, calendar, now)
    return _with_due(msgspec.structs.replace(after, next=next_within(after, row.next)), now)


def _from_now(row: ScheduleRow, calendar: Calendar, now: int) -> ScheduleRow:
    return _with_due(msgspec.structs.replace(row, next=next_within(row, calendar.after(now))), now)


def _with_due(row: ScheduleRow, now: int) -> ScheduleRow:
    due = min(due_at(row, row.next), now) if row.held else due_at(row, row.next)
    return msgspec.structs.replace(row, due=NEVER if row.is_paused else due)
