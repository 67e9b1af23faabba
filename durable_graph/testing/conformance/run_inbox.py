"""Clauses of the inbox: messages that a run receives once each, in the save that records what became of them."""

import asyncio

from msgspec.structs import replace

from durable_graph.checkpointing import Checkpointer
from durable_graph.records import Saved, WritesBatch, WritesMoved
from durable_graph.run_records import NewMessage, RunState, RunUpdate, Sent
from durable_graph.testing.conformance.run_store_under_test import (
    QUEUE,
    RunStoreUnderTest,
    accept,
    claim_one,
    claims,
    commit_with,
    end_of,
    run_at,
    runs_of,
    state_at,
    wait,
    writer_of,
)
from durable_graph.testing.conformance.saver_under_test import commit, loaded, save, some_thread
from durable_graph.testing.rows import Step

TOPICS = ("parcel", "payment", "unused")


class InboxClauses(RunStoreUnderTest):
    """Clauses of `send`, `inbox` and `WritesBatch.taken`, and of the unfinished run that `load` tells."""

    async def test_a_message_is_recorded_once_for_its_key(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            await accept(saver)
            assert await _sent(saver, "parcel", "a", b"1") == Sent.NEW
            assert await _sent(other, "parcel", "a", b"2") == Sent.KNOWN
            # Keys belong to their topic.
            assert await _sent(other, "payment", "a", b"3") == Sent.NEW
            assert await _values(saver) == [b"1", b"3"]

    async def test_of_simultaneous_messages_with_a_key_one_is_recorded(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            await accept(saver)
            sent = await asyncio.gather(*(_sent(each, "parcel", "a", b"1") for each in (saver, other) * 8))
            assert sorted(sent, key=lambda each: each.value) == [Sent.NEW] + [Sent.KNOWN] * 15
            assert await _values(saver) == [b"1"]

    async def test_messages_are_read_by_topic_in_the_order_of_their_arrival(self) -> None:
        async with self.saver() as saver:
            await accept(saver)
            for number, topic in enumerate(("payment", "parcel", "payment", "parcel")):
                await _sent(saver, topic, f"key {9 - number}", b"%d" % number)
            assert await _values(saver) == [b"0", b"1", b"2", b"3"]
            assert await _values(saver, "parcel") == [b"1", b"3"]
            assert await _values(saver, "payment", "unused") == [b"0", b"2"]
            assert await _values(saver, "unused") == []
            found = await runs_of(saver).inbox("thread", TOPICS)
            assert [message.seq for message in found] == sorted({message.seq for message in found})
            assert await runs_of(saver).inbox("unknown", TOPICS) == []

    async def test_a_message_needs_an_unfinished_run(self) -> None:
        async with self.saver() as saver:
            assert await _sent(saver, "parcel", "a") == Sent.NO_THREAD
            seq = await accept(saver)
            assert await _sent(saver, "parcel", "a") == Sent.NEW
            await claim_one(saver)
            assert await _sent(saver, "parcel", "b") == Sent.NEW
            await commit_with(saver, await writer_of(saver), RunUpdate(seq, RunState.DONE), status="done")
            assert await _sent(saver, "parcel", "c") == Sent.NO_RUN
            later = await accept(saver)
            assert await _sent(saver, "parcel", "c") == Sent.NEW
            await claim_one(saver)
            update = RunUpdate(later, RunState.WAITING, first_checkpoint=2, inbox=3)
            await commit_with(saver, await writer_of(saver), update, status="interrupted")
            await runs_of(saver).cancel_run("thread", later, "reason")
            assert await _sent(saver, "parcel", "d") == Sent.CANCELLED
            await saver.delete_thread("thread")
            assert await _sent(saver, "parcel", "e") == Sent.NO_THREAD

    async def test_a_sent_message_wakes_the_run(self) -> None:
        async with self.saver() as saver:
            seq, claim = await wait(saver)
            assert await _sent(saver, "parcel", "a") == Sent.NEW
            run = await run_at(saver, seq)
            assert (run.state, run.inbox) == (RunState.READY, claim.inbox + 1)
            assert await runs_of(saver).next_due([QUEUE]) == 0
            claim = await claim_one(saver)
            # A message that is known changes nothing, and one that is new is counted.
            assert await _sent(saver, "parcel", "a") == Sent.KNOWN
            assert (await run_at(saver, seq)).inbox == claim.inbox
            assert await _sent(saver, "parcel", "b") == Sent.NEW
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.WAITING, inbox=claim.inbox))
            assert await state_at(saver, seq) == RunState.READY

    async def test_a_message_is_taken_with_the_save_of_its_record(self) -> None:
        async with self.saver() as saver:
            await wait(saver)
            for key in ("a", "b"):
                await _sent(saver, "parcel", key, key.encode())
            await claim_one(saver)
            batch = await _taking(saver, b"a")
            for _ in range(2):
                assert isinstance(await saver.save_writes(batch), Saved)
                assert await _values(saver) == [b"b"]
                assert (await loaded(saver, "thread")).records == batch.records
            # Its key is known, so that a duplicate is not received.
            assert await _sent(saver, "parcel", "a") == Sent.KNOWN
            assert await _values(saver) == [b"b"]

    async def test_a_refused_save_takes_no_message(self) -> None:
        async with self.saver() as saver:
            await wait(saver)
            await _sent(saver, "parcel", "a", b"a")
            await claim_one(saver)
            batch = replace(await _taking(saver, b"a"), wseq=0)
            writer = await writer_of(saver)
            await save(saver, writer, writer.batch(writer.record(number=7)))
            assert isinstance(await saver.save_writes(batch), WritesMoved)
            assert await _values(saver) == [b"a"]

    async def test_a_new_run_has_the_messages_that_nobody_took(self) -> None:
        async with self.saver() as saver:
            await wait(saver)
            for key in ("a", "b"):
                await _sent(saver, "parcel", key, key.encode())
            claim = await claim_one(saver)
            assert isinstance(await saver.save_writes(await _taking(saver, b"a")), Saved)
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.DONE))
            assert (await run_at(saver, await accept(saver))).inbox == 1
            assert (await claim_one(saver)).inbox == 1
            assert await _values(saver) == [b"b"]

    async def test_messages_are_deleted_with_their_thread_and_not_copied(self) -> None:
        async with self.saver() as saver:
            await wait(saver)
            await _sent(saver, "parcel", "a")
            await saver.copy_thread("thread", "copy")
            assert await runs_of(saver).inbox("copy", TOPICS) == []
            for purge in (False, True):
                await saver.delete_thread("thread", purge=purge)
                assert await _values(saver) == []
                assert (await run_at(saver, await accept(saver))).inbox == 0
                assert await _sent(saver, "parcel", "a") == Sent.NEW

    async def test_a_loaded_thread_tells_its_unfinished_run(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            await commit(saver, writer, Step({"memory": b"m"}, ns="child"))
            assert await _unfinished(saver) == {0}
            first, second = [await accept(saver) for _ in range(2)]
            assert await _unfinished(saver) == {first}
            (claim,) = await claims(saver)
            assert await _unfinished(saver) == {first}
            await runs_of(saver).settle(end_of(claim, 1, RunState.FAILED))
            assert await _unfinished(saver) == {second}
            await runs_of(saver).cancel_run("thread", second, "reason")
            assert await _unfinished(saver) == {0}
            new = await accept(saver, "new")
            found = await saver.load("new")
            assert found is not None
            assert (found.checkpoint, found.unfinished_run) == (None, new)


async def _sent(saver: Checkpointer, topic: str, key: str, value: bytes = b"value") -> Sent:
    return await runs_of(saver).send(NewMessage("thread", topic, key, value))


async def _values(saver: Checkpointer, *topics: str) -> list[bytes]:
    return [message.value for message in await runs_of(saver).inbox("thread", topics or TOPICS)]


async def _taking(saver: Checkpointer, value: bytes) -> WritesBatch:
    """A save with the record of a task that received the message with this value."""
    found = await runs_of(saver).inbox("thread", TOPICS)
    writer = await writer_of(saver)
    taken = tuple(message.seq for message in found if message.value == value)
    return replace(writer.batch(writer.record(value=value)), taken=taken)


async def _unfinished(saver: Checkpointer) -> set[int]:
    """What all ways of loading the thread tell."""
    found = [await saver.load("thread"), await saver.load("thread", no=1), await saver.load("thread", "child")]
    return {each.unfinished_run for each in found if each is not None}
