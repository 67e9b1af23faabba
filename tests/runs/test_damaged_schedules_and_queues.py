"""Damaged rows of schedules and queues: an error that names the row, and the others go on."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from durable_graph import CorruptCheckpointError, DamagedRowError
from durable_graph.operating.schedules import DamagedSchedule, delete_schedule
from durable_graph.runs import App, Rate
from durable_graph.testing import run_app
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver
from tests.runs.test_schedules import MINUTE, NEW_YEAR, begin_at, graph_of, looked, report
from tests.savers import schema_of_its_own

Damage = Callable[[str, Any], Awaitable[None]]
"""Executes a statement with one parameter, for which it has a question mark."""

NAMED = "the row of schedule 'nightly' is damaged"


@pytest.fixture(params=["sqlite", "postgres"])
async def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[App, Damage]]:
    """An app with two schedules and two queues, and what damages a row of its store."""
    if request.param == "sqlite":
        path = tmp_path / "runs.db"

        async def in_file(statement: str, value: Any) -> None:
            with sqlite3.connect(path) as db:
                db.execute(statement, (value,))
            db.close()

        async with SqliteSaver(path) as saver:
            yield await _app(saver), in_file
        return
    dsn = request.getfixturevalue("postgres")

    async with schema_of_its_own(dsn) as schema, PostgresSaver(dsn, schema=schema) as server:

        async def on_server(statement: str, value: Any) -> None:
            db = await asyncpg.connect(dsn, server_settings={"search_path": f'"{schema}"'})
            await db.execute(statement.replace("?", "$1"), value)
            await db.close()

        yield await _app(server), on_server


async def _app(saver: Any) -> App:
    app = App({"report": graph_of(report)}, saver)
    await begin_at(app, NEW_YEAR)
    for name in ("nightly", "weekly"):
        await app.schedule(name, "report", cron="* * * * *")
    for queue in ("llm", "mail"):
        app.queue(queue, concurrency=2, rate=Rate(100))
    return app


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("runs", "[1]"),
        ("metadata", "[]"),
        ("overlap", "never"),
        ("next_at", -(2**62)),
        ("next_at", 2**61),
        ("until_at", 2**63 - 1),
        ("held_at", 2**61),
        ("catch_up", -5),
        ("jitter", -1),
        ("start_with", b"\x80"),
    ],
)
async def test_a_damaged_schedule_is_named_and_the_others_are_fired(
    damaged: tuple[App, Damage], column: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app, damage = damaged
    handle = await app.find_schedule("nightly")
    await damage(f"UPDATE schedules SET {column} = ?, due = 0 WHERE name = 'nightly'", value)  # noqa: S608  # ours
    for call in (handle.trigger(), handle.change(input={"count": 2}, deadline=5), *_reads(app, column)):
        with pytest.raises(DamagedRowError, match=NAMED) as error:
            await call
        assert len(str(error.value)) <= 400
    async with run_app(app) as running:
        app.store.skew += MINUTE.seconds * 1_000_000
        async with asyncio.timeout(20):
            while not (await (await app.find_schedule("weekly")).status()).fired:
                running.worker.schedules.nudge()
                await asyncio.sleep(0.005)
        assert any("'nightly'" in line and "Damaged" in line for line in caplog.messages)
        assert "a part of a worker has failed" not in caplog.text
        deleted = await delete_schedule(app.checkpointer, "nightly")
        assert column == "start_with" or isinstance(deleted, DamagedSchedule)
        assert [each.name for each in await app.schedules()] == ["weekly"]
        await looked(running)


def _reads(app: App, column: str) -> list[Awaitable[Any]]:
    async def status() -> Any:
        return await (await app.find_schedule("nightly")).status()

    async def paused() -> Any:
        return await (await app.find_schedule("nightly")).pause()

    # What a status shows does not need the start of the runs.
    return [] if column == "start_with" else [status(), paused(), app.schedules()]


async def test_many_damaged_schedules_do_not_take_the_places_of_others(damaged: tuple[App, Damage]) -> None:
    app, damage = damaged
    for number in range(20):
        await app.schedule(f"damaged {number}", "report", cron="* * * * *")
    await damage("UPDATE schedules SET overlap = ?, due = 0 WHERE name LIKE 'damaged%'", "never")
    async with run_app(app) as running:
        app.store.skew += MINUTE.seconds * 1_000_000
        async with asyncio.timeout(20):
            while not (await (await app.find_schedule("weekly")).status()).fired:
                running.worker.schedules.nudge()
                await asyncio.sleep(0.005)


async def test_a_damaged_worker_is_named(damaged: tuple[App, Damage]) -> None:
    app, damage = damaged
    async with run_app(app):
        await damage("UPDATE workers SET queues = ?", "x")
        with pytest.raises(DamagedRowError, match=r"the row of worker .* is damaged"):
            await app.stats()


@pytest.mark.parametrize(("column", "value"), [("parent_key", -5), ("parent_seq", -1), ("accepted_at", 2**61)])
async def test_a_run_whose_times_or_parent_are_damaged_is_named(
    damaged: tuple[App, Damage], column: str, value: int
) -> None:
    app, damage = damaged
    handle = await app.start("report", {"count": 1}, thread_id="order")
    await damage("UPDATE runs SET parent_key = ?", 5)
    await damage(f"UPDATE runs SET {column} = ?", value)  # noqa: S608  # ours
    with pytest.raises(CorruptCheckpointError, match=r"'order'.*out of range"):
        await handle.status()


@pytest.mark.parametrize(
    ("column", "value"),
    [("concurrency", -1), ("per_key", 2**30), ("rate_number", -1), ("rate_window", 0), ("starts", b"x")],
)
async def test_a_damaged_queue_is_named_and_the_others_are_served(
    damaged: tuple[App, Damage], column: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app, damage = damaged
    async with run_app(app) as running:
        await damage(f"UPDATE queues SET {column} = ? WHERE queue = 'llm'", value)  # noqa: S608  # ours
        waiting = await app.start("report", {"count": 1}, queue="llm")
        for queue in ("mail", None, "mail"):
            handle = await app.start("report", {"count": 1}, queue=queue)
            assert await handle.result(20) == {"count": 2}
        async with asyncio.timeout(20):
            while not any("the row of queue 'llm' is damaged" in line for line in caplog.messages):
                running.worker.nudge()
                await asyncio.sleep(0.005)
        assert (await waiting.status()).state == "ready"
        if column != "starts":
            with pytest.raises(DamagedRowError, match="the row of queue 'llm' is damaged"):
                await app.stats()
    async with run_app(app):
        # It declares the queue again.
        assert await waiting.result(20) == {"count": 2}
