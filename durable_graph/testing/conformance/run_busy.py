"""Clauses of a new run that cancels the unfinished runs of its thread, and begins after them or rolls them back."""

from msgspec.structs import replace

from durable_graph.checkpointing import Checkpointer
from durable_graph.records import Committed, Conflict, Status
from durable_graph.run_records import IfBusy, RequestOfRun, RunState, RunUpdate
from durable_graph.testing.conformance.run_store_under_test import (
    RunStoreUnderTest,
    accept,
    claim_one,
    claims,
    commit_with,
    new_run,
    run_at,
    runs_of,
    save_with,
    state_at,
    thread_row,
    wait,
    writer_of,
)
from durable_graph.testing.conformance.saver_under_test import loaded, some_thread
from durable_graph.testing.rows import Step, state_of

CANCELLING: tuple[IfBusy, ...] = ("interrupt", "rollback")


class BusyClauses(RunStoreUnderTest):
    """Clauses of `NewRun.if_busy`."""

    async def test_a_run_cancels_the_runs_before_it_that_no_worker_executes(self) -> None:
        async with self.saver() as saver:
            for if_busy in CANCELLING:
                earlier = [await accept(saver, if_busy) for _ in range(3)]
                seq = await accept(saver, if_busy, if_busy=if_busy)
                for each in earlier:
                    run = await run_at(saver, each, if_busy)
                    assert (run.state, if_busy in (run.error or "")) == (RunState.CANCELLED, True)
                    assert run.ended_at >= run.accepted_at
                # The new run may begin at once.
                assert await state_at(saver, seq, if_busy) == RunState.READY
                claim = await claim_one(saver)
                assert (claim.seq, claim.from_checkpoint) == (seq, None)

    async def test_a_run_requests_the_worker_of_the_run_before_it_to_cancel(self) -> None:
        async with self.saver() as saver:
            first = await accept(saver)
            claim = await claim_one(saver)
            blocked = await accept(saver)
            seq = await accept(saver, if_busy="interrupt")
            run = await run_at(saver, first)
            assert (run.state, run.request) == (RunState.RUNNING, RequestOfRun.CANCEL)
            assert await state_at(saver, blocked) == RunState.CANCELLED
            assert await state_at(saver, seq) == RunState.BLOCKED
            # The holder records the finished tasks.
            assert (await thread_row(saver)).epoch == claim.epoch
            writer = await writer_of(saver)
            await commit_with(saver, writer, RunUpdate(first, RunState.RUNNING, checkpoint=1, first_checkpoint=1))
            assert await claims(saver) == []
            await save_with(saver, writer, RunUpdate(first, RunState.CANCELLED), "cancelled")
            assert await state_at(saver, seq) == RunState.READY
            assert (await claim_one(saver)).from_checkpoint is None

    async def test_a_run_fences_the_writers_of_a_run_that_it_cancels(self) -> None:
        async with self.saver() as saver:
            for if_busy in CANCELLING:
                await wait(saver)
                stale = await writer_of(saver)
                await accept(saver, if_busy=if_busy)
                assert await saver.commit(stale.unit(Step({"count": b"2"}))) == Conflict(1)
                assert (await thread_row(saver)).status == "cancelled"
                await saver.delete_thread("thread", purge=True)

    async def test_a_run_begins_from_the_checkpoint_before_the_run_that_it_rolls_back(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            first = await accept(saver)
            await claim_one(saver)
            for number in (4, 5):
                update = RunUpdate(first, RunState.RUNNING, checkpoint=number, first_checkpoint=4)
                await commit_with(saver, await writer_of(saver), update)
            await save_with(saver, await writer_of(saver), RunUpdate(first, RunState.WAITING), "interrupted")
            seq = await accept(saver, if_busy="rollback")
            assert (await run_at(saver, seq)).from_checkpoint == 3
            assert (await claim_one(saver)).from_checkpoint == 3

    async def test_a_run_rolls_back_a_run_that_has_not_begun_yet(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            first = await accept(saver)
            await claim_one(saver)
            # Its worker may commit before it receives the cancellation.
            seq = await accept(saver, if_busy="rollback")
            assert await state_at(saver, seq) == RunState.BLOCKED
            update = RunUpdate(first, RunState.CANCELLED, checkpoint=4, first_checkpoint=4)
            await commit_with(saver, await writer_of(saver), update, status="cancelled")
            assert (await claim_one(saver)).from_checkpoint == 3

    async def test_a_run_that_rolls_back_the_first_run_of_its_thread_begins_from_an_empty_state(self) -> None:
        async with self.saver() as saver:
            first, _ = await wait(saver)
            await accept(saver, if_busy="rollback")
            assert await state_at(saver, first) == RunState.CANCELLED
            assert (await claim_one(saver)).from_checkpoint == 0
            writer = await writer_of(saver)
            unit = writer.unit(Step({"new": b"1"}), fork_of=0)
            assert isinstance(await saver.commit(unit), Committed)
            found = await loaded(saver, "thread")
            assert state_of(found) == {"new": b"1"}
            assert state_of(await loaded(saver, "thread", no=1)) == {"count": b"1"}

    async def test_a_branch_from_an_empty_state_begins_in_a_pruned_thread(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver, length=4)
            await saver.prune("thread")
            writer = await writer_of(saver)
            assert isinstance(await saver.commit(writer.unit(Step({"new": b"1"}), fork_of=0)), Committed)
            assert state_of(await loaded(saver, "thread")) == {"new": b"1"}

    async def test_a_run_takes_over_the_rollback_of_a_run_that_it_cancels(self) -> None:
        async with self.saver() as saver:
            for if_busy in CANCELLING:
                thread = f"of {if_busy}"
                await some_thread(saver, thread)
                first = await accept(saver, thread)
                await claim_one(saver)
                update = RunUpdate(first, RunState.WAITING, checkpoint=4, first_checkpoint=4)
                await commit_with(saver, await writer_of(saver, thread), update, status="interrupted")
                await accept(saver, thread, if_busy="rollback")
                await accept(saver, thread, if_busy=if_busy)
                claim = await claim_one(saver)
                assert (claim.thread, claim.from_checkpoint) == (thread, 3)

    async def test_a_known_key_cancels_no_run(self) -> None:
        async with self.saver() as saver:
            await accept(saver)
            seq = await accept(saver, key="order-7", if_busy="interrupt")
            again = await runs_of(saver).accept(new_run("thread", key="order-7", if_busy="rollback"))
            assert (again.seq, again.is_new, again.state) == (seq, False, RunState.READY)
            assert await state_at(saver, seq) == RunState.READY

    async def test_a_repeated_acceptance_cancels_no_run(self) -> None:
        async with self.saver() as saver:
            await accept(saver)
            run = new_run("thread", if_busy="rollback")
            first = await runs_of(saver).accept(run)
            later = await accept(saver)
            assert await runs_of(saver).accept(run) == first
            assert await state_at(saver, first.seq) == RunState.READY
            assert await state_at(saver, later) == RunState.BLOCKED

    async def test_a_run_cannot_roll_back_to_a_pruned_checkpoint(self) -> None:
        async with self.saver() as saver:
            first = await _begun(saver)
            before = await run_at(saver, first)
            # At first the run's own checkpoints stay, then only its last one.
            for keep_last in (2, 1):
                assert await saver.prune("thread", keep_last=keep_last) > 0
                refused = await runs_of(saver).accept(new_run("thread", if_busy="rollback"))
                assert (refused.seq, refused.is_new, refused.lost_before) == (0, False, 4)
                assert await run_at(saver, first) == before
            assert len(await runs_of(saver).list_runs()) == 1
            await accept(saver, if_busy="interrupt")

    async def test_a_prune_keeps_the_checkpoint_that_a_run_begins_from(self) -> None:
        async with self.saver() as saver:
            await _begun(saver)
            await accept(saver, if_busy="rollback")
            await saver.prune("thread")
            base = await loaded(saver, "thread", no=3)
            claim = await claim_one(saver)
            assert claim.from_checkpoint == 3
            writer = await writer_of(saver)
            writer.thread = replace(writer.thread, epoch=claim.epoch)
            of_base = type(writer).at(replace(base, thread=writer.thread))
            unit = of_base.unit(Step({"count": b"7"}), fork_of=3)
            assert isinstance(await saver.commit(unit), Committed)
            assert state_of(await loaded(saver, "thread")) == {**state_of(base), "count": b"7"}

    async def test_a_run_on_a_free_thread_cancels_nothing(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            before = await thread_row(saver)
            for if_busy in CANCELLING:
                seq = await accept(saver, if_busy=if_busy)
                assert await thread_row(saver) == before
                assert (await run_at(saver, seq)).from_checkpoint is None
                assert await runs_of(saver).cancel_run("thread", seq, "reason") == RunState.CANCELLED


async def _begun(saver: Checkpointer) -> int:
    """A waiting run of a thread with three earlier checkpoints."""
    await some_thread(saver)
    seq = await accept(saver)
    await claim_one(saver)
    for number in (4, 5):
        state = RunState.RUNNING if number == 4 else RunState.WAITING
        update = RunUpdate(seq, state, checkpoint=number, first_checkpoint=4)
        status: Status = "running" if number == 4 else "interrupted"
        await commit_with(saver, await writer_of(saver), update, status=status)
    return seq
