"""Claims by several workers at once, and the leases of the workers."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import asyncpg
import pytest

from durable_graph.records import Committed, Conflict
from durable_graph.run_records import (
    NewWorker,
    RequestOfRun,
    RunState,
    Settlement,
    Swept,
)
from durable_graph.testing.rows import Step
from durable_graph_postgres import PostgresSaver
from durable_graph_postgres.runs import PostgresRuns
from tests.postgres.executions import (
    SECOND,
    Two,
    claimed,
    found,
    locking,
    new_run,
    proxied_saver,
    states,
    with_run,
    writer_of,
)
from tests.postgres.proxy import MOMENTS, Cut, Moment
from tests.savers import schema_of_its_own


async def test_two_claimers_get_each_run_once(two: Two) -> None:
    for thread in range(200):
        await two[0].runs.accept(new_run(f"t {thread}"))

    async def claim_all(saver: PostgresSaver, worker: int) -> list[str]:
        await saver.runs.register(NewWorker(worker, 100 * SECOND, ""))
        threads: list[str] = []
        while await saver.runs.next_due(["q"]) == 0:
            threads += [claim.thread for claim in await saver.runs.claim(worker, ["q"], 7)]
        return threads

    mine, theirs = await asyncio.gather(claim_all(two[0], 1), claim_all(two[1], 2))

    assert sorted(mine + theirs) == sorted(f"t {thread}" for thread in range(200))


async def test_claims_are_by_priority_and_then_by_time(saver: PostgresSaver) -> None:
    for thread, priority, queue in (("late", 2, "q"), ("other", 2, "r"), ("later", 2, "q"), ("first", 0, "r")):
        await saver.runs.accept(new_run(thread, priority=priority, queue=queue))
    await saver.runs.register(NewWorker(1, SECOND, ""))

    claims = [await saver.runs.claim(1, ["r", "q", "q"], 1) for _ in range(5)]

    assert [[claim.thread for claim in each] for each in claims] == [["first"], ["late"], ["other"], ["later"], []]


async def test_a_claim_has_what_the_run_was_accepted_with(saver: PostgresSaver) -> None:
    accepted = await saver.runs.accept(new_run("t", input=b"i", options=b"o", context=b"c", time_limit=5 * SECOND))

    claim, writer = await claimed(saver, 1)

    run = await found(saver, accepted.seq)
    assert (claim.thread, claim.seq, claim.graph) == ("t", accepted.seq, "g")
    assert (claim.input, claim.options, claim.context) == (b"i", b"o", b"c")
    assert (claim.attempt, claim.crashes, claim.version, claim.epoch) == (1, 0, 0, writer.thread.epoch)
    assert claim.deadline == run.deadline == run.accepted_at + 5 * SECOND
    assert run.accepted_at < claim.now < run.accepted_at + 60 * SECOND
    assert (run.state, run.worker) == (RunState.RUNNING, 1)


async def test_a_claim_waits_for_no_lock(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        for thread in ("free", "locked thread", "locked run"):
            await saver.runs.accept(new_run(thread))
        await saver.runs.register(NewWorker(1, 100 * SECOND, ""))
        async with locking(postgres, schema) as lock:
            await lock("threads", "locked thread")
            await lock("runs", "locked run")

            claims = await saver.runs.claim(1, ["q"], 10)

        assert [claim.thread for claim in claims] == ["free"]
        assert len(await saver.runs.claim(1, ["q"], 10)) == 2


async def test_a_worker_whose_lease_has_ended_claims_nothing_and_its_heartbeat_is_refused(
    saver: PostgresSaver,
) -> None:
    await saver.runs.accept(new_run("t"))
    await saver.runs.register(NewWorker(1, SECOND, ""))
    saver.runs.lease_skew += 2 * SECOND

    assert await saver.runs.claim(1, ["q"], 10) == []
    assert await saver.runs.heartbeat(1, SECOND) is None
    assert await saver.runs.count_workers() == 0


async def test_a_commit_of_an_earlier_holder_is_refused_before_the_next_one_has_committed(
    saver: PostgresSaver,
) -> None:
    await saver.runs.accept(new_run("t"))
    claim, zombie = await claimed(saver, 1)
    saver.runs.lease_skew += 20 * SECOND
    assert await saver.runs.sweep(5) == Swept(workers=1, ready=1)
    again, holder = await claimed(saver, 2)

    refused = await saver.commit(with_run(zombie.unit(Step({"v": b"1"})), RunState.DONE, claim.seq))

    assert isinstance(refused, Conflict)
    assert (again.attempt, again.crashes) == (2, 1)
    assert await states(saver) == [RunState.RUNNING]
    assert await saver.commit(holder.unit(Step({"v": b"1"}))) == Committed(1)


async def test_claims_and_heartbeats_need_no_connection_that_executes_nodes(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema, pool_size=1) as saver:
        await saver.runs.accept(new_run("t"))
        pool = (await saver._opening.get()).database._pool
        async with pool.acquire(), asyncio.timeout(30):
            await saver.runs.register(NewWorker(1, 100 * SECOND, ""))

            assert len(await saver.runs.claim(1, ["q"], 1)) == 1
            assert await saver.runs.heartbeat(1, SECOND) is not None
            assert await saver.runs.sweep(5) == Swept()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_claim_through_a_connection_that_is_cut_has_every_run_that_the_worker_holds(
    postgres: str, moment: Moment
) -> None:
    async with proxied_saver(postgres) as (saver, proxy, _):
        await saver.runs.register(NewWorker(1, 100 * SECOND, ""))
        assert await saver.runs.claim(1, ["q"], 2) == []
        for number in range(4):
            await saver.runs.accept(new_run(f"t {number}"))
        proxy.expect(Cut(1, moment))

        claims = await saver.runs.claim(1, ["q"], 2)

        assert proxy.has_cut
        await saver.aclose()
        await proxy.until_quiet()
        assert [claim.attempt for claim in claims] == [1, 1]
        async with saver:
            running = await saver.runs.list_runs(state=RunState.RUNNING)
        assert [run.thread for run in running] == sorted(claim.thread for claim in claims)


async def test_a_sweep_frees_the_runs_of_dead_workers_and_quarantines_after_so_many_crashes(
    saver: PostgresSaver,
) -> None:
    runs = [await saver.runs.accept(new_run("t")) for _ in range(2)]
    swept = []
    for worker in range(3):
        await claimed(saver, worker)
        saver.runs.lease_skew += 20 * SECOND
        swept.append(await saver.runs.sweep(3))
        # The next claim is due later.
        saver.runs.skew += SECOND

    assert swept == [Swept(1, 1, 0), Swept(1, 1, 0), Swept(1, 0, 1)]
    run = await found(saver, runs[0].seq)
    assert run.error is not None
    assert "3 times in a row" in run.error
    assert await states(saver) == [RunState.QUARANTINED, RunState.READY]
    assert await saver.runs.retry_run("t", runs[0].seq) is RunState.QUARANTINED


async def test_a_late_commit_of_a_swept_worker_leaves_the_run_ready(saver: PostgresSaver) -> None:
    await saver.runs.accept(new_run("t"))
    claim, zombie = await claimed(saver, 1)
    saver.runs.lease_skew += 20 * SECOND
    await saver.runs.sweep(5)

    await saver.commit(with_run(zombie.unit(Step({"v": b"1"})), RunState.RUNNING, claim.seq, first_checkpoint=1))

    assert await states(saver) == [RunState.READY]
    again, _ = await claimed(saver, 2)
    assert (again.first_checkpoint, again.version, again.input) == (1, 1, b"")


async def test_a_heartbeat_has_the_requests_to_the_worker(saver: PostgresSaver) -> None:
    await saver.runs.accept(new_run("t"))
    claim, _ = await claimed(saver, 1)
    before = await saver.runs.heartbeat(1, 10 * SECOND)

    assert await saver.runs.cancel_run("t", claim.seq, "not needed") is RunState.RUNNING

    after = await saver.runs.heartbeat(1, 10 * SECOND)
    assert before is not None
    assert after is not None
    assert (before.requests, after.requests) == ((), (("t", claim.seq, RequestOfRun.CANCEL),))


async def test_a_worker_that_leaves_gives_its_runs_back(saver: PostgresSaver) -> None:
    await saver.runs.accept(new_run("t"))
    claim, _ = await claimed(saver, 1)

    await saver.runs.unregister(1)

    run = await found(saver, claim.seq)
    assert (run.state, run.worker, run.crashes) == (RunState.READY, 0, 0)
    assert await saver.runs.heartbeat(1, SECOND) is None
    again, _ = await claimed(saver, 2)
    assert not await saver.runs.settle(Settlement("t", claim.seq, 1, claim.attempt, RunState.DONE))
    assert await saver.runs.settle(Settlement("t", claim.seq, 2, again.attempt, RunState.FAILED, error="why"))
    assert await saver.runs.release(2) == 0


async def test_a_store_beside_serves_an_event_loop_in_another_thread(saver: PostgresSaver) -> None:
    await saver.runs.accept(new_run("t"))
    await saver.runs.register(NewWorker(1, SECOND, ""))

    assert await asyncio.to_thread(lambda: asyncio.run(beside(saver.runs))) == 1


async def test_a_store_beside_a_pool_of_the_user_opens_connections_of_its_own(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, asyncpg.create_pool(postgres, min_size=0, max_size=2) as pool:
        saver = PostgresSaver(pool, schema=schema)
        async with saver:
            await saver.runs.accept(new_run("t"))
            await saver.runs.register(NewWorker(1, SECOND, ""))

            assert await asyncio.to_thread(lambda: asyncio.run(beside(saver.runs))) == 1
            assert await beside(saver.runs) == 0


async def beside(runs: PostgresRuns) -> int:
    """Renew a lease and claim through a store beside this one. Returns the number of claims."""
    async with runs.beside() as other:
        assert await other.heartbeat(1, SECOND) is not None
        await other.accept(new_run("t"))
        return len(await other.claim(1, ["q"], 10))


async def test_workers_commits_and_sweeps_never_wait_for_each_other_in_a_circle(
    two: Two,
) -> None:
    random = Random(7)
    threads = [f"t {number}" for number in range(12)]
    for worker in (1, 2):
        await two[0].runs.register(NewWorker(worker, 1000 * SECOND, ""))

    async def work(saver: PostgresSaver, worker: int) -> None:
        for _ in range(12):
            for claim in await saver.runs.claim(worker, ["q"], 5):
                writer = await writer_of(saver, claim.thread)
                state = random.choice((RunState.DONE, RunState.FAILED, RunState.WAITING))
                unit = with_run(writer.unit(Step({"v": b"1"})), state, claim.seq, due=0)
                await asyncio.gather(saver.commit(unit), saver.runs.release(worker))

    async def disturb(saver: PostgresSaver) -> None:
        calls: tuple[Callable[[], Awaitable[Any]], ...] = (
            lambda: saver.runs.accept(new_run(random.choice(threads))),
            lambda: saver.runs.accept(new_run(random.choice(threads))),
            lambda: saver.runs.sweep(3),
            lambda: doomed(saver, random.randrange(3, 100)),
        )
        for _ in range(12):
            await asyncio.gather(*(random.choice(calls)() for _ in range(6)))

    async with asyncio.timeout(120):
        await asyncio.gather(work(two[0], 1), work(two[1], 2), disturb(two[0]), disturb(two[1]))

    # Every thread still has a run that somebody can claim, or none that has not ended.
    for thread in threads:
        left = [state for state in await states(two[0], thread) if not state.is_ended]
        assert left[:1] != [RunState.BLOCKED], left


async def doomed(saver: PostgresSaver, worker: int) -> None:
    """A worker that claims runs and whose lease has ended before the next sweep."""
    await saver.runs.register(NewWorker(worker, 50_000, ""))
    await saver.runs.claim(worker, ["q"], 3)
