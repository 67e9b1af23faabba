"""A worker that is stopped inside a write transaction keeps a SQLite file locked, and every other worker waits."""

import asyncio
import logging
import signal
from pathlib import Path

import pytest

from durable_graph.runs import App
from tests.runs.engine.ends import check_ends
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.processes import Processes, stop_inside_a_write, until
from tests.runs.engine.worker_process import Place

pytestmark = pytest.mark.slow

RUNS = 10


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("remedy", [signal.SIGKILL, signal.SIGCONT])
async def test_the_log_names_the_process_and_all_runs_end_once_it_is_killed_or_continues(
    app: App, processes: Processes, ledger: Ledger, caplog: pytest.LogCaptureFixture, remedy: signal.Signals
) -> None:
    holder = processes.worker(lease=1.0, concurrency=RUNS // 2)
    handles = [await app.start("chain", {"seconds": 0.02}) for _ in range(RUNS)]
    await until(lambda: len(ledger.starts(pid=holder.pid)) >= 3, "the nodes of the worker that is stopped")
    processes.worker(lease=1.0)
    await stop_inside_a_write(holder)
    with caplog.at_level(logging.WARNING, "durable_graph"):
        starting = asyncio.create_task(app.start("chain", {"seconds": 0.02}))
        await until(lambda: f"kill -CONT {holder.pid}" in caplog.text, "the name of the stopped process in the log")
    assert not starting.done()
    holder.send(remedy)
    await check_ends(app, ledger, [*handles, await starting], 60)
