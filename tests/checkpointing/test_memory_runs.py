"""The runs of a MemorySaver keep to the clauses of every store of runs."""

from durable_graph import Checkpointer, MemorySaver
from durable_graph.checkpointing.run_store import KeepsRuns, RunStore
from durable_graph.testing.conformance.runs import RunStoreConformance
from tests.checkpointing.sharing import SharingSaver


class TestRunsOfMemorySaver(RunStoreConformance):
    async def open(self) -> Checkpointer:
        return MemorySaver()

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return SharingSaver(saver)


def test_a_memory_saver_keeps_runs() -> None:
    saver = MemorySaver()

    assert isinstance(saver, KeepsRuns)
    assert isinstance(saver.runs, RunStore)
