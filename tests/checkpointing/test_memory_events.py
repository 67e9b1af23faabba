"""The events of a MemorySaver satisfy the clauses of every event log."""

from durable_graph import Checkpointer, MemorySaver
from durable_graph.checkpointing.event_log import EventLog, KeepsEvents
from durable_graph.testing.conformance import EventLogConformance
from tests.checkpointing.sharing import SharingSaver


class TestEventsOfMemorySaver(EventLogConformance):
    async def open(self) -> Checkpointer:
        return MemorySaver()

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return SharingSaver(saver)


def test_a_memory_saver_keeps_events() -> None:
    saver = MemorySaver()

    assert isinstance(saver, KeepsEvents)
    assert isinstance(saver.events, EventLog)
