"""The schedules of a MemorySaver satisfy the clauses of every store of schedules."""

from durable_graph import Checkpointer, MemorySaver
from durable_graph.checkpointing.schedule_store import KeepsSchedules, ScheduleStore
from durable_graph.testing import ScheduleStoreConformance
from tests.checkpointing.sharing import SharingSaver


class TestSchedulesOfMemorySaver(ScheduleStoreConformance):
    async def open(self) -> Checkpointer:
        return MemorySaver()

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return SharingSaver(saver)


def test_a_memory_saver_keeps_schedules() -> None:
    saver = MemorySaver()

    assert isinstance(saver, KeepsSchedules)
    assert isinstance(saver.schedules, ScheduleStore)
