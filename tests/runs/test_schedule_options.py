"""Bad calls of schedules: each is refused by name, and nothing is stored."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest

from durable_graph import (
    Checkpointer,
    InvalidOptionError,
    StateKeyError,
    UnknownNameError,
    UnknownOptionError,
    UnknownScheduleError,
)
from durable_graph.runs import App
from tests.runs.test_schedules import graph_of, report


class NoOffset(tzinfo):
    """A zone that does not know its offset."""

    def utcoffset(self, moment: datetime | None) -> None:
        return None

    def dst(self, moment: datetime | None) -> None:
        return None

    def tzname(self, moment: datetime | None) -> None:
        return None


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("cron", "* * * *", "five fields"),
        ("cron", "61 * * * *", "Bad minute"),
        ("cron", "0 0 31 2 *", "Bad day-of-month"),
        ("cron", "0 0 30 2 1#6", "Bad day-of-week"),
        ("cron", "@daily", "five fields"),
        ("cron", "", "five fields"),
        ("cron", 7, "five fields"),
        ("cron", 2**80, "five fields"),
        ("cron", "\ud800", "five fields"),
        ("cron", object(), "five fields"),
        ("cron", "٣ * * * *", "five fields"),
        ("zone", "Europe/Berlln", "IANA"),
        ("zone", "../../etc/passwd", "IANA"),
        ("zone", "Europe", "IANA"),
        ("zone", "", "IANA"),
        ("zone", None, "IANA"),
        ("zone", "\ud800", "IANA"),
        ("zone", object(), "IANA"),
        ("overlap", "never", "'queue_one'"),
        ("overlap", [], "'queue_one'"),
        ("catch_up", "first", "a timedelta"),
        ("catch_up", 60, "a timedelta"),
        ("catch_up", timedelta(-1), "a timedelta"),
        ("jitter", -1, "seconds or a timedelta"),
        ("jitter", "5", "seconds or a timedelta"),
        ("until", datetime(2031, 1, 1), "a datetime with a time zone"),  # noqa: DTZ001  # refused
        ("until", datetime(2031, 1, 1, tzinfo=NoOffset()), "a datetime with a time zone"),
        ("paused", 1, "True or False"),
        ("if_different", "ignore", "'raise' or 'change'"),
        ("metadata", {"a": {1}}, "JSON"),
        ("metadata", [], "JSON"),
    ],
)
async def test_an_invalid_option_is_refused_by_name(saver: Checkpointer, option: str, value: Any, text: str) -> None:
    app = App({"report": graph_of(report)}, saver)
    with pytest.raises(InvalidOptionError, match=f"{option}.*is not possible.*{text}") as error:
        await app.schedule("nightly", "report", **{"cron": "0 2 * * *", option: value})
    assert len(str(error.value)) <= 400
    assert await app.schedules() == []
    if option not in ("paused", "if_different"):
        handle = await app.schedule("nightly", "report", cron="0 2 * * *")
        before = await handle.status()
        with pytest.raises(InvalidOptionError, match=option):
            await handle.change(**{option: value})
        assert await handle.status() == before


async def test_a_schedule_may_end_at_the_last_possible_time(saver: Checkpointer) -> None:
    app, last = App({"report": graph_of(report)}, saver), datetime.max.replace(tzinfo=UTC)
    handle = await app.schedule("nightly", "report", cron="0 2 * * *", until=last)
    assert [each.until for each in (await handle.status(), *await app.schedules())] == [last, last]
    west = datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))
    assert (await handle.change(until=west)).until == last


async def test_other_bad_calls_are_refused(saver: Checkpointer) -> None:
    app = App({"report": graph_of(report)}, saver)
    with pytest.raises(UnknownNameError, match="'rapport'"):
        await app.schedule("nightly", "rapport", cron="0 2 * * *")
    with pytest.raises(StateKeyError, match="the input has the key 'nothing'"):
        await app.schedule("nightly", "report", {"nothing": 1}, cron="0 2 * * *")
    with pytest.raises(UnknownOptionError, match=r"app.schedule got an unexpected keyword argument 'crn'"):
        await app.schedule("nightly", "report", cron="0 2 * * *", crn=1)  # type: ignore[call-arg]
    with pytest.raises(InvalidOptionError, match="because a thread has one run at a time"):
        await app.schedule("nightly", "report", cron="0 2 * * *", overlap="parallel", thread_id="t")
    for name in ("", "a\0b", "a\nb", "\ud800", "x" * 201, 7):
        with pytest.raises(InvalidOptionError, match=r"name="):
            await app.schedule(name, "report", cron="0 2 * * *")  # type: ignore[arg-type]
        with pytest.raises(UnknownScheduleError):
            await app.find_schedule(name)  # type: ignore[arg-type]
    with pytest.raises(UnknownScheduleError, match="no schedule '00000000-0000-8000-8000-000000000001'"):
        await app.find_schedule("00000000-0000-8000-8000-000000000001")
    with pytest.raises(InvalidOptionError, match="after"):
        await app.schedules(after="nightly")  # type: ignore[arg-type]
    handle = await app.schedule("nightly", "report", cron="0 2 * * *")
    with pytest.raises(UnknownOptionError, match=r"ScheduleHandle.change got an unexpected keyword argument 'graph'"):
        await handle.change(graph="other")  # type: ignore[call-arg]
    assert len(await app.schedules()) == 1
