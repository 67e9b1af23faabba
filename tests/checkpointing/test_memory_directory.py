"""The directory of a MemorySaver satisfies the clauses of every directory of threads."""

from durable_graph import Checkpointer, MemorySaver
from durable_graph.checkpointing.directory import KeepsDirectory, ThreadDirectory
from durable_graph.testing import ThreadDirectoryConformance
from tests.checkpointing.sharing import SharingSaver


class TestDirectoryOfMemorySaver(ThreadDirectoryConformance):
    async def open(self) -> Checkpointer:
        return MemorySaver()

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return SharingSaver(saver)


def test_a_memory_saver_keeps_a_directory() -> None:
    saver = MemorySaver()

    assert isinstance(saver, KeepsDirectory)
    assert isinstance(saver.directory, ThreadDirectory)
