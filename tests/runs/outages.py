"""Long outages and a failover of PostgreSQL during leased runs: `make outages`, about 2 minutes.

A server is unavailable for 30 seconds, longer than every lease; a server is killed, and its replica is promoted.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from durable_graph.runs import App, RunHandle
from tests.crash.conftest import Echo
from tests.postgres.server import Server, started
from tests.runs.engine.ends import check_ends
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.processes import Processes, until
from tests.runs.engine.worker_process import Place

LEASE = 2.0
RUNS = 50
WORKERS = 3
OUTAGE = 30.0


class Servers(NamedTuple):
    """A server, its replica, which commits of the server wait for, and the DSN of the one that can be written to."""

    primary: Server
    replica: Server
    dsn: str


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    with started() as primary, started(replica_of=primary) as replica:
        asyncio.run(_replicate_synchronously(primary))
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{replica.port}"
        yield Servers(primary, replica, f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write")


async def _replicate_synchronously(primary: Server) -> None:
    connection = await asyncpg.connect(primary.url)
    try:

        async def has(state: str) -> bool:
            query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = $1"
            return bool(await connection.fetchval(query, state))

        await until(lambda: has("async"), "the connection of the replica")
        # After the copy was made: once promoted, the replica waits for no other server.
        await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await connection.execute("SELECT pg_reload_conf()")
        await until(lambda: has("sync"), "synchronous replication")
    finally:
        await connection.close()


@pytest.fixture
def place(servers: Servers, tmp_path: Path) -> Place:
    return Place(tmp_path, servers.dsn)


async def _leased(app: App, processes: Processes, ledger: Ledger) -> list[RunHandle]:
    """Runs that workers execute, in the middle of them."""
    handles = [await app.start("chain", {"seconds": 0.1}) for _ in range(RUNS)]
    for _ in range(WORKERS):
        processes.worker(lease=LEASE, concurrency=RUNS)
    await until(lambda: len(ledger.starts()) >= RUNS * 5, "the first nodes of the runs")
    assert not any([(await each.status()).has_ended for each in handles])
    return handles


@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_all_leased_runs_end_after_an_outage_that_is_longer_than_their_leases(
    servers: Servers, app: App, processes: Processes, ledger: Ledger, echo: Echo, how: str
) -> None:
    primary = servers.primary
    handles = await _leased(app, processes, ledger)
    if how == "stopped":
        await asyncio.to_thread(primary.stop, "immediate")
    else:
        # No connection is closed, and no answer comes.
        primary.freeze()
    await asyncio.sleep(OUTAGE)
    if how == "stopped":
        await asyncio.to_thread(primary.start)
    else:
        primary.thaw()
    again = await check_ends(app, ledger, handles, 180)
    echo(f"{how} for {OUTAGE:g} s: {RUNS} runs, {again} nodes executed again")


async def test_all_leased_runs_end_after_a_failover_to_a_synchronous_replica(
    servers: Servers, app: App, processes: Processes, ledger: Ledger, echo: Echo
) -> None:
    handles = await _leased(app, processes, ledger)
    await asyncio.to_thread(servers.primary.stop, "immediate")
    await asyncio.to_thread(servers.replica.promote)
    again = await check_ends(app, ledger, handles, 180)
    echo(f"failover: {RUNS} runs, {again} nodes executed again")
