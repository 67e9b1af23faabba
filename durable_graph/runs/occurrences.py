"""The occurrences of a schedule: the times that its cron expression has in its time zone.

A cron expression with a fixed minute and hour follows Debian's cron: an occurrence in an hour that the zone skips is at
the end of the gap, once, and an occurrence in an hour that the zone repeats is in the first of the two hours. With a
star in the minute or in the hour, an expression follows the clock: a gap has no occurrences, and a repeated hour has
all of its occurrences twice.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from durable_graph.checkpointing.schedule_store import LAST, ScheduleRow
from durable_graph.errors import InvalidOptionError
from durable_graph.run_records import NEVER

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END = (datetime(2200, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_CRON = "five fields: minute, hour, day of the month, month, day of the week (or six, with the second first)"
_ZONE = "the name of a zone of the IANA database, such as 'Europe/Berlin' (on Windows the package tzdata has them)"
_LONGEST = 255
"""In characters: of an expression or a zone."""
_MOST_PASSED = 200
"""The most occurrences that one firing passes over, because the event loop waits for their computation."""
ON_TIME = 60_000_000
"""In microseconds: an occurrence that a worker finds within this time is on time, whatever `catch_up` is."""


class Calendar:
    """The occurrences of a cron expression in a zone."""

    def __init__(self, cron: str, zone: str) -> None:
        """Reads the zone from a file. Raises `InvalidOptionError`."""
        self.cron: str = read_cron(cron)
        try:
            self._zone = ZoneInfo(read_zone(zone))
        except (ValueError, OSError, KeyError) as error:
            # Paths that lead out of the database, directories, and names that it does not have.
            raise InvalidOptionError("zone", zone, allowed=_ZONE) from error
        try:
            CronSim(cron, _EPOCH.astimezone(self._zone))
        except (CronSimError, AssertionError, ValueError) as error:
            allowed = f"{_CRON}; {str(error) or 'a field cannot be read'}"
            raise InvalidOptionError("cron", cron, allowed=allowed) from error
        fields = cron.split()
        # As in Debian's cron. All other expressions follow the clock.
        self._is_fixed = len(fields) == 5 and not fields[0].startswith("*") and not fields[1].startswith("*")
        # An expression without a common date has no occurrence before `_END`.
        if self.after(0) == NEVER:
            raise InvalidOptionError("cron", cron, allowed=f"{_CRON}; these have no common date")

    def after(self, at: int) -> int:
        """The first occurrence after a time in microseconds, NEVER if there is none."""
        return next(self.all_after(at), NEVER)

    def all_after(self, at: int) -> Iterator[int]:
        """All occurrences after a time, in microseconds, the first one first."""
        if at >= _END:
            return
        begin, last = _EPOCH + timedelta(microseconds=at), at
        for found in self._at_fixed_times(begin) if self._is_fixed else self._on_the_clock(begin):
            moment = (found - _EPOCH) // timedelta(microseconds=1)
            if moment >= _END:
                return
            # Two times of a gap have the same end, and an hour that comes twice begins before its second half.
            if moment > last:
                last = moment
                yield moment

    def _at_fixed_times(self, begin: datetime) -> Iterator[datetime]:
        for found in CronSim(self.cron, begin.astimezone(self._zone)):
            yield found.astimezone(UTC)

    def _on_the_clock(self, begin: datetime) -> Iterator[datetime]:
        """The times between two changes of the clock, and then those after the change.

        cronsim itself steps over a change by whole hours, so it misses times in zones that change by half an hour.
        """
        moment, offset = begin, self._offset(begin)
        while True:
            change: datetime | None = None
            for local in CronSim(self.cron, (moment + offset).replace(tzinfo=None)):
                found = local.replace(tzinfo=UTC) - offset
                change = self._first_change(moment, found, offset)
                if change is not None:
                    break
                yield found
                moment = found
            if change is None:
                return
            moment, offset = change - _SECOND, self._offset(change)

    def _first_change(self, after: datetime, until: datetime, offset: timedelta) -> datetime | None:
        """The first second of this time at which the zone has another offset."""
        while after < until:
            low, after = after, min(after + _DAY, until)
            if self._offset(after) != offset:
                while after - low > _SECOND:
                    middle = low + (after - low) // 2
                    low, after = (middle, after) if self._offset(middle) == offset else (low, middle)
                return after.replace(microsecond=0)
        return None

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(self._zone).utcoffset() or timedelta(0)


def read_cron(given: object) -> str:
    """A text that may be a cron expression. Raises `InvalidOptionError`."""
    return _checked("cron", given, _CRON)


def read_zone(given: object) -> str:
    """A text that may be the name of a zone. Raises `InvalidOptionError`."""
    return _checked("zone", given, _ZONE)


def _checked(option: str, given: object, allowed: str) -> str:
    if not isinstance(given, str) or not given.isascii() or not given.strip() or len(given) > _LONGEST:
        raise InvalidOptionError(option, given, allowed=allowed)
    return given


_MOST_CALENDARS = 1024
_calendars: dict[tuple[str, str], Calendar] = {}


async def calendar_of(cron: str, zone: str) -> Calendar:
    """The calendar of an expression in a zone, whose file is read in another thread. Raises `InvalidOptionError`."""
    if not isinstance(cron, str) or not isinstance(zone, str):
        read_cron(cron)
        read_zone(zone)
    known = _calendars.get((cron, zone))
    if known is not None:
        return known
    made = await asyncio.to_thread(Calendar, cron, zone)
    if len(_calendars) >= _MOST_CALENDARS:
        _calendars.clear()
    _calendars[cron, zone] = made
    return made


def jitter_of(id_: int, occurrence: int, most: int) -> int:
    """The delay of an occurrence, from 0 to below `most` microseconds: every worker computes the same one."""
    if not most:
        return 0
    digest = blake2b(f"{id_}:{occurrence}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % most


class Passed(NamedTuple):
    """The occurrences of a schedule that are due, and the one that follows them.

    `at` is the one to fire (0: none), `skipped` the number of missed ones before it, `next` the next one and `due` its
    time with the jitter.
    """

    at: int
    skipped: int
    next: int
    due: int


def passed(row: ScheduleRow, calendar: Calendar, now: int) -> Passed:
    """The occurrences that are due at the store's time `now`, of which the first `_MOST_PASSED` are passed over."""
    due: list[int] = []
    following = row.next
    times = calendar.all_after(row.next)
    while len(due) < _MOST_PASSED and following != NEVER and due_at(row, following) <= now:
        due.append(following)
        following = next_within(row, next(times, NEVER))
    is_complete = following == NEVER or due_at(row, following) > now
    wanted = _wanted(row, due, now, is_complete=is_complete)
    at, skipped, after = 0, len(due), following
    if wanted:
        at, skipped = wanted[0], len(due) - len(wanted)
        after = wanted[1] if len(wanted) > 1 else following
    return Passed(at, skipped, after, due_at(row, after))


def _wanted(row: ScheduleRow, due: list[int], now: int, *, is_complete: bool) -> list[int]:
    """Those of the due occurrences that are fired. `is_complete`: no further ones are due."""
    if row.catch_up > 0:
        oldest = now - max(row.catch_up, ON_TIME)
        return [each for each in due if due_at(row, each) >= oldest]
    last = due[-1:] if is_complete else []
    return last if row.catch_up == LAST else [each for each in last if now - due_at(row, each) <= ON_TIME]


def due_at(row: ScheduleRow, occurrence: int) -> int:
    """The time at which an occurrence of the schedule is fired."""
    return NEVER if occurrence == NEVER else occurrence + jitter_of(row.id, occurrence, row.jitter)


def next_within(row: ScheduleRow, occurrence: int) -> int:
    """The occurrence, NEVER if it is after the schedule's end."""
    return occurrence if occurrence <= row.until else NEVER


def queued_after(row: ScheduleRow, calendar: Calendar) -> int:
    """The occurrence that waits behind the held one, 0 if none does."""
    if row.overlap != "queue":
        return 0
    following = next_within(row, calendar.after(row.held))
    return following if following < row.next else 0


def iso(occurrence: int) -> str:
    """An occurrence as a text in UTC: `2026-03-29T01:00:00Z`."""
    return (_EPOCH + timedelta(microseconds=occurrence)).isoformat().replace("+00:00", "Z")
