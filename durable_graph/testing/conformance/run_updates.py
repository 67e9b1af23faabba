"""Clauses of updates: messages that a run applies in a commit, and without which no run ends as done."""

from msgspec.structs import replace

from durable_graph.checkpointing import Checkpointer
from durable_graph.records import Committed, CommitUnit, Status
from durable_graph.run_records import (
    UPDATES,
    Discarded,
    NewMessage,
    RequestOfRun,
    RunState,
    RunUpdate,
    Sent,
    Settlement,
)
from durable_graph.testing.conformance.run_store_under_test import (
    RunStoreUnderTest,
    accept,
    claim_one,
    claims,
    commit_with,
    end_of,
    run_at,
    runs_of,
    state_at,
    thread_row,
    unit_with,
    wait,
    writer_of,
)

NOTHING, CANCEL, APPLY = RequestOfRun.NOTHING, RequestOfRun.CANCEL, RequestOfRun.APPLY_UPDATES


class UpdatesClauses(RunStoreUnderTest):
    """Clauses of messages with the topic `UPDATES`, and of `CommitUnit.taken`."""

    async def test_an_update_sets_a_request_in_each_unfinished_run_of_its_thread(self) -> None:
        async with self.saver() as saver:
            first, second = [await accept(saver) for _ in range(2)]
            other = await accept(saver, "other")
            assert await _requests(saver, first, second) == [NOTHING, NOTHING]
            await _update(saver, "a")
            assert await _requests(saver, first, second) == [APPLY, APPLY]
            assert (await run_at(saver, other, "other")).request == NOTHING
            assert {claim.thread: claim.request for claim in await claims(saver)} == {
                "thread": APPLY,
                "other": NOTHING,
            }
            assert await runs_of(saver).send(NewMessage("other", "topic", "a", b"")) == Sent.NEW
            assert (await run_at(saver, other, "other")).request == NOTHING

    async def test_a_heartbeat_returns_the_request_of_an_update(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            seq = await claim_one_new(saver)
            await _update(other, "a")
            for _ in range(2):
                beat = await runs_of(saver).heartbeat(1, 1_000_000)
                assert beat is not None
                assert beat.requests == (("thread", seq, APPLY),)

    async def test_an_update_leaves_a_request_to_cancel(self) -> None:
        async with self.saver() as saver:
            seq = await claim_one_new(saver)
            await runs_of(saver).cancel_run("thread", seq, "reason")
            await _update(saver, "a")
            assert (await run_at(saver, seq)).request == CANCEL
            await _take(saver, seq)
            assert (await run_at(saver, seq)).request == CANCEL

    async def test_a_cancellation_replaces_the_request_of_an_update(self) -> None:
        async with self.saver() as saver:
            seq = await claim_one_new(saver)
            await _update(saver, "a")
            await runs_of(saver).cancel_run("thread", seq, "reason")
            assert (await run_at(saver, seq)).request == CANCEL

    async def test_an_update_is_taken_with_the_commit_that_applies_it(self) -> None:
        async with self.saver() as saver:
            seq = await claim_one_new(saver)
            for key in ("a", "b"):
                await _update(saver, key)
            unit = await _take(saver, seq, most=1)
            assert await _values(saver) == [b"b"]
            assert (await run_at(saver, seq)).request == APPLY
            # A repeated call changes nothing.
            assert isinstance(await saver.commit(unit), Committed)
            assert await _values(saver) == [b"b"]
            await _take(saver, seq)
            assert await _values(saver) == []
            assert (await run_at(saver, seq)).request == NOTHING
            assert await _sent(saver, "a") == Sent.KNOWN

    async def test_a_refused_commit_takes_no_update(self) -> None:
        async with self.saver() as saver:
            seq = await claim_one_new(saver)
            await _update(saver, "a")
            unit = replace(await _taking(saver, seq), epoch=1)
            assert not isinstance(await saver.commit(unit), Committed)
            assert await _values(saver) == [b"a"]
            assert (await run_at(saver, seq)).request == APPLY

    async def test_a_run_with_an_update_left_is_ready_again_instead_of_done(self) -> None:
        async with self.saver() as saver:
            first, second = [await accept(saver) for _ in range(2)]
            await claim_one(saver)
            await _update(saver, "a")
            await commit_with(saver, await writer_of(saver), RunUpdate(first, RunState.DONE), status="done")
            run = await run_at(saver, first)
            assert (run.state, run.worker, run.ended_at, run.request) == (RunState.READY, 0, 0, APPLY)
            # Nor is its thread done.
            assert (await thread_row(saver)).status == "running"
            assert await state_at(saver, second) == RunState.BLOCKED
            claim = await claim_one(saver)
            assert (claim.seq, claim.request) == (first, APPLY)
            for _ in range(2):
                # A repeated call finds that the run was settled.
                assert await runs_of(saver).settle(end_of(claim, 1, RunState.DONE))
                assert await state_at(saver, first) == RunState.READY
            await claim_one(saver)
            await _take(saver, first, RunState.DONE, status="done")
            assert await state_at(saver, first) == RunState.DONE
            assert (await thread_row(saver)).status == "done"
            assert await state_at(saver, second) == RunState.READY

    async def test_a_run_whose_last_update_was_discarded_is_done_by_its_settlement(self) -> None:
        async with self.saver() as saver:
            seq = await claim_one_new(saver)
            await _update(saver, "a")
            update = RunUpdate(seq, RunState.DONE, first_checkpoint=1, checkpoint=1)
            await commit_with(saver, await writer_of(saver), update, status="done")
            assert await _discard(saver, "a") == Discarded.DISCARDED
            assert (await thread_row(saver)).status == "running"
            claim = await claim_one(saver)
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.DONE))
            assert await state_at(saver, seq) == RunState.DONE
            assert (await thread_row(saver)).status == "done"

    async def test_a_run_that_fails_leaves_the_update_to_its_retry(self) -> None:
        async with self.saver() as saver:
            seq = await claim_one_new(saver)
            await _update(saver, "a")
            claim = await run_at(saver, seq)
            await runs_of(saver).settle(_failed(seq, claim.attempt))
            assert (await run_at(saver, seq)).request == NOTHING
            assert await runs_of(saver).retry_run("thread", seq) == RunState.READY
            assert (await claim_one(saver)).request == APPLY
            assert await _values(saver) == [b"a"]

    async def test_a_new_run_has_the_updates_that_no_run_took(self) -> None:
        async with self.saver() as saver:
            seq = await claim_one_new(saver)
            await _update(saver, "a")
            claim = await run_at(saver, seq)
            await runs_of(saver).settle(_failed(seq, claim.attempt))
            later = await accept(saver)
            keyed = await accept(saver, key="key")
            assert await _requests(saver, later, keyed) == [APPLY, APPLY]
            await claim_one(saver)
            await _take(saver, later)
            assert await _requests(saver, later, keyed) == [NOTHING, NOTHING]

    async def test_a_run_that_waits_is_woken_by_an_update(self) -> None:
        async with self.saver() as saver:
            seq, _ = await wait(saver)
            await _update(saver, "a")
            run = await run_at(saver, seq)
            assert (run.state, run.request) == (RunState.READY, APPLY)

    async def test_a_discarded_update_is_in_no_inbox_and_its_key_stays_known(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            first, second = [await accept(saver) for _ in range(2)]
            for key in ("a", "b"):
                await _update(saver, key)
            assert await _discard(other, "a") == Discarded.DISCARDED
            assert await _values(saver) == [b"b"]
            assert await _requests(saver, first, second) == [APPLY, APPLY]
            assert await _discard(saver, "a") == Discarded.NO_MESSAGE
            assert await _sent(saver, "a") == Sent.KNOWN
            assert await _discard(saver, "b") == Discarded.DISCARDED
            assert await _requests(saver, first, second) == [NOTHING, NOTHING]
            assert (await claim_one(saver)).request == NOTHING

    async def test_only_an_update_that_is_in_the_inbox_is_discarded(self) -> None:
        async with self.saver() as saver:
            assert await _discard(saver, "a") == Discarded.NO_THREAD
            seq = await claim_one_new(saver)
            assert await _discard(saver, "a") == Discarded.NO_MESSAGE
            await runs_of(saver).send(NewMessage("thread", "topic", "a", b""))
            assert await _discard(saver, "a") == Discarded.NO_MESSAGE
            await _update(saver, "a")
            assert await _discard(saver, "a") == Discarded.RUNNING
            assert await _values(saver) == [b"a"]
            await _take(saver, seq)
            assert await _discard(saver, "a") == Discarded.NO_MESSAGE

    async def test_a_holder_that_was_released_cannot_take_a_discarded_update(self) -> None:
        async with self.saver() as saver:
            seq = await claim_one_new(saver)
            await _update(saver, "a")
            unit = await _taking(saver, seq)
            await runs_of(saver).release(1)
            assert await _discard(saver, "a") == Discarded.DISCARDED
            assert not isinstance(await saver.commit(unit), Committed)

    async def test_the_update_of_a_run_that_failed_is_discarded(self) -> None:
        async with self.saver() as saver:
            seq = await claim_one_new(saver)
            await _update(saver, "a")
            await runs_of(saver).settle(_failed(seq, (await run_at(saver, seq)).attempt))
            assert await _discard(saver, "a") == Discarded.DISCARDED
            later = await accept(saver)
            assert await _requests(saver, later) == [NOTHING]


async def _discard(saver: Checkpointer, key: str) -> Discarded:
    return await runs_of(saver).discard("thread", UPDATES, key)


async def claim_one_new(saver: Checkpointer) -> int:
    """The number of a new run, which is claimed."""
    seq = await accept(saver)
    await claim_one(saver)
    return seq


def _failed(seq: int, attempt: int) -> Settlement:
    return Settlement("thread", seq, 1, attempt, RunState.FAILED)


async def _sent(saver: Checkpointer, key: str) -> Sent:
    return await runs_of(saver).send(NewMessage("thread", UPDATES, key, key.encode()))


async def _update(saver: Checkpointer, key: str) -> None:
    assert await _sent(saver, key) == Sent.NEW


async def _values(saver: Checkpointer) -> list[bytes]:
    return [message.value for message in await runs_of(saver).inbox("thread", (UPDATES,))]


async def _requests(saver: Checkpointer, *seqs: int) -> list[int]:
    return [(await run_at(saver, seq)).request for seq in seqs]


async def _taking(
    saver: Checkpointer,
    seq: int,
    state: RunState = RunState.RUNNING,
    *,
    most: int = 10,
    status: Status = "running",
) -> CommitUnit:
    """A commit that applies the first updates of the thread."""
    found = await runs_of(saver).inbox("thread", (UPDATES,))
    unit = unit_with(await writer_of(saver), RunUpdate(seq, state), status=status)
    run = None if state == RunState.RUNNING else unit.run
    return replace(unit, run=run, taken=tuple(message.seq for message in found[:most]))


async def _take(
    saver: Checkpointer,
    seq: int,
    state: RunState = RunState.RUNNING,
    *,
    most: int = 10,
    status: Status = "running",
) -> CommitUnit:
    unit = await _taking(saver, seq, state, most=most, status=status)
    answer = await saver.commit(unit)
    assert isinstance(answer, Committed), answer
    return unit
