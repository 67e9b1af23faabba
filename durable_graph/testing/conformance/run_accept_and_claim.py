"""Clauses of runs that a worker accepts and claims in one call."""

import asyncio

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.fresh_threads import loaded_by
from durable_graph.run_records import Claim, NewRun, NewWorker, RunState, RunUpdate
from durable_graph.testing.conformance.run_store_under_test import (
    HOUR,
    RunStoreUnderTest,
    accept,
    claim_one,
    claims,
    commit_with,
    end_of,
    new_run,
    run_at,
    runs_of,
    state_at,
    thread_row,
    writer_of,
)
from durable_graph.testing.conformance.saver_under_test import some_thread


class AcceptAndClaimClauses(RunStoreUnderTest):
    """Clauses of `accept_and_claim`."""

    async def test_an_accepted_run_is_claimed_by_its_worker(self) -> None:
        async with self.saver() as saver:
            run = new_run("thread", key="key", context=b"context", time_limit=HOUR)
            claim = await self._claimed(saver, run)
            row, thread = await run_at(saver, claim.seq), await thread_row(saver)
            assert (row.state, row.worker, row.attempt, row.crashes) == (RunState.RUNNING, 1, 1, 0)
            assert (row.claimed_version, row.deadline) == (0, row.accepted_at + HOUR)
            assert (claim.thread, claim.graph, claim.attempt) == ("thread", "graph", 1)
            assert (claim.input, claim.options, claim.context) == (b"input", b"options", b"context")
            assert (claim.epoch, claim.version, claim.deadline) == (thread.epoch, 0, row.deadline)
            assert row.accepted_at <= claim.now < row.deadline
            found = loaded_by(claim)
            assert found is not None
            assert found.thread == thread
            assert await claims(saver, 2) == []
            await commit_with(saver, await writer_of(saver), RunUpdate(claim.seq, RunState.DONE), status="done")
            assert await state_at(saver, claim.seq) == RunState.DONE

    async def test_a_run_of_a_used_thread_is_claimed_and_fences_its_writers(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            before = await thread_row(saver)
            claim = await self._claimed(saver, new_run("thread"))
            after = await thread_row(saver)
            assert after.epoch == claim.epoch != before.epoch
            assert (claim.version, claim.fresh) == (before.version, None)
            assert (await run_at(saver, claim.seq)).claimed_version == before.version

    async def test_a_run_that_is_claimed_at_once_after_a_first_run_that_failed_has_the_row_of_its_thread(self) -> None:
        async with self.saver() as saver:
            for key in (None, "key"):
                thread = f"thread of {key}"
                claim = await self._claimed(saver, new_run(thread))
                assert await runs_of(saver).settle(end_of(claim, 1, RunState.FAILED))
                again = await self._claimed(saver, new_run(thread, key=key))
                assert (again.version, again.attempt) == (0, 1)
                found, stored = loaded_by(again), await thread_row(saver, thread)
                assert found is None or found.thread == stored
                assert (stored.status, stored.epoch) == ("failed", again.epoch)

    async def test_a_run_that_is_claimed_at_once_is_released_once_its_worker_is_dead(self) -> None:
        async with self.saver() as saver:
            claim = await self._claimed(saver, new_run("thread"))
            assert (await self.lose(saver)).ready == 1
            again = await claim_one(saver, 2)
            assert (again.seq, again.attempt, again.input) == (claim.seq, 2, b"input")
            assert again.epoch != claim.epoch

    async def test_a_run_that_its_worker_cannot_claim_now_is_accepted_only(self) -> None:
        async with self.saver() as saver:
            await runs_of(saver).register(NewWorker(1, HOUR, "worker"))
            await self._is_only_accepted(saver, new_run("unknown worker"), worker=7)
            await self._is_only_accepted(saver, new_run("delayed", delay=HOUR))
            await accept(saver, "busy")
            await self._is_only_accepted(saver, new_run("busy"), state=RunState.BLOCKED)
            self.move_clock(saver, 2 * HOUR)
            await self._is_only_accepted(saver, new_run("lease has ended"))

    async def test_a_refused_run_is_not_claimed(self) -> None:
        async with self.saver() as saver:
            claim = await self._claimed(saver, new_run("thread", key="key"))
            before = await thread_row(saver)
            for run in (
                new_run("thread", key="key"),
                new_run("thread", if_busy="reject"),
                new_run("thread", graph="other"),
            ):
                accepted, other = await runs_of(saver).accept_and_claim(run, 1)
                assert (accepted.is_new, other) == (False, None)
            assert await thread_row(saver) == before
            assert len(await runs_of(saver).list_runs()) == 1
            assert (await run_at(saver, claim.seq)).attempt == 1

    async def test_a_repeated_acceptance_with_a_claim_is_one_run_and_one_claim(self) -> None:
        async with self.saver() as saver:
            run = new_run("thread")
            claim = await self._claimed(saver, run)
            accepted, again = await runs_of(saver).accept_and_claim(run, 1)
            assert (accepted.seq, accepted.is_new, accepted.state, again) == (claim.seq, True, RunState.RUNNING, None)
            assert (await run_at(saver, claim.seq)).attempt == 1
            assert (await thread_row(saver)).epoch == claim.epoch
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.DONE))

    async def test_many_runs_are_accepted_and_claimed_simultaneously(self) -> None:
        async with self.saver() as saver:
            await runs_of(saver).register(NewWorker(1, HOUR, "worker"))
            runs = [new_run(f"thread {number % 20}") for number in range(40)]
            made = await asyncio.gather(*(runs_of(saver).accept_and_claim(run, 1) for run in runs))
            claimed = [claim.thread for _, claim in made if claim is not None]
            assert sorted(claimed) == sorted(f"thread {number}" for number in range(20))
            assert [accepted.state for accepted, claim in made if claim is None] == [RunState.BLOCKED] * 20

    async def _claimed(self, saver: Checkpointer, run: NewRun) -> Claim:
        await runs_of(saver).register(NewWorker(1, HOUR, "worker"))
        accepted, claim = await runs_of(saver).accept_and_claim(run, 1)
        assert claim is not None
        assert (accepted.seq, accepted.is_new, accepted.state) == (claim.seq, True, RunState.RUNNING)
        return claim

    async def _is_only_accepted(
        self, saver: Checkpointer, run: NewRun, *, worker: int = 1, state: RunState = RunState.READY
    ) -> None:
        accepted, claim = await runs_of(saver).accept_and_claim(run, worker)
        assert claim is None
        assert (accepted.is_new, accepted.state) == (True, state)
        row = await run_at(saver, accepted.seq, run.thread)
        assert (row.state, row.worker, row.attempt) == (state, 0, 0)
