"""The protocol of a store of queues with limits: another power of a saver with runs, which
`isinstance(saver, KeepsQueues)` finds.

A limit is enforced where a run is claimed, and never in a commit: only claims of the queue share a row. A run of such a
queue has a `limit_key` other than 0 in its row. Runs of the other queues, each of which has the name of a graph, are
claimed by `RunStore.claim`, which knows no limits.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from durable_graph.queue_records import QueueLimits
from durable_graph.run_records import Claim


class QueueClaims(msgspec.Struct, frozen=True):
    """The runs that a worker has claimed from queues with limits, each with its `queue`.

    `wait` is the number of microseconds until more runs may be claimed: 0 if they may be claimed now, or as soon as
    another worker has finished its claim; None if they may be claimed only after a change of a run.
    """

    claims: list[Claim] = []
    wait: int | None = None


class QueueInfo(msgspec.Struct, frozen=True):
    """A queue that was declared, or that a living worker serves.

    `limits` and the time `declared_at` are those of its newest declaration: None and 0 for a queue that only has the
    name of a graph. `workers` is the number of living workers that serve it.
    """

    queue: str
    limits: QueueLimits | None = None
    declared_at: int = 0
    workers: int = 0


@runtime_checkable
class QueueStore(Protocol):
    """The queues with limits of a store. Every method may be called again with the same arguments.

    Times are by the clock of the saver's runs, which `RunStore.skew` moves.
    """

    async def declare(self, limits: Sequence[QueueLimits]) -> None:
        """Record the limits of queues. They replace those of an earlier declaration, from the next claim on: runs that
        are executed already, and those that began within the window of a rate, count for the new limits."""
        ...

    async def claim(self, worker: int, queues: Sequence[str], graphs: Sequence[str], most: int) -> QueueClaims:
        """Up to `most` due runs of declared queues and of these graphs for the worker, as far as the limits allow.

        The queues are served in the given order. Within a queue the runs of the highest priority precede the others,
        and among those each key has one run in turn: a claim continues after the key at which the claim before it
        ended. The runs of a key are claimed in the order of their due times, and runs without a key share a turn. Every
        claim of a run counts for the rate. One worker at a time claims runs of a queue; another worker does not wait.

        The cost of a claim depends on the number of keys whose runs have a due time, not on the number of these runs.
        A worker whose lease has ended gets no runs. Raises `DamagedRowError` for a queue whose row cannot be read; then
        nothing was claimed.
        """
        ...

    async def describe(self) -> list[QueueInfo]:
        """All queues that were declared or that a living worker serves, by name."""
        ...


@runtime_checkable
class KeepsQueues(Protocol):
    """A saver with the power to keep queues with limits: `isinstance(saver, KeepsQueues)`."""

    @property
    def queues(self) -> QueueStore:
        """The queues of the saver's runs."""
        ...
