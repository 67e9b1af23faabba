"""The occurrences of a schedule over the changes of its zone's clock, against the minutes of a day, one by one."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from durable_graph.run_records import NEVER
from durable_graph.runs.occurrences import Calendar, iso, jitter_of

MINUTE = timedelta(minutes=1)
SECOND = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def local(cron: str, zone: str, first: datetime, last: datetime) -> list[str]:
    """The occurrences between two times, as the zone's clocks show them."""
    found: list[str] = []
    for occurrence in Calendar(cron, zone).all_after(at(first.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)) - 1):
        moment = (EPOCH + timedelta(microseconds=occurrence)).astimezone(ZoneInfo(zone))
        if moment.replace(tzinfo=None) >= last:
            return found
        found.append(moment.isoformat(timespec="minutes")[5:])
    return found


def day(text: str) -> tuple[datetime, datetime]:
    first = datetime.fromisoformat(text)
    return first, first + timedelta(days=1)


@pytest.mark.parametrize(
    ("zone", "missing", "doubled", "offsets"),
    [
        ("Europe/Berlin", "2031-03-30", "2031-10-26", ("+01:00", "+02:00")),
        ("America/New_York", "2031-03-09", "2031-11-02", ("-05:00", "-04:00")),
    ],
)
def test_a_year_has_each_fixed_time_once_a_day(zone: str, missing: str, doubled: str, offsets: tuple[str, str]) -> None:
    winter, summer = offsets
    hour = 2 if zone == "Europe/Berlin" else 1
    # The hour from 2 is missing in both zones; the hour that comes twice begins at 2 in Berlin and at 1 in New York.
    assert local("30 2 * * *", zone, *day(missing)) == [f"{missing[5:]}T03:00{summer}"]
    assert local("0,30 2 * * *", zone, *day(missing)) == [f"{missing[5:]}T03:00{summer}"]
    assert local(f"30 {hour} * * *", zone, *day(doubled)) == [f"{doubled[5:]}T0{hour}:30{summer}"]
    assert local(f"*/30 {hour} * * *", zone, *day(doubled)) == [
        f"{doubled[5:]}T0{hour}:{minute}{offset}" for offset in (summer, winter) for minute in ("00", "30")
    ]
    assert local("*/30 2 * * *", zone, *day(missing)) == []
    whole = local(f"30 {hour} * * *", zone, datetime(2031, 1, 1), datetime(2032, 1, 1))  # noqa: DTZ001  # local times
    assert len(whole) == 365
    assert len({each[:5] for each in whole}) == 365


def slots(zone: str, first: datetime, last: datetime, step: int) -> Iterator[int]:
    """Each minute of the time whose number the zone's clocks show is a multiple of the step, by counting them."""
    moment, until = (each.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for each in (first, last))
    while moment < until:
        if moment.astimezone(ZoneInfo(zone)).minute % step == 0:
            yield at(moment)
        moment += MINUTE


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe"])
@pytest.mark.parametrize("step", [30, 15])
def test_a_star_follows_the_clock_over_both_changes_of_a_year(zone: str, step: int) -> None:
    changes = {
        "Europe/Berlin": ("2031-03-30", "2031-10-26"),
        "America/New_York": ("2031-03-09", "2031-11-02"),
        "America/Santiago": ("2031-04-06", "2031-09-07"),
        # Its clocks change by half an hour.
        "Australia/Lord_Howe": ("2031-04-06", "2031-10-05"),
    }
    for text in changes[zone]:
        first, last = day(text)
        first, last = first - timedelta(days=1), last + timedelta(days=1)
        calendar, wanted = Calendar(f"*/{step} * * * *", zone), list(slots(zone, first, last, step))
        found, moment = [], wanted[0] - 1
        # Each from the one before, as the row of a schedule goes on.
        while (moment := calendar.after(moment)) <= wanted[-1]:
            found.append(moment)
        assert found == wanted


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe"])
def test_from_any_moment_the_next_occurrence_is_the_same(zone: str) -> None:
    for cron in ("30 2 * * *", "15 1 * * *", "30 0 * * *", "*/30 * * * *", "0 */6 * * *"):
        calendar = Calendar(cron, zone)
        for text in ("2031-03-30", "2031-04-06", "2031-10-26", "2031-10-05", "2031-11-02"):
            begin = at(datetime.fromisoformat(text).replace(tzinfo=UTC)) - 36 * 3600 * SECOND
            times = []
            for occurrence in calendar.all_after(begin):
                times.append(occurrence)
                if occurrence > begin + 4 * 86400 * SECOND:
                    break
            for moment in range(begin, times[-1], 17 * 60 * SECOND):
                assert calendar.after(moment) == next(each for each in times if each > moment)


def test_six_fields_begin_with_the_second_and_follow_the_clock() -> None:
    found = local("30 30 2 * * *", "Europe/Berlin", *day("2031-10-26"))
    assert len(found) == 2
    calendar = Calendar("*/20 * * * * *", "UTC")
    assert [calendar.after(each) for each in (0, 19 * SECOND, 20 * SECOND)] == [20 * SECOND, 20 * SECOND, 40 * SECOND]


def test_days_of_month_and_week_are_read_as_debians_cron_does() -> None:
    january = datetime(2031, 1, 1), datetime(2031, 2, 1)  # noqa: DTZ001  # local times
    assert local("0 9 * * MON-FRI", "UTC", *january)[:3] == [
        "01-01T09:00+00:00",
        "01-02T09:00+00:00",
        "01-03T09:00+00:00",
    ]
    # Both are given: either is enough.
    assert [each[:5] for each in local("0 9 13 * FRI", "UTC", *january)] == [
        "01-03",
        "01-10",
        "01-13",
        "01-17",
        "01-24",
        "01-31",
    ]
    assert [each[:5] for each in local("0 9 L * *", "UTC", *january)] == ["01-31"]
    assert [each[:5] for each in local("0 9 * * MON#2", "UTC", *january)] == ["01-13"]


def test_a_calendar_ends_with_the_far_future() -> None:
    assert Calendar("0 0 1 1 *", "UTC").after(at(datetime(2199, 6, 1, tzinfo=UTC))) == NEVER
    assert Calendar("0 0 1 1 *", "UTC").after(NEVER - 1) == NEVER


def test_jitter_is_the_same_for_the_same_occurrence_and_spread_over_its_time() -> None:
    found = [jitter_of(7, occurrence, 600) for occurrence in range(1000)]
    assert found == [jitter_of(7, occurrence, 600) for occurrence in range(1000)]
    assert min(found) < 30
    assert 570 < max(found) < 600
    assert found != [jitter_of(8, occurrence, 600) for occurrence in range(1000)]
    assert jitter_of(7, 1, 0) == 0


def test_an_occurrence_is_shown_in_utc() -> None:
    assert iso(at(datetime(2031, 3, 30, 1, tzinfo=UTC))) == "2031-03-30T01:00:00Z"
    assert iso(1) == "1970-01-01T00:00:00.000001Z"
