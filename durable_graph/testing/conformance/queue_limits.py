"""The clauses on the limits of queues: on running runs, on starts in a time, and on declarations."""

import asyncio

from durable_graph.checkpointing.queue_rules import stored_key
from durable_graph.queue_records import QueueLimits, Rate
from durable_graph.run_records import NEVER, NewWorker, RunState
from durable_graph.testing.conformance.queues_under_test import (
    GRAPHS,
    QUEUE,
    QueuesUnderTest,
    claim,
    declare,
    end,
    put,
    queues_of,
    taken,
)
from durable_graph.testing.conformance.run_store_under_test import HOUR, SECOND, new_run, runs_of

THREADS = [f"thread {number}" for number in range(10)]


class ConcurrencyClauses(QueuesUnderTest):
    """Limits on the runs that are executed at the same time."""

    async def test_a_queue_has_no_more_running_runs_than_its_limit(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            await declare(saver, concurrency=3)
            await put(saver, *THREADS)
            first = await claim(saver, 2)
            assert len(first.claims) == 2
            second = await claim(other, worker=2)
            assert len(second.claims) == 1
            assert second.wait is None
            assert (await claim(saver)).claims == []
            await end(saver, first.claims)
            assert len((await claim(other, worker=2)).claims) == 2

    async def test_a_key_has_no_more_running_runs_than_its_limit(self) -> None:
        async with self.saver() as saver:
            await declare(saver, per_key=2)
            await put(saver, *THREADS[:5], key="a")
            await put(saver, *THREADS[5:8], key="b")
            assert await taken(saver) == [*THREADS[:2], *THREADS[5:7]]
            assert await taken(saver) == []

    async def test_a_limit_of_each_key_is_none_of_runs_without_a_key(self) -> None:
        async with self.saver() as saver:
            await declare(saver, per_key=1)
            await put(saver, *THREADS)
            assert await taken(saver) == THREADS

    async def test_a_key_that_is_full_leaves_the_slots_to_others(self) -> None:
        async with self.saver() as saver:
            await declare(saver, concurrency=3, per_key=1)
            await put(saver, *THREADS[:4], key="a", priority=0)
            await put(saver, *THREADS[4:6], key="b")
            await put(saver, THREADS[6], key="c")
            assert await taken(saver, 1) == [THREADS[0]]
            assert await taken(saver) == [THREADS[4], THREADS[6]]

    async def test_a_key_is_full_over_all_priorities(self) -> None:
        async with self.saver() as saver:
            await declare(saver, per_key=1)
            await put(saver, THREADS[0], key="a", priority=0)
            await put(saver, THREADS[1], key="a", priority=1)
            assert await taken(saver) == THREADS[:1]

    async def test_a_run_that_waits_has_no_slot(self) -> None:
        async with self.saver() as saver:
            await declare(saver, concurrency=1, per_key=1)
            await put(saver, *THREADS[:2], key="a")
            found = await claim(saver)
            await end(saver, found.claims, RunState.WAITING)
            assert await taken(saver) == [THREADS[1]]

    async def test_a_run_of_a_worker_whose_lease_ended_has_no_slot(self) -> None:
        async with self.saver() as saver:
            await declare(saver, concurrency=1)
            await put(saver, THREADS[0])
            assert await taken(saver) == THREADS[:1]
            await self.lose(saver)
            await runs_of(saver).register(NewWorker(3, HOUR, "worker 3"))
            assert await taken(saver, worker=3) == THREADS[:1]

    async def test_simultaneous_claims_keep_the_limit(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            await declare(saver, concurrency=3, per_key=2)
            await put(saver, *THREADS[:5], key="a")
            await put(saver, *THREADS[5:], key="b")
            found: list[str] = []
            while len(found) < 3:
                both = await asyncio.gather(
                    *(claim(each, worker=worker) for each, worker in ((saver, 1), (other, 2), (saver, 2), (other, 1)))
                )
                found += [each.thread for made in both for each in made.claims]
            assert len(found) == 3
            assert len(await runs_of(saver).list_runs(state=RunState.RUNNING)) == 3

    async def test_an_acceptance_claims_no_run_of_a_queue_with_limits(self) -> None:
        async with self.saver() as saver:
            await declare(saver)
            run = new_run("thread", queue=QUEUE, limit_key=stored_key(None))
            accepted, made = await runs_of(saver).accept_and_claim(run, 1)
            assert (accepted.state, made) == (RunState.READY, None)
            assert await taken(saver) == ["thread"]


class RateClauses(QueuesUnderTest):
    """Limits on the number of starts within a time."""

    async def test_no_window_has_more_starts_than_the_rate(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            await declare(saver, rate=Rate(3, per=10))
            await put(saver, *THREADS)
            assert len(await taken(saver, 2)) == 2
            self.move_clock(saver, 8 * SECOND)
            self.move_clock(other, 8 * SECOND)
            late = await claim(other, worker=2)
            assert len(late.claims) == 1
            assert late.wait is not None
            assert 0 < late.wait < 3 * SECOND
            self.move_clock(saver, 3 * SECOND)
            # The two of the beginning no longer count, and the late one does.
            assert len(await taken(saver)) == 2
            assert await taken(saver) == []
            self.move_clock(saver, 8 * SECOND)
            assert len(await taken(saver)) == 1

    async def test_a_start_counts_after_its_run_has_ended(self) -> None:
        async with self.saver() as saver:
            await declare(saver, rate=Rate(1, per=1000))
            await put(saver, *THREADS[:2])
            await end(saver, (await claim(saver)).claims)
            assert await taken(saver) == []

    async def test_a_continuation_counts_for_the_rate(self) -> None:
        async with self.saver() as saver:
            await declare(saver, rate=Rate(1, per=1000))
            await put(saver, THREADS[0])
            await end(saver, (await claim(saver)).claims, RunState.READY)
            assert await taken(saver) == []
            self.move_clock(saver, 1001 * SECOND)
            assert await taken(saver) == THREADS[:1]

    async def test_a_high_rate_is_kept_in_every_window(self) -> None:
        async with self.saver() as saver:
            await declare(saver, rate=Rate(110, per=1000))
            await put(saver, *(f"thread {number}" for number in range(230)))
            for _ in range(20):
                assert len(await taken(saver, 5)) == 5
                self.move_clock(saver, SECOND)
            assert len(await taken(saver)) == 10
            self.move_clock(saver, 980 * SECOND + SECOND // 2)
            again = 0
            for number in range(20):
                again += len(await taken(saver))
                assert again <= 5 * (number + 1)
                self.move_clock(saver, SECOND)
            self.move_clock(saver, 15 * SECOND)
            again += len(await taken(saver))
            assert again == 110

    async def test_a_clock_that_is_set_back_stops_no_queue(self) -> None:
        async with self.saver() as saver:
            await declare(saver, rate=Rate(1, per=10))
            await put(saver, *THREADS[:3])
            runs_of(saver).skew += HOUR
            assert len(await taken(saver)) == 1
            runs_of(saver).skew -= HOUR
            # The start counts as made now.
            assert await taken(saver) == []
            runs_of(saver).skew += 11 * SECOND
            assert len(await taken(saver)) == 1


class DeclarationClauses(QueuesUnderTest):
    """Declarations, and what is listed."""

    async def test_the_newest_declaration_holds(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            await declare(saver, concurrency=1)
            await put(saver, *THREADS)
            assert len(await taken(saver)) == 1
            await declare(other, concurrency=3, per_key=5, rate=Rate(7, per=2.5))
            assert len(await taken(saver)) == 2
            (info,) = await queues_of(saver).describe()
            assert info.limits == QueueLimits(QUEUE, 3, 5, Rate(7, per=2.5))
            await declare(saver, concurrency=2)
            await end(saver, (await claim(saver)).claims)
            assert await taken(saver) == []
            await declare(saver)
            assert len(await taken(saver)) == 7

    async def test_a_declaration_keeps_the_log_of_starts(self) -> None:
        async with self.saver() as saver:
            await declare(saver, rate=Rate(2, per=1000))
            await put(saver, *THREADS)
            assert len(await taken(saver, 1)) == 1
            await declare(saver, rate=Rate(3, per=1000))
            assert len(await taken(saver)) == 2

    async def test_the_same_declaration_again_changes_nothing(self) -> None:
        async with self.saver() as saver:
            await declare(saver, concurrency=1)
            before = await queues_of(saver).describe()
            self.move_clock(saver, SECOND)
            await declare(saver, concurrency=1)
            assert await queues_of(saver).describe() == before
            await declare(saver, concurrency=2)
            (after,) = await queues_of(saver).describe()
            assert after.declared_at >= before[0].declared_at + SECOND

    async def test_a_listing_has_declared_queues_and_those_of_living_workers(self) -> None:
        async with self.saver() as saver:
            await queues_of(saver).declare([QueueLimits("b", 1), QueueLimits("a", per_key=2)])
            await runs_of(saver).register(NewWorker(1, SECOND, "worker 1", ("b", "graph")))
            await runs_of(saver).register(NewWorker(2, HOUR, "worker 2", ("b",)))
            found = [(each.queue, each.limits, each.workers) for each in await queues_of(saver).describe()]
            a, b = QueueLimits("a", per_key=2), QueueLimits("b", 1)
            assert found == [("a", a, 0), ("b", b, 2), ("graph", None, 1)]
            await runs_of(saver).heartbeat(2, 2 * HOUR)
            self.move_clock(saver, HOUR)
            found = [(each.queue, each.limits, each.workers) for each in await queues_of(saver).describe()]
            assert found == [("a", a, 0), ("b", b, 1)]

    async def test_a_queue_that_was_not_declared_has_no_claims(self) -> None:
        async with self.saver() as saver:
            await declare(saver, queue="another")
            await put(saver, *THREADS)
            found = await claim(saver)
            assert (found.claims, found.wait) == ([], None)
            await declare(saver)
            assert await taken(saver) == THREADS

    async def test_no_run_that_waits_for_nothing_but_a_message_sets_a_time(self) -> None:
        async with self.saver() as saver:
            await declare(saver)
            assert await queues_of(saver).claim(1, [QUEUE], GRAPHS, 0) == await queues_of(saver).claim(1, [], GRAPHS, 9)
            await put(saver, THREADS[0])
            made = await claim(saver)
            await end(saver, made.claims, RunState.WAITING)
            assert (await runs_of(saver).list_runs())[0].due == NEVER
            assert (await claim(saver)).wait is None
