"""The commands for schedules, on a store whose program is not imported."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta

from durable_graph.runs import App
from tests.operating.conftest import STORE, Operate, Shop


async def make(app: App) -> None:
    await app.schedule("nightly", "print", cron="30 2 * * *", zone="Europe/Berlin")
    await app.schedule("hourly", "order", {"sum": 1}, cron="0 * * * *", paused=True)


def test_schedules_are_listed_in_aligned_columns(shop: Shop, operate: Operate) -> None:
    shop.call(make)
    head, *lines = operate("schedules", "--store", STORE).lines
    assert head.split() == [
        *("SCHEDULE", "GRAPH", "CRON", "ZONE", "STATE", "NEXT", "LAST", "FIRED", "SKIPPED", "ERROR"),
    ]
    assert [line.index("Europe/Berlin") for line in lines if "nightly" in line] == [head.index("ZONE")]
    assert "paused" in lines[0]
    assert lines[1].split()[:7] == ["nightly", "print", "30", "2", "*", "*", "*"]
    assert "active  in " in lines[1]
    assert "shop" not in sys.modules
    (first,) = json.loads(operate("schedules", "--store", STORE, "--json", "--limit", "1").out)
    assert (first["is_paused"], first["cron"], first["fired"]) == (True, "0 * * * *", 0)


def test_a_schedule_is_paused_resumed_and_deleted_by_name_or_id(shop: Shop, operate: Operate) -> None:
    shop.call(make)
    assert operate("schedules", "pause", "nightly", "--store", STORE).lines == ["schedule nightly is paused"]
    found = json.loads(operate("schedules", "--store", STORE, "--json").out)[1]
    assert (found["is_paused"], found["next"]) == (True, None)
    assert operate("schedules", "resume", found["id"], "--store", STORE).lines == ["schedule nightly is resumed"]
    deleted = json.loads(operate("schedules", "delete", found["id"], "--store", STORE, "--json").out)
    assert (deleted["name"], deleted["is_paused"]) == ("nightly", False)
    for command in ("pause", "resume", "trigger", "delete"):
        refused = operate("schedules", command, "nightly", "--store", STORE)
        assert (refused.code, "there is no schedule 'nightly'" in refused.err) == (1, True)


def test_a_triggered_schedule_is_fired_by_a_worker(shop: Shop, operate: Operate) -> None:
    shop.call(make)
    refused = operate("schedules", "trigger", "hourly", "--store", STORE)
    assert (refused.code, "resume it first" in refused.err) == (1, True)
    for _ in range(2):
        assert operate("schedules", "trigger", "nightly", "--store", STORE).lines == ["schedule nightly is triggered"]

    async def check(app: App) -> None:
        async with app.worker(), asyncio.timeout(60):
            while [each.state for each in await app.runs()] != ["failed"]:  # noqa: ASYNC110  # the store has no event
                await asyncio.sleep(0.01)
        status = await (await app.find_schedule("nightly")).status()
        assert (status.fired, status.skipped, status.waiting) == (1, 0, None)
        assert status.last is not None
        assert abs(datetime.now(UTC) - status.last) < timedelta(minutes=5)
        assert status.next is not None
        assert (status.next.minute, status.is_paused) == (30, False)

    shop.call(check)
