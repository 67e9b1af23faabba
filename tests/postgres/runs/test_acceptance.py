"""Runs are accepted in one statement for many threads; a transaction decides what the statement cannot."""

import asyncio
import logging

import pytest

from durable_graph.checkpointing import verify_request
from durable_graph.errors import InvalidOptionError
from durable_graph.records import Committed
from durable_graph.run_records import NewMessage, NewWorker, RunState, Sent, Settlement
from durable_graph.testing.rows import Step, Writer
from durable_graph_postgres import PostgresSaver
from tests.postgres.executions import (
    SECOND,
    Two,
    claimed,
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


async def test_a_repeated_acceptance_is_one_run(saver: PostgresSaver) -> None:
    run = new_run("t")

    first, second = await saver.runs.accept(run), await saver.runs.accept(run)

    assert first.seq == second.seq
    assert len(await saver.runs.list_runs()) == 1


async def test_simultaneous_acceptances_with_one_key_are_one_run(two: Two) -> None:
    runs = [new_run("t", key="k") for _ in range(10)]

    answers = await asyncio.gather(*(two[number % 2].runs.accept(run) for number, run in enumerate(runs)))

    assert len({answer.seq for answer in answers}) == 1
    assert sum(answer.is_new for answer in answers) == 1
    assert await states(two[0]) == [RunState.READY]


async def test_simultaneous_acceptances_of_a_new_thread_are_queued(two: Two) -> None:
    answers = await asyncio.gather(*(two[number % 2].runs.accept(new_run("t")) for number in range(10)))

    assert len({answer.seq for answer in answers}) == 10
    assert await states(two[0]) == [RunState.READY, *[RunState.BLOCKED] * 9]


async def test_a_run_of_a_new_thread_and_the_next_one_are_one_round_trip_each(postgres: str) -> None:
    async with proxied_saver(postgres) as (saver, proxy, trips):
        for thread in ("warm", "t"):
            proxy.expect()
            for run in (new_run(thread, key="k"), new_run(thread), new_run(thread)):
                await saver.runs.accept(run)

        assert trips() == ["accept_runs"] * 3
        assert await states(saver) == [RunState.READY, RunState.BLOCKED, RunState.BLOCKED]
        request = await saver.find_request("t", "k")
        assert request is not None
        accepted = verify_request(request)
        assert accepted is not None
        assert accepted.seq == (await saver.runs.list_runs(thread="t"))[0].seq


async def test_a_run_with_a_key_on_an_existing_thread_takes_three_round_trips_and_a_known_key_two(
    postgres: str,
) -> None:
    async with proxied_saver(postgres) as (saver, proxy, trips):
        for thread in ("warm", "t"):
            await saver.runs.accept(new_run(thread))
            proxy.expect()
            first, again = [await saver.runs.accept(new_run(thread, key="k")) for _ in range(2)]

        assert trips() == ["accept_runs", "find_acceptance", "accept_runs", "accept_runs", "find_acceptance"]
        assert (first.is_new, first.state) == (True, RunState.BLOCKED)
        assert (again.seq, again.is_new, again.state) == (first.seq, False, RunState.BLOCKED)
        request = await saver.find_request("t", "k")
        assert request is not None
        accepted = verify_request(request)
        assert accepted is not None
        assert accepted.seq == first.seq
        assert (await saver.runs.accept(new_run("t"))).seq == first.seq + 1


async def test_the_first_run_with_a_key_on_a_thread_takes_its_number_from_the_clock(saver: PostgresSaver) -> None:
    writer = Writer.of("t")
    await written(saver, writer, writer.unit(Step({"v": b"1"})))

    accepted = await saver.runs.accept(new_run("t", key="k"))

    assert accepted.state is RunState.READY
    assert accepted.seq > 1_000_000_000_000_000
    request = await saver.find_request("t", "k")
    assert request is not None
    assert verify_request(request) is not None


async def test_a_run_with_a_key_that_is_accepted_while_the_run_before_it_is_settled_is_ready(
    two: Two, postgres: str
) -> None:
    """The settlement changes no digest of the thread, which the acceptance compares."""
    first, second = two
    await first.runs.accept(new_run("t"))
    claim, _ = await claimed(first, 1)
    async with locking(postgres, await schema_of(first)) as lock:
        await lock("threads", "t")
        done = Settlement("t", claim.seq, 1, claim.attempt, RunState.DONE)
        settling = asyncio.ensure_future(first.runs.settle(done))
        await lock.until_waiting(1)
        accepting = asyncio.ensure_future(second.runs.accept(new_run("t", key="k")))
        await lock.until_waiting(2)

    settled, accepted = await asyncio.gather(settling, accepting)

    assert settled
    assert accepted.is_new
    assert await states(first) == [RunState.DONE, RunState.READY]


async def test_runs_that_are_accepted_at_the_same_time_share_statements(postgres: str) -> None:
    async with proxied_saver(postgres) as (saver, proxy, trips):
        await saver.runs.accept(new_run("warm"))
        proxy.expect()

        answers = await asyncio.gather(*(saver.runs.accept(new_run(f"t {n % 50}")) for n in range(100)))

        assert trips().count("accept_runs") == 2
        assert [answer.state for answer in answers] == [RunState.READY] * 50 + [RunState.BLOCKED] * 50


async def test_the_error_of_a_statement_for_many_runs_is_logged(
    postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxied_saver(postgres) as (saver, proxy, _):
        await saver.runs.accept(new_run("warm"))
        proxy.expect(Cut(1, MOMENTS[0]))
        with caplog.at_level(logging.DEBUG, "durable_graph"):
            await saver.runs.accept(new_run("t"))
    (message,) = [record.getMessage() for record in caplog.records if "one by one" in record.getMessage()]
    assert message.startswith("1 runs are accepted one by one: ")
    assert len(message) < 500


@pytest.mark.parametrize("moment", MOMENTS)
async def test_an_acceptance_through_a_connection_that_is_cut_is_one_run(postgres: str, moment: Moment) -> None:
    async with proxied_saver(postgres) as (saver, proxy, _):
        await saver.runs.accept(new_run("warm"))
        for number in range(2):
            proxy.expect(Cut(1, moment))

            accepted = await saver.runs.accept(new_run("t", key=f"k {number}" if number else None))

            assert proxy.has_cut
            assert accepted.is_new
        assert await states(saver) == [RunState.READY, RunState.BLOCKED]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_an_acceptance_with_a_claim_through_a_connection_that_is_cut_is_one_run(
    postgres: str, moment: Moment
) -> None:
    async with proxied_saver(postgres) as (saver, proxy, _):
        await saver.runs.accept(new_run("warm", queue="warm"))
        await saver.runs.register(NewWorker(1, 10 * SECOND, ""))
        proxy.expect(Cut(1, moment))

        accepted, claim = await saver.runs.accept_and_claim(new_run("t"), 1)

        assert proxy.has_cut
        assert (accepted.is_new, claim) == (True, None)
        # It was made before the cut, or the repetition made it without a claim.
        assert await states(saver) == [accepted.state]
        assert accepted.state in (RunState.READY, RunState.RUNNING)


async def test_an_acceptance_with_a_claim_is_one_round_trip(postgres: str) -> None:
    async with proxied_saver(postgres) as (saver, proxy, trips):
        await saver.runs.register(NewWorker(1, 10 * SECOND, ""))
        for thread in ("warm", "t"):
            proxy.expect()
            _, claim = await saver.runs.accept_and_claim(new_run(thread, key="k"), 1)
            assert claim is not None

        assert trips() == ["accept_runs"]


async def test_a_run_that_is_accepted_while_the_run_before_it_ends_is_ready(two: Two, postgres: str) -> None:
    """The statement of the acceptance began before the end was visible."""
    first, second = two
    await first.runs.accept(new_run("t"))
    claim, writer = await claimed(first, 1)
    ends = with_run(writer.unit(Step({"v": b"1"})), RunState.DONE, claim.seq)
    async with locking(postgres, await schema_of(first)) as lock:
        await lock("threads", "t")
        committing = asyncio.ensure_future(first.commit(ends))
        await lock.until_waiting(1)
        accepting = asyncio.ensure_future(second.runs.accept(new_run("t")))
        await lock.until_waiting(2)

    committed, accepted = await asyncio.gather(committing, accepting)

    assert committed == Committed(1)
    assert accepted.state is RunState.READY
    assert await states(first) == [RunState.DONE, RunState.READY]


async def test_of_two_runs_that_wait_for_an_idle_thread_the_second_is_blocked_by_the_first(
    two: Two, postgres: str
) -> None:
    ended = await two[0].runs.accept(new_run("t"))
    await two[0].runs.cancel_run("t", ended.seq, "not needed")
    accepting = []
    async with locking(postgres, await schema_of(two[0])) as lock:
        await lock("threads", "t")
        for number, saver in enumerate(two):
            run = new_run("t", if_busy="wait" if number == 0 else "reject")
            accepting.append(asyncio.ensure_future(saver.runs.accept(run)))
            await lock.until_waiting(1 + number)

    first, second = await asyncio.gather(*accepting)

    assert first.state is RunState.READY
    assert (second.seq, second.busy_seq) == (0, first.seq)


async def test_a_run_that_is_accepted_while_a_message_is_sent_knows_of_the_message(two: Two, postgres: str) -> None:
    """The statement of the acceptance began before the message was visible."""
    await two[0].runs.accept(new_run("t"))
    async with locking(postgres, await schema_of(two[0])) as lock:
        await lock("threads", "t")
        sending = asyncio.ensure_future(two[0].runs.send(NewMessage("t", "topic", "key", b"value")))
        await lock.until_waiting(1)
        accepting = asyncio.ensure_future(two[1].runs.accept(new_run("t")))
        await lock.until_waiting(2)

    sent, accepted = await asyncio.gather(sending, accepting)

    assert sent is Sent.NEW
    assert [run.inbox for run in await two[0].runs.list_runs(thread="t")] == [1, 1]
    assert accepted.state is RunState.BLOCKED


async def test_runs_of_a_thread_of_another_graph_and_of_a_busy_thread_are_refused(saver: PostgresSaver) -> None:
    first = await saver.runs.accept(new_run("t"))

    of_other = await saver.runs.accept(new_run("t", graph="other"))
    busy = await saver.runs.accept(new_run("t", if_busy="reject"))
    renamed = await saver.runs.accept(new_run("t", graph="new", formerly=("g",)))

    assert (of_other.seq, of_other.stored_graph) == (0, "g")
    assert (busy.seq, busy.busy_seq) == (0, first.seq)
    assert renamed.state is RunState.BLOCKED


async def test_a_run_of_a_deleted_thread_begins_it_anew(saver: PostgresSaver) -> None:
    await saver.runs.accept(new_run("t"))
    before = await writer_of(saver, "t")
    await saver.delete_thread("t")

    accepted = await saver.runs.accept(new_run("t"))

    assert accepted.state is RunState.READY
    assert (await writer_of(saver, "t")).thread.incarnation != before.thread.incarnation


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
