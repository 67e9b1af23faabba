"""A worker that is stopped for longer than its lease, and continues when others have its runs."""

import signal

import pytest

from durable_graph.runs import App, RunHandle
from tests.crash.conftest import IS_LONG, Echo
from tests.runs.engine.graphs import Gate, done_by
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.processes import Process, Processes, running_by, stop, until
from tests.runs.engine.worker_process import Place

pytestmark = pytest.mark.slow

LEASE = 1.0
RUNS = 100 if IS_LONG else 5


@pytest.fixture
def gate(place: Place) -> Gate:
    return Gate(place.folder)


async def _are_inside(ledger: Ledger, process: Process, handles: list[RunHandle], node: str) -> None:
    """Wait until the process executes this node of every run."""
    threads = {each.thread_id for each in handles}
    await until(
        lambda: threads <= {each.thread for each in ledger.starts(pid=process.pid) if each.node == node},
        f"{node!r} in process {process.pid}",
    )


@pytest.mark.parametrize(
    ("graph", "inside", "nodes"),
    [
        ("gated", "second", ["first", "second", "third"]),
        ("gated_first", "first", ["first", "second"]),
        ("fan", "fan0", ["fan0", "fan1", "fan2"]),
    ],
)
async def test_a_stopped_worker_commits_nothing_and_begins_no_node_after_others_took_over(
    app: App, processes: Processes, ledger: Ledger, gate: Gate, echo: Echo, graph: str, inside: str, nodes: list[str]
) -> None:
    # Of the three nodes of one superstep, only one is executed at a time: two of them have not begun.
    handles = [await app.start(graph, {}, max_concurrency=1) for _ in range(RUNS)]
    zombie = processes.worker(lease=LEASE)
    await _are_inside(ledger, zombie, handles, inside)

    await stop(zombie)
    other = processes.worker(lease=LEASE)
    await _are_inside(ledger, other, handles, inside)
    gate.open()
    continued = zombie.send(signal.SIGCONT)
    outputs = [await each.result(60) for each in handles]
    statuses = [await each.status() for each in handles]
    histories = [app.graph(graph).aget_state_history(thread_id=each.thread_id) for each in handles]
    # One of the input, and one of each superstep.
    supersteps = 1 if graph == "fan" else len(nodes)
    assert [len([each async for each in history]) for history in histories] == [supersteps + 1] * RUNS
    other.send(signal.SIGTERM)
    assert await other.ended() == 0

    # The zombie has a lease again, and is the only worker that is left.
    later = await app.start("chain", {})
    log = done_by((await later.result(60))["log"])
    assert {pid for _, pid in log} == {zombie.pid}
    # The result of the first node of "gated" was recorded before the stop.
    before = [("first", zombie.pid)] if graph == "gated" else []
    own = [(node, other.pid) for node in nodes[len(before) :]]
    assert [done_by(output["log"]) for output in outputs] == [before + own] * RUNS
    threads = {each.thread_id for each in handles}
    assert [each for each in ledger.starts(pid=zombie.pid, since=continued) if each.thread in threads] == []
    assert {(each.state, each.attempt, each.crashes) for each in statuses} == {("done", 2, 1)}
    echo(f"{graph}: {RUNS} runs of a stopped worker, 0 commits and 0 further nodes of it")


async def test_a_stopped_worker_that_continues_before_a_takeover_finishes_its_runs(
    app: App, processes: Processes, ledger: Ledger, gate: Gate
) -> None:
    """Its lease has ended, but no other worker is there: it registers again, and executes the runs to their end."""
    handles = [await app.start("gated_first", {}) for _ in range(RUNS)]
    zombie = processes.worker(lease=LEASE)
    await _are_inside(ledger, zombie, handles, "first")
    at = await stop(zombie)
    await until(lambda: _have_leases_ended(app), "the end of the lease")
    gate.open()
    zombie.send(signal.SIGCONT)
    outputs = [await each.result(60) for each in handles]
    assert [done_by(output["log"]) for output in outputs] == [[("first", zombie.pid), ("second", zombie.pid)]] * RUNS
    assert len(await running_by(app, zombie.pid)) == 0
    assert len({each.task_id for each in ledger.starts(since=at)}) >= RUNS


async def _have_leases_ended(app: App) -> bool:
    return (await app.stats()).workers == 0
