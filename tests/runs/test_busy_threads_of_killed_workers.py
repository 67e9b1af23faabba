"""A run that cancels the run of a worker begins although that worker is killed before it receives the cancellation."""

import signal

import pytest

from durable_graph.runs import App
from tests.runs.engine.graphs import Gate, done_by
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.processes import Processes, until
from tests.runs.engine.worker_process import Place
from tests.runs.test_busy_threads import IfBusy, ended

pytestmark = pytest.mark.slow

LEASE = 2.0


@pytest.mark.parametrize(
    ("if_busy", "nodes"),
    [("interrupt", ["first", "first", "second", "third"]), ("rollback", ["first", "second", "third"])],
)
async def test_a_run_replaces_the_run_of_a_killed_worker(
    app: App, processes: Processes, ledger: Ledger, place: Place, if_busy: IfBusy, nodes: list[str]
) -> None:
    killed = processes.worker(lease=LEASE)
    old = await app.start("gated", {}, thread_id="t")
    await until(lambda: [each.node for each in ledger.starts()] == ["first", "second"], "the second node")
    new = await app.start("gated", {}, thread_id="t", if_busy=if_busy)
    killed.send(signal.SIGKILL)
    Gate(place.folder).open()
    processes.worker(lease=LEASE)
    assert [node for node, _ in done_by((await new.result(60))["log"])] == nodes
    assert await ended(old) == "cancelled"
    # No node of the cancelled run was executed again.
    assert [each.node for each in ledger.starts()] == ["first", "second", "first", "second", "third"]
