"""The queues of a MemorySaver satisfy the clauses of every store of queues."""

from durable_graph import Checkpointer, MemorySaver
from durable_graph.checkpointing.queue_store import KeepsQueues, QueueStore
from durable_graph.testing import QueueStoreConformance
from tests.checkpointing.sharing import SharingSaver


class TestQueuesOfMemorySaver(QueueStoreConformance):
    async def open(self) -> Checkpointer:
        return MemorySaver()

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return SharingSaver(saver)


def test_a_memory_saver_keeps_queues() -> None:
    saver = MemorySaver()

    assert isinstance(saver, KeepsQueues)
    assert isinstance(saver.queues, QueueStore)
