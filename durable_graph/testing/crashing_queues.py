"""The queues of a `CrashingSaver`: claims and declarations count as calls of the store, and crash like them."""

from collections.abc import Sequence

from durable_graph.checkpointing.queue_store import QueueClaims, QueueInfo, QueueStore
from durable_graph.queue_records import QueueLimits
from durable_graph.testing.crashing_runs import Passes


class CrashingQueues:
    """Passes calls to the queues of the inner saver, by way of `through`. Listings do not count: they belong to
    statistics, which are read at any time."""

    def __init__(self, inner: QueueStore, through: Passes, uncounted: Passes) -> None:
        self.inner = inner
        self._call = through
        self._uncounted = uncounted

    async def declare(self, limits: Sequence[QueueLimits]) -> None:
        return await self._call("declare", lambda: self.inner.declare(limits))

    async def claim(self, worker: int, queues: Sequence[str], graphs: Sequence[str], most: int) -> QueueClaims:
        return await self._call("claim", lambda: self.inner.claim(worker, queues, graphs, most))

    async def describe(self) -> list[QueueInfo]:
        return await self._uncounted("describe", self.inner.describe)
