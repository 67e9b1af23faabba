"""A PostgreSQL server that restarts while workers execute runs on it: all runs end, without help.

`make outages` has longer outages and a failover.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from durable_graph.runs import App
from tests.crash.conftest import IS_LONG, Echo
from tests.postgres.server import Server, started
from tests.runs.engine.ends import check_ends
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.processes import Processes, until
from tests.runs.engine.worker_process import Place

pytestmark = pytest.mark.slow

LEASE = 2.0
RUNS = 50 if IS_LONG else 10
RESTARTS = 5 if IS_LONG else 1


@pytest.fixture
def server() -> Iterator[Server]:
    with started() as running:
        yield running


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Place:
    return Place(tmp_path, server.url)


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_all_leased_runs_end_although_the_server_restarts(
    server: Server, app: App, processes: Processes, ledger: Ledger, echo: Echo, how: Literal["fast", "immediate"]
) -> None:
    handles = [await app.start("chain", {"seconds": 0.05}) for _ in range(RUNS)]
    for _ in range(2):
        processes.worker(lease=LEASE, concurrency=RUNS)
    for restart in range(1, RESTARTS + 1):
        await _nodes(ledger, restart * RUNS * 15 // (RESTARTS + 1))
        await asyncio.to_thread(server.restart, how)
    again = await check_ends(app, ledger, handles, 120)
    echo(f"{how}: {RESTARTS} restarts, {RUNS} runs, {again} nodes executed again")


async def _nodes(ledger: Ledger, count: int) -> None:
    await until(lambda: len(ledger.starts()) >= count, "more nodes")
