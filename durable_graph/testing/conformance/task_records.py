"""Clauses of `save_writes`: the first record is valid, unless a more final record follows."""

import msgspec

from durable_graph.records import Conflict, Rank, Saved
from durable_graph.testing.conformance.saver_under_test import SaverUnderTest, commit, loaded, save, some_thread
from durable_graph.testing.rows import Step


class TaskRecordClauses(SaverUnderTest):
    """Clauses of `save_writes`."""

    async def test_task_records_are_loaded_with_their_checkpoint(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            records = writer.record(), writer.record(number=1, value=b""), writer.record(ns="child")
            assert await saver.save_writes(writer.batch(*records)) == Saved(1, bumped=True, standing=records)
            found = await loaded(saver, "thread")
            assert found.records == records[:2]
            assert found.writes_digest is not None
            assert (await loaded(saver, "thread", no=2)).records == ()

    async def test_the_first_recorded_result_stands(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            rival = writer.rival()
            mine, theirs = writer.record(value=b"mine"), rival.record(value=b"theirs")
            assert await save(saver, writer, writer.batch(mine)) == (mine,)
            late = await saver.save_writes(rival.batch(theirs, rival.record(number=1)))
            assert late == Saved(2, bumped=True, standing=(mine, rival.record(number=1)))
            assert (await loaded(saver, "thread")).records == (mine, rival.record(number=1))

    async def test_a_more_final_result_replaces_a_less_final_one(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            rising = (
                writer.record(rank=Rank.FAILED, revision=1),
                writer.record(rank=Rank.INTERRUPTED, revision=2),
                writer.record(rank=Rank.FAILED, revision=3),
                writer.record(rank=Rank.HANDLING, revision=1),
                writer.record(rank=Rank.HANDLING, revision=2),
                writer.record(rank=Rank.ROUTING_OPEN, revision=1),
                writer.record(rank=Rank.ROUTING_OPEN, revision=5),
                writer.record(rank=Rank.DONE, revision=1),
            )
            for step, record in enumerate(rising):
                assert await save(saver, writer, writer.batch(record)) == (record,)
                for earlier in rising[: step + 1]:
                    assert await save(saver, writer, writer.batch(earlier)) == (record,)
            assert (await loaded(saver, "thread")).records == rising[-1:]

    async def test_a_done_record_is_never_replaced(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            done = writer.record(revision=1)
            assert await save(saver, writer, writer.batch(done)) == (done,)
            for rank in Rank:
                later = writer.record(rank=rank, revision=7, value=b"later")
                assert await save(saver, writer, writer.batch(later)) == (done,)
            assert (await loaded(saver, "thread")).records == (done,)

    async def test_equally_final_results_do_not_replace_each_other(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            rival = writer.rival()
            for number, rank in enumerate(Rank):
                mine = writer.record(number=number, rank=rank, value=b"mine")
                await save(saver, writer, writer.batch(mine))
                assert await save(saver, writer, rival.batch(rival.record(number=number, rank=rank))) == (mine,)

    async def test_a_repeated_save_is_idempotent(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            batch = writer.batch(writer.record(), status="failed")
            assert await saver.save_writes(batch) == Saved(1, bumped=True, standing=batch.records)
            again = msgspec.structs.replace(batch, at=99)
            assert await saver.save_writes(again) == Saved(1, bumped=False, standing=batch.records)
            thread = (await loaded(saver, "thread")).thread
            assert (thread.wseq, thread.status, thread.status_since) == (1, "failed", 2)

    async def test_a_repeated_save_is_idempotent_after_later_commits(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            batch = writer.batch(writer.record())
            await save(saver, writer, batch)
            await commit(saver, writer, Step({"count": b"4"}))
            assert await saver.save_writes(batch) == Saved(0, bumped=False, standing=batch.records)

    async def test_records_for_another_checkpoint_are_refused(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            rival = writer.rival()
            await commit(saver, writer, Step({"count": b"4"}))
            assert await saver.save_writes(rival.batch(rival.record())) == Conflict(4)
            other_epoch = msgspec.structs.replace(writer.batch(writer.record()), epoch=7)
            assert await saver.save_writes(other_epoch) == Conflict(4)
            assert await saver.save_writes(msgspec.structs.replace(other_epoch, thread="nobody")) == Conflict(0)
            assert (await loaded(saver, "thread")).records == ()
            assert (await loaded(saver, "thread", no=3)).records == ()

    async def test_a_refused_record_does_not_change_the_status(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            rival = writer.rival()
            await save(saver, writer, writer.batch(writer.record(), status="interrupted"))
            await save(saver, rival, rival.batch(rival.record(rank=Rank.FAILED), status="failed"))
            assert (await loaded(saver, "thread")).thread.status == "interrupted"

    async def test_a_status_can_be_saved_without_records(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            assert await saver.save_writes(writer.batch(status="failed", at=5)) == Saved(0, bumped=False, standing=())
            thread = (await loaded(saver, "thread")).thread
            assert (thread.status, thread.status_since, thread.wseq) == ("failed", 5, 0)

    async def test_records_in_a_commit_are_stored(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            record = writer.record()
            unit = writer.unit(Step({"count": b"4"}), records=[record])
            await saver.commit(unit)
            assert (await loaded(saver, "thread", no=3)).records == (record,)
            assert (await loaded(saver, "thread")).records == ()

    async def test_replanned_tasks_keep_their_records(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            kept = writer.record(), writer.record(number=1, rank=Rank.FAILED)
            await save(saver, writer, writer.batch(*kept))
            # An update of the state: the tasks that checkpoint 3 planned are still pending.
            await commit(saver, writer, Step({"count": b"edited"}, born=3))
            assert (await loaded(saver, "thread")).records == kept
            done = writer.record(born=3, number=1)
            await save(saver, writer, writer.batch(done))
            assert (await loaded(saver, "thread")).records == (kept[0], done)
