"""Runs in PostgreSQL: claims by several workers at once, and commits that change runs, in one statement."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import asyncpg
import msgspec
import pytest

from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.digests import origin_of
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.errors import InvalidOptionError
from durable_graph.records import Committed, CommitUnit, Conflict, Saved, WritesBatch
from durable_graph.run_records import (
    NEVER,
    Claim,
    NewRun,
    NewWorker,
    RequestOfRun,
    RunRow,
    RunState,
    RunUpdate,
    Settlement,
    Swept,
)
from durable_graph.testing.rows import Step, Writer
from durable_graph_postgres import PostgresSaver
from durable_graph_postgres.runs import PostgresRuns
from tests.postgres.proxy import Cut, Proxy, proxied
from tests.postgres.trips import named
from tests.savers import saver_of, schema_of_its_own

SECOND = 1_000_000


def new_run(thread: str, **given: Any) -> NewRun:
    incarnation = drawn_incarnation()
    fields: dict[str, Any] = {"graph": "g", "queue": "q", "input": b"in", "input_digest": b"digest", "options": b""}
    fields |= {"incarnation": incarnation, "origin": origin_of(thread, incarnation)}
    return NewRun(thread=thread, epoch=drawn_incarnation(), token=os.urandom(16), **fields | given)


async def claimed(saver: PostgresSaver, worker: int, thread: str = "t") -> tuple[Claim, Writer]:
    """The worker's only claim, and the execution that writes to the run's thread."""
    await saver.runs.register(NewWorker(worker, 10 * SECOND, f"worker {worker}"))
    (claim,) = await saver.runs.claim(worker, ["q"], 10)
    assert claim.thread == thread
    return claim, await writer_of(saver, thread)


async def writer_of(saver: PostgresSaver, thread: str) -> Writer:
    found = await saver.load(thread)
    assert found is not None
    writer = Writer(found.thread)
    writer.base = found.base
    return writer


def with_run(write: Any, state: RunState, seq: int, **given: Any) -> Any:
    return msgspec.structs.replace(write, run=RunUpdate(seq, state, **given))


async def found(saver: PostgresSaver, seq: int, thread: str = "t") -> RunRow:
    row = await saver.runs.find_run(thread, seq)
    assert row is not None
    return row


async def states(saver: PostgresSaver, thread: str = "t") -> list[RunState]:
    return [run.state for run in await saver.runs.list_runs(thread=thread)]


@pytest.fixture
async def saver(postgres: str, tmp_path: Any) -> AsyncIterator[PostgresSaver]:
    async with saver_of("postgres", tmp_path, postgres) as opened:
        assert isinstance(opened, PostgresSaver)
        yield opened


@pytest.fixture
async def two(postgres: str) -> AsyncIterator[tuple[PostgresSaver, PostgresSaver]]:
    """Two savers, as of two processes."""
    async with (
        schema_of_its_own(postgres) as schema,
        PostgresSaver(postgres, schema=schema) as first,
        PostgresSaver(postgres, schema=schema) as second,
    ):
        yield first, second


# Acceptance


async def test_a_repeated_acceptance_is_one_run(saver: PostgresSaver) -> None:
    run = new_run("t")

    first, second = await saver.runs.accept(run), await saver.runs.accept(run)

    assert first.seq == second.seq
    assert len(await saver.runs.list_runs()) == 1


async def test_simultaneous_acceptances_with_one_key_are_one_run(two: tuple[PostgresSaver, PostgresSaver]) -> None:
    runs = [new_run("t", key="k") for _ in range(10)]

    answers = await asyncio.gather(*(two[number % 2].runs.accept(run) for number, run in enumerate(runs)))

    assert len({answer.seq for answer in answers}) == 1
    assert sum(answer.is_new for answer in answers) == 1
    assert await states(two[0]) == [RunState.READY]


async def test_simultaneous_acceptances_of_a_new_thread_are_queued(two: tuple[PostgresSaver, PostgresSaver]) -> None:
    answers = await asyncio.gather(*(two[number % 2].runs.accept(new_run("t")) for number in range(10)))

    assert len({answer.seq for answer in answers}) == 10
    assert await states(two[0]) == [RunState.READY, *[RunState.BLOCKED] * 9]


async def test_a_queue_name_with_a_nul_character_is_refused(saver: PostgresSaver) -> None:
    with pytest.raises(InvalidOptionError, match="queue"):
        await saver.runs.accept(new_run("t", queue="a\x00"))


async def test_the_row_of_an_accepted_thread_is_the_base_of_its_first_commit(saver: PostgresSaver) -> None:
    await saver.runs.accept(new_run("t"))

    accepted = await saver.load("t")

    assert accepted is not None
    assert (accepted.checkpoint, accepted.thread.version) == (None, 0)
    assert accepted.base is not None
    assert accepted.base.row == accepted.thread


# Claims


async def test_two_claimers_get_each_run_once(two: tuple[PostgresSaver, PostgresSaver]) -> None:
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
    assert mine
    assert theirs


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


async def test_a_repeated_claim_after_a_lost_answer_returns_the_runs_of_the_first(postgres: str) -> None:
    async with proxied_saver(postgres) as (saver, proxy, _):
        await saver.runs.register(NewWorker(1, 100 * SECOND, ""))
        assert await saver.runs.claim(1, ["q"], 2) == []
        for number in range(4):
            await saver.runs.accept(new_run(f"t {number}"))
        proxy.expect(Cut(1, "after"))

        claims = await saver.runs.claim(1, ["q"], 2)

        assert proxy.has_cut
        assert [claim.attempt for claim in claims] == [1, 1]
        running = await saver.runs.list_runs(state=RunState.RUNNING)
        assert [run.thread for run in running] == sorted(claim.thread for claim in claims)


# Commits and saves that change runs


async def test_a_commit_changes_the_run_and_the_thread(saver: PostgresSaver) -> None:
    accepted = await saver.runs.accept(new_run("t"))
    claim, writer = await claimed(saver, 1)

    unit = with_run(writer.unit(Step({"v": b"1"})), RunState.RUNNING, claim.seq, checkpoint=1, first_checkpoint=1)
    assert await saver.commit(unit) == Committed(1)
    begun = await found(saver, accepted.seq)
    writer = await writer_of(saver, "t")
    ended = with_run(writer.unit(Step({"v": b"2"}), status="done", at=7), RunState.DONE, claim.seq, checkpoint=2)
    assert await saver.commit(ended) == Committed(2)

    run = await found(saver, accepted.seq)
    assert (begun.state, begun.worker, begun.first_checkpoint, begun.checkpoint) == (RunState.RUNNING, 1, 1, 1)
    assert (run.state, run.worker, run.first_checkpoint, run.checkpoint) == (RunState.DONE, 0, 1, 2)
    assert run.ended_at == 7
    assert (await writer_of(saver, "t")).thread.status == "done"


async def test_a_conflict_changes_neither_the_run_nor_the_thread(saver: PostgresSaver) -> None:
    await saver.runs.accept(new_run("t"))
    claim, writer = await claimed(saver, 1)
    others = [await saver.runs.accept(new_run(f"other {number}")) for number in range(3)]
    writers = [(await writer_of(saver, f"other {number}")) for number in range(3)]
    stale = with_run(writer.rival().unit(Step({"v": b"stale"})), RunState.DONE, claim.seq)
    await saver.commit(writer.unit(Step({"v": b"1"})))
    ends = [
        with_run(writer.unit(Step({"v": b"1"})), RunState.DONE, run.seq)
        for run, writer in zip(others, writers, strict=True)
    ]

    answers = await asyncio.gather(*(saver.commit(unit) for unit in (*ends, stale)))

    assert answers == [Committed(1)] * 3 + [Conflict(1)]
    assert await states(saver) == [RunState.RUNNING]
    assert [await states(saver, f"other {number}") for number in range(3)] == [[RunState.DONE]] * 3


@asynccontextmanager
async def proxied_saver(dsn: str) -> AsyncIterator[tuple[PostgresSaver, Proxy, Callable[[], list[str]]]]:
    """A saver behind a proxy, and a function that names the statements since `proxy.expect`."""
    async with (
        schema_of_its_own(dsn) as schema,
        proxied(dsn) as proxy,
        PostgresSaver(proxy.url, schema=schema, pool_size=2) as saver,
    ):
        yield saver, proxy, lambda: named(proxy.trips, schema)


async def test_a_write_that_changes_a_run_is_one_round_trip(postgres: str) -> None:
    async def trips_of(thread: str) -> list[str]:
        for _ in range(2):
            await saver.runs.accept(new_run(thread))
        claim, writer = await claimed(saver, 1, thread)
        made: list[str] = []
        for write in (
            lambda: with_run(writer.unit(Step({"v": b"1"}), Step({"v": b"2"})), RunState.RUNNING, claim.seq),
            lambda: with_run(writer.unit(Step({"v": b"3"})), RunState.RUNNING, claim.seq),
            lambda: with_run(writer.unit(Step({"v": b"4", "w": b"4"})), RunState.RUNNING, claim.seq),
            lambda: with_run(writer.batch(writer.record()), RunState.WAITING, claim.seq),
            lambda: msgspec.structs.replace(writer.batch(writer.record(number=1)), wakes_run=True),
            lambda: with_run(writer.unit(Step({"v": b"5"})), RunState.DONE, claim.seq),
        ):
            proxy.expect()
            await written(saver, writer, write())
            made += trips()
        assert await states(saver, thread) == [RunState.DONE, RunState.READY]
        await saver.runs.cancel_run(thread, claim.seq + 1, "not needed")
        return made

    async with proxied_saver(postgres) as (saver, proxy, trips):
        # The first time, the connection prepares the statements.
        await trips_of("warm")

        made = await trips_of("t")

    several = "apply_with_runs"
    one = "apply_one_value_with_runs"
    assert made == [several, one, "apply_plain_with_runs", several, several, one]


async def written(saver: PostgresSaver, writer: Writer, write: CommitUnit | WritesBatch) -> None:
    """Make a write that succeeds, and move the writer on."""
    if isinstance(write, CommitUnit):
        answer = await saver.commit(write)
        assert isinstance(answer, Committed), answer
        writer.applied(write, answer.base)
        return
    saved = await saver.save_writes(write)
    assert isinstance(saved, Saved), saved
    writer.thread, writer.base = msgspec.structs.replace(writer.thread, wseq=saved.wseq), saved.base


async def test_a_run_that_waits_is_woken_and_one_with_an_unread_message_does_not_wait(saver: PostgresSaver) -> None:
    await saver.runs.accept(new_run("t"))
    claim, writer = await claimed(saver, 1)
    await written(saver, writer, writer.unit(Step({"v": b"1"})))

    async def waiting(inbox: int) -> RunRow:
        await written(saver, writer, with_run(writer.batch(), RunState.WAITING, claim.seq, inbox=inbox))
        return await found(saver, claim.seq)

    asleep = await waiting(0)
    await written(saver, writer, msgspec.structs.replace(writer.batch(), wakes_run=True))
    awake = await found(saver, claim.seq)

    assert (asleep.state, asleep.due, asleep.worker) == (RunState.WAITING, NEVER, 0)
    assert (awake.state, awake.inbox) == (RunState.READY, 1)
    assert 0 < awake.due < NEVER
    assert (await waiting(0)).state is RunState.READY
    assert (await waiting(1)).state is RunState.WAITING


async def test_a_save_that_updates_a_run_and_wakes_it_does_both(saver: PostgresSaver) -> None:
    await saver.runs.accept(new_run("t"))
    claim, writer = await claimed(saver, 1)
    await written(saver, writer, writer.unit(Step({"v": b"1"})))
    batch = msgspec.structs.replace(writer.batch(), wakes_run=True)

    await written(saver, writer, with_run(batch, RunState.WAITING, claim.seq))

    run = await found(saver, claim.seq)
    assert (run.state, run.inbox) == (RunState.READY, 1)


async def test_the_end_of_a_run_unblocks_the_next_one_that_has_not_ended(saver: PostgresSaver) -> None:
    runs = [await saver.runs.accept(new_run("t")) for _ in range(4)]
    await saver.runs.cancel_run("t", runs[1].seq, "not needed")
    claim, writer = await claimed(saver, 1)

    await saver.commit(with_run(writer.unit(Step({"v": b"1"})), RunState.DONE, claim.seq))

    assert await states(saver) == [RunState.DONE, RunState.CANCELLED, RunState.READY, RunState.BLOCKED]


@pytest.mark.parametrize("steps", [1, 2])
async def test_a_run_that_is_accepted_while_the_end_of_another_waits_for_the_thread_is_unblocked(
    two: tuple[PostgresSaver, PostgresSaver], postgres: str, steps: int
) -> None:
    """The statement of the commit began before the acceptance was visible."""
    first, second = two
    await first.runs.accept(new_run("t"))
    claim, writer = await claimed(first, 1)
    await written(first, writer, writer.unit(Step({"v": b"1"})))
    schema = (await first._opening.get()).database.retry.schema
    ends = with_run(writer.unit(*(Step({"v": b"2"}) for _ in range(steps))), RunState.DONE, claim.seq)
    async with locking(postgres, schema) as lock:
        await lock("threads", "t")
        accepting = asyncio.ensure_future(second.runs.accept(new_run("t")))
        await lock.until_waiting(1)
        committing = asyncio.ensure_future(first.commit(ends))
        await lock.until_waiting(2)

    accepted, committed = await asyncio.gather(accepting, committing)

    assert accepted.state is RunState.BLOCKED
    assert committed == Committed(1 + steps)
    assert await states(first) == [RunState.DONE, RunState.READY]


async def test_a_run_that_is_cancelled_while_the_end_of_another_waits_for_the_thread_is_passed_over(
    two: tuple[PostgresSaver, PostgresSaver], postgres: str
) -> None:
    first, second = two
    runs = [await first.runs.accept(new_run("t")) for _ in range(3)]
    claim, writer = await claimed(first, 1)
    await written(first, writer, with_run(writer.unit(Step({"v": b"1"})), RunState.RUNNING, claim.seq))
    schema = (await first._opening.get()).database.retry.schema
    async with locking(postgres, schema) as lock:
        await lock("threads", "t")
        cancelling = asyncio.ensure_future(second.runs.cancel_run("t", runs[1].seq, "not needed"))
        await lock.until_waiting(1)
        unit = with_run(writer.unit(Step({"v": b"2"})), RunState.DONE, claim.seq)
        committing = asyncio.ensure_future(first.commit(unit))
        await lock.until_waiting(2)

    await asyncio.gather(cancelling, committing)

    assert await states(first) == [RunState.DONE, RunState.CANCELLED, RunState.READY]


class Locking:
    """Locks rows on a connection of its own."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", schema: str) -> None:
        self._connection = connection
        self._schema = schema

    async def __call__(self, table: str, thread: str) -> None:
        await self._connection.execute(
            f'SELECT 1 FROM "{self._schema}".{table} WHERE thread_key = $1 FOR NO KEY UPDATE',  # noqa: S608  # names of its own
            key_of(thread),
        )

    async def until_waiting(self, sessions: int) -> None:
        """Return when so many sessions wait for a lock."""
        waiting = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
        async with asyncio.timeout(30):
            while await self._connection.fetchval(waiting) != sessions:  # noqa: ASYNC110  # the server has no event to wait for
                await asyncio.sleep(0)


@asynccontextmanager
async def locking(dsn: str, schema: str) -> AsyncIterator[Locking]:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            yield Locking(connection, schema)
    finally:
        await connection.close()


# Workers


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
    two: tuple[PostgresSaver, PostgresSaver],
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
