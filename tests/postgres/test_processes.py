"""Several processes on one database: each update is stored once, and one process commits each checkpoint."""

import asyncio
from collections import Counter

import asyncpg

from durable_graph import START, MemorySaver
from durable_graph.testing.conformance.saver_under_test import loaded
from durable_graph.testing.rows import state_of
from durable_graph_postgres import PostgresSaver
from durable_graph_postgres.statements import FORMAT, quoted
from tests.crash.conftest import IS_LONG
from tests.crash.engine.cancelled_runs import BRANCHING
from tests.crash.scenarios.graph_shapes import watched_by
from tests.postgres.crowd import Forking, Leaving, Resuming, Updating, crowd, outcomes_of
from tests.savers import schema_of_its_own

PROCESSES = 8
THREADS = [f"shared {number}" for number in range(20 if IS_LONG else 5)]
TIMES = 10 if IS_LONG else 4
RACES = 50 if IS_LONG else 4


async def test_every_acknowledged_update_of_any_process_is_stored_once(postgres: str) -> None:
    """All processes also find the database empty, and one of them creates the tables."""
    async with schema_of_its_own(postgres) as schema:
        jobs = [Updating(postgres, schema, f"process {number}", THREADS, TIMES) for number in range(PROCESSES)]
        reports = await asyncio.to_thread(crowd, jobs)

        outcomes = outcomes_of(reports)
        assert {thread: len(names) for thread, names in outcomes.acknowledged.items()} == dict.fromkeys(
            THREADS, PROCESSES * TIMES
        )
        async with PostgresSaver(postgres, schema=schema) as saver:
            assert await outcomes.wrong(saver) == []
        async with asyncpg.create_pool(postgres, min_size=0, server_settings={"search_path": quoted(schema)}) as pool:
            assert [row["version"] for row in await pool.fetch("SELECT version FROM format")] == [FORMAT]
    print(f"{PROCESSES * TIMES * len(THREADS)} updates, {len(outcomes.refused)} conflicts")


async def test_one_process_commits_each_checkpoint_of_a_contested_thread(postgres: str) -> None:
    conflicts = 0
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        graph = BRANCHING.on(saver)
        with watched_by(lambda moment, info: None):
            wanted = await BRANCHING.on(MemorySaver()).ainvoke(BRANCHING.given, thread_id="wanted")
        for number in range(RACES):
            thread = f"contested {number}"
            await graph.aupdate_state(None, BRANCHING.given, START, thread_id=thread)

            reports = await asyncio.to_thread(crowd, [Resuming(postgres, schema, thread)] * PROCESSES)

            won = Counter(each for report in reports for each in report.committed)
            assert set(won.values()) == {1}
            history = [snapshot async for snapshot in graph.aget_state_history(thread_id=thread)]
            assert won.keys() == {each.config["configurable"]["checkpoint_id"] for each in history[:-1]}
            assert history[0].values == wanted
            conflicts += sum(report.conflicts for report in reports)
    assert conflicts > 0
    print(f"{RACES} races of {PROCESSES} processes, {conflicts} conflicts")


async def test_processes_that_exit_during_calls_without_closing_leave_no_partial_commit(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        jobs = [Leaving(postgres, schema, turns, opens=True) for turns in (0, 1, 3, 10, 30, 60, 100, 200)]
        jobs += [Leaving(postgres, schema, turns, opens=False) for turns in (0, 1, 2, 300)]

        reports = await asyncio.to_thread(crowd, jobs)

        assert sum(report.left > 0 for report in reports) > 1
        # Sessions of ended processes may still execute statements that they were sent.
        for info in await saver.list_threads():
            state = state_of(await loaded(saver, info.thread))
            assert state in ({"run": b"a" * 16, "count": b"1"}, {"run": b"b" * 16, "count": b"1"})


async def test_calls_in_a_forked_child_are_refused_and_the_parent_continues(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema:
        (report,) = await asyncio.to_thread(crowd, [Forking(postgres, schema)])
        assert report.refusals == 3
