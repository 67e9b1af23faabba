"""The notifier of a MemorySaver satisfies the clauses of every notifier."""

from durable_graph import Checkpointer, MemorySaver
from durable_graph.checkpointing.notifier import Notifier, Notifies
from durable_graph.testing import NotifierConformance
from tests.checkpointing.sharing import SharingSaver


class TestNotifierOfMemorySaver(NotifierConformance):
    async def open(self) -> Checkpointer:
        return MemorySaver()

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return SharingSaver(saver)


def test_a_memory_saver_has_a_notifier() -> None:
    saver = MemorySaver()

    assert isinstance(saver, Notifies)
    assert isinstance(saver.notifier, Notifier)
