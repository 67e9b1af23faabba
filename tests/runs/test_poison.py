"""A run whose node kills its process again and again is quarantined, and the runs beside it continue."""

import pytest

from durable_graph.errors import RunFailedError
from durable_graph.runs import App, RunHandle
from tests.crash.conftest import IS_LONG
from tests.runs.engine.graphs import STEPS, Gate, done_by
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.processes import Process, Processes, until
from tests.runs.engine.worker_process import Place

pytestmark = pytest.mark.slow

LEASE = 1.0
DEATHS = 3
RUNS = 20 if IS_LONG else 5


async def workers_until_the_end(processes: Processes, handle: RunHandle) -> list[Process]:
    """Start a worker whenever one has died, until the run has ended. Gives all of them."""
    workers = [processes.worker(lease=LEASE, max_crashes=DEATHS)]

    async def has_ended() -> bool:
        if workers[-1].has_ended:
            workers.append(processes.worker(lease=LEASE, max_crashes=DEATHS))
        return (await handle.status()).has_ended

    await until(has_ended, "the end of the run")
    return workers


@pytest.mark.parametrize(
    ("graph", "node", "where"),
    [("poison", "second", "'second'"), ("poison_first", "first", "its first superstep")],
)
async def test_a_run_that_kills_its_processes_is_quarantined_and_can_be_retried(
    app: App, processes: Processes, ledger: Ledger, place: Place, graph: str, node: str, where: str
) -> None:
    poison = await app.start(graph, {})
    others = [await app.start("chain", {"seconds": 0.05}) for _ in range(RUNS)]
    workers = await workers_until_the_end(processes, poison)

    # One worker lives: it has quarantined the run.
    assert len(workers) == DEATHS + 1
    status = await poison.status()
    assert (status.state, status.crashes) == ("quarantined", DEATHS)
    message = f"its process ended {DEATHS} times in a row in {where}"
    with pytest.raises(RunFailedError, match=message) as failed:
        await poison.result()
    assert failed.value.kind == "quarantined"
    deaths = [each for each in ledger.starts() if (each.thread, each.node) == (poison.thread_id, node)]
    assert [each.pid for each in deaths] == [each.pid for each in workers[:-1]]
    assert len({each.task_id for each in deaths}) == 1
    # After the first death the run is due at once, and later each time from then on.
    assert deaths[2].at - deaths[1].at >= 0.1

    for each in others:
        log = done_by((await each.result(60))["log"])
        assert [name for name, _ in log] == [f"n{number}" for number in range(STEPS)]

    # The node has been corrected.
    Gate(place.folder).open()
    await app.retry(poison.run_id)
    log = done_by((await poison.result(60))["log"])
    assert log[-1][1] == workers[-1].pid
    assert (await poison.status()).crashes == 0
