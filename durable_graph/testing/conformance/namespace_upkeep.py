"""Clauses of `delete_thread`, `copy_thread` and `prune` for namespaces."""

from durable_graph.checkpointing import Checkpointer, verify_page
from durable_graph.records import Conflict, StoredRecords
from durable_graph.testing.conformance.saver_under_test import (
    SaverUnderTest,
    commit,
    loaded,
    loaded_records,
    save,
    some_thread,
)
from durable_graph.testing.rows import Step, Writer, state_of, states_of


class NamespaceUpkeepClauses(SaverUnderTest):
    """Clauses of the namespaces of whole threads."""

    async def test_deleting_removes_every_namespace(self) -> None:
        async with self.saver() as saver:
            await _nested_thread(saver)
            await saver.delete_thread("thread")
            grave = await saver.load("thread")
            assert grave is not None
            for ns in ("", "node", "node:3.0", "node:3.0|call:3.1"):
                for no in (None, 4):
                    found = await saver.load("thread", ns, no)
                    assert found is not None
                    assert (found.checkpoint, found.values, found.records) == (None, (), ())
                assert await saver.load_records("thread", ns) == StoredRecords(grave.thread, ())
                page = await saver.history("thread", ns, limit=5)
                assert page is not None
                assert page.checkpoints == ()

    async def test_a_copy_has_every_namespace(self) -> None:
        async with self.saver() as saver:
            writer = await _nested_thread(saver)
            await saver.copy_thread("thread", "copy")
            assert (await loaded(saver, "copy")).nested != ()
            for ns in ("node", "node:3.0"):
                assert state_of(await loaded(saver, "copy", ns)) == writer.state(ns=ns)
                page = await saver.history("copy", ns, limit=9)
                assert page is not None
                verify_page(page)
                assert states_of(page) == {row.no: writer.state(row.no, ns) for row in page.checkpoints}
            for ns in ("", "node:3.0", "node:3.0|call:3.1"):
                records = await loaded_records(saver, "copy", ns)
                assert records == await loaded_records(saver, "thread", ns) != ()
            # The copy accepts records and commits like the source.
            copy = writer.rival()
            copy.thread = (await loaded(saver, "copy")).thread
            await save(saver, copy, copy.batch(copy.record(ns="node:3.0")))
            await commit(saver, copy, Step({"memory": b"copy's"}, ns="node"))
            await loaded(saver, "copy")
            assert state_of(await loaded(saver, "thread", "node")) == writer.state(ns="node")

    async def test_pruning_removes_the_namespaces_of_finished_tasks(self) -> None:
        async with self.saver() as saver:
            writer = await _nested_thread(saver)
            await commit(saver, writer, Step({"count": b"7"}))
            await commit(saver, writer, Step({"inner": b"8"}, ns="node:7.0"))
            await save(saver, writer, writer.batch(writer.record(ns="node:7.0"), writer.record(born=7, ns="node:7.1")))
            assert await saver.prune("thread") == 5
            assert await saver.prune("thread") == 0
            assert state_of(await loaded(saver, "thread")) == writer.state()
            for ns in ("node:3.0", "node:3.0|call:3.1", ""):
                assert await loaded_records(saver, "thread", ns) == ()
            for no in (None, 4, 5):
                found = await saver.load("thread", "node:3.0", no)
                assert found is not None
                assert (found.checkpoint, found.values) == (None, ())
            assert state_of(await loaded(saver, "thread", "node:7.0")) == {"inner": b"8"}
            assert len(await loaded_records(saver, "thread", "node:7.0")) == 1
            assert len(await loaded_records(saver, "thread", "node:7.1")) == 1
            # The memory of a graph belongs to no single task.
            assert state_of(await loaded(saver, "thread", "node")) == {"memory": b"6"}

    async def test_pruning_keeps_the_namespaces_of_unfinished_tasks(self) -> None:
        async with self.saver() as saver:
            writer = await _nested_thread(saver)
            await commit(saver, writer, Step({"count": b"7"}, born=3))
            assert await saver.prune("thread") == 4
            assert state_of(await loaded(saver, "thread")) == writer.state()
            assert (await loaded(saver, "thread")).records == (writer.record(born=3),)
            # The subgraph keeps the records that its newest checkpoint may plan; the calls keep all records.
            left = await loaded_records(saver, "thread", "node:3.0")
            assert left == (writer.record(born=3, ns="node:3.0"), writer.record(born=5, ns="node:3.0"))
            assert len(await loaded_records(saver, "thread", "node:3.0|call:3.1")) == 1
            assert state_of(await loaded(saver, "thread", "node:3.0")) == writer.state(ns="node:3.0")
            await save(saver, writer, writer.batch(writer.record(born=3, number=4, ns="node:3.0")))
            await commit(saver, writer, Step({}, {"notes": b"8,"}, ns="node:3.0"))
            assert state_of(await loaded(saver, "thread", "node:3.0")) == writer.state(ns="node:3.0")
            await loaded(saver, "thread")

    async def test_a_nested_checkpoint_of_a_pruned_root_cannot_be_forked(self) -> None:
        async with self.saver() as saver:
            writer = await _nested_thread(saver)
            await commit(saver, writer, Step({"count": b"7"}))
            await saver.prune("thread")
            writer.thread = (await loaded(saver, "thread")).thread
            # The graph's memory of that time remains, but the root checkpoint to fork is pruned.
            unit = writer.unit(Step({"memory": b"fork"}, ns="node"), fork_of=6)
            assert state_of(await loaded(saver, "thread", "node", 6)) == {"memory": b"6"}
            assert await saver.commit(unit) == Conflict(7)
            assert (await loaded(saver, "thread")).thread == writer.thread

    async def test_pruning_removes_the_namespaces_of_other_branches(self) -> None:
        async with self.saver() as saver:
            writer = await _nested_thread(saver)
            await commit(saver, writer, Step({"count": b"fork"}), fork_of=2)
            await commit(saver, writer, Step({"memory": b"fork"}, ns="node"))
            assert await saver.prune("thread", keep_last=9) == 4
            for ns in ("node:3.0", "node:3.0|call:3.1", ""):
                assert await loaded_records(saver, "thread", ns) == ()
            assert state_of(await loaded(saver, "thread", "node")) == {"memory": b"fork"}
            assert state_of(await loaded(saver, "thread")) == writer.state()
            gone = await saver.load("thread", "node", 6)
            assert gone is not None
            assert gone.checkpoint is None


async def _nested_thread(saver: Checkpointer) -> Writer:
    """A thread whose third checkpoint planned a task with calls and a subgraph, which made checkpoints 4 and 5, and a
    graph with memory, which made checkpoint 6."""
    writer = await some_thread(saver)
    await commit(saver, writer, Step({"inner": b"4"}, {"notes": b"4,"}, ns="node:3.0"))
    await save(saver, writer, writer.batch(writer.record(ns="node:3.0"), writer.record(number=1, ns="node:3.0")))
    await commit(saver, writer, Step({}, {"notes": b"5,"}, ns="node:3.0"))
    await commit(saver, writer, Step({"memory": b"6"}, ns="node"))
    calls = writer.record(born=3, ns="node:3.0"), writer.record(born=3, number=1, ns="node:3.0|call:3.1")
    await save(saver, writer, writer.batch(writer.record(born=3), writer.record(born=5, ns="node:3.0"), *calls))
    return writer
