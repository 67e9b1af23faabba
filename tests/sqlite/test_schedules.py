"""Schedules in a file: damaged rows stop no other schedule, and an index finds those that are due."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict

import pytest

from durable_graph import START, StateGraph
from durable_graph.runs import App
from durable_graph.testing import run_app
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.statements import SQL
from tests.sqlite.inside import database

MINUTE = timedelta(minutes=1)


class State(TypedDict, total=False):
    count: int


async def node(state: State) -> State:
    return {"count": 1}


def app_on(saver: SqliteSaver) -> App:
    return App({"report": StateGraph(State).add_node(node).add_edge(START, "node").compile()}, saver)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("UPDATE threads SET created_at = 7 WHERE thread_id = 't'", "'t'"),
        ("UPDATE schedules SET start_with = x'c1' WHERE name = 'damaged'", "the start of its runs cannot be read"),
        ("UPDATE schedules SET start_with = x'80' WHERE name = 'damaged'", "the start of its runs cannot be read"),
    ],
)
async def test_a_damaged_schedule_or_thread_skips_its_occurrences_with_the_reason(
    path: Path, damage: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with SqliteSaver(path) as saver:
        app = app_on(saver)
        await app.run("report", {}, thread_id="t")
        damaged = await app.schedule("damaged", "report", cron="* * * * *", thread_id="t")
        sound = await app.schedule("sound", "report", cron="* * * * *")
        with database(path) as db:
            assert db.execute(damage).rowcount == 1
        async with run_app(app) as running:
            for _ in range(2):
                await running.move(MINUTE)
        status = await damaged.status()
        assert (status.fired, status.skipped) == (0, 2)
        assert status.error is not None
        assert reason in status.error
        assert (await sound.status()).fired == 2
        assert "an occurrence of schedule 'damaged' cannot be fired" in caplog.text


async def test_a_schedule_with_a_zone_that_this_machine_lacks_waits_for_another_one(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SqliteSaver(path) as saver:
        app = app_on(saver)
        await app.schedule("elsewhere", "report", cron="* * * * *")
        sound = await app.schedule("sound", "report", cron="* * * * *")
        with database(path) as db:
            db.execute("UPDATE schedules SET zone = 'Mars/Olympus' WHERE name = 'elsewhere'")
        saver.runs.skew += 2 * MINUTE // timedelta(microseconds=1)
        async with app.worker():
            async with asyncio.timeout(20):
                while not (await sound.status()).fired or "cannot be fired" not in caplog.text:  # noqa: ASYNC110  # the store has no event
                    await asyncio.sleep(0.005)
        elsewhere = await (await app.find_schedule("elsewhere")).status()
        assert (elsewhere.fired, elsewhere.skipped, elsewhere.error) == (0, 0, None)
        assert elsewhere.overdue > MINUTE
        assert "schedule 'elsewhere' cannot be fired" in caplog.text


async def test_an_index_finds_the_schedules_that_are_due(path: Path) -> None:
    async with SqliteSaver(path) as saver:
        await app_on(saver).schedule("nightly", "report", cron="* * * * *")
    sought: dict[str, Any] = {"graphs": '["report"]', "now": 1, "limit": 16}
    with database(path) as db:
        for name in ("find_next_schedule", "find_due_schedules"):
            plan = " ".join(str(row) for row in db.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", sought))
            assert "schedules_due" in plan, plan
