"""Schedules as an operator reads and changes them, without the code of their graphs."""

import msgspec

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.rules import check_limit
from durable_graph.checkpointing.schedule_store import ScheduleRow
from durable_graph.errors import DamagedRowError, InvalidOptionError
from durable_graph.runs.schedule_changes import (
    Change,
    change_row,
    find_named_row,
    paused,
    resumed,
    schedules_of,
    triggered,
)
from durable_graph.runs.schedule_handle import ScheduleStatus, schedule_id, schedule_status_of


async def listed_schedules(saver: Checkpointer, limit: int) -> list[ScheduleStatus]:
    """The first schedules, by name."""
    check_limit(limit)
    page = await schedules_of(saver).list_schedules(limit=limit)
    return [schedule_status_of(row, page.now) for row in page.rows]


async def pause_schedule(saver: Checkpointer, target: str) -> ScheduleStatus:
    """Pause the schedule with this name or id. Raises `UnknownScheduleError`."""
    return await _changed(saver, target, paused)


async def resume_schedule(saver: Checkpointer, target: str) -> ScheduleStatus:
    """Resume the schedule with this name or id. Raises `UnknownScheduleError`."""
    return await _changed(saver, target, resumed)


async def trigger_schedule(saver: Checkpointer, target: str) -> ScheduleStatus:
    """Let a worker fire the schedule once now, as soon as no earlier run of it is unfinished: the operator has no code
    of its graph. Raises `UnknownScheduleError`, and `InvalidOptionError` for a paused schedule."""

    async def trigger(row: ScheduleRow, now: int) -> ScheduleRow:
        if row.is_paused:
            option = "schedule"
            raise InvalidOptionError(option, row.name, allowed="a schedule that is not paused: resume it first")
        return await triggered(row, now)

    return await _changed(saver, target, trigger)


async def delete_schedule(saver: Checkpointer, target: str) -> "ScheduleStatus | DamagedSchedule":
    """Delete the schedule with this name or id, whether its row can be read or not. Returns its status before.

    Raises `UnknownScheduleError`.
    """
    schedules = schedules_of(saver)
    row, now = await find_named_row(schedules, target)
    try:
        before: ScheduleStatus | DamagedSchedule = schedule_status_of(row, now)
    except DamagedRowError as error:
        before = DamagedSchedule(row.name, schedule_id(row.id), str(error))
    await schedules.delete(row.id)
    return before


class DamagedSchedule(msgspec.Struct, frozen=True):
    """A schedule whose row could not be read."""

    name: str
    id: str
    error: str


async def _changed(saver: Checkpointer, target: str, change: Change) -> ScheduleStatus:
    schedules = schedules_of(saver)
    named, _ = await find_named_row(schedules, target)
    row = await change_row(schedules, named.id, target, change)
    return schedule_status_of(row, row.updated_at)
