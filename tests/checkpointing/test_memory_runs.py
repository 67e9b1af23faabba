"""The runs of a MemorySaver keep to the clauses of every store of runs."""

from durable_graph import Checkpointer, MemorySaver
from durable_graph.checkpointing.run_store import KeepsRuns, RunStore
from durable_graph.testing.conformance import RunStoreConformance
from durable_graph.testing.conformance.run_store_under_test import accept
from tests.checkpointing.sharing import SharingSaver, block


class TestRunsOfMemorySaver(RunStoreConformance):
    async def open(self) -> Checkpointer:
        return MemorySaver()

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return SharingSaver(saver)

    async def block(self, saver: Checkpointer, thread: str, seq: int) -> None:
        block(saver, thread, seq)


def test_a_memory_saver_keeps_runs() -> None:
    saver = MemorySaver()

    assert isinstance(saver, KeepsRuns)
    assert isinstance(saver.runs, RunStore)


async def test_the_numbers_of_runs_continue_in_a_thread_that_was_imported() -> None:
    one, other = MemorySaver(), MemorySaver()
    last = [await accept(one) for _ in range(3)][-1]

    exported = await one.export_thread("thread")
    assert exported is not None
    await other.import_thread(exported)

    # Runs are not exported. Their ids must not name other runs.
    assert await other.runs.list_runs() == []
    assert await accept(other) == last + 1
