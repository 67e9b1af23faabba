"""A lease costs nothing per superstep: a chain that a worker executes makes the statements of `ainvoke`, and a commit
for each superstep."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from durable_graph import Checkpointer
from durable_graph.runs import App
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver
from tests.path.counting import Counts
from tests.path.databases import PostgresMeter, SqliteMeter, added
from tests.path.graphs import INPUT, chain
from tests.postgres.proxy import proxied
from tests.savers import saver_of, schema_of_its_own

FEW, MANY = 20, 120
"""A claim, a poll of the queue and other statements are made once for a run, or at certain times."""
ONCE = 0.1

Call = Callable[[Checkpointer, int], Awaitable[object]]


async def plain(saver: Checkpointer, nodes: int) -> None:
    await chain(nodes).compile(saver).ainvoke(INPUT, thread_id=f"plain {nodes}", recursion_limit=2 * MANY)


async def leased(saver: Checkpointer, nodes: int) -> None:
    app = App({"chain": chain(nodes).compile()}, saver)
    await app.start("chain", INPUT, thread_id=f"leased {nodes}", recursion_limit=2 * MANY)
    # The test makes no heartbeat, and a worker without a free slot does not poll for runs.
    async with asyncio.timeout(60), app.worker(concurrency=1, lease=86_400) as worker:
        while not worker.running:  # noqa: ASYNC110  # the worker has no event for it
            await asyncio.sleep(0)
        while worker.running:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0)


@asynccontextmanager
async def on_sqlite(call: Call) -> AsyncIterator[dict[str, float]]:
    counts = {}
    for nodes in (FEW, MANY):
        with tempfile.TemporaryDirectory() as folder:
            async with SqliteSaver(Path(folder) / "runs.db") as saver:
                await call(saver, 2)
                meter = await SqliteMeter.of(saver)
                counts[nodes] = await added(meter.read, _only(call(saver, nodes)))
    yield counts[MANY].each(counts[FEW], MANY - FEW)


@asynccontextmanager
async def on_postgres(call: Call, dsn: str) -> AsyncIterator[dict[str, float]]:
    async with schema_of_its_own(dsn) as schema, proxied(dsn) as proxy:

        async def work(nodes: int) -> None:
            async with PostgresSaver(proxy.url, schema=schema) as saver:
                await call(saver, nodes)

        administrator = await asyncpg.connect(dsn)
        try:
            meter = PostgresMeter(proxy, administrator, schema)
            await work(2)
            counts: dict[int, Counts] = {nodes: await added(meter.read, work(nodes)) for nodes in (FEW, MANY)}
        finally:
            await administrator.close()
    yield counts[MANY].each(counts[FEW], MANY - FEW)


async def _only(work: Awaitable[object]) -> None:
    await work


async def test_a_lease_costs_no_statement_and_no_row_per_superstep_on_sqlite() -> None:
    async with on_sqlite(plain) as without, on_sqlite(leased) as with_lease:
        for name in ("statements", "rows"):
            assert abs(with_lease[name] - without[name]) < ONCE, (name, with_lease, without)


async def test_a_lease_costs_no_statement_no_round_trip_and_no_row_per_superstep_on_postgres(postgres: str) -> None:
    async with on_postgres(plain, postgres) as without, on_postgres(leased, postgres) as with_lease:
        for name in ("statements", "round trips", "rows"):
            assert abs(with_lease[name] - without[name]) < ONCE, (name, with_lease, without)


@pytest.mark.parametrize("store", ["memory", "sqlite", "postgres"])
@pytest.mark.parametrize("nodes", [1, 7])
async def test_a_leased_chain_of_n_nodes_costs_n_commits(
    store: str, nodes: int, tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[Any] = []
    async with saver_of(store, tmp_path, postgres) as saver:
        commit, save_writes = saver.commit, saver.save_writes

        def noting(write: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def call(wanted: Any) -> Any:
                commits.append(wanted)
                return write(wanted)

            return call

        monkeypatch.setattr(saver, "commit", noting(commit))
        monkeypatch.setattr(saver, "save_writes", noting(save_writes))

        await leased(saver, nodes)

    assert len(commits) == nodes
