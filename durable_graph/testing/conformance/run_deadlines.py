"""Clauses of deadlines that pass while no worker executes the run."""

from msgspec.structs import replace

from durable_graph.checkpointing.run_rules import DEADLINE_PASSED
from durable_graph.errors import InvalidOptionError
from durable_graph.records import Committed
from durable_graph.run_records import RunState, RunUpdate
from durable_graph.testing.conformance.run_store_under_test import (
    SECOND,
    RunStoreUnderTest,
    accept,
    claim_one,
    claims,
    end_of,
    run_at,
    runs_of,
    state_at,
    thread_row,
    unit_with,
    wait,
    writer_of,
)
from durable_graph.testing.conformance.saver_under_test import raises

MINUTE = 60 * SECOND


class DeadlineClauses(RunStoreUnderTest):
    """Clauses of `next_deadline` and `fail_overdue`."""

    async def test_a_deadline_counts_from_the_time_at_which_the_run_is_due(self) -> None:
        async with self.saver() as saver:
            for thread, key in (("thread", None), ("other", "key"), ("other", None)):
                seq = await accept(saver, thread, delay=3 * MINUTE, time_limit=MINUTE, key=key)
                run = await run_at(saver, seq, thread)
                assert run.deadline - run.accepted_at == 4 * MINUTE

    async def test_the_next_deadline_is_that_of_the_runs_that_no_worker_executes(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            assert await runs.next_deadline() is None
            await accept(saver)
            assert await runs.next_deadline() is None
            executed = await accept(saver, "executed", time_limit=MINUTE)
            assert 0 < (await runs.next_deadline() or 0) <= MINUTE
            (claim,) = [each for each in await claims(saver) if each.seq == executed]
            assert await runs.next_deadline() is None
            # It is blocked.
            await accept(saver, time_limit=2 * MINUTE)
            assert MINUTE < (await runs.next_deadline() or 0) <= 2 * MINUTE
            assert await runs.fail_overdue() == []
            self.move_clock(saver, 3 * MINUTE)
            assert await runs.next_deadline() == 0
            assert len(await runs.fail_overdue()) == 1
            assert await runs.next_deadline() is None
            await runs.settle(end_of(claim, 1, RunState.DONE))
            assert await runs.next_deadline() is None

    async def test_a_blocked_run_fails_at_its_deadline(self) -> None:
        async with self.saver() as saver:
            first = await accept(saver)
            await claim_one(saver)
            second, third = await accept(saver, time_limit=MINUTE), await accept(saver)
            before = await thread_row(saver)
            self.move_clock(saver, 2 * MINUTE)
            assert await runs_of(saver).fail_overdue() == [("thread", second)]
            failed = await run_at(saver, second)
            assert (failed.state, failed.error, failed.worker) == (RunState.FAILED, DEADLINE_PASSED, 0)
            assert failed.ended_at > failed.accepted_at
            # The thread belongs to the run before it, and the run behind it waits for that run.
            assert await thread_row(saver) == before
            states = [await state_at(saver, first), await state_at(saver, third)]
            assert states == [RunState.RUNNING, RunState.BLOCKED]

    async def test_a_run_that_is_ready_or_waits_fails_at_its_deadline_with_its_thread(self) -> None:
        async with self.saver() as saver:
            ready = await accept(saver, "ready", time_limit=MINUTE)
            behind = await accept(saver, "ready")
            delayed = await accept(saver, "later", delay=9 * MINUTE, time_limit=MINUTE)
            self.move_clock(saver, 2 * MINUTE)
            assert await runs_of(saver).fail_overdue() == [("ready", ready)]
            row = await thread_row(saver, "ready")
            assert (row.status, row.error) == ("failed", DEADLINE_PASSED)
            assert await state_at(saver, behind, "ready") == RunState.READY
            assert await state_at(saver, delayed, "later") == RunState.READY

    async def test_a_waiting_run_fails_at_its_deadline_and_its_holder_is_fenced(self) -> None:
        async with self.saver() as saver:
            seq, _ = await wait(saver, time_limit=MINUTE)
            epoch = (await thread_row(saver)).epoch
            self.move_clock(saver, 2 * MINUTE)
            assert await runs_of(saver).fail_overdue() == [("thread", seq)]
            assert await state_at(saver, seq) == RunState.FAILED
            row = await thread_row(saver)
            assert (row.status, row.error) == ("failed", DEADLINE_PASSED)
            # A commit of the holder that has read the thread again.
            late = unit_with(await writer_of(saver), RunUpdate(seq, RunState.DONE), status="done")
            assert not isinstance(await saver.commit(replace(late, epoch=epoch)), Committed)

    async def test_a_run_that_a_worker_executes_and_one_that_has_ended_are_left(self) -> None:
        async with self.saver() as saver:
            executed = await accept(saver, "executed", time_limit=MINUTE)
            await claim_one(saver)
            ended = await accept(saver, "ended", time_limit=MINUTE)
            await runs_of(saver).cancel_run("ended", ended, "reason")
            self.move_clock(saver, 2 * MINUTE)
            assert await runs_of(saver).fail_overdue() == []
            assert await state_at(saver, executed, "executed") == RunState.RUNNING
            assert (await run_at(saver, ended, "ended")).error == "reason"

    async def test_the_earliest_deadlines_are_applied_first(self) -> None:
        async with self.saver() as saver:
            limits = {"a": 3, "b": 1, "c": 2}
            numbers = [await accept(saver, thread, time_limit=limit * MINUTE) for thread, limit in limits.items()]
            self.move_clock(saver, 9 * MINUTE)
            runs = runs_of(saver)
            assert await runs.fail_overdue(limit=2) == [("b", numbers[1]), ("c", numbers[2])]
            assert await runs.fail_overdue(limit=2) == [("a", numbers[0])]
            assert await runs.fail_overdue(limit=2) == []
            with raises(InvalidOptionError):
                await runs.fail_overdue(limit=0)
