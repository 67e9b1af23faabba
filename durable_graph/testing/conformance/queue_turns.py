"""The clauses on the order in which runs of queues with limits are claimed, and on the claims themselves."""

from durable_graph.queue_records import QueueLimits
from durable_graph.records import Conflict
from durable_graph.run_records import NewWorker, RunState, RunUpdate
from durable_graph.testing.conformance.queues_under_test import (
    GRAPHS,
    QUEUE,
    QueuesUnderTest,
    claim,
    declare,
    end,
    in_turn,
    put,
    queues_of,
    taken,
)
from durable_graph.testing.conformance.run_store_under_test import HOUR, SECOND, accept, runs_of, unit_with, writer_of


class TurnClauses(QueuesUnderTest):
    """Priorities, turns of keys, and times."""

    async def test_keys_take_turns_whatever_their_number_of_runs(self) -> None:
        async with self.saver() as saver:
            await declare(saver)
            await put(saver, *(f"a{number}" for number in range(20)), key="a")
            await put(saver, "b0", "b1", "b2", key="b")
            await put(saver, "c0", key="c")
            assert await taken(saver, 3) == ["a0", "b0", "c0"]
            assert await taken(saver, 4) == ["a1", "a2", "b1", "b2"]
            assert await taken(saver, 2) == ["a3", "a4"]

    async def test_a_claim_continues_after_the_key_of_the_claim_before(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            await declare(saver)
            keys = in_turn("a", "b", "c")
            for key in keys:
                await put(saver, *(f"{key}{number}" for number in range(4)), key=key)
            found = [await taken(each, 2, worker) for each, worker in ((saver, 1), (other, 2), (saver, 1))]
            first, second, third = keys
            expected = ([f"{first}0", f"{second}0"], [f"{third}0", f"{first}1"], [f"{second}1", f"{third}1"])
            assert found == [sorted(each) for each in expected]

    async def test_runs_without_a_key_have_one_turn(self) -> None:
        async with self.saver() as saver:
            await declare(saver)
            await put(saver, *(f"none {number}" for number in range(5)))
            await put(saver, "a0", "a1", key="a")
            assert await taken(saver, 4) == ["a0", "a1", "none 0", "none 1"]

    async def test_runs_of_a_higher_priority_precede_those_of_all_keys(self) -> None:
        async with self.saver() as saver:
            await declare(saver)
            await put(saver, "a0", key="a", priority=3)
            await put(saver, "b0", key="b", priority=2)
            await put(saver, "a1", "a2", key="a", priority=2)
            await put(saver, "b1", key="b", priority=4)
            await put(saver, "a3", key="a", priority=0)
            assert [await taken(saver, most) for most in (1, 3, 1, 1)] == [["a3"], ["a1", "a2", "b0"], ["a0"], ["b1"]]

    async def test_runs_of_a_key_are_claimed_by_their_due_time(self) -> None:
        async with self.saver() as saver:
            await declare(saver)
            for thread, delay in (("later", 3), ("first", 1), ("second", 2)):
                await put(saver, thread, key="a", delay=delay * SECOND)
            early = await claim(saver)
            assert early.claims == []
            assert early.wait is not None
            assert 0 < early.wait <= SECOND
            self.move_clock(saver, 4 * SECOND)
            assert [await taken(saver, 1) for _ in range(3)] == [["first"], ["second"], ["later"]]

    async def test_a_run_that_is_not_due_hides_no_other(self) -> None:
        async with self.saver() as saver:
            await declare(saver, per_key=1)
            for key in ("a", "b", "c"):
                await put(saver, f"{key} later", key=key, delay=HOUR)
            await put(saver, "b0", "b1", key="b")
            await put(saver, "a first", key="a", priority=0, delay=HOUR)
            found = await claim(saver)
            assert [each.thread for each in found.claims] == ["b0"]
            assert found.wait is not None
            assert found.wait > 0

    async def test_a_run_behind_another_of_its_thread_is_left(self) -> None:
        async with self.saver() as saver:
            await declare(saver)
            await put(saver, "thread", "thread", key="a")
            await put(saver, "another", key="a")
            assert await taken(saver) == ["another", "thread"]


class ClaimClauses(QueuesUnderTest):
    """The claims themselves."""

    async def test_a_claim_has_its_queue_and_what_every_claim_has(self) -> None:
        async with self.saver() as saver:
            await declare(saver)
            await put(saver, "thread", key="a", input=b"given", options=b"chosen", metadata='{"a":1}')
            (made,) = (await claim(saver)).claims
            (row,) = await runs_of(saver).list_runs(thread="thread")
            assert (row.state, row.worker, row.attempt, row.queue) == (RunState.RUNNING, 1, 1, QUEUE)
            assert (made.thread, made.seq, made.queue, made.graph) == ("thread", row.seq, QUEUE, "graph")
            assert (made.input, made.options, made.attempt, made.version) == (b"given", b"chosen", 1, 0)
            assert made.fresh is not None

    async def test_a_claim_fences_earlier_holders(self) -> None:
        async with self.saver() as saver:
            await declare(saver)
            await put(saver, "thread")
            (made,) = (await claim(saver)).claims
            former = await writer_of(saver)
            await end(saver, [made], RunState.READY)
            await claim(saver, worker=2)
            assert isinstance(await saver.commit(unit_with(former, RunUpdate(made.seq, RunState.DONE))), Conflict)

    async def test_a_claim_leaves_runs_of_other_graphs(self) -> None:
        async with self.saver() as saver:
            await declare(saver)
            await put(saver, "a0", "a1", key="a", graph="unknown")
            await put(saver, "a2", key="a")
            await put(saver, "b0", key="b", graph="unknown")
            assert await taken(saver) == ["a2"]
            found = await queues_of(saver).claim(2, [QUEUE], ["unknown"], 100)
            assert sorted(each.thread for each in found.claims) == ["a0", "a1", "b0"]

    async def test_a_claim_leaves_runs_of_other_queues(self) -> None:
        async with self.saver() as saver:
            await queues_of(saver).declare([QueueLimits("other", 1)])
            await declare(saver, concurrency=5)
            await put(saver, "other 0", queue="other")
            await put(saver, "a0")
            # A queue that has the name of another one's graph.
            await accept(saver, "of a graph", queue=QUEUE)
            assert await taken(saver) == ["a0"]
            both = await queues_of(saver).claim(1, [QUEUE, "other"], GRAPHS, 100)
            assert [(each.thread, each.queue) for each in both.claims] == [("other 0", "other")]

    async def test_a_claim_takes_no_more_than_it_asks_for(self) -> None:
        async with self.saver() as saver:
            await queues_of(saver).declare([QueueLimits("other")])
            await declare(saver)
            await put(saver, "other 0", "other 1", queue="other")
            await put(saver, "a0", "a1")
            found = await queues_of(saver).claim(1, [QUEUE, "other"], GRAPHS, 3)
            assert [each.thread for each in found.claims] == ["a0", "a1", "other 0"]
            assert found.wait == 0

    async def test_a_worker_whose_lease_has_ended_gets_none(self) -> None:
        async with self.saver() as saver:
            await declare(saver)
            await put(saver, "thread")
            await runs_of(saver).register(NewWorker(9, SECOND, "worker 9"))
            self.move_clock(saver, 2 * SECOND)
            assert await taken(saver, worker=9) == []
            assert await taken(saver, worker=8) == []
            assert await taken(saver) == ["thread"]

    async def test_a_key_stays_with_its_run(self) -> None:
        async with self.saver() as saver:
            await declare(saver, per_key=1)
            await put(saver, "a0", "a1", key="a")
            # Accepted by a transaction, because its thread is busy.
            await put(saver, "a1", key="a", if_busy="interrupt")
            for _ in range(2):
                made = await claim(saver)
                assert len(made.claims) == 1
                await end(saver, made.claims)
