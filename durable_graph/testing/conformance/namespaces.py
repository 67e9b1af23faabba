"""Clauses of the namespaces of nested tasks, and of calls, which have records and no checkpoint."""

from durable_graph.checkpointing import Checkpointer, verify_page, verify_records
from durable_graph.records import Rank, StoredCheckpoint, TaskRecord
from durable_graph.testing.conformance.saver_under_test import (
    SaverUnderTest,
    commit,
    loaded,
    loaded_records,
    save,
    some_thread,
)
from durable_graph.testing.rows import Step, Writer, state_of, states_of

_NAMES = (
    "node:3.0",
    "node:3.0|1",
    "node:3.0|inner:4.1",
    "node:3.0|",
    "node:3.00",
    "Node:3.0",
    "node:3.0 ",
    "node",
    "|",
    "%",
    "_",
    # Two names that look the same: with a composed character, and with a combining accent.
    "\u00e9",
    "e\u0301",
    "x" * 700,
)


class NamespaceClauses(SaverUnderTest):
    """Clauses of the namespaces of a thread."""

    async def test_namespaces_are_separate(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            for name in _NAMES:
                await commit(saver, writer, Step({"whose": name.encode()}, ns=name))
                await save(saver, writer, writer.batch(writer.record(ns=name, value=name.encode())))
            for name in _NAMES:
                found = await loaded(saver, "thread", name)
                assert state_of(found) == {"whose": name.encode()}
                assert [record.value for record in found.records] == [name.encode()]
                assert await loaded_records(saver, "thread", name) == found.records
            assert state_of(await loaded(saver, "thread")) == writer.state()

    async def test_nested_checkpoints_may_precede_the_first_root_checkpoint(self) -> None:
        async with self.saver() as saver:
            writer = Writer.of("thread")
            for name in ("child", "other", "child", ""):
                await commit(saver, writer, Step({"whose": name.encode()}, {"log": b"x,"}, ns=name))
            for name in ("child", "other", ""):
                assert state_of(await loaded(saver, "thread", name)) == writer.state(ns=name)

    async def test_a_commit_without_a_root_checkpoint_keeps_the_head(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            await commit(saver, writer, Step({"memory": b"a"}, ns="child"), Step({"memory": b"b"}, ns="child"))
            found = await loaded(saver, "thread")
            assert (found.thread.head, found.thread.version) == (3, 5)
            assert found.checkpoint is not None
            assert found.checkpoint.no == 3
            assert state_of(found) == writer.state()
            (info,) = await saver.list_threads()
            assert (info.head, info.version) == (3, 5)
            # Records of the root's tasks can still be saved.
            record = writer.record(born=3)
            await save(saver, writer, writer.batch(record))
            assert (await loaded(saver, "thread")).records == (record,)

    async def test_one_commit_holds_records_of_several_namespaces(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            await commit(saver, writer, Step({"memory": b"a"}, ns="child"))
            records = writer.record(born=3), writer.record(ns="child"), writer.record(born=3, ns="calls")
            unit = writer.unit(
                Step({"memory": b"b"}, ns="child"), Step({"count": b"4"}), records=records, status="interrupted"
            )
            await saver.commit(unit)
            writer.applied(unit)
            for record in records:
                assert await loaded_records(saver, "thread", record.ns) == (record,)
            assert (await loaded(saver, "thread")).thread == writer.thread
            assert state_of(await loaded(saver, "thread", "child")) == {"memory": b"b"}

    async def test_records_can_be_saved_without_a_checkpoint(self) -> None:
        async with self.saver() as saver:
            assert await saver.load_records("thread", "calls") is None
            writer = await some_thread(saver)
            assert await loaded_records(saver, "thread", "calls") == ()
            places = ((3, 10), (2, 7), (3, 2), (2, 0), (3, 1))
            records = [writer.record(born=born, number=number, ns="calls") for born, number in places]
            for record in records:
                await save(saver, writer, writer.batch(record, writer.record()))
            in_order = tuple(sorted(records, key=lambda record: (record.born, record.ord)))
            assert await loaded_records(saver, "thread", "calls") == in_order
            assert await loaded_records(saver, "thread", "") == (writer.record(),)
            await commit(saver, writer, Step({"count": b"4"}))
            found = await saver.load_records("thread", "calls")
            assert found is not None
            assert found.thread == writer.thread
            assert verify_records(found) == in_order

    async def test_a_namespace_has_a_history_of_its_own(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            for number in range(5):
                await commit(saver, writer, Step({}, {"notes": b"%d," % number}, ns="child"))
                await commit(saver, writer, Step({"count": b"%d" % number}))
            await save(saver, writer, writer.batch(writer.record(born=8, ns="child"), writer.record()))
            numbers: list[int] = []
            before: int | None = None
            while before != 0:
                page = await saver.history("thread", "child", before=before, limit=2)
                assert page is not None
                verify_page(page)
                assert states_of(page) == {row.no: writer.state(row.no, "child") for row in page.checkpoints}
                assert {record.ns for record in page.records} <= {"child"}
                numbers += [row.no for row in page.checkpoints]
                before = page.older
            assert numbers == [12, 10, 8, 6, 4]

    async def test_a_fork_excludes_later_checkpoints(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            await commit(saver, writer, Step({"memory": b"early"}, {"notes": b"1,"}, ns="child"))
            await commit(saver, writer, Step({"count": b"5"}))
            await commit(saver, writer, Step({"memory": b"late"}, {"notes": b"2,"}, ns="child"))
            await commit(saver, writer, Step({"memory": b"other"}, ns="other"))
            await commit(saver, writer, Step({"count": b"fork"}), fork_of=5)
            assert state_of(await loaded(saver, "thread", "child")) == {"memory": b"early", "notes": b"1,"}
            assert _is_bare(await saver.load("thread", "other"))
            await commit(saver, writer, Step({}, {"notes": b"3,"}, ns="child"))
            assert state_of(await loaded(saver, "thread", "child")) == writer.state(ns="child")
            assert writer.state(ns="child") == {"memory": b"early", "notes": b"1,3,"}
            # Their checkpoints can still be loaded by number.
            assert state_of(await loaded(saver, "thread", "child", 6)) == {"memory": b"late", "notes": b"1,2,"}
            assert state_of(await loaded(saver, "thread", "other", 7)) == {"memory": b"other"}

    async def test_a_fork_of_a_nested_checkpoint_moves_the_head_back(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            await commit(saver, writer, Step({"memory": b"4"}, ns="child"))
            await commit(saver, writer, Step({"memory": b"5"}, ns="child"))
            await commit(saver, writer, Step({"count": b"6"}))
            await save(saver, writer, writer.batch(writer.record(), writer.record(ns="calls")))
            await commit(saver, writer, Step({"memory": b"fork"}, ns="child"), fork_of=4)
            found = await loaded(saver, "thread")
            assert found.thread == writer.thread
            assert (found.thread.head, found.thread.version) == (3, 7)
            assert state_of(found) == writer.state(3)
            assert state_of(await loaded(saver, "thread", "child")) == {"memory": b"fork"}
            await save(saver, writer, writer.batch(writer.record(ns="child")))
            await loaded(saver, "thread")
            await commit(saver, writer, Step({"count": b"8"}))
            assert state_of(await loaded(saver, "thread")) == writer.state()

    async def test_the_digest_of_the_head_covers_task_records(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            await commit(saver, writer, Step({"memory": b"4"}, ns="child"))
            first = writer.record(ns="child", rank=Rank.FAILED), writer.record(born=3, ns="calls")
            await _saved_and_loaded(saver, writer, *first)
            await _saved_and_loaded(saver, writer, writer.record(ns="child"), writer.record(born=3))
            await commit(saver, writer, Step({"memory": b"5"}, ns="child"))
            await loaded(saver, "thread")
            unit = writer.unit(Step(ns="child"), records=[writer.record(ns="child"), writer.record(born=3, ns="x")])
            await saver.commit(unit)
            writer.applied(unit)
            await loaded(saver, "thread")
            # The tasks are planned again, and records under the old number still count.
            await commit(saver, writer, Step({"count": b"7"}, born=3))
            await _saved_and_loaded(
                saver, writer, writer.record(born=3, number=1), writer.record(born=3, number=1, ns="x")
            )
            await commit(saver, writer, Step({"count": b"8"}))
            await _saved_and_loaded(saver, writer, writer.record(), writer.record(ns="y"))
            # A commit may have interrupt records of the tasks that it plans.
            no = writer.thread.version + 1
            stops = writer.record(born=no, rank=Rank.INTERRUPTED), writer.record(born=no, ns="y")
            unit = writer.unit(Step({"count": b"9"}), records=stops)
            await saver.commit(unit)
            writer.applied(unit)
            assert (await loaded(saver, "thread")).records == stops[:1]


async def _saved_and_loaded(saver: Checkpointer, writer: Writer, *records: TaskRecord) -> None:
    await save(saver, writer, writer.batch(*records))
    await loaded(saver, "thread")


def _is_bare(found: StoredCheckpoint | None) -> bool:
    """Whether the thread exists without such a checkpoint."""
    return found is not None and found.checkpoint is None and not found.values and not found.records
