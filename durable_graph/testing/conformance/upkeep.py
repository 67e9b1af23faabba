"""Clauses of `delete_thread`, `copy_thread` and `prune`."""

import msgspec

from durable_graph.checkpointing import verify_page
from durable_graph.errors import InvalidOptionError, ThreadExistsError, UnknownThreadError
from durable_graph.records import Committed, Conflict
from durable_graph.testing.conformance.saver_under_test import (
    SaverUnderTest,
    commit,
    loaded,
    raises,
    save,
    some_thread,
)
from durable_graph.testing.rows import Step, Writer, state_of, states_of


class UpkeepClauses(SaverUnderTest):
    """Clauses of whole threads."""

    async def test_a_deleted_thread_leaves_a_tombstone(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            await save(saver, writer, writer.batch(writer.record()))
            for _ in range(2):
                await saver.delete_thread("thread")
                found = await saver.load("thread")
                assert found is not None
                assert (found.thread.status, found.thread.version, found.thread.epoch) == ("deleted", 4, 1)
                assert found.thread.thread == ""
                assert (found.checkpoint, found.values, found.records) == (None, (), ())
            older = await saver.load("thread", no=2)
            assert older is not None
            assert older.checkpoint is None
            page = await saver.history("thread", limit=5)
            assert page is not None
            assert page.checkpoints == ()

    async def test_a_purged_thread_leaves_nothing(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            other = await some_thread(saver, "other")
            for _ in range(2):
                assert await saver.delete_thread("thread", purge=True)
                assert await saver.load("thread") is None
            assert await saver.commit(writer.unit(Step({"count": b"4"}))) == Conflict(0)
            assert await saver.save_writes(writer.batch(writer.record())) == Conflict(0)
            assert state_of(await loaded(saver, "other")) == other.state()
            # The row of an earlier deletion is removed as well.
            await saver.delete_thread("other")
            await saver.delete_thread("other", purge=True)
            assert await saver.load("other") is None

    async def test_expired_tombstones_are_removed(self) -> None:
        async with self.saver() as saver:
            for name in ("a", "b", "c", "kept"):
                await some_thread(saver, name)
            for name in ("a", "b", "c"):
                await saver.delete_thread(name)
            found = await saver.load("a")
            assert found is not None
            assert await saver.forget_deleted(before=found.thread.status_since) == 0
            assert await saver.load("a") is not None
            assert await saver.forget_deleted(before=1 << 60, limit=2) == 2
            assert await saver.forget_deleted(before=1 << 60) == 1
            assert await saver.forget_deleted(before=1 << 60) == 0
            assert [await saver.load(name) for name in ("a", "b", "c")] == [None, None, None]
            assert await saver.load("kept") is not None
            with raises(InvalidOptionError):
                await saver.forget_deleted(before=1, limit=0)

    async def test_deleting_an_unknown_thread_does_nothing(self) -> None:
        async with self.saver() as saver:
            await saver.delete_thread("thread")
            assert await saver.load("thread") is None
            await some_thread(saver)

    async def test_a_delete_that_expects_an_older_version_is_a_conflict(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            (info,) = await saver.list_threads()
            await commit(saver, writer, Step({"count": b"4"}))
            assert not await saver.delete_thread("thread", seen=info)
            (info,) = await saver.list_threads()
            await save(saver, writer, writer.batch(writer.record()))
            assert not await saver.delete_thread("thread", seen=info)
            assert state_of(await loaded(saver, "thread")) == writer.state()
            (info,) = await saver.list_threads()
            for _ in range(2):
                assert await saver.delete_thread("thread", seen=info)
            assert await saver.list_threads() == []
            assert await saver.delete_thread("nobody", seen=info)

    async def test_a_stale_writer_of_a_deleted_thread_gets_a_conflict(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            zombie = writer.rival(writer.run)
            await saver.delete_thread("thread")
            assert await saver.commit(zombie.unit(Step({"count": b"4"}))) == Conflict(4)
            # The writer may have missed several numbers, so an equal version of the tombstone is no proof.
            zombie.thread = msgspec.structs.replace(zombie.thread, version=4, epoch=1)
            assert await saver.commit(zombie.unit(Step({"count": b"4"}))) == Conflict(4)
            assert await saver.save_writes(zombie.batch(zombie.record())) == Conflict(4)
            found = await saver.load("thread")
            assert found is not None
            assert found.thread.status == "deleted"

    async def test_a_deleted_thread_can_be_created_again(self) -> None:
        async with self.saver() as saver:
            old = await some_thread(saver)
            await saver.delete_thread("thread")
            grave = await saver.load("thread")
            assert grave is not None
            new = old.reborn(grave.thread)
            unit = await commit(saver, new, Step({"life": b"second"}))
            assert await saver.commit(unit) == Committed(5)
            found = await loaded(saver, "thread")
            assert (found.thread.incarnation, found.thread.head, found.thread.status) == (2, 5, "running")
            assert state_of(found) == {"life": b"second"}
            assert await saver.commit(old.unit(Step({"count": b"4"}))) == Conflict(5)

    async def test_a_copy_has_all_rows_of_its_source(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver, length=5)
            await commit(saver, writer, Step({"memory": b"child's"}, ns="child"))
            await commit(saver, writer, Step({"count": b"fork"}, {"log": b"f,"}), fork_of=2)
            await save(saver, writer, writer.batch(writer.record(), status="failed"))
            source = await loaded(saver, "thread")
            for _ in range(2):
                await saver.copy_thread("thread", "copy")
            copy = await loaded(saver, "copy")
            # The tasks of the copy differ from those of an earlier thread with the same id.
            assert copy.thread.incarnation != source.thread.incarnation
            thread = msgspec.structs.replace(source.thread, thread="copy", incarnation=copy.thread.incarnation)
            assert copy == msgspec.structs.replace(source, thread=thread, base=copy.base)
            assert state_of(await loaded(saver, "copy", "child", 6)) == {"memory": b"child's"}
            page = await saver.history("copy", limit=20)
            assert page is not None
            verify_page(page)
            assert states_of(page) == {no: writer.state(no) for no in (1, 2, 3, 4, 5, 7)}

    async def test_a_copy_and_its_source_are_independent(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            await saver.copy_thread("thread", "copy")
            other = writer.rival()
            other.thread = (await loaded(saver, "copy")).thread
            await commit(saver, writer, Step({"count": b"source"}))
            await commit(saver, other, Step({"count": b"copy"}, {"log": b"copy,"}))
            assert state_of(await loaded(saver, "thread")) == writer.state()
            assert state_of(await loaded(saver, "copy")) == other.state()
            await saver.delete_thread("thread")
            assert state_of(await loaded(saver, "copy")) == other.state()

    async def test_a_copy_does_not_overwrite_a_thread(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            other = await some_thread(saver, "other")
            with raises(ThreadExistsError):
                await saver.copy_thread("thread", "other")
            with raises(ThreadExistsError):
                await saver.copy_thread("thread", "thread")
            with raises(UnknownThreadError):
                await saver.copy_thread("nobody", "copy")
            assert state_of(await loaded(saver, "other")) == other.state()
            await saver.copy_thread("thread", "copy")
            copy = other.rival()
            copy.thread = (await loaded(saver, "copy")).thread
            await commit(saver, copy, Step({"count": b"4"}))
            with raises(ThreadExistsError):
                await saver.copy_thread("thread", "copy")

    async def test_a_copy_onto_a_tombstone_refuses_its_stale_writers(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            zombie = await some_thread(saver, "copy")
            await saver.delete_thread("copy")
            await saver.copy_thread("thread", "copy")
            assert (await loaded(saver, "copy")).thread.incarnation != zombie.thread.incarnation
            assert await saver.commit(zombie.unit(Step({"count": b"4"}))) == Conflict(3)
            assert await saver.save_writes(zombie.batch(zombie.record())) == Conflict(3)

    async def test_pruning_keeps_the_rows_that_kept_checkpoints_use(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver, length=40)
            await commit(saver, writer, Step({"memory": b"old"}, {"notes": b"1,"}, ns="child"))
            await commit(saver, writer, Step({}, {"notes": b"2,"}, ns="child"))
            await commit(saver, writer, Step({"count": b"43"}, {"log": b"43,"}))
            await commit(saver, writer, Step({"count": b"44"}))
            before = await loaded(saver, "thread")
            assert await saver.prune("thread", keep_last=2) == 41
            assert await saver.prune("thread", keep_last=2) == 0
            found = await loaded(saver, "thread")
            assert found.thread == msgspec.structs.replace(before.thread, gen=1, floor=43)
            assert state_of(found) == writer.state()
            assert state_of(await loaded(saver, "thread", no=43)) == writer.state(43)
            assert state_of(await loaded(saver, "thread", "child")) == writer.state(ns="child")
            gone = await saver.load("thread", no=42)
            assert gone is not None
            assert gone.checkpoint is None

    async def test_pruning_keeps_recent_checkpoints(self) -> None:
        async with self.saver() as saver:
            writer = Writer.of("thread")
            # A clock may go back: all checkpoints after a kept checkpoint are kept.
            for number, time in enumerate((10, 20, 30, 15, 40), 1):
                unit = writer.unit(Step({"count": b"%d" % number}), at=time)
                await saver.commit(unit)
                writer.applied(unit)
            assert await saver.prune("thread", before=5) == 0
            assert await saver.prune("thread", before=25) == 2
            assert await saver.prune("thread", keep_last=2, before=99) == 1
            page = await saver.history("thread", limit=10)
            assert page is not None
            verify_page(page)
            assert states_of(page) == {no: writer.state(no) for no in (4, 5)}

    async def test_a_pruned_thread_can_be_read_and_continued(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver, length=40)
            await save(saver, writer, writer.batch(writer.record()))
            await saver.prune("thread", keep_last=3)
            assert (await loaded(saver, "thread")).records == (writer.record(),)
            page = await saver.history("thread", limit=10)
            assert page is not None
            verify_page(page)
            assert states_of(page) == {no: writer.state(no) for no in (38, 39, 40)}
            # The running run has not read the thread since the prune.
            await commit(saver, writer, Step({"count": b"41"}, {"log": b"41,"}))
            writer.thread = (await loaded(saver, "thread")).thread
            await commit(saver, writer, Step({"count": b"f"}, {"log": b"f,"}), fork_of=39)
            assert state_of(await loaded(saver, "thread")) == writer.state()

    async def test_pruning_removes_other_branches(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver, length=6)
            await commit(saver, writer, Step({}, {"log": b"f,"}), fork_of=3)
            await commit(saver, writer, Step({}, {"log": b"g,"}))
            assert await saver.prune("thread", keep_last=4) == 4
            page = await saver.history("thread", limit=10)
            assert page is not None
            verify_page(page)
            assert states_of(page) == {no: writer.state(no) for no in (2, 3, 7, 8)}

    async def test_a_fork_of_a_pruned_checkpoint_is_a_conflict(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver, length=5)
            unit = writer.unit(Step({"count": b"fork"}), fork_of=2)
            await saver.prune("thread")
            assert await saver.commit(unit) == Conflict(5)
            assert state_of(await loaded(saver, "thread")) == writer.state()
            # A checkpoint of a pruned branch that is not older than the kept checkpoints.
            other = await some_thread(saver, "other", length=5)
            await commit(saver, other, Step({"count": b"6"}), fork_of=3)
            unit = other.unit(Step({"count": b"fork"}), fork_of=5)
            assert await saver.prune("other", keep_last=2) == 4
            assert await saver.commit(unit) == Conflict(6)

    async def test_pruning_leaves_at_least_one_checkpoint(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            with raises(InvalidOptionError):
                await saver.prune("thread", keep_last=0)
            with raises(UnknownThreadError):
                await saver.prune("nobody")
            assert await saver.prune("thread", keep_last=99) == 0
