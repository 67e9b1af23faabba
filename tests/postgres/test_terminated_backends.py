"""Sessions ended by an administrator and callers cancelled at any moment: no partial commits, and no leaks."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from durable_graph import Durability
from durable_graph_postgres import PostgresSaver
from tests.crash.conftest import IS_LONG
from tests.crash.engine.cancelled_runs import HOWS, NEVER, How, Moment, cancelled_on
from tests.postgres.fleet import Fleet, Watch, Writers, entries_of, log, named, watching
from tests.savers import schema_of_its_own

TERMINATIONS = 500 if IS_LONG else 50
CANCELLATIONS = 500 if IS_LONG else 15
POOL_SIZE = 4
MODES: tuple[Durability, ...] = ("sync", "async", "exit")


@pytest.fixture
async def schema(postgres: str) -> AsyncIterator[str]:
    async with schema_of_its_own(postgres) as made:
        yield made


async def until_none(watch: Watch, where: str = "true") -> None:
    """Return once the server has no such session."""
    async with asyncio.timeout(10):
        while await watch.sessions(where):
            pass


@asynccontextmanager
async def savers(postgres: str, schema: str, name: str, count: int) -> AsyncIterator[list[PostgresSaver]]:
    """`count` savers, which must leave no session behind."""
    async with watching(postgres, name) as watch:
        async with AsyncExitStack() as stack:
            url = named(postgres, name)
            made = [PostgresSaver(url, schema=schema, pool_size=POOL_SIZE) for _ in range(count)]
            yield [await stack.enter_async_context(saver) for saver in made]
            assert len(await watch.sessions()) <= count * POOL_SIZE
            await until_none(watch, "state <> 'idle'")
            # All connections are back in the pool: this acquires every one of them.
            for saver in made:
                await asyncio.gather(*(saver.history("shared", limit=1) for _ in range(2 * POOL_SIZE)))
        await until_none(watch)


async def test_runs_and_writes_survive_sessions_that_end_at_random(postgres: str, schema: str) -> None:
    chance, name = random.Random(20_26), f"ended {schema}"
    async with watching(postgres, name) as watch, savers(postgres, schema, name, 3) as (saver, *others):
        fleet, writers = Fleet(saver, at_once=10), Writers(["shared", "shared too"])

        async with fleet.sailing(), asyncio.TaskGroup() as group:
            for other in others:
                group.create_task(writers.write(other, str(id(other))))
            ended = 0
            while ended < TERMINATIONS:
                ended += await watch.terminate(chance.choice)
                await fleet.until(runs=chance.choice((0, 0, 1, 2)))
            writers.is_over = True

        assert fleet.broken == []
        assert writers.cut == set()
        assert await writers.wrong(saver) == []
    print(f"{ended} sessions ended, {fleet.runs} runs, {len(writers.refused)} conflicts")


async def test_a_cancelled_write_is_stored_once_or_not_at_all(postgres: str, schema: str) -> None:
    chance, name = random.Random(20_26), f"cancelled {schema}"
    async with watching(postgres, name) as watch, savers(postgres, schema, name, 2) as (saver, other):
        writers = Writers(["shared"])
        graph = log().compile(saver)
        async with asyncio.TaskGroup() as group:
            group.create_task(writers.write(other, "undisturbed"))
            for number in range(10 * CANCELLATIONS):
                writing = asyncio.create_task(writers.write_one(graph, "shared", f"cancelled {number}"))
                for _ in range(chance.randint(0, 400)):
                    await asyncio.sleep(0)
                if number % 10 == 0:
                    await watch.terminate(chance.choice)
                writing.cancel()
                await asyncio.wait([writing])
            writers.is_over = True

        assert await writers.wrong(other) == []
        assert writers.cut
        stored = writers.cut & set(await entries_of(graph, "shared"))
    print(f"{len(writers.cut)} writes cancelled, {len(stored)} of them stored, {len(writers.refused)} conflicts")


@pytest.mark.parametrize("how", HOWS)
async def test_callers_cancelled_at_random_leave_no_partial_commit_and_leak_nothing(
    how: How, postgres: str, schema: str
) -> None:
    chance = random.Random(how)
    others = asyncio.all_tasks()
    tables = ("threads", "branches", "checkpoints", "channel_rows", "tasks")
    emptied = "TRUNCATE " + ", ".join(f'"{schema}".{table}' for table in tables)

    async def look(saver: PostgresSaver) -> list[str]:
        return []

    async with asyncpg.create_pool(postgres, min_size=0, max_size=POOL_SIZE) as pool:
        async with PostgresSaver(pool, schema=schema) as saver:
            undisturbed = {}
            for mode in MODES:
                undisturbed[mode] = await cancelled_on(saver, how, mode, NEVER, look)
                await pool.execute(emptied)
            were_cancelled = 0

            for _, mode in zip(range(CANCELLATIONS), itertools.cycle(MODES), strict=False):
                event = chance.randint(1, undisturbed[mode].events)
                moment = Moment(event=event, turns=chance.choice((0, 1, 2, 3, 5, 8, 13, 21, 55)))
                got = await cancelled_on(saver, how, mode, moment, look)
                assert got.broken == [], (mode, moment)
                assert got.state == undisturbed[mode].state, (mode, moment)
                were_cancelled += got.was_cancelled
                await pool.execute(emptied)

            assert were_cancelled > CANCELLATIONS // 2
        assert pool.get_idle_size() == pool.get_size()
    assert asyncio.all_tasks() == others
