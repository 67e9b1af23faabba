"""Workers are killed while runs wait for delayed nodes and receive updates: each node and each update counts once."""

import asyncio
import random
import signal
from collections import Counter
from itertools import pairwise

import pytest

from durable_graph import ThreadFinishedError
from durable_graph.runs import App, RunHandle
from tests.crash.conftest import IS_LONG
from tests.runs.engine.graphs import LATER, PAUSE
from tests.runs.engine.ledger import Ledger, Start
from tests.runs.engine.processes import Processes

pytestmark = pytest.mark.slow

LEASE = 1.0
WORKERS = 2
RUNS = 30 if IS_LONG else 6
KILLS = 25 if IS_LONG else 3
NODES = [f"later{number}" for number in range(LATER)]


async def update_until_the_end(app: App, handle: RunHandle, chance: random.Random) -> list[str]:
    """Send updates at random moments. Returns the accepted ones."""
    accepted: list[str] = []
    while True:
        text = f"update {len(accepted)}"
        try:
            assert await app.update(handle.thread_id, {"log": [text]}, key=text)
        except ThreadFinishedError:
            return accepted
        # Sent twice, as by a caller that had no reply.
        assert not await app.update(handle.thread_id, {"log": [text]}, key=text) or (await handle.status()).has_ended
        accepted.append(text)
        await asyncio.sleep(chance.uniform(0.05, 0.5))


async def test_delayed_nodes_and_updates_count_once_whoever_is_killed(
    app: App, processes: Processes, ledger: Ledger
) -> None:
    chance = random.Random(20_27)
    workers = [processes.worker(lease=LEASE, max_crashes=1000) for _ in range(WORKERS)]
    kills = 0
    while kills < KILLS:
        handles = [await app.start("later", {}) for _ in range(RUNS)]
        sending = [asyncio.create_task(update_until_the_end(app, each, chance)) for each in handles]
        while kills < KILLS and not all(task.done() for task in sending):
            await asyncio.sleep(chance.uniform(0.1, 1))
            killed = workers.pop(chance.randrange(WORKERS))
            killed.send(signal.SIGKILL)
            workers.append(processes.worker(lease=LEASE, max_crashes=1000))
            kills += 1
        logs = [(await each.result(120))["log"] for each in handles]
        for handle, log, accepted in zip(handles, logs, await asyncio.gather(*sending), strict=True):
            assert [each.split()[0] for each in log if each.startswith("later")] == NODES
            assert [each for each in log if each.startswith("update")] == accepted
            starts = [each for each in ledger.starts() if each.thread == handle.thread_id]
            check_times(starts)


def check_times(starts: list[Start]) -> None:
    """No node began before the one in front of it had begun for the last time and its time was over."""
    last = {each.node: each.at for each in starts}
    first = {each.node: each.at for each in reversed(starts)}
    for before, node in pairwise(NODES):
        # A worker counts the store's time from the reply to its claim, which is late on a loaded machine.
        assert first[node] - last[before] >= PAUSE / 2, (node, starts)
    assert set(Counter(each.node for each in starts)) == set(NODES)
