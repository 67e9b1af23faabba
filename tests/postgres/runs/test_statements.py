"""A signal and a settlement are one statement; a transaction decides what the statement cannot see."""

import asyncio

import msgspec
import pytest

from durable_graph.errors import CorruptCheckpointError, ValueTooLargeError
from durable_graph.run_records import (
    NEVER,
    UPDATES,
    Claim,
    NewMessage,
    NewWorker,
    RequestOfRun,
    RunState,
    Sent,
    Settlement,
)
from durable_graph.testing.rows import Step
from durable_graph_postgres import PostgresSaver
from tests.postgres.executions import (
    SECOND,
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
from tests.postgres.proxy import MOMENTS, Cut, Moment


def settlement(claim: Claim, state: RunState, worker: int = 1) -> Settlement:
    return Settlement(claim.thread, claim.seq, worker, claim.attempt, state)


def message(key: str, thread: str = "t") -> NewMessage:
    return NewMessage(thread, "topic", key, b"value")


async def test_a_signal_and_a_settlement_are_one_round_trip_each(postgres: str) -> None:
    async with proxied_saver(postgres) as (saver, proxy, trips):
        for thread in ("warm", "t"):
            await saver.runs.accept(new_run(thread))
            claim, _ = await claimed(saver, 1, thread)
            proxy.expect()
            assert await saver.runs.send(message("a", thread)) is Sent.NEW
            assert await saver.runs.send(message("a", thread)) is Sent.KNOWN
            released = msgspec.structs.replace(settlement(claim, RunState.READY), delay=3600 * 1_000_000)
            assert await saver.runs.settle(released)
            assert await saver.runs.settle(released)

        assert trips() == ["send_message"] * 2 + ["settle_run"] * 2
        assert await states(saver) == [RunState.READY]


async def test_the_runs_of_a_claim_are_loaded_in_one_round_trip_and_their_inboxes_in_another(postgres: str) -> None:
    async with proxied_saver(postgres) as (saver, proxy, trips):
        threads = [f"t {number}" for number in range(64)]
        for thread in threads:
            await saver.runs.accept(new_run(thread))
            await saver.runs.send(message("a", thread))
        for _ in range(2):
            proxy.expect()
            loaded = await saver.runs.load_many(threads, 1000)
            inboxes = await saver.runs.inboxes(dict.fromkeys(threads, ("topic", "other")))

        assert trips() == ["load_many", "find_inboxes"]
        assert list(loaded) == threads
        assert [len(each) for each in inboxes.values()] == [1] * 64


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_signal_and_a_settlement_through_a_connection_that_is_cut_have_their_effect_once(
    postgres: str, moment: Moment
) -> None:
    async with proxied_saver(postgres) as (saver, proxy, _):
        await saver.runs.accept(new_run("t"))
        claim, _ = await claimed(saver, 1)
        proxy.expect(Cut(1, moment))
        assert await saver.runs.send(message("a")) in (Sent.NEW, Sent.KNOWN)
        assert proxy.has_cut
        assert (await found(saver, claim.seq)).inbox == 1
        proxy.expect(Cut(1, moment))
        assert await saver.runs.settle(settlement(claim, RunState.DONE))
        assert proxy.has_cut
        assert await states(saver) == [RunState.DONE]


async def test_a_run_that_is_accepted_while_the_run_before_it_is_settled_is_ready(two: Two, postgres: str) -> None:
    """The statement of the settlement began before the new run was visible."""
    first, second = two
    await first.runs.accept(new_run("t"))
    claim, _ = await claimed(first, 1)
    async with locking(postgres, await schema_of(first)) as lock:
        await lock("threads", "t")
        accepting = asyncio.ensure_future(second.runs.accept(new_run("t")))
        await lock.until_waiting(1)
        settling = asyncio.ensure_future(first.runs.settle(settlement(claim, RunState.DONE)))
        await lock.until_waiting(2)

    accepted, settled = await asyncio.gather(accepting, settling)

    assert settled
    assert accepted.is_new
    assert await states(first) == [RunState.DONE, RunState.READY]


async def test_a_run_to_which_a_message_is_sent_while_it_is_settled_does_not_wait(two: Two, postgres: str) -> None:
    first, second = two
    await first.runs.accept(new_run("t"))
    claim, _ = await claimed(first, 1)
    async with locking(postgres, await schema_of(first)) as lock:
        await lock("threads", "t")
        sending = asyncio.ensure_future(second.runs.send(message("a")))
        await lock.until_waiting(1)
        settling = asyncio.ensure_future(first.runs.settle(settlement(claim, RunState.WAITING)))
        await lock.until_waiting(2)

    sent, settled = await asyncio.gather(sending, settling)

    assert (sent, settled) == (Sent.NEW, True)
    assert await states(first) == [RunState.READY]


async def test_a_message_that_is_sent_while_the_run_ends_is_refused(two: Two, postgres: str) -> None:
    first, second = two
    await first.runs.accept(new_run("t"))
    claim, writer = await claimed(first, 1)
    ends = with_run(writer.unit(Step({"v": b"1"})), RunState.DONE, claim.seq)
    async with locking(postgres, await schema_of(first)) as lock:
        await lock("threads", "t")
        committing = asyncio.ensure_future(written(first, writer, ends))
        await lock.until_waiting(1)
        sending = asyncio.ensure_future(second.runs.send(message("a")))
        await lock.until_waiting(2)

    _, sent = await asyncio.gather(committing, sending)

    assert sent is Sent.NO_RUN
    assert await first.runs.inbox("t", ["topic"]) == []


async def test_a_run_that_is_cancelled_while_it_ends_with_an_update_left_is_followed_by_the_next_one(
    two: Two, postgres: str
) -> None:
    """The statement of the commit began while the run was still asked to look."""
    first, second = two
    await first.runs.accept(new_run("t"))
    claim, writer = await claimed(first, 1)
    await first.runs.accept(new_run("t"))
    await first.runs.send(NewMessage("t", UPDATES, "a", b"value"))
    ends = with_run(writer.unit(Step({"v": b"1"})), RunState.DONE, claim.seq)
    async with locking(postgres, await schema_of(first)) as lock:
        await lock("threads", "t")
        cancelling = asyncio.ensure_future(second.runs.cancel_run("t", claim.seq, "why"))
        await lock.until_waiting(1)
        committing = asyncio.ensure_future(written(first, writer, ends))
        await lock.until_waiting(2)

    state, _ = await asyncio.gather(cancelling, committing)

    assert state is RunState.RUNNING
    assert await states(first) == [RunState.DONE, RunState.READY]


async def test_a_run_that_is_accepted_while_the_last_update_is_applied_is_not_asked_to_look(
    two: Two, postgres: str
) -> None:
    """The statement of the acceptance began while the update was in the inbox."""
    first, second = two
    await first.runs.accept(new_run("t"))
    claim, writer = await claimed(first, 1)
    await first.runs.send(NewMessage("t", UPDATES, "a", b"value"))
    applies = with_run(writer.unit(Step({"v": b"1"})), RunState.DONE, claim.seq)
    (update,) = await first.runs.inbox("t", [UPDATES])
    applies = msgspec.structs.replace(applies, taken=(update.seq,))
    async with locking(postgres, await schema_of(first)) as lock:
        await lock("threads", "t")
        committing = asyncio.ensure_future(written(first, writer, applies))
        await lock.until_waiting(1)
        accepting = asyncio.ensure_future(second.runs.accept(new_run("t")))
        await lock.until_waiting(2)

    _, accepted = await asyncio.gather(committing, accepting)

    assert await states(first) == [RunState.DONE, RunState.READY]
    assert (await found(first, accepted.seq)).request == RequestOfRun.NOTHING


async def test_messages_that_are_sent_to_one_thread_at_the_same_time_have_numbers_of_their_own(two: Two) -> None:
    await two[0].runs.accept(new_run("t"))

    sent = await asyncio.gather(*(two[number % 2].runs.send(message(f"k {number}")) for number in range(40)))

    assert sent == [Sent.NEW] * 40
    assert len({each.seq for each in await two[0].runs.inbox("t", ["topic"])}) == 40
    assert (await two[0].runs.list_runs(thread="t"))[0].inbox == 40


async def test_a_settlement_wakes_no_run_of_another_thread(saver: PostgresSaver) -> None:
    for thread in ("t", "u"):
        await saver.runs.accept(new_run(thread))
        await saver.runs.accept(new_run(thread))
    await saver.runs.register(NewWorker(1, 10 * SECOND, ""))
    claims = await saver.runs.claim(1, ["q"], 10)

    assert await saver.runs.settle(settlement(claims[0], RunState.DONE))

    other = claims[1].thread
    assert await states(saver, claims[0].thread) == [RunState.DONE, RunState.READY]
    assert await states(saver, other) == [RunState.RUNNING, RunState.BLOCKED]
    run = await found(saver, claims[0].seq, claims[0].thread)
    assert (run.due < NEVER, run.ended_at > 0) == (True, True)


async def test_threads_that_cannot_be_loaded_are_left_out(saver: PostgresSaver, postgres: str) -> None:
    for thread in ("large", "damaged", "sound"):
        await saver.runs.accept(new_run(thread))
        writer = await writer_of(saver, thread)
        await written(saver, writer, writer.unit(Step({"v": b"x" * (100 if thread == "large" else 1)})))
    async with locking(postgres, await schema_of(saver)) as lock:
        await lock.damage("damaged")

    found = await saver.runs.load_many(["large", "damaged", "sound", "unknown"], 50)

    assert list(found) == ["sound"]
    with pytest.raises(CorruptCheckpointError):
        await saver.load("damaged")
    saver.max_value_bytes = 50
    with pytest.raises(ValueTooLargeError):
        await saver.load("large")
