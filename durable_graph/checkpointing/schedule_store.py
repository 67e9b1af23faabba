"""The protocol of a store of schedules: a power of a saver, which `isinstance(saver, KeepsSchedules)` finds.

A schedule is a row with the calendar of the runs of a graph. An occurrence is one time of the calendar. Any
worker may fire an occurrence: the store accepts its run and moves the row on in one transaction, which compares the
row's `revision`. Times are microseconds since 1970 by the clock of the store's runs, whose `skew` tests move.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Literal, Protocol, runtime_checkable

import msgspec

from durable_graph.run_records import NEVER, NewRun

Overlap = Literal["skip", "queue_one", "queue", "cancel", "parallel"]
"""What happens to an occurrence while an earlier run of its schedule has not ended: it is skipped ("skip"); it waits
for the end of the run, alone ("queue_one") or behind other occurrences ("queue"); it cancels the run ("cancel"); or it
starts a run beside it ("parallel")."""

LAST = -1
"""The `catch_up` of a schedule of which only the last missed occurrence is fired."""


class ScheduleRow(msgspec.Struct, frozen=True, gc=False):
    """A schedule. `id` is random. `revision` grows with every change.

    `catch_up` is the age in microseconds up to which a missed occurrence is fired, or `LAST`. No occurrence is after
    `until`. `thread` is the thread of its runs, None for a new one each. `start` has the input and the options of its
    runs, encoded; `digest` is that of the declared content. `metadata` is a JSON object.

    `next` is the next occurrence (NEVER: there is none), and `due` the time at which a worker looks at the row: that of
    `next` with its jitter, or earlier while an occurrence is held. `held` is the first occurrence that waits for the
    end of an earlier run (0: none). `runs` has the runs that may be unfinished as JSON, the newest last, each with its
    thread and its number. `error` is the reason for which the last occurrence could not be fired.
    """

    id: int
    name: str
    revision: int
    graph: str
    cron: str
    zone: str
    overlap: Overlap
    catch_up: int
    jitter: int
    until: int
    thread: str | None
    is_paused: bool
    next: int
    due: int
    held: int
    last: int
    fired: int
    skipped: int
    created_at: int
    updated_at: int
    runs: str
    error: str | None
    metadata: str
    digest: bytes
    start: bytes


class FoundSchedule(msgspec.Struct, frozen=True, gc=False):
    """The result of a look for a schedule, and the store's time."""

    row: ScheduleRow | None
    now: int


class SchedulePage(msgspec.Struct, frozen=True, gc=False):
    """Schedules in the order of their names, and the store's time."""

    rows: list[ScheduleRow]
    now: int


class DueSchedules(msgspec.Struct, frozen=True, gc=False):
    """The schedules that are due, the first one first, and the store's time. `wait` is the time in microseconds until
    the next one is due if none is, None if there is none."""

    rows: list[ScheduleRow]
    now: int
    wait: int | None


class Cause(Enum):
    """Why a schedule is fired."""

    NEXT = 0
    """Its next occurrence is due."""
    HELD = 1
    """An occurrence waits for the end of an earlier run."""
    TRIGGER = 2
    """A caller asks for a run now."""


class Firing(msgspec.Struct, frozen=True, gc=False):
    """An occurrence to fire, computed from the row with this `revision`.

    `at` is the occurrence, and `run` its run; without a run the row only moves on. `skipped` is the number of missed
    occurrences before it that are not fired. `next`, `due` and `held` are those of the row afterwards. While an
    occurrence is held, the row is due at `poll`. `error` says why there is no run.
    """

    id: int
    revision: int
    cause: Cause
    at: int
    next: int
    due: int
    poll: int
    held: int = 0
    skipped: int = 0
    run: NewRun | None = None
    error: str | None = None


class Fate(Enum):
    """The fate of an occurrence."""

    STALE = 0
    """The schedule has changed, or was deleted: nothing was done."""
    FIRED = 1
    SKIPPED = 2
    """An earlier run has not ended."""
    HELD = 3
    """It waits for the end of an earlier run."""
    PASSED = 4
    """No run could be accepted, or its thread refuses it: the row has the reason."""


class Fired(msgspec.Struct, frozen=True, gc=False):
    """The result of a firing. `thread` and `seq` name the run if one was accepted. `stored_graph` is the other graph
    that its thread belongs to, if it was refused."""

    fate: Fate
    thread: str = ""
    seq: int = 0
    stored_graph: str | None = None


@runtime_checkable
class ScheduleStore(Protocol):
    """The schedules of a store, in the same place as their runs.

    Every method may be called again with the same arguments. A call that has started runs to its end.
    """

    async def create(self, row: ScheduleRow) -> ScheduleRow:
        """Store a schedule, unless another one has its name. Returns the schedule that has the name now."""
        ...

    async def find(self, schedule: str | int) -> FoundSchedule:
        """The schedule with this name or this id."""
        ...

    async def list_schedules(self, *, limit: int = 100, after: str = "") -> SchedulePage:
        """Schedules in the order of their names. `after` is the name of the last one of the page before.

        Raises `InvalidOptionError` for a limit below 1.
        """
        ...

    async def replace(self, row: ScheduleRow) -> bool:
        """Replace the row that has the previous revision by this row. False if there is no such row: it was changed or
        deleted. A repetition of the same call returns True."""
        ...

    async def delete(self, id_: int) -> bool:
        """Delete a schedule. Its runs stay. False if there is none."""
        ...

    async def due(self, graphs: Sequence[str], *, limit: int) -> DueSchedules:
        """Up to `limit` schedules of these graphs that are due now."""
        ...

    async def fire(self, firing: Firing) -> Fired:
        """Fire an occurrence: accept its run and move the schedule on, in one transaction.

        Once for each revision: a second call is STALE. Raises `CorruptCheckpointError` for a damaged thread.
        """
        ...


@runtime_checkable
class KeepsSchedules(Protocol):
    """A saver with the power to keep schedules: `isinstance(saver, KeepsSchedules)`."""

    @property
    def schedules(self) -> ScheduleStore:
        """The schedules of the saver's runs."""
        ...


__all__ = [
    "LAST",
    "NEVER",
    "Cause",
    "DueSchedules",
    "Fate",
    "Fired",
    "Firing",
    "FoundSchedule",
    "KeepsSchedules",
    "Overlap",
    "SchedulePage",
    "ScheduleRow",
    "ScheduleStore",
]
