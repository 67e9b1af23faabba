"""Commits and saves that change runs: in one statement with the thread, or not at all."""

import asyncio

import msgspec
import pytest

from durable_graph.records import Committed, Conflict
from durable_graph.run_records import (
    NEVER,
    RunRow,
    RunState,
)
from durable_graph.testing.rows import Step
from durable_graph_postgres import PostgresSaver
from tests.postgres.executions import (
    Two,
    claimed,
    found,
    locking,
    new_run,
    proxied_saver,
    schema_of,
    states,
    with_run,
    writer_of,
    written,
)


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
    two: Two, postgres: str, steps: int
) -> None:
    """The statement of the commit began before the acceptance was visible."""
    first, second = two
    await first.runs.accept(new_run("t"))
    claim, writer = await claimed(first, 1)
    await written(first, writer, writer.unit(Step({"v": b"1"})))
    ends = with_run(writer.unit(*(Step({"v": b"2"}) for _ in range(steps))), RunState.DONE, claim.seq)
    async with locking(postgres, await schema_of(first)) as lock:
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
    two: Two, postgres: str
) -> None:
    first, second = two
    runs = [await first.runs.accept(new_run("t")) for _ in range(3)]
    claim, writer = await claimed(first, 1)
    await written(first, writer, with_run(writer.unit(Step({"v": b"1"})), RunState.RUNNING, claim.seq))
    async with locking(postgres, await schema_of(first)) as lock:
        await lock("threads", "t")
        cancelling = asyncio.ensure_future(second.runs.cancel_run("t", runs[1].seq, "not needed"))
        await lock.until_waiting(1)
        unit = with_run(writer.unit(Step({"v": b"2"})), RunState.DONE, claim.seq)
        committing = asyncio.ensure_future(first.commit(unit))
        await lock.until_waiting(2)

    await asyncio.gather(cancelling, committing)

    assert await states(first) == [RunState.DONE, RunState.CANCELLED, RunState.READY]
