"""Clauses of claims: which runs a worker gets, in which order, and that nobody else holds them."""

import asyncio
import threading
from collections import Counter

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.records import Conflict
from durable_graph.run_records import NEVER, NewWorker, RunState, RunUpdate
from durable_graph.testing.conformance.run_store_under_test import (
    HOUR,
    QUEUE,
    SECOND,
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
    thread_row,
    unit_with,
    writer_of,
)
from durable_graph.testing.conformance.saver_under_test import save, some_thread
from durable_graph.testing.rows import Step


class OrderClauses(RunStoreUnderTest):
    """Clauses of several runs of one thread, which are executed one after the other."""

    async def test_a_later_run_is_blocked_until_a_commit_ends_the_run_before_it(self) -> None:
        async with self.saver() as saver:
            first, second, third = [await accept(saver) for _ in range(3)]
            await claim_one(saver)
            await self._second_is_blocked(saver, first, second)
            assert await claims(saver) == []
            writer = await writer_of(saver)
            await commit_with(saver, writer, RunUpdate(first, RunState.RUNNING, first_checkpoint=1))
            await self._second_is_blocked(saver, first, second)
            await commit_with(saver, writer, RunUpdate(first, RunState.DONE), status="done")
            await self._second_is_next(saver, second)
            assert await state_at(saver, third) == RunState.BLOCKED

    async def test_a_later_run_is_blocked_until_the_run_before_it_is_settled(self) -> None:
        async with self.saver() as saver:
            first, second = [await accept(saver) for _ in range(2)]
            claim = await claim_one(saver)
            await self._second_is_blocked(saver, first, second)
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.FAILED))
            await self._second_is_next(saver, second)

    async def test_a_later_run_is_blocked_until_the_run_before_it_is_cancelled(self) -> None:
        async with self.saver() as saver:
            first, second = [await accept(saver) for _ in range(2)]
            assert await state_at(saver, second) == RunState.BLOCKED
            await runs_of(saver).cancel_run("thread", first, "reason")
            await self._second_is_next(saver, second)

    async def test_a_later_run_is_blocked_until_the_run_before_it_is_quarantined(self) -> None:
        async with self.saver() as saver:
            first, second = [await accept(saver) for _ in range(2)]
            await self.crash(saver, most=2)
            await self._second_is_blocked(saver, first, second)
            assert (await self.crash(saver, most=2))[1].quarantined == 1
            await self._second_is_next(saver, second)

    async def test_a_later_run_is_blocked_while_the_run_before_it_waits(self) -> None:
        async with self.saver() as saver:
            first, second = [await accept(saver) for _ in range(2)]
            claim = await claim_one(saver)
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.WAITING))
            await self._second_is_blocked(saver, first, second)
            assert await claims(saver) == []

    async def test_a_blocked_run_is_cancelled_alone(self) -> None:
        async with self.saver() as saver:
            _, second, third = [await accept(saver) for _ in range(3)]
            claim = await claim_one(saver)
            assert await runs_of(saver).cancel_run("thread", second, "reason") == RunState.CANCELLED
            assert await state_at(saver, third) == RunState.BLOCKED
            # The holder of the first run continues.
            found = await thread_row(saver)
            assert (found.status, found.epoch) == ("running", claim.epoch)
            writer = await writer_of(saver)
            await commit_with(saver, writer, RunUpdate(claim.seq, RunState.DONE), status="done")
            assert await state_at(saver, third) == RunState.READY

    async def test_a_retried_run_is_blocked_by_an_unfinished_run_before_it(self) -> None:
        async with self.saver() as saver:
            first, second = [await accept(saver) for _ in range(2)]
            await runs_of(saver).cancel_run("thread", second, "reason")
            assert await runs_of(saver).retry_run("thread", second) == RunState.BLOCKED
            assert [claim.seq for claim in await claims(saver)] == [first]
            await self._second_is_blocked(saver, first, second)
            assert await runs_of(saver).next_due([QUEUE]) is None

    async def test_a_blocked_run_keeps_its_time(self) -> None:
        async with self.saver() as saver:
            first = await accept(saver)
            second = await accept(saver, delay=HOUR)
            await runs_of(saver).cancel_run("thread", first, "reason")
            assert await claims(saver) == []
            self.move_clock(saver, 2 * HOUR)
            await self._second_is_next(saver, second)

    async def _second_is_blocked(self, saver: Checkpointer, first: int, second: int) -> None:
        assert await state_at(saver, second) == RunState.BLOCKED
        found = await runs_of(saver).find_unfinished("thread")
        assert found is not None
        assert found.seq == first

    async def _second_is_next(self, saver: Checkpointer, second: int) -> None:
        assert await state_at(saver, second) == RunState.READY
        assert [claim.seq for claim in await claims(saver, 9)] == [second]


class ClaimClauses(RunStoreUnderTest):
    """Clauses of `claim` and `next_due`."""

    async def test_a_claimed_run_belongs_to_its_worker(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            claim = await claim_one(saver, 7)
            run = await run_at(saver, seq)
            assert (run.state, run.worker, run.attempt) == (RunState.RUNNING, 7, 1)
            assert (claim.seq, claim.attempt, claim.crashes, claim.request) == (seq, 1, 0, 0)
            assert claim.now >= run.accepted_at
            assert await claims(saver, 7) == []
            assert await claims(saver, 8) == []

    async def test_a_claim_fences_the_earlier_holder_of_a_new_thread(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            accepted = await thread_row(saver)
            await claim_one(saver, 1)
            earlier = await writer_of(saver)
            assert earlier.thread.epoch != accepted.epoch
            await self.lose(saver)
            claim = await claim_one(saver, 2)
            found = await thread_row(saver)
            assert (claim.epoch, claim.version) == (found.epoch, found.version) == (found.epoch, 0)
            unit = unit_with(earlier, RunUpdate(seq, RunState.DONE), status="done")
            assert await saver.commit(unit) == Conflict(0)
            assert await saver.save_writes(earlier.batch(status="failed")) == Conflict(0)
            # The new holder's first commit begins the thread.
            writer = await writer_of(saver)
            await commit_with(saver, writer, RunUpdate(seq, RunState.RUNNING, first_checkpoint=1))
            await commit_with(saver, writer, RunUpdate(seq, RunState.DONE), status="done")

    async def test_a_claim_fences_the_earlier_writer_of_a_thread(self) -> None:
        async with self.saver() as saver:
            earlier = await some_thread(saver)
            seq = await accept(saver)
            claim = await claim_one(saver)
            assert (claim.version, claim.epoch) == (3, (await thread_row(saver)).epoch)
            assert await saver.commit(earlier.unit(Step({"count": b"4"}))) == Conflict(3)
            assert await saver.save_writes(earlier.batch(earlier.record())) == Conflict(3)
            writer = await writer_of(saver)
            await save(saver, writer, writer.batch(writer.record()))
            await commit_with(saver, writer, RunUpdate(seq, RunState.DONE), status="done")

    async def test_only_a_worker_with_a_lease_claims_runs(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            await accept(saver)
            assert await runs.claim(1, [QUEUE], 10) == []
            await runs.register(NewWorker(1, HOUR, "worker"))
            self.move_clock(saver, 2 * HOUR)
            assert await runs.claim(1, [QUEUE], 10) == []
            await runs.register(NewWorker(2, HOUR, "worker"))
            await runs.unregister(2)
            assert await runs.claim(2, [QUEUE], 10) == []
            assert await claimed(saver, 3) == ["thread"]

    async def test_only_runs_of_the_given_queues_are_claimed(self) -> None:
        async with self.saver() as saver:
            for queue in ("mail", "order", "report"):
                await accept(saver, queue, queue=queue)
            assert await claimed(saver, 1, "order", "unknown") == ["order"]
            assert await claimed(saver, 1, "report", "mail", "report") == ["mail", "report"]

    async def test_runs_are_claimed_by_priority_and_then_by_time(self) -> None:
        async with self.saver() as saver:
            delays = {"b": 3, "d": 2, "a": 1}
            for number, (thread, delay) in enumerate(delays.items()):
                # Neither the order of acceptance nor the order of the queues counts.
                await accept(saver, thread, queue=f"queue {number % 2}", delay=delay * SECOND)
            await accept(saver, "low", queue="queue 0", priority=4)
            await accept(saver, "high", queue="queue 1", priority=0, delay=9 * SECOND)
            self.move_clock(saver, HOUR)
            queues = ("queue 0", "queue 1")
            order = [claim.thread for _ in range(5) for claim in await claims(saver, 1, *queues, most=1)]
            assert order == ["high", "a", "d", "b", "low"]

    async def test_a_claim_returns_at_most_the_wanted_number(self) -> None:
        async with self.saver() as saver:
            for number in range(5):
                await accept(saver, f"thread-{number}", queue=f"queue {number % 2}")
            numbers = [len(await claims(saver, 1, "queue 0", "queue 1", most=most)) for most in (0, 2, 1, 9, 9)]
            assert numbers == [0, 2, 1, 2, 0]

    async def test_a_delayed_run_is_claimed_at_its_time(self) -> None:
        async with self.saver() as saver:
            await accept(saver, delay=HOUR)
            assert await claims(saver) == []
            self.move_clock(saver, 2 * HOUR)
            assert await claimed(saver) == ["thread"]

    async def test_the_time_until_the_next_due_run_is_known(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            assert await runs.next_due([QUEUE]) is None
            await accept(saver, "late", delay=2 * HOUR, priority=0)
            await accept(saver, "early", delay=HOUR)
            await accept(saver, "other", queue="other")
            found = await runs.next_due([QUEUE])
            assert found is not None
            assert 0 < found <= HOUR
            assert await runs.next_due(["other"]) == 0
            assert await runs.next_due([QUEUE, "other"]) == 0
            assert await runs.next_due([]) is None
            self.move_clock(saver, 3 * HOUR)
            assert await runs.next_due([QUEUE]) == 0
            # A running run waits for nothing, and a run without a time is not due.
            for claim in await claims(saver):
                assert await runs.next_due([QUEUE]) is None
                await runs.settle(end_of(claim, 1, RunState.WAITING, due=NEVER))
            assert await runs.next_due([QUEUE]) is None

    async def test_two_workers_share_the_runs(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            for number in range(100):
                await runs_of(saver).accept(new_run(f"thread-{number:03}"))
            for worker in (1, 2):
                await runs_of(saver).register(NewWorker(worker, HOUR, f"worker {worker}"))
            found: Counter[str] = Counter()

            async def work(runs: RunStore, worker: int) -> None:
                # A claim may leave a run to a later one that another claim reads at this moment.
                while found.total() < 100 and await runs.next_due([QUEUE]) is not None:
                    found.update(claim.thread for claim in await runs.claim(worker, [QUEUE], 3))
                    await asyncio.sleep(0)

            await asyncio.gather(work(runs_of(saver), 1), work(runs_of(other), 2), work(runs_of(other), 1))
            assert found == Counter(f"thread-{number:03}" for number in range(100))
            assert len(await runs_of(saver).list_runs(state=RunState.RUNNING)) == 100

    async def test_workers_in_several_operating_system_threads_share_the_runs(self) -> None:
        async with self.saver() as saver:
            for number in range(40):
                await runs_of(saver).accept(new_run(f"thread-{number:03}"))
            for worker in range(4):
                await runs_of(saver).register(NewWorker(worker, HOUR, f"worker {worker}"))
            together = threading.Barrier(4)

            async def work(worker: int) -> list[str]:
                found: list[str] = []
                async with runs_of(saver).beside() as runs:
                    while await runs.next_due([QUEUE]) is not None:
                        found += [claim.thread for claim in await runs.claim(worker, [QUEUE], 2)]
                return found

            def begin(worker: int) -> list[str]:
                together.wait()
                return asyncio.run(work(worker))

            parts = await asyncio.gather(*(asyncio.to_thread(begin, worker) for worker in range(4)))
            assert sorted(thread for part in parts for thread in part) == [f"thread-{n:03}" for n in range(40)]
