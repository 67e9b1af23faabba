"""Clauses of changes of runs: by the commits and saves of their threads, by messages, and by settlements."""

from msgspec.structs import replace

from durable_graph.checkpointing import Checkpointer
from durable_graph.records import Committed, Conflict, Saved, WritesBatch, WritesMoved
from durable_graph.run_records import NEVER, RunRow, RunState, RunUpdate, Settlement
from durable_graph.testing.conformance.run_store_under_test import (
    HOUR,
    QUEUE,
    RunStoreUnderTest,
    accept,
    claim_one,
    claimed,
    claims,
    commit_with,
    end_of,
    run_at,
    runs_of,
    save_with,
    send,
    state_at,
    thread_row,
    unit_with,
    wait,
    writer_of,
)
from durable_graph.testing.conformance.saver_under_test import loaded, save
from durable_graph.testing.rows import Step, state_of


class UpdateClauses(RunStoreUnderTest):
    """Clauses of the `RunUpdate` of a commit or a save: applied with it, and not at all if it is refused."""

    async def test_a_commit_changes_its_run(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver)
            writer = await writer_of(saver)
            await commit_with(saver, writer, RunUpdate(seq, RunState.RUNNING, checkpoint=1, first_checkpoint=1))
            run = await run_at(saver, seq)
            assert (run.state, run.worker, run.checkpoint, run.first_checkpoint) == (RunState.RUNNING, 1, 1, 1)
            await commit_with(saver, writer, RunUpdate(seq, RunState.RUNNING))
            assert await run_at(saver, seq) == run
            unit = await commit_with(saver, writer, RunUpdate(seq, RunState.DONE, checkpoint=3), status="done")
            run = await run_at(saver, seq)
            assert (run.state, run.worker, run.checkpoint, run.first_checkpoint) == (RunState.DONE, 0, 3, 1)
            assert (run.ended_at, run.error) == (unit.at, None)
            assert await runs_of(saver).find_unfinished("thread") is None

    async def test_the_input_of_a_run_is_removed_once_it_is_a_checkpoint(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver, context=b"context")
            for checkpoint, given in ((0, b"input"), (1, b"input"), (1, b"")):
                claim = await claim_one(saver)
                assert (claim.input, claim.options, claim.context) == (given, b"options", b"context")
                if checkpoint:
                    update = RunUpdate(seq, RunState.RUNNING, checkpoint=1, first_checkpoint=1)
                    await commit_with(saver, await writer_of(saver), update)
                await runs_of(saver).release(1)
            claim = await claim_one(saver)
            assert (claim.first_checkpoint, claim.checkpoint, claim.version) == (1, 1, 2)

    async def test_a_refused_commit_does_not_change_its_run(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver)
            writer = await writer_of(saver)
            stale = writer.rival()
            update = RunUpdate(seq, RunState.RUNNING, first_checkpoint=1)
            await commit_with(saver, writer, update)
            before = await run_at(saver, seq)
            assert await saver.commit(unit_with(stale, RunUpdate(seq, RunState.DONE), status="done")) == Conflict(1)
            moved = writer.rival()
            await save(saver, writer, writer.batch(writer.record()))
            assert await saver.commit(unit_with(moved, RunUpdate(seq, RunState.DONE))) == WritesMoved(1)
            assert await run_at(saver, seq) == before

    async def test_a_refused_save_does_not_change_its_run(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver)
            stale = await writer_of(saver)
            await self.lose(saver)
            await claim_one(saver, 2)
            before = await run_at(saver, seq)
            batch = replace(stale.batch(status="failed"), run=RunUpdate(seq, RunState.FAILED, error="error"))
            assert await saver.save_writes(batch) == Conflict(0)
            assert await run_at(saver, seq) == before

    async def test_a_repeated_commit_changes_its_run_once(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver)
            writer = await writer_of(saver)
            update = RunUpdate(seq, RunState.WAITING, first_checkpoint=1)
            unit = await commit_with(saver, writer, update, status="interrupted")
            await send(saver)
            before = await run_at(saver, seq)
            assert before.state == RunState.READY
            # The answer to the commit was lost, and it is sent again.
            assert await saver.commit(unit) == Committed(1)
            assert await run_at(saver, seq) == before

    async def test_a_save_fails_its_run(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver)
            writer = await writer_of(saver)
            batch = replace(writer.batch(status="failed", at=9), error="no such file")
            batch = replace(batch, run=RunUpdate(seq, RunState.FAILED, error="no such file"))
            assert isinstance(await saver.save_writes(batch), Saved)
            run = await run_at(saver, seq)
            assert (run.state, run.worker, run.error, run.ended_at) == (RunState.FAILED, 0, "no such file", 9)
            assert (await thread_row(saver)).status == "failed"
            assert await claims(saver) == []

    async def test_a_save_makes_its_run_wait(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver)
            writer = await writer_of(saver)
            await commit_with(saver, writer, RunUpdate(seq, RunState.RUNNING, first_checkpoint=1))
            await save_with(saver, writer, RunUpdate(seq, RunState.WAITING, checkpoint=1), "interrupted")
            run = await run_at(saver, seq)
            assert (run.state, run.worker, run.due, run.checkpoint) == (RunState.WAITING, 0, NEVER, 1)
            assert run.ended_at == 0
            assert await claims(saver) == []
            assert await runs_of(saver).next_due([QUEUE]) is None

    async def test_commits_of_an_accepted_thread_are_as_those_of_any_thread(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver, key="order-7")
            await claim_one(saver)
            writer = await writer_of(saver)
            for number in range(1, 4):
                # Each commit but the first has the record of a task of the checkpoint before it.
                records = [writer.record()] if number > 1 else []
                unit = writer.unit(Step({"count": b"%d" % number}, {"log": b"x,"}), records=records)
                unit = replace(unit, run=RunUpdate(seq, RunState.RUNNING, checkpoint=number))
                answer = await saver.commit(unit)
                assert isinstance(answer, Committed), answer
                writer.applied(unit, answer.base)
                assert (await run_at(saver, seq)).checkpoint == number
                assert state_of(await loaded(saver, "thread")) == writer.state()
                assert state_of(await loaded(saver, "thread", no=number)) == writer.state(number)


class WaitingClauses(RunStoreUnderTest):
    """Clauses of runs that wait: until a time, for a message, or for both."""

    async def test_a_waiting_run_is_claimed_at_its_time(self) -> None:
        async with self.saver() as saver:
            seq, claim = await wait(saver, due=(await self._now(saver)) + HOUR)
            found = await runs_of(saver).next_due([QUEUE])
            assert found is not None
            assert 0 < found <= HOUR
            assert await claims(saver) == []
            self.move_clock(saver, 2 * HOUR)
            again = await claim_one(saver, 2)
            assert (again.seq, again.attempt, again.first_checkpoint) == (seq, claim.attempt + 1, 1)
            assert await state_at(saver, seq) == RunState.RUNNING

    async def test_a_waiting_run_is_claimed_at_its_deadline(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver, time_limit=HOUR)
            claim = await claim_one(saver)
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.WAITING))
            run = await run_at(saver, seq)
            assert run.due == run.deadline == claim.deadline
            self.move_clock(saver, 2 * HOUR)
            claim = await claim_one(saver)
            assert claim.deadline < claim.now

    async def test_a_message_wakes_a_waiting_run(self) -> None:
        async with self.saver() as saver:
            seq, claim = await wait(saver)
            assert await claims(saver) == []
            await send(saver)
            run = await run_at(saver, seq)
            assert (run.state, run.inbox) == (RunState.READY, claim.inbox + 1)
            assert await runs_of(saver).next_due([QUEUE]) == 0
            assert (await claim_one(saver)).inbox == claim.inbox + 1

    async def test_a_message_that_is_refused_wakes_no_run(self) -> None:
        async with self.saver() as saver:
            seq, _ = await wait(saver)
            writer = await writer_of(saver)
            stale = writer.rival()
            await save(saver, writer, writer.batch(writer.record()))
            batch = replace(stale.batch(if_unmoved=True), wakes_run=True)
            assert isinstance(await saver.save_writes(batch), WritesMoved)
            run = await run_at(saver, seq)
            assert (run.state, run.inbox) == (RunState.WAITING, 0)

    async def test_a_message_that_arrived_meanwhile_lets_no_run_wait(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            claim = await claim_one(saver)
            writer = await writer_of(saver)
            await commit_with(saver, writer, RunUpdate(seq, RunState.RUNNING, first_checkpoint=1))
            await send(saver)
            run = await run_at(saver, seq)
            # The message is counted, and the run continues.
            assert (run.state, run.worker, run.inbox) == (RunState.RUNNING, 1, claim.inbox + 1)
            update = RunUpdate(seq, RunState.WAITING, inbox=claim.inbox, due=NEVER)
            await save_with(saver, writer, update, "interrupted")
            run = await run_at(saver, seq)
            assert (run.state, run.worker) == (RunState.READY, 0)
            claim = await claim_one(saver)
            assert claim.inbox == 1
            # This execution has read the message.
            await save_with(saver, await writer_of(saver), replace(update, inbox=claim.inbox), "interrupted")
            assert await state_at(saver, seq) == RunState.WAITING

    async def test_a_message_wakes_only_the_run_that_waits(self) -> None:
        async with self.saver() as saver:
            seq, _ = await wait(saver)
            later = await accept(saver)
            await send(saver)
            assert await state_at(saver, seq) == RunState.READY
            assert await state_at(saver, later) == RunState.BLOCKED
            claim = await claim_one(saver)
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.DONE))
            await send(saver)
            ended = await run_at(saver, seq)
            assert (ended.state, ended.inbox) == (RunState.DONE, 1)
            # A run that is blocked, or that nobody has claimed yet, has the messages before it.
            assert (await run_at(saver, later)).inbox == 2
            assert await claimed(saver) == ["thread"]

    async def test_a_message_that_wakes_a_run_has_its_records(self) -> None:
        async with self.saver() as saver:
            seq, _ = await wait(saver)
            writer = await writer_of(saver)
            batch: WritesBatch = replace(writer.batch(writer.record()), wakes_run=True)
            for _ in range(2):
                assert isinstance(await saver.save_writes(batch), Saved)
                assert await state_at(saver, seq) == RunState.READY
            assert (await loaded(saver, "thread")).records == batch.records

    async def test_waiting_is_progress(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            for _ in range(2):
                await self.crash(saver)
                self.move_clock(saver, HOUR)
            assert (await run_at(saver, seq)).crashes == 2
            claim = await claim_one(saver)
            assert claim.crashes == 2
            await save_with(saver, await writer_of(saver), RunUpdate(seq, RunState.WAITING), "interrupted")
            run = await run_at(saver, seq)
            assert (run.crashes, run.attempt) == (0, 3)

    async def _now(self, saver: Checkpointer) -> int:
        """The store's time."""
        seq = await accept(saver, "clock", queue="clock")
        return (await run_at(saver, seq, "clock")).accepted_at


class SettlementClauses(RunStoreUnderTest):
    """Clauses of `settle`, for ends and suspensions that no commit carries."""

    async def test_a_settlement_ends_the_run_of_its_holder(self) -> None:
        async with self.saver() as saver:
            for state in (RunState.DONE, RunState.FAILED, RunState.CANCELLED):
                seq = await accept(saver, state.name)
                claim = await claim_one(saver)
                assert await runs_of(saver).settle(end_of(claim, 1, state, error="why"))
                run = await run_at(saver, seq, state.name)
                assert (run.state, run.worker, run.error) == (state, 0, "why")
                assert run.ended_at >= run.accepted_at
                assert await claims(saver) == []

    async def test_a_settlement_releases_the_run_for_later(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            claim = await claim_one(saver)
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.READY, delay=HOUR))
            run = await run_at(saver, seq)
            assert (run.state, run.worker, run.crashes, run.ended_at) == (RunState.READY, 0, 0, 0)
            assert await claims(saver) == []
            self.move_clock(saver, 2 * HOUR)
            assert (await claim_one(saver)).attempt == 2

    async def test_a_settlement_suspends_the_run_unless_a_message_arrived(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            for inbox, state in ((0, RunState.WAITING), (0, RunState.READY), (2, RunState.WAITING)):
                claim = await claim_one(saver)
                if state == RunState.READY:
                    await send(saver)
                assert await runs_of(saver).settle(end_of(claim, 1, RunState.WAITING, inbox=inbox))
                assert await state_at(saver, seq) == state
                if state == RunState.WAITING:
                    await send(saver)

    async def test_a_settlement_by_another_worker_is_refused(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            claim = await claim_one(saver)
            await self._is_refused(saver, await run_at(saver, seq), end_of(claim, 2, RunState.DONE))

    async def test_a_settlement_by_an_earlier_claim_is_refused(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            claim = await claim_one(saver)
            await runs_of(saver).release(1)
            await self._is_refused(saver, await run_at(saver, seq), end_of(claim, 1, RunState.DONE))
            again = await claim_one(saver)
            await self._is_refused(saver, await run_at(saver, seq), end_of(claim, 1, RunState.DONE))
            assert await runs_of(saver).settle(end_of(again, 1, RunState.DONE))

    async def test_a_settlement_of_an_ended_or_unknown_run_is_refused(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            claim = await claim_one(saver)
            settlement = end_of(claim, 1, RunState.WAITING, seq=seq + 1)
            await self._is_refused(saver, await run_at(saver, seq), settlement)
            await self._is_refused(saver, await run_at(saver, seq), replace(settlement, thread="unknown"))
            await commit_with(saver, await writer_of(saver), RunUpdate(seq, RunState.DONE), status="done")
            await self._is_refused(saver, await run_at(saver, seq), end_of(claim, 1, RunState.FAILED))

    async def test_a_repeated_settlement_is_accepted_and_changes_nothing(self) -> None:
        async with self.saver() as saver:
            for state in (RunState.READY, RunState.WAITING, RunState.DONE, RunState.FAILED, RunState.CANCELLED):
                seq = await accept(saver, state.name)
                claim = await claim_one(saver)
                settlement = end_of(claim, 1, state, error="why", delay=HOUR)
                assert await runs_of(saver).settle(settlement)
                before, thread = await run_at(saver, seq, state.name), await thread_row(saver, state.name)
                assert await runs_of(saver).settle(settlement)
                assert await run_at(saver, seq, state.name) == before
                assert await thread_row(saver, state.name) == thread

    async def test_a_repeated_settlement_of_a_run_that_was_woken_is_accepted(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            settlement = end_of(await claim_one(saver), 1, RunState.WAITING)
            assert await runs_of(saver).settle(settlement)
            await send(saver)
            assert await runs_of(saver).settle(settlement)
            assert await state_at(saver, seq) == RunState.READY
            await self._is_refused(saver, await run_at(saver, seq), replace(settlement, state=RunState.DONE))

    async def test_a_thread_ends_with_its_first_run_that_is_settled(self) -> None:
        async with self.saver() as saver:
            for state, status in ((RunState.FAILED, "failed"), (RunState.CANCELLED, "cancelled")):
                await accept(saver, status)
                assert await runs_of(saver).settle(end_of(await claim_one(saver), 1, state, error="why"))
                thread = await thread_row(saver, status)
                assert thread.status == status
                assert thread.error == ("why" if status == "failed" else None)
                assert thread.status_since >= thread.created_at

    async def test_a_thread_ends_with_its_run_that_has_begun(self) -> None:
        async with self.saver() as saver:
            for state, status in ((RunState.FAILED, "failed"), (RunState.CANCELLED, "cancelled")):
                seq = await accept(saver, status)
                claim = await claim_one(saver)
                begun = RunUpdate(seq, RunState.RUNNING, first_checkpoint=1, checkpoint=1)
                await commit_with(saver, await writer_of(saver, status), begun)
                assert await runs_of(saver).settle(end_of(claim, 1, state))
                assert (await thread_row(saver, status)).status == status

    async def test_a_settlement_before_the_first_checkpoint_leaves_a_used_thread_as_it_was(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver)
            await commit_with(saver, await writer_of(saver), RunUpdate(seq, RunState.DONE), status="done")
            for state in (RunState.FAILED, RunState.CANCELLED):
                await accept(saver)
                assert await runs_of(saver).settle(end_of(await claim_one(saver), 1, state))
                assert (await thread_row(saver)).status == "done"

    async def test_a_failed_thread_is_running_again_once_its_run_is_retried(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            assert await runs_of(saver).settle(end_of(await claim_one(saver), 1, RunState.FAILED, error="why"))
            assert await runs_of(saver).retry_run("thread", seq) == RunState.READY
            thread = await thread_row(saver)
            assert (thread.status, thread.error) == ("running", None)
            await claim_one(saver)
            await commit_with(saver, await writer_of(saver), RunUpdate(seq, RunState.DONE), status="done")

    async def _is_refused(self, saver: Checkpointer, before: RunRow, settlement: Settlement) -> None:
        assert not await runs_of(saver).settle(settlement)
        assert await run_at(saver, before.seq) == before
