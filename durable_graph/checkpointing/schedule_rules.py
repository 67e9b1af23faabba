"""The decisions of a store about schedules, as functions of rows, for `schedule_transactions` and `MemorySaver`."""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from durable_graph.checkpointing.schedule_store import (
    LAST,
    NEVER,
    Cause,
    Fate,
    Fired,
    Firing,
    Overlap,
    ScheduleRow,
)
from durable_graph.errors import DamagedRowError
from durable_graph.run_records import Accepted, NewRun

Ref = tuple[str, int]
"""A run: its thread and its number."""

CANCELLED = "the next occurrence of its schedule, with overlap='cancel', takes its place"
"""The reason with which an occurrence cancels the runs before it."""

_TIMES = ("until", "next", "held", "last", "created_at", "updated_at")
LAST_TIME = 253_402_300_799_999_999
"""The last microsecond of the year 9999: later times are no datetimes."""
_MOST_RUNS = 100
"""The most unfinished runs in the row of a schedule. A schedule with more of them drops the oldest."""


def runs_in(row: ScheduleRow) -> list[Ref]:
    """The runs that the schedule has started last, and that may be unfinished. Raises `DamagedRowError`."""
    try:
        return msgspec.json.decode(row.runs, type=list[Ref]) if row.runs else []
    except msgspec.MsgspecError as error:
        raise DamagedRowError("schedule", row.name, why="its runs cannot be read") from error


def checked(row: ScheduleRow) -> ScheduleRow:
    """The row, if its columns make sense. Raises `DamagedRowError`."""
    runs_in(row)
    for column in _TIMES:
        at = getattr(row, column)
        if not 0 <= at <= LAST_TIME and at != NEVER:
            raise DamagedRowError("schedule", row.name, why=f"{at} is no time of its column {column!r}")
    if row.overlap not in get_args(Overlap):
        raise DamagedRowError("schedule", row.name, why=f"{row.overlap!r:.40} is no overlap")
    if row.catch_up < LAST or not 0 <= row.jitter <= LAST_TIME or row.revision < 1:
        raise DamagedRowError("schedule", row.name, why="a number makes no sense")
    metadata_of(row)
    return row


def metadata_of(row: ScheduleRow) -> dict[str, Any]:
    """The schedule's own metadata. Raises `DamagedRowError`."""
    try:
        return msgspec.json.decode(row.metadata, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise DamagedRowError("schedule", row.name, why="its metadata are no JSON object") from error


def fate_of(row: ScheduleRow | None, firing: Firing, *, is_busy: bool) -> Fate:
    """The fate of an occurrence. `is_busy`: an earlier run of the schedule has not ended."""
    if row is None or row.revision != firing.revision:
        return Fate.STALE
    if firing.run is None:
        return Fate.PASSED
    is_behind = firing.cause is Cause.NEXT and row.held != 0
    if firing.cause is Cause.TRIGGER or row.overlap in ("parallel", "cancel") or not (is_busy or is_behind):
        return Fate.FIRED
    if firing.cause is Cause.HELD:
        return Fate.HELD
    can_wait = row.overlap == "queue" or (row.overlap == "queue_one" and not row.held)
    return Fate.HELD if can_wait else Fate.SKIPPED


def fired_by(run: NewRun, accepted: Accepted) -> Fired:
    """The result of an occurrence whose run was accepted, or refused by its thread."""
    if accepted.stored_graph is not None:
        return Fired(Fate.PASSED, stored_graph=accepted.stored_graph)
    return Fired(Fate.FIRED, run.thread, accepted.seq)


def refused(firing: Firing, run: NewRun, stored_graph: str) -> Firing:
    """The firing whose run its thread refuses, because it belongs to another graph."""
    error = f"thread {run.thread!r:.100} belongs to the graph {stored_graph!r:.100}, and not to {run.graph!r:.100}"
    return msgspec.structs.replace(firing, error=error)


def cancelled_by(row: ScheduleRow, firing: Firing, unfinished: Sequence[Ref]) -> Sequence[Ref]:
    """The earlier runs that the run of an occurrence cancels. A caller's run begins beside them."""
    return unfinished if row.overlap == "cancel" and firing.cause is not Cause.TRIGGER else ()


def after_firing(row: ScheduleRow, firing: Firing, fired: Fired, unfinished: Sequence[Ref], now: int) -> ScheduleRow:
    """The row after an occurrence that is not stale. `unfinished` are earlier runs."""
    fate = fired.fate
    moved: dict[str, Any] = {"revision": row.revision + 1, "updated_at": now}
    held = row.held
    if firing.cause is Cause.NEXT:
        is_lost = fate is Fate.SKIPPED or (fate is Fate.PASSED and firing.error is not None)
        moved |= {"next": firing.next, "skipped": row.skipped + firing.skipped + is_lost}
        held = held or (firing.at if fate is Fate.HELD else 0)
    elif firing.cause is Cause.HELD and fate is not Fate.HELD:
        held = firing.held
        moved |= {"skipped": row.skipped + (fate is Fate.PASSED)}
    if fate is Fate.FIRED:
        started = fired.thread, fired.seq
        before = [each for each in unfinished if each != started] if row.overlap != "parallel" else []
        runs = [*before, started][-_MOST_RUNS:]
        moved |= {"fired": row.fired + 1, "last": firing.at, "error": None, "runs": msgspec.json.encode(runs).decode()}
    if firing.error is not None and firing.cause is not Cause.TRIGGER:
        moved["error"] = firing.error
    if firing.cause is not Cause.TRIGGER:
        due = min(firing.due, firing.poll) if held else firing.due
        moved |= {"held": held, "due": NEVER if row.is_paused else due}
    return msgspec.structs.replace(row, **moved)
