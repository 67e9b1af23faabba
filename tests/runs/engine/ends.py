"""Checks of the runs of the graph "chain" that hold whatever happened to the workers and the store meanwhile."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from durable_graph.runs import App, RunHandle
from tests.runs.engine.graphs import STEPS, done_by
from tests.runs.engine.ledger import Ledger

NODES = [f"n{number}" for number in range(STEPS)]


async def check_ends(app: App, ledger: Ledger, handles: Sequence[RunHandle], patience: float) -> int:
    """Each run ended once with the right output, and no recorded result was executed again. Returns how many nodes were
    executed again because their result was not recorded. Raises `AssertionError`."""
    threads = {each.thread_id for each in handles}
    for handle in handles:
        log = done_by((await handle.result(patience))["log"])
        assert [node for node, _ in log] == NODES
        status = await handle.status()
        assert status.state == "done", status
        history = app.graph("chain").aget_state_history(thread_id=handle.thread_id)
        assert len([each async for each in history]) == STEPS + 1
    return check_order(ledger, threads)


def check_order(ledger: Ledger, threads: Collection[str], stopped: Collection[int] = ()) -> int:
    """No recorded result of these threads was executed again. Returns how many nodes were, without a recorded result.
    Raises `AssertionError`.

    `stopped` are processes that were stopped and continued: each may then begin the node before which it was stopped.
    """
    started: dict[str, list[str]] = defaultdict(list)
    for start in ledger.starts():
        if start.thread not in threads:
            continue
        nodes = started[start.thread]
        is_late = bool(nodes) and NODES.index(start.node) < NODES.index(nodes[-1])
        if not (start.pid in stopped and is_late):
            nodes.append(start.node)
    for thread, nodes in started.items():
        # A node begins once the results of all earlier ones are recorded.
        assert nodes == sorted(nodes, key=NODES.index), (thread, nodes)
        assert sorted({*nodes}) == sorted(NODES), (thread, nodes)
    return sum(count - 1 for nodes in started.values() for count in Counter(nodes).values())
