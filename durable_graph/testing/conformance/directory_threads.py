"""Clauses of the directory of threads about one thread: creating, updating, deleting, copying and moving it."""

import asyncio
import time
from datetime import timedelta

from durable_graph.checkpointing import Checkpointer, Transferable, delete_expired_threads
from durable_graph.checkpointing.directory import MOST_METADATA_BYTES, DeletedThread
from durable_graph.checkpointing.directory_rules import encoded_metadata
from durable_graph.errors import InvalidOptionError
from durable_graph.records import Committed, Conflict
from durable_graph.run_records import RunState
from durable_graph.testing.conformance.directory_under_test import (
    create,
    directory_of,
    entry_at,
    ids,
    new_thread,
    update,
)
from durable_graph.testing.conformance.run_store_under_test import accept, claim_one, runs_of, writer_of
from durable_graph.testing.conformance.saver_under_test import SaverUnderTest, commit, loaded, raises, some_thread


class DirectoryUnderTest(SaverUnderTest):
    """The hooks. A backend has to implement `open` and `open_another`."""

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        """Another saver on the store of `saver`, as another process has it."""
        raise NotImplementedError


class CreationClauses(DirectoryUnderTest):
    """Clauses of `create` and `find`."""

    async def test_a_created_thread_has_its_metadata_and_no_checkpoint(self) -> None:
        async with self.saver() as saver:
            before = time.time_ns() // 1000
            entry = await create(saver, metadata={"user": "ann", "tags": ["a", None]})
            assert entry == await entry_at(saver)
            assert (entry.thread, entry.status, entry.graph, entry.next, entry.error) == (
                "thread",
                "idle",
                None,
                (),
                None,
            )
            assert entry.metadata == {"user": "ann", "tags": ["a", None]}
            assert before <= entry.created_at == entry.updated_at <= time.time_ns() // 1000
            found = await saver.load("thread")
            assert found is not None
            assert found.checkpoint is None
            (listed,) = await saver.list_threads()
            assert (listed.thread, listed.status, listed.head) == ("thread", "done", 0)

    async def test_a_thread_that_exists_is_not_created_again(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver, "committed")
            await create(saver, metadata={"user": "ann"})
            for thread in ("committed", "thread"):
                before = await saver.load(thread)
                created = await directory_of(saver).create(new_thread(thread, {"user": "bob"}))
                assert not created.is_new
                assert created.entry == await entry_at(saver, thread)
                assert created.entry.metadata == ({} if thread == "committed" else {"user": "ann"})
                assert await saver.load(thread) == before

    async def test_a_repeated_creation_changes_nothing(self) -> None:
        async with self.saver() as saver:
            new = new_thread("thread", {"user": "ann"})
            assert (await directory_of(saver).create(new)).is_new
            await update(saver, {"user": "bob"})
            again = await directory_of(saver).create(new)
            assert again.is_new
            assert again.entry.metadata == {"user": "bob"}

    async def test_of_two_simultaneous_creations_one_is_new(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            for number in range(5):
                thread = f"thread {number}"
                created = await asyncio.gather(
                    directory_of(saver).create(new_thread(thread, {"by": 1})),
                    directory_of(other).create(new_thread(thread, {"by": 2})),
                )
                assert sorted(each.is_new for each in created) == [False, True]
                assert [each.entry for each in created] == [await entry_at(saver, thread)] * 2

    async def test_a_created_thread_takes_commits_and_keeps_its_metadata(self) -> None:
        async with self.saver() as saver:
            created = await create(saver, metadata={"user": "ann"})
            writer = await writer_of(saver)
            for _ in range(2):
                await commit(saver, writer)
            await loaded(saver, "thread")
            entry = await entry_at(saver)
            assert (entry.status, entry.metadata, entry.created_at) == ("busy", {"user": "ann"}, created.created_at)

    async def test_a_created_thread_takes_a_run_of_any_graph_and_keeps_its_metadata(self) -> None:
        async with self.saver() as saver:
            await create(saver, metadata={"user": "ann"})
            await accept(saver, graph="first")
            entry = await entry_at(saver)
            assert (entry.status, entry.metadata, entry.graph) == ("busy", {"user": "ann"}, "first")
            claim = await claim_one(saver)
            assert (claim.graph, claim.version) == ("first", 0)

    async def test_a_thread_that_was_never_created_is_found(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            await accept(saver, "accepted")
            assert (await entry_at(saver)).metadata == {}
            assert (await entry_at(saver, "accepted")).graph == "graph"
            assert await ids(saver) == ["accepted", "thread"]

    async def test_unknown_and_deleted_threads_are_not_found(self) -> None:
        async with self.saver() as saver:
            await create(saver)
            await saver.delete_thread("thread")
            assert await directory_of(saver).find("thread") is None
            assert await directory_of(saver).find("unknown") is None
            assert await ids(saver) == []

    async def test_a_deleted_thread_is_created_again_without_its_metadata_and_its_writers(self) -> None:
        async with self.saver() as saver:
            await create(saver, metadata={"user": "ann"})
            late = await writer_of(saver)
            await saver.delete_thread("thread")
            entry = await create(saver, metadata={"tags": 1})
            assert entry.metadata == {"tags": 1}
            assert await ids(saver, {"user": "ann"}) == []
            assert isinstance(await saver.commit(late.unit()), Conflict)
            await commit(saver, await writer_of(saver))
            await loaded(saver, "thread")


class MetadataClauses(DirectoryUnderTest):
    """Clauses of `update`."""

    async def test_an_update_replaces_keys_and_keeps_all_others(self) -> None:
        async with self.saver() as saver:
            await create(saver, metadata={"user": "ann", "at": {"a": 1, "b": 2}})
            entry = await update(saver, {"at": {"c": 3}, "new": None})
            assert entry.metadata == {"user": "ann", "at": {"c": 3}, "new": None}
            assert entry == await entry_at(saver)
            assert await ids(saver, {"at": {"c": 3}, "user": "ann", "new": None}) == ["thread"]
            assert await ids(saver, {"at": {"a": 1, "b": 2}}) == []

    async def test_an_update_and_a_commit_change_the_time_of_the_last_change(self) -> None:
        async with self.saver() as saver:
            created = await create(saver)
            before = time.time_ns() // 1000
            updated = await update(saver, {"user": "ann"})
            assert updated.created_at == created.created_at
            assert updated.updated_at >= before
            writer = await writer_of(saver)
            later = updated.updated_at + 5
            answer = await saver.commit(writer.unit(at=later))
            assert isinstance(answer, Committed)
            assert (await entry_at(saver)).updated_at == later

    async def test_a_thread_that_was_never_created_takes_metadata(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            assert (await update(saver, {"user": "ann"})).metadata == {"user": "ann"}
            assert await ids(saver, {"user": "ann"}) == ["thread"]

    async def test_an_update_creates_no_thread(self) -> None:
        async with self.saver() as saver:
            await create(saver, "deleted")
            await saver.delete_thread("deleted")
            for thread in ("deleted", "unknown"):
                assert await directory_of(saver).update(thread, encoded_metadata({"user": "ann"})) is None
            assert await ids(saver, {"user": "ann"}) == []
            assert (await create(saver, "unknown")).metadata == {}

    async def test_an_update_refuses_no_writer(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            await update(saver, {"user": "ann"})
            await commit(saver, writer)
            seq = await accept(saver)
            claim = await claim_one(saver)
            await update(saver, {"user": "bob"})
            found = await saver.load("thread")
            assert found is not None
            assert (found.thread.epoch, found.unfinished_run) == (claim.epoch, seq)

    async def test_updates_of_two_processes_keep_all_keys(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            await create(saver)
            await asyncio.gather(
                *(
                    update(each, {f"{name} {number}": number})
                    for number in range(8)
                    for name, each in _both(saver, other)
                )
            )
            expected = {f"{name} {number}": number for number in range(8) for name in ("first", "second")}
            assert (await entry_at(saver)).metadata == expected
            assert await ids(other, expected) == ["thread"]

    async def test_metadata_above_the_limit_are_refused(self) -> None:
        async with self.saver() as saver:
            await create(saver, metadata={"first": "x" * (MOST_METADATA_BYTES // 2)})
            with raises(InvalidOptionError):
                await update(saver, {"second": "x" * (MOST_METADATA_BYTES // 2)})
            assert list((await entry_at(saver)).metadata) == ["first"]
            await update(saver, {"second": "x" * (MOST_METADATA_BYTES // 2 - 30)})
            await update(saver, {"first": "y" * (MOST_METADATA_BYTES // 2)})


class DeletionClauses(DirectoryUnderTest):
    """Clauses of `delete`, and of the other calls that delete, copy and move threads."""

    async def test_a_deletion_removes_the_thread_and_its_metadata(self) -> None:
        async with self.saver() as saver:
            directory = directory_of(saver)
            for thread in ("thread", "other"):
                await create(saver, thread, {"user": "ann"})
            late = await writer_of(saver)
            assert await directory.delete("thread") == DeletedThread(is_deleted=True)
            assert await saver.delete_thread("other", purge=True)
            assert await ids(saver, {"user": "ann"}) == []
            assert isinstance(await saver.commit(late.unit()), Conflict)
            for thread in ("thread", "other"):
                assert await directory.find(thread) is None
                assert (await create(saver, thread)).metadata == {}
                assert await ids(saver, {"user": "ann"}) == []

    async def test_a_thread_with_an_unfinished_run_is_not_deleted(self) -> None:
        async with self.saver() as saver:
            await create(saver, metadata={"user": "ann"})
            seq = await accept(saver)
            assert await directory_of(saver).delete("thread") == DeletedThread(is_deleted=False, busy_seq=seq)
            assert (await entry_at(saver)).metadata == {"user": "ann"}
            await runs_of(saver).cancel_run("thread", seq, "reason")
            assert await directory_of(saver).delete("thread") == DeletedThread(is_deleted=True)

    async def test_the_deletion_of_an_unknown_thread_deletes_nothing(self) -> None:
        async with self.saver() as saver:
            await create(saver)
            assert await directory_of(saver).delete("unknown") == DeletedThread(is_deleted=False)
            await directory_of(saver).delete("thread")
            assert await directory_of(saver).delete("thread") == DeletedThread(is_deleted=False)

    async def test_a_copy_has_metadata_of_its_own(self) -> None:
        async with self.saver() as saver:
            await create(saver, metadata={"user": "ann"})
            await saver.copy_thread("thread", "copy")
            writer = await writer_of(saver)
            await commit(saver, writer)
            await saver.copy_thread("thread", "later")
            assert await ids(saver, {"user": "ann"}) == ["copy", "later", "thread"]
            await update(saver, {"user": "bob"}, "copy")
            await saver.delete_thread("thread")
            assert await ids(saver, {"user": "ann"}) == ["later"]
            assert (await entry_at(saver, "copy")).metadata == {"user": "bob"}

    async def test_an_exported_thread_has_its_metadata(self) -> None:
        async with self.saver() as saver, await self.open() as target:
            assert isinstance(saver, Transferable)
            assert isinstance(target, Transferable)
            entry = await create(saver, metadata={"user": "ann"})
            await create(saver, "without", {})
            await create(target, "without", {"user": "ann"})
            await target.delete_thread("without")
            for thread in ("thread", "without"):
                exported = await saver.export_thread(thread)
                assert exported is not None
                await target.import_thread(exported)
            assert await entry_at(target) == entry
            assert await ids(target, {"user": "ann"}) == ["thread"]
            assert (await update(target, {"tags": []})).metadata == {"user": "ann", "tags": []}
            await commit(target, await writer_of(target))

    async def test_a_created_thread_expires_as_a_thread_that_is_done(self) -> None:
        async with self.saver() as saver:
            await create(saver, "created")
            await create(saver, "accepted")
            seq = await accept(saver, "accepted")
            assert (await delete_expired_threads(saver, older_than=timedelta(days=1))).threads == 0
            assert (await delete_expired_threads(saver, older_than=timedelta(0), keep_last=2)).checkpoints == 0
            assert (await delete_expired_threads(saver, older_than=timedelta(0))).threads == 1
            assert await ids(saver) == ["accepted"]
            run = await runs_of(saver).find_run("accepted", seq)
            assert run is not None
            assert run.state is RunState.READY


def _both(first: Checkpointer, second: Checkpointer) -> tuple[tuple[str, Checkpointer], tuple[str, Checkpointer]]:
    return ("first", first), ("second", second)
