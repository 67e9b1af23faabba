"""Workers take over the runs of a worker that was killed. Nothing that is recorded is executed twice."""

import random
import signal
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from statistics import median

import pytest

from durable_graph.runs import App, RunHandle, RunStatus
from tests.crash.conftest import IS_LONG, Echo
from tests.runs.engine.graphs import STEPS, done_by
from tests.runs.engine.ledger import Ledger, Start
from tests.runs.engine.processes import Process, Processes, all_runs, running_by, until

pytestmark = pytest.mark.slow

LEASE = 2.0
WORKERS = 3
RUNS = 100 if IS_LONG else 20
KILLS = 25 if IS_LONG else 1
"""For each store."""
MEDIAN, LAST = (1.3, 1.8) if IS_LONG else (3, 5)
"""Leases from a kill until half of its runs, and all of them, are executed again. The short form runs beside others."""
NODES = [f"n{number}" for number in range(STEPS)]


@dataclass(slots=True)
class Tally:
    """What kills cost. `repeated` are nodes that were executed again; `seconds` is from a kill to each takeover."""

    kills: int = 0
    runs: int = 0
    nodes: int = 0
    repeated: int = 0
    seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        middle, last = median(self.seconds) / LEASE, max(self.seconds) / LEASE
        return (
            f"{self.kills} kills, {len(self.seconds)} runs taken over after {middle:.2f} leases in the median and "
            f"{last:.2f} at most; {self.runs} runs, {self.nodes} nodes, {self.repeated} of them executed again"
        )


async def test_the_runs_of_a_killed_worker_end_once_with_the_right_output(
    app: App, processes: Processes, ledger: Ledger, echo: Echo
) -> None:
    chance = random.Random(20_26)
    workers = [processes.worker(lease=LEASE, concurrency=RUNS) for _ in range(WORKERS)]
    tally = Tally()
    killed: set[int] = set()

    while tally.kills < KILLS:
        handles = [await app.start("chain", {"seconds": 0.05}) for _ in range(RUNS)]
        while tally.kills < KILLS and (busy := await _busiest(app, handles, workers)) is not None:
            # A random moment of the nodes that are being executed.
            await _more_nodes(app, ledger, busy, chance.randrange(RUNS))
            at = busy.send(signal.SIGKILL)
            held = await running_by(app, busy.pid)
            workers.remove(busy)
            killed.add(busy.pid)
            workers.append(processes.worker(lease=LEASE, concurrency=RUNS))
            tally.kills += bool(held)
            tally.seconds.extend(await _takeovers(ledger, held, busy.pid, at))
        await _check_ends(app, ledger, handles, killed, tally)

    assert tally.seconds
    echo(str(tally))
    assert median(tally.seconds) <= MEDIAN * LEASE
    assert max(tally.seconds) <= LAST * LEASE


async def _more_nodes(app: App, ledger: Ledger, worker: Process, number: int) -> None:
    """Wait until the worker has begun so many nodes more, or has no more to begin."""
    count = len(ledger.starts(pid=worker.pid)) + number

    async def has_begun() -> bool:
        return len(ledger.starts(pid=worker.pid)) >= count or not await running_by(app, worker.pid)

    await until(has_begun, "more nodes")


async def _busiest(app: App, handles: list[RunHandle], workers: list[Process]) -> Process | None:
    """The worker that executes most of the runs; None once fewer than half of them are executed by anyone."""
    ids = {each.run_id for each in handles}
    shares: Counter[int] = Counter()
    ended = 0

    async def have_moved() -> bool:
        nonlocal ended
        runs = [each for each in await all_runs(app) if each.run_id in ids]
        ended = sum(each.has_ended for each in runs)
        shares.clear()
        shares.update(int(each.worker.rpartition(":")[2]) for each in runs if each.worker)
        return max(ended, sum(shares[each.pid] for each in workers)) >= len(ids) / 2

    await until(have_moved, "the claims")
    return None if ended >= len(ids) / 2 else max(workers, key=lambda each: shares[each.pid])


async def _takeovers(ledger: Ledger, held: list[RunStatus], pid: int, at: float) -> list[float]:
    """The time from the kill to the first node of each run in another process."""
    first: dict[str, float] = {}

    def are_taken() -> bool:
        for each in ledger.starts(since=at):
            if each.pid != pid:
                first.setdefault(each.thread, each.at - at)
        return all(run.thread_id in first for run in held)

    await until(are_taken, "the takeovers")
    return [first[run.thread_id] for run in held]


async def _check_ends(app: App, ledger: Ledger, handles: list[RunHandle], killed: set[int], tally: Tally) -> None:
    logs = [done_by((await each.result(60))["log"]) for each in handles]
    starts: dict[str, list[Start]] = defaultdict(list)
    for start in ledger.starts():
        starts[start.thread].append(start)
    for handle, log in zip(handles, logs, strict=True):
        status = await handle.status()
        assert (status.state, [node for node, _ in log]) == ("done", NODES)
        history = app.graph("chain").aget_state_history(thread_id=handle.thread_id)
        assert len([each async for each in history]) == STEPS + 1
        tally.runs += 1
        tally.nodes += STEPS
        tally.repeated += _repeated(starts[handle.thread_id], log, killed, status.attempt)


def _repeated(starts: list[Start], log: list[tuple[str, int]], killed: set[int], attempts: int) -> int:
    """The number of nodes that were executed again. Only the last node of a killed process may be."""
    # The result that counts is the last execution's: no recorded result was replaced.
    assert {each.node: each.pid for each in starts} == dict(log)
    assert len({each.task_id for each in starts}) == STEPS
    pids = [each.pid for each in starts]
    lives = [pid for pid, before in zip(pids, [0, *pids], strict=False) if pid != before]
    again = {node: count - 1 for node, count in Counter(each.node for each in starts).items() if count > 1}
    assert sum(again.values()) <= len(lives) - 1 <= attempts - 1
    for node in again:
        first, *others = [each for each in starts if each.node == node]
        assert {each.task_id for each in others} == {first.task_id}
        for each in (first, *others[:-1]):
            assert each.pid in killed
            assert [other for other in starts if other.pid == each.pid][-1] == each
    return sum(again.values())
