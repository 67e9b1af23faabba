"""Workers are killed while parents await their children: no run is lost, none is started twice, no result is wrong."""

import asyncio
import random
import signal
import time
from collections import Counter

import asyncpg
import pytest

from durable_graph.runs import App
from tests.crash.conftest import IS_LONG, Echo
from tests.runs.engine.graphs import CHILDREN
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.processes import Processes, all_runs
from tests.runs.engine.worker_process import Place

pytestmark = pytest.mark.slow

LEASE = 2.0 if IS_LONG else 1.0
PARENTS = 1_000 if IS_LONG else 20
WORKERS, SLOTS = (2, 4) if IS_LONG else (2, 2)
KILLS = 10_000 if IS_LONG else 2
"""At most: the workers are killed until all parents have ended."""
PAUSE = (3.0, 6.0) if IS_LONG else (0.3, 0.6)
"""In seconds, from a kill to the next."""


async def test_parents_get_the_results_of_their_children_whichever_worker_is_killed(
    app: App, processes: Processes, ledger: Ledger, place: Place, echo: Echo
) -> None:
    chance = random.Random(20_29)
    began = time.monotonic()
    handles = [await app.start("parent", {"seconds": 0.005}, thread_id=f"parent {number}") for number in range(PARENTS)]
    workers = [processes.worker(lease=LEASE, concurrency=SLOTS, max_crashes=1000) for _ in range(WORKERS)]
    kills = 0
    ended = asyncio.gather(*(handle.result(1200) for handle in handles))
    while not ended.done() and kills < KILLS:
        await asyncio.wait([ended], timeout=chance.uniform(*PAUSE))
        if not ended.done():
            killed = workers.pop(chance.randrange(WORKERS))
            killed.send(signal.SIGKILL)
            workers.append(processes.worker(lease=LEASE, concurrency=SLOTS, max_crashes=1000))
            kills += 1
    results = await ended
    wrong = [each for each in results if each["log"] != [str(number) for number in range(CHILDREN)]]
    runs = [run for run in await all_runs(app) if run.graph in ("parent", "child")]
    parents = Counter(run.parent for run in runs if run.graph == "child")
    lost = [run for run in runs if run.state != "done"]
    seconds = time.monotonic() - began
    echo(
        f"{PARENTS} parents with {CHILDREN} children each, {WORKERS} workers of {SLOTS} slots, {kills} kills in "
        f"{seconds:.0f} s: {len(lost)} runs lost, {len(wrong)} results wrong, "
        f"{len(ledger.starts())} starts of {PARENTS * CHILDREN} children's nodes"
    )
    assert wrong == []
    assert lost == []
    assert set(parents.values()) == {CHILDREN}
    assert len(parents) == PARENTS
    if place.dsn:
        assert await deadlocks(place.dsn) == 0


async def deadlocks(dsn: str) -> int:
    """The number of deadlocks that the server has found: transactions that locked threads in different orders."""
    connection = await asyncpg.connect(dsn)
    try:
        number: int = await connection.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
    finally:
        await connection.close()
    return number
