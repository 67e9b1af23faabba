"""Clauses of the reads that the runs of a claim share, and of the thread's row that a claim has."""

import msgspec

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.fresh_threads import loaded_by
from durable_graph.records import StoredCheckpoint
from durable_graph.run_records import Claim, NewMessage, RunState, RunUpdate
from durable_graph.testing.conformance.run_store_under_test import (
    RunStoreUnderTest,
    accept,
    claim_one,
    claims,
    commit_with,
    end_of,
    new_run,
    runs_of,
    writer_of,
)
from durable_graph.testing.conformance.saver_under_test import save, some_thread

_LARGE = 1 << 30


class ReadClauses(RunStoreUnderTest):
    """Clauses of `load_many`, `inboxes` and `Claim.fresh`."""

    async def test_many_threads_are_loaded_as_each_of_them_is(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            await accept(saver)
            writer = await writer_of(saver)
            await save(saver, writer, writer.batch(writer.record()))
            await accept(saver, "new")
            await accept(saver, "deleted")
            await saver.delete_thread("deleted")
            await self._loads_as_each(saver, ["thread", "new", "deleted", "unknown"])

    async def test_a_loaded_thread_has_the_epoch_of_the_newest_claim(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            await accept(saver)
            for _ in range(2):
                claim = await claim_one(saver)
                (found,) = (await runs_of(saver).load_many(["thread"], _LARGE)).values()
                assert found.thread.epoch == claim.epoch
                await runs_of(saver).settle(end_of(claim, 1, RunState.READY))

    async def test_no_threads_are_loaded_and_no_inboxes_are_read(self) -> None:
        async with self.saver() as saver:
            await accept(saver)
            assert await runs_of(saver).load_many([], _LARGE) == {}
            assert await runs_of(saver).inboxes({}) == {}

    async def test_the_inboxes_of_many_threads_are_read_as_each_of_them_is(self) -> None:
        async with self.saver() as saver:
            wanted = {
                "first": ("parcel", "payment"),
                "second": ("payment",),
                "third": ("parcel",),
                "unknown": ("parcel",),
            }
            for thread in ("first", "second", "third"):
                await accept(saver, thread)
            for number, (thread, topic) in enumerate(
                [
                    ("first", "payment"),
                    ("second", "payment"),
                    ("first", "parcel"),
                    ("first", "other"),
                    ("second", "parcel"),
                ]
            ):
                await runs_of(saver).send(NewMessage(thread, topic, f"key {number}", b"%d" % number))
            found = await runs_of(saver).inboxes(wanted)
            assert sorted(found) == ["first", "second"]
            for thread, messages in found.items():
                assert messages == await runs_of(saver).inbox(thread, wanted[thread])

    async def test_the_claim_of_a_new_thread_has_its_row(self) -> None:
        async with self.saver() as saver:
            await accept(saver)
            await accept(saver, "keyed", key="key")
            # The row has changed since its first run was accepted.
            await accept(saver, "twice")
            await runs_of(saver).accept(new_run("twice", key="key"))
            for claim in await claims(saver):
                assert loaded_by(claim) == await _loaded(saver, claim)

    async def test_the_first_commit_is_made_on_the_row_that_the_claim_has(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            found = loaded_by(await claim_one(saver))
            assert found is not None
            writer = await writer_of(saver)
            writer.base = found.base
            await commit_with(saver, writer, RunUpdate(seq, RunState.DONE), status="done")

    async def test_the_claim_of_a_thread_whose_row_has_to_be_loaded_has_none(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            await accept(saver)
            assert loaded_by(await claim_one(saver)) is None
            # The row of the thread has changed, although it has no checkpoint.
            seq = await accept(saver, "cancelled")
            await runs_of(saver).cancel_run("cancelled", seq, "reason")
            await accept(saver, "cancelled")
            assert loaded_by(await claim_one(saver, 2)) is None

    async def _loads_as_each(self, saver: Checkpointer, threads: list[str]) -> None:
        each = {thread: await saver.load(thread) for thread in threads}
        found = await runs_of(saver).load_many(threads, _LARGE)
        assert found == {thread: loaded for thread, loaded in each.items() if loaded is not None}


async def _loaded(saver: Checkpointer, claim: Claim) -> StoredCheckpoint | None:
    """The thread as the saver loads it, without the base, which not every saver returns."""
    found, fresh = await saver.load(claim.thread), loaded_by(claim)
    if found is None or found.base is not None or fresh is None:
        return found
    return msgspec.structs.replace(found, base=fresh.base)
