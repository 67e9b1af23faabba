"""Clauses of workers: their leases, and what becomes of the runs of a worker that is gone."""

import asyncio

from msgspec.structs import replace

from durable_graph.checkpointing import Checkpointer
from durable_graph.records import Conflict, Saved
from durable_graph.run_records import Claim, Heartbeat, NewWorker, RequestOfRun, RunRow, RunState, RunUpdate, Swept
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
    new_run,
    run_at,
    runs_of,
    state_at,
    unit_with,
    writer_of,
)

MINUTE = HOUR // 60


class LeaseClauses(RunStoreUnderTest):
    """Clauses of `register`, `heartbeat`, `release` and `unregister`."""

    async def test_a_heartbeat_renews_the_lease(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            await runs.register(NewWorker(1, HOUR, "worker"))
            seq = await accept(saver)
            assert [claim.seq for claim in await runs.claim(1, [QUEUE], 1)] == [seq]
            for _ in range(3):
                self.move_clock(saver, 45 * MINUTE)
                assert await runs.heartbeat(1, HOUR) == Heartbeat()
            assert await runs.sweep(5) == Swept()
            assert await state_at(saver, seq) == RunState.RUNNING

    async def test_a_heartbeat_of_a_lost_lease_is_refused(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            assert await runs.heartbeat(1, HOUR) is None
            await runs.register(NewWorker(1, HOUR, "worker"))
            self.move_clock(saver, 2 * HOUR)
            # Nobody has swept it yet.
            assert await runs.heartbeat(1, HOUR) is None
            await runs.sweep(5)
            assert await runs.heartbeat(1, HOUR) is None
            await runs.register(NewWorker(2, HOUR, "worker"))
            await runs.unregister(2)
            assert await runs.heartbeat(2, HOUR) is None

    async def test_workers_with_a_lease_are_counted(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            assert await runs.count_workers() == 0
            for worker in (1, 2, 3):
                await runs.register(NewWorker(worker, worker * HOUR, "worker"))
            await runs.register(NewWorker(3, 3 * HOUR, "worker"))
            assert await runs.count_workers() == 3
            await runs.unregister(3)
            assert await runs.count_workers() == 2
            self.move_clock(saver, 90 * MINUTE)
            assert await runs.count_workers() == 1
            self.move_clock(saver, 90 * MINUTE)
            assert await runs.count_workers() == 0

    async def test_a_heartbeat_has_the_requests_to_the_runs_of_its_worker(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            for thread in ("a", "b", "c"):
                await accept(saver, thread)
            held = await claims(saver, 1, most=2) + await claims(saver, 2)
            asked = [claim for claim in held if claim.thread != "a"]
            for claim in asked:
                assert await runs.cancel_run(claim.thread, claim.seq, "reason") == RunState.RUNNING
            (first,) = [claim for claim in asked if claim in held[:2]]
            expected = ((first.thread, first.seq, int(RequestOfRun.CANCEL)),)
            for _ in range(2):
                assert await runs.heartbeat(1, HOUR) == Heartbeat(expected)
            await runs.settle(end_of(first, 1, RunState.CANCELLED))
            assert await runs.heartbeat(1, HOUR) == Heartbeat()

    async def test_a_release_gives_the_runs_back_without_a_crash(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            for thread in ("a", "b", "c"):
                await accept(saver, thread)
            held = await claims(saver, 1, most=2)
            (other,) = await claims(saver, 2)
            assert await runs.release(1) == 2
            assert await runs.release(1) == 0
            for claim in held:
                run = await run_at(saver, claim.seq, claim.thread)
                assert (run.state, run.worker, run.crashes, run.attempt) == (RunState.READY, 0, 0, 1)
            assert await state_at(saver, other.seq, other.thread) == RunState.RUNNING
            assert await runs.next_due([QUEUE]) == 0
            again = await claims(saver, 1)
            assert {(claim.thread, claim.attempt) for claim in again} == {(claim.thread, 2) for claim in held}

    async def test_an_unregistered_worker_releases_its_runs(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            await accept(saver)
            claim = await claim_one(saver, 1)
            for _ in range(2):
                await runs.unregister(1)
                run = await run_at(saver, claim.seq)
                assert (run.state, run.worker, run.crashes) == (RunState.READY, 0, 0)
            assert await runs.count_workers() == 0
            assert await claimed(saver, 2) == ["thread"]

    async def test_a_lease_is_renewed_beside_the_event_loop(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            await accept(saver)
            claim = await claim_one(saver, 1)
            await runs.cancel_run("thread", claim.seq, "reason")

            async def beat() -> Heartbeat | None:
                async with runs.beside() as beside:
                    assert await beside.count_workers() == 1
                    return await beside.heartbeat(1, 3 * HOUR)

            found = await asyncio.to_thread(lambda: asyncio.run(beat()))
            assert found == Heartbeat((("thread", claim.seq, int(RequestOfRun.CANCEL)),))
            self.move_clock(saver, 2 * HOUR)
            assert await runs.count_workers() == 1

    async def test_every_call_is_possible_beside_the_event_loop(self) -> None:
        async with self.saver() as saver:

            async def work() -> RunRow | None:
                async with runs_of(saver).beside() as runs:
                    seq = (await runs.accept(new_run("thread"))).seq
                    await runs.register(NewWorker(1, HOUR, "worker"))
                    (claim,) = await runs.claim(1, [QUEUE], 10)
                    assert await runs.settle(end_of(claim, 1, RunState.READY))
                    assert await runs.cancel_run("thread", seq, "reason") == RunState.CANCELLED
                    assert await runs.retry_run("thread", seq) == RunState.READY
                    await runs.unregister(1)
                    assert await runs.sweep(5) == Swept()
                    return await runs.find_run("thread", seq)

            found = await asyncio.to_thread(lambda: asyncio.run(work()))
            assert found is not None
            assert found == await run_at(saver, found.seq)
            assert (found.state, found.attempt) == (RunState.READY, 1)


class SweepClauses(RunStoreUnderTest):
    """Clauses of `sweep`."""

    async def test_a_sweep_frees_the_runs_of_dead_workers_once(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            runs = runs_of(saver)
            for thread in ("a", "b", "c"):
                await accept(saver, thread)
            await claims(saver, 1, most=2)
            self.move_clock(saver, 2 * HOUR)
            self.move_clock(other, 2 * HOUR)
            (live,) = await claims(saver, 2)
            swept = await asyncio.gather(*(runs_of(each).sweep(5) for each in (saver, other, saver, other)))
            assert sorted(swept, key=lambda each: each.workers) == [Swept(), Swept(), Swept(), Swept(1, 2, 0)]
            found = {run.thread: (run.state, run.worker, run.crashes) for run in await runs.list_runs()}
            freed = {thread: (RunState.READY, 0, 1) for thread in ("a", "b", "c") if thread != live.thread}
            assert found == {**freed, live.thread: (RunState.RUNNING, 2, 0)}
            assert await runs.count_workers() == 1
            assert await runs.sweep(5) == Swept()

    async def test_a_worker_without_runs_is_swept(self) -> None:
        async with self.saver() as saver:
            await runs_of(saver).register(NewWorker(1, HOUR, "worker"))
            assert await self.lose(saver) == Swept(1, 0, 0)
            assert await self.lose(saver) == Swept()

    async def test_a_freed_run_goes_on_from_its_checkpoint(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver, 1)
            stale = await writer_of(saver)
            await commit_with(saver, stale, RunUpdate(seq, RunState.RUNNING, checkpoint=1, first_checkpoint=1))
            await self.lose(saver)
            claim = await claim_one(saver, 2)
            assert (claim.checkpoint, claim.first_checkpoint, claim.version, claim.attempt) == (1, 1, 1, 2)
            unit = unit_with(stale, RunUpdate(seq, RunState.DONE), status="done")
            assert await saver.commit(unit) == Conflict(1)
            await commit_with(saver, await writer_of(saver), RunUpdate(seq, RunState.DONE, checkpoint=2), status="done")
            assert (await run_at(saver, seq)).checkpoint == 2

    async def test_crashes_are_counted_until_there_is_progress(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            counts: list[int] = []
            for commits in (0, 0, 0, 2, 0, 1):
                claim = await claim_one(saver)
                assert claim.crashes == (counts[-1] if counts else 0)
                await self._commit(saver, claim, commits)
                await self.lose(saver)
                counts.append((await run_at(saver, seq)).crashes)
                self.move_clock(saver, HOUR)
            assert counts == [1, 2, 3, 1, 2, 1]
            assert (await run_at(saver, seq)).attempt == 6

    async def test_recorded_results_are_progress(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await self._commit(saver, await claim_one(saver), 1)
            await runs_of(saver).release(1)
            for number in range(1, 5):
                await claim_one(saver)
                writer = await writer_of(saver)
                saved = await saver.save_writes(writer.batch(writer.record(number=number)))
                assert isinstance(saved, Saved), saved
                assert await self.lose(saver, most=2) == Swept(1, 1, 0)
                assert (await run_at(saver, seq)).crashes == 1
                self.move_clock(saver, HOUR)

    async def test_progress_before_a_release_resets_the_count_of_crashes(self) -> None:
        async with self.saver() as saver:
            await accept(saver)
            for _ in range(2):
                await self.crash(saver)
                self.move_clock(saver, HOUR)
            claim = await claim_one(saver)
            assert claim.crashes == 2
            await runs_of(saver).release(1)
            claim = await claim_one(saver)
            assert claim.crashes == 2
            await self._commit(saver, claim, 1)
            await runs_of(saver).release(1)
            assert (await claim_one(saver)).crashes == 0

    async def test_a_first_crash_delays_no_claim(self) -> None:
        async with self.saver() as saver:
            await accept(saver)
            await self.crash(saver)
            assert await runs_of(saver).next_due([QUEUE]) == 0
            assert await claimed(saver) == ["thread"]

    async def test_repeated_crashes_delay_the_next_claim(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            for crashes in range(1, 9):
                claim, _ = await self.crash(saver)
                # The sweep is two hours after the claim, at least: the clock is moved by so much.
                delay = (await run_at(saver, seq)).due - claim.now - 2 * HOUR
                assert delay >= (100_000 * 2 ** (crashes - 2) if crashes > 1 else 0)
                assert delay < HOUR
                self.move_clock(saver, HOUR)
            # The last delay is of some seconds.
            await self.crash(saver)
            assert await claims(saver) == []

    async def test_a_run_without_progress_is_quarantined(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            claim = await claim_one(saver)
            update = RunUpdate(seq, RunState.RUNNING, first_checkpoint=1)
            await commit_with(saver, await writer_of(saver), update, node="ocr")
            assert await self.lose(saver, most=3) == Swept(1, 1, 0)
            for swept in (Swept(1, 1, 0), Swept(1, 0, 1)):
                assert (await self.crash(saver, most=3))[1] == swept
                self.move_clock(saver, HOUR)
            run = await run_at(saver, seq)
            assert (run.state, run.worker, run.crashes) == (RunState.QUARANTINED, 0, 3)
            assert run.error is not None
            assert "'ocr'" in run.error
            assert "3 times" in run.error
            assert run.ended_at > claim.now
            assert await claims(saver) == []
            assert await runs_of(saver).next_due([QUEUE]) is None

    async def test_a_freed_run_keeps_the_request_to_it(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver, 1)
            await runs_of(saver).cancel_run("thread", seq, "reason")
            await self.lose(saver)
            assert (await claim_one(saver, 2)).request == RequestOfRun.CANCEL
            await runs_of(saver).release(2)
            assert (await claim_one(saver, 3)).request == RequestOfRun.CANCEL

    async def test_a_swept_worker_leaves_its_run_to_the_next_claim(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver, 1)
            writer = await writer_of(saver)
            await self.lose(saver)
            # Nobody has claimed the run, so that the worker's commit is not refused.
            await commit_with(saver, writer, RunUpdate(seq, RunState.RUNNING, checkpoint=1, first_checkpoint=1))
            run = await run_at(saver, seq)
            assert (run.state, run.worker, run.checkpoint) == (RunState.READY, 0, 1)
            claim = await claim_one(saver, 2)
            assert (claim.seq, claim.checkpoint, claim.version) == (seq, 1, 1)

    async def test_a_swept_worker_does_not_change_a_quarantined_run(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver, 1)
            writer = await writer_of(saver)
            assert await self.lose(saver, most=1) == Swept(1, 0, 1)
            before = await run_at(saver, seq)
            await commit_with(saver, writer, RunUpdate(seq, RunState.WAITING, checkpoint=1, first_checkpoint=1))
            assert await run_at(saver, seq) == before
            # A retry continues from the checkpoint of the thread.
            await commit_with(saver, writer, RunUpdate(seq, RunState.RUNNING, checkpoint=2, first_checkpoint=2))
            assert await run_at(saver, seq) == replace(before, checkpoint=2, first_checkpoint=2)

    async def _commit(self, saver: Checkpointer, claim: Claim, commits: int) -> None:
        writer = await writer_of(saver, claim.thread)
        for _ in range(commits):
            await commit_with(saver, writer, RunUpdate(claim.seq, RunState.RUNNING, first_checkpoint=1))
