"""A server that is restarted, or that crashes, while many runs are under way: they wait, and finish by themselves."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Literal

import pytest

from durable_graph import ExecutionInfo, StoreUnavailableError
from durable_graph_postgres import PostgresSaver
from tests.crash.conftest import IS_LONG
from tests.crash.graphs import chain, watched_by
from tests.postgres.fleet import Calls, Fleet, Writers
from tests.postgres.server import Server, started

TIMES = 10 if IS_LONG else 2
RUNS = 50


@pytest.fixture
def server() -> Iterator[Server]:
    with started() as running:
        yield running


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_runs_go_through_restarts_by_themselves(server: Server, how: Literal["fast", "immediate"]) -> None:
    async with PostgresSaver(server.url) as saver, PostgresSaver(server.url, pool_size=1) as other:
        fleet, writers = Fleet(saver, at_once=RUNS), Writers([saver, other], ["shared", "shared too"])

        async with fleet.sailing(), asyncio.TaskGroup() as group:
            for place in range(2):
                group.create_task(writers.write(place))
            for _ in range(TIMES):
                await fleet.until(runs=RUNS)
                await asyncio.to_thread(server.restart, how)
            # The same saver goes on working.
            await fleet.until(runs=RUNS)
            writers.is_over = True

        assert fleet.broken == []
        assert await writers.wrong(other) == []
        assert all(len(told) > TIMES for told in writers.acknowledged.values())
        assert writers.cut == set()
    print(f"{how}: {TIMES} restarts, {fleet.runs} runs, {writers.conflicts} conflicts")
