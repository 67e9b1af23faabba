"""The common part of the clauses of queues with limits: functions with assertions."""

from typing import Any

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.queue_rules import stored_key
from durable_graph.checkpointing.queue_store import KeepsQueues, QueueClaims, QueueStore
from durable_graph.queue_records import QueueLimits, Rate
from durable_graph.run_records import Claim, NewWorker, RunState
from durable_graph.testing.conformance.run_store_under_test import HOUR, RunStoreUnderTest, accept, end_of, runs_of

QUEUE = "limited"
GRAPHS = ("graph",)


class QueuesUnderTest(RunStoreUnderTest):
    """The hooks. A backend has to implement `open` and `open_another`."""


def queues_of(saver: Checkpointer) -> QueueStore:
    """The saver's queues."""
    assert isinstance(saver, KeepsQueues), f"{saver} keeps no queues"
    return saver.queues


async def declare(
    saver: Checkpointer,
    *,
    queue: str = QUEUE,
    concurrency: int | None = None,
    per_key: int | None = None,
    rate: Rate | None = None,
) -> None:
    """Declare a queue, and register the workers 1 and 2."""
    await queues_of(saver).declare([QueueLimits(queue, concurrency, per_key, rate)])
    for worker in (1, 2):
        await runs_of(saver).register(NewWorker(worker, HOUR, f"worker {worker}"))


async def put(saver: Checkpointer, *threads: str, key: str | None = None, queue: str = QUEUE, **fields: Any) -> None:
    """Accept a run of each of these threads in the queue, one after the other."""
    for thread in threads:
        await accept(saver, thread, queue=queue, limit_key=stored_key(key), **fields)


async def claim(saver: Checkpointer, most: int = 100, worker: int = 1, queue: str = QUEUE) -> QueueClaims:
    """The claims of a worker from the queue."""
    return await queues_of(saver).claim(worker, [queue], GRAPHS, most)


async def taken(saver: Checkpointer, most: int = 100, worker: int = 1) -> list[str]:
    """The threads of the claims of a worker, sorted."""
    return sorted(each.thread for each in (await claim(saver, most, worker)).claims)


async def end(saver: Checkpointer, claims: list[Claim], state: RunState = RunState.DONE, worker: int = 1) -> None:
    """End claimed runs."""
    for each in claims:
        assert await runs_of(saver).settle(end_of(each, worker, state))


def in_turn(*keys: str) -> list[str]:
    """The keys in the order of their turns."""
    return sorted(keys, key=stored_key)
