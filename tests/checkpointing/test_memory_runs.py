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
    numbers = [await accept(one) for _ in range(3)]
    await one.runs.cancel_run("thread", numbers[-1], "reason")
    one.runs.skew += 1000
    assert await one.runs.delete_ended(keep=1) == 1

    exported = await one.export_thread("thread")
    assert exported is not None
    await other.import_thread(exported)

    assert await other.runs.list_runs() == await one.runs.list_runs()
    # Their ids must not name other runs, nor the deleted one.
    assert await accept(other) == numbers[-1] + 1
