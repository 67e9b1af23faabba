"""Clauses of `save_writes` with a `wseq`: a question is answered once, and a late writer gets `WritesMoved`."""

import asyncio

import msgspec

from durable_graph.checkpointing import Checkpointer
from durable_graph.records import Conflict, Rank, Saved, TaskRecord, WritesMoved
from durable_graph.testing.conformance.saver_under_test import SaverUnderTest, commit, loaded, save, some_thread
from durable_graph.testing.rows import Step, Writer


class AnswerClauses(SaverUnderTest):
    """Clauses of a batch that compares and swaps."""

    async def test_of_two_concurrent_answers_one_is_recorded(self) -> None:
        async with self.saver() as saver:
            writer = await _waiting_thread(saver)
            batches = [run.batch(_answer(run), if_unmoved=True) for run in (writer, writer.rival())]
            answers = await asyncio.gather(*(saver.save_writes(batch) for batch in batches))
            assert sorted(map(type, answers), key=repr) == [Saved, WritesMoved], answers
            (won,) = (batch for batch, answer in zip(batches, answers, strict=True) if isinstance(answer, Saved))
            assert answers[1 - batches.index(won)] == WritesMoved(2)
            found = await loaded(saver, "thread")
            assert (found.records, found.thread.wseq) == (won.records, 2)

    async def test_a_refused_batch_writes_nothing(self) -> None:
        async with self.saver() as saver:
            writer = await _waiting_thread(saver)
            late = writer.rival()
            await save(saver, writer, writer.batch(_answer(writer)))
            before = await loaded(saver, "thread")
            batch = late.batch(late.record(number=1), late.record(ns="calls"), if_unmoved=True, status="failed")
            assert await saver.save_writes(batch) == WritesMoved(2)
            assert await loaded(saver, "thread") == before

    async def test_saving_a_status_alone_can_compare_and_swap(self) -> None:
        async with self.saver() as saver:
            writer = await _waiting_thread(saver)
            late = writer.rival()
            await save(saver, writer, writer.batch(_answer(writer), status="running"))
            assert await saver.save_writes(late.batch(status="failed", if_unmoved=True)) == WritesMoved(2)
            assert (await loaded(saver, "thread")).thread.status == "running"
            await save(saver, writer, writer.batch(status="failed", if_unmoved=True))
            assert (await loaded(saver, "thread")).thread.status == "failed"

    async def test_a_batch_that_expects_another_status_is_refused(self) -> None:
        async with self.saver() as saver:
            writer = await _waiting_thread(saver)
            late = writer.rival()
            await save(saver, writer, writer.batch(status="running"))
            before = await loaded(saver, "thread")
            batch = msgspec.structs.replace(late.batch(_answer(late), if_unmoved=True), if_status="interrupted")
            assert await saver.save_writes(batch) == WritesMoved(1)
            assert await loaded(saver, "thread") == before
            batch = msgspec.structs.replace(batch, if_status="running")
            assert await saver.save_writes(batch) == Saved(2, bumped=True, standing=batch.records)
            await save(saver, writer, writer.batch(status="interrupted"))
            assert await saver.save_writes(batch) == Saved(2, bumped=False, standing=batch.records)

    async def test_a_repeated_answer_is_idempotent(self) -> None:
        async with self.saver() as saver:
            writer = await _waiting_thread(saver)
            batch = writer.batch(_answer(writer), if_unmoved=True, status="running")
            assert await saver.save_writes(batch) == Saved(2, bumped=True, standing=batch.records)
            assert await saver.save_writes(batch) == Saved(2, bumped=False, standing=batch.records)
            rival = writer.rival()
            await save(saver, rival, rival.batch(rival.record(number=1), status="failed"))
            assert await saver.save_writes(batch) == Saved(3, bumped=False, standing=batch.records)
            assert (await loaded(saver, "thread")).thread.status == "failed"
            await commit(saver, rival, Step({"count": b"4"}))
            assert await saver.save_writes(batch) == Saved(0, bumped=False, standing=batch.records)

    async def test_an_answer_to_another_checkpoint_is_a_conflict(self) -> None:
        async with self.saver() as saver:
            writer = await _waiting_thread(saver)
            late = writer.rival()
            await commit(saver, writer, Step({"count": b"4"}))
            assert await saver.save_writes(late.batch(_answer(late), if_unmoved=True)) == Conflict(4)
            # The count starts again with each commit, so an equal count is no proof.
            await save(saver, writer, writer.batch(writer.record()))
            assert await saver.save_writes(late.batch(_answer(late), if_unmoved=True)) == Conflict(4)
            other_epoch = msgspec.structs.replace(writer.batch(_answer(writer), if_unmoved=True), epoch=7)
            assert await saver.save_writes(other_epoch) == Conflict(4)

    async def test_interrupted_threads_are_listed_until_they_are_answered(self) -> None:
        async with self.saver() as saver:
            writer = await _waiting_thread(saver)
            await some_thread(saver, "other")
            infos = await saver.list_threads(status="interrupted")
            assert [(info.thread, info.since, info.head) for info in infos] == [("thread", 2, 3)]
            await save(saver, writer, writer.batch(_answer(writer), if_unmoved=True, status="running", at=8))
            assert await saver.list_threads(status="interrupted") == []
            infos = await saver.list_threads(status="running")
            assert [(info.thread, info.since) for info in infos] == [("other", 1), ("thread", 8)]


async def _waiting_thread(saver: Checkpointer) -> Writer:
    """A thread with a task that waits for an answer."""
    writer = await some_thread(saver)
    await save(saver, writer, writer.batch(writer.record(rank=Rank.INTERRUPTED), status="interrupted"))
    return writer


def _answer(writer: Writer) -> TaskRecord:
    return writer.record(rank=Rank.INTERRUPTED, revision=2, value=writer.run)
