"""Clauses of accepting runs: durable, once for each key, and with numbers that ascend."""

import asyncio
from functools import partial

import msgspec

from durable_graph.checkpointing import verify_request
from durable_graph.checkpointing.digests import request_digest
from durable_graph.records import Committed, Conflict, RequestRow
from durable_graph.run_records import NEVER, Accepted, RunState, RunUpdate
from durable_graph.testing.conformance.run_store_under_test import (
    HOUR,
    QUEUE,
    SECOND,
    RunStoreUnderTest,
    accept,
    claim_one,
    claims,
    commit_with,
    new_run,
    run_at,
    runs_of,
    thread_row,
    writer_of,
)
from durable_graph.testing.conformance.saver_under_test import (
    TURNS,
    cancelled_after,
    commit,
    loaded,
    raises_misuse,
    some_thread,
)
from durable_graph.testing.rows import Step, Writer, state_of


class AcceptanceClauses(RunStoreUnderTest):
    """Clauses of `accept`."""

    async def test_an_accepted_run_is_durable(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            async with await self.open_another(saver) as other:
                assert (await run_at(other, seq)).state == RunState.READY
                assert (await claim_one(other)).seq == seq

    async def test_an_accepted_run_has_the_fields_of_its_call(self) -> None:
        async with self.saver() as saver:
            given = new_run("thread", graph="report", priority=1, delay=SECOND, time_limit=HOUR, context=b"context")
            run = await run_at(saver, (await runs_of(saver).accept(given)).seq)
            assert (run.thread, run.queue, run.graph, run.priority) == ("thread", QUEUE, "report", 1)
            assert (run.due - run.accepted_at, run.deadline - run.accepted_at) == (SECOND, HOUR + SECOND)
            assert (run.attempt, run.crashes, run.worker, run.ended_at, run.error) == (0, 0, 0, 0, None)
            assert (await run_at(saver, await accept(saver, "another"), "another")).deadline == NEVER
            self.move_clock(saver, 2 * SECOND)
            claim, *_ = await claims(saver)
            assert (claim.input, claim.options, claim.context) == (b"input", b"options", b"context")
            assert (claim.graph, claim.deadline) == ("report", run.deadline)

    async def test_a_thread_exists_once_its_first_run_is_accepted(self) -> None:
        async with self.saver() as saver:
            run = new_run("thread", graph="report")
            await runs_of(saver).accept(run)
            found = await thread_row(saver)
            assert (found.version, found.head, found.status, found.graph) == (0, 0, "running", "report")
            assert (found.incarnation, found.origin, found.epoch) == (run.incarnation, run.origin, run.epoch)
            assert [info.thread for info in await saver.list_threads(status="running")] == ["thread"]
            # A call that found no thread must not begin it.
            assert await saver.commit(Writer.of("thread").unit()) == Conflict(0)

    async def test_a_thread_is_as_before_once_a_later_run_is_accepted(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            before = await loaded(saver, "thread")
            await accept(saver)
            assert (await loaded(saver, "thread")).thread == before.thread
            await commit(saver, writer, Step({"count": b"4"}))

    async def test_a_key_is_accepted_once(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver, key="order-7")
            again = await runs_of(saver).accept(new_run("thread", key="order-7"))
            assert again == Accepted(seq, is_new=False, state=RunState.READY, input_digest=b"digest of input")
            other = await accept(saver, key="order-8")
            assert [run.seq for run in await runs_of(saver).list_runs(thread="thread")] == [seq, other]
            # Keys belong to their thread.
            await accept(saver, "another", key="order-7")

    async def test_of_simultaneous_acceptances_of_a_key_one_is_new(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            stores = [runs_of(saver), runs_of(other)] * 8
            answers = await asyncio.gather(*(runs.accept(new_run("thread", key="order-7")) for runs in stores))
            assert sum(answer.is_new for answer in answers) == 1
            assert len({answer.seq for answer in answers}) == 1
            assert len(await runs_of(saver).list_runs()) == 1

    async def test_a_known_key_returns_the_digest_of_its_own_input(self) -> None:
        async with self.saver() as saver:
            await accept(saver, key="order-7", input_digest=b"digest of 7")
            again = await runs_of(saver).accept(new_run("thread", key="order-7", input_digest=b"digest of 8"))
            assert (again.is_new, again.input_digest) == (False, b"digest of 7")

    async def test_a_known_key_returns_its_run_after_the_end_of_the_run(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver, key="order-7")
            claim = await claim_one(saver)
            await commit_with(saver, await writer_of(saver), RunUpdate(claim.seq, RunState.DONE), status="done")
            again = await runs_of(saver).accept(new_run("thread", key="order-7"))
            assert (again.seq, again.is_new, again.state) == (seq, False, RunState.DONE)

    async def test_a_key_of_a_commit_is_known(self) -> None:
        async with self.saver() as saver:
            writer = Writer.of("thread")
            request = RequestRow("order-7", b"digest of 7", 0, 1, 5, b"")
            request = msgspec.structs.replace(request, digest=request_digest(writer.thread.origin, request))
            unit = msgspec.structs.replace(writer.unit(Step({"count": b"1"})), request=request)
            assert await saver.commit(unit) == Committed(1)
            again = await runs_of(saver).accept(new_run("thread", key="order-7"))
            assert (again.seq, again.is_new, again.input_digest) == (0, False, b"digest of 7")
            assert await runs_of(saver).list_runs() == []

    async def test_a_key_of_a_run_is_a_request_of_its_thread(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver, key="order-7")
            claim = await claim_one(saver)
            await commit_with(saver, await writer_of(saver), RunUpdate(claim.seq, RunState.DONE), status="done")
            later = await accept(saver, key="order-8")
            for key, number in (("order-7", seq), ("order-8", later), ("order-9", None)):
                found = await saver.find_request("thread", key)
                assert found is not None
                request = verify_request(found)
                assert (request and request.seq) == number
            assert state_of(await loaded(saver, "thread")) == {"count": b"1"}

    async def test_a_repeated_acceptance_is_idempotent(self) -> None:
        async with self.saver() as saver:
            for run in (new_run("thread"), new_run("thread", key="order-7")):
                first = await runs_of(saver).accept(run)
                assert await runs_of(saver).accept(run) == first
                assert first.is_new
            assert len(await runs_of(saver).list_runs()) == 2

    async def test_a_cancelled_acceptance_is_atomic(self) -> None:
        async with self.saver() as saver:
            for turns in TURNS:
                run = new_run(f"thread-{turns}", key="order-7")
                await cancelled_after(turns, partial(runs_of(saver).accept, run))
                # The call may go on meanwhile: what was there first is there with the other.
                is_there = await saver.load(run.thread) is not None
                found = await runs_of(saver).list_runs(thread=run.thread)
                assert found or not is_there
                assert not found or await saver.load(run.thread) is not None
                again = await runs_of(saver).accept(run)
                assert (again.is_new, again.state) == (True, RunState.READY)
                assert [each.seq for each in await runs_of(saver).list_runs(thread=run.thread)] == [again.seq]

    async def test_a_run_that_does_not_wait_is_refused_by_a_busy_thread(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver, if_busy="reject")
            refused = await runs_of(saver).accept(new_run("thread", if_busy="reject", key="order-7"))
            assert refused == Accepted(0, is_new=False, state=RunState.READY, busy_seq=seq)
            assert len(await runs_of(saver).list_runs()) == 1
            await runs_of(saver).cancel_run("thread", seq, "reason")
            await accept(saver, if_busy="reject", key="order-7")

    async def test_a_run_of_another_graph_is_refused(self) -> None:
        async with self.saver() as saver:
            await accept(saver, graph="order")
            refused = await runs_of(saver).accept(new_run("thread", graph="mail"))
            assert (refused.seq, refused.is_new, refused.stored_graph) == (0, False, "order")
            await accept(saver, graph="orders", formerly=("order",))
            assert [run.graph for run in await runs_of(saver).list_runs()] == ["order", "orders"]

    async def test_a_run_of_any_graph_is_accepted_by_a_thread_without_one(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            await accept(saver, graph="order")

    async def test_runs_of_a_thread_have_ascending_numbers(self) -> None:
        async with self.saver() as saver:
            numbers = [await accept(saver) for _ in range(3)]
            await saver.delete_thread("thread")
            # The numbers do not depend on the clock of the moment.
            self.move_clock(saver, -HOUR)
            numbers += [await accept(saver) for _ in range(2)]
            assert numbers == list(range(numbers[0], numbers[0] + 5))

    async def test_runs_of_a_purged_thread_repeat_no_number(self) -> None:
        async with self.saver() as saver:
            before = await accept(saver)
            await saver.delete_thread("thread", purge=True)
            self.move_clock(saver, SECOND)
            assert await accept(saver) > before

    async def test_simultaneous_runs_of_a_thread_are_one_ready_and_others_blocked(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            stores = [runs_of(saver), runs_of(other)] * 10
            answers = await asyncio.gather(*(runs.accept(new_run("thread")) for runs in stores))
            assert len({answer.seq for answer in answers}) == 20
            first = min(answers, key=lambda answer: answer.seq)
            assert [answer.seq for answer in answers if answer.state == RunState.READY] == [first.seq]
            assert {answer.state for answer in answers if answer is not first} == {RunState.BLOCKED}

    async def test_many_threads_accept_runs_simultaneously(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            stores = [runs_of(saver), runs_of(other)] * 30
            calls = (runs.accept(new_run(f"thread-{number:02}")) for number, runs in enumerate(stores))
            answers = await asyncio.gather(*calls)
            assert all(answer.is_new for answer in answers)
            found = await runs_of(saver).list_runs()
            assert [run.thread for run in found] == [f"thread-{number:02}" for number in range(60)]
            assert [run.seq for run in found] == [answer.seq for answer in answers]

    async def test_a_run_of_a_deleted_thread_begins_another_thread(self) -> None:
        async with self.saver() as saver:
            stale = await some_thread(saver)
            await saver.delete_thread("thread")
            grave = await thread_row(saver)
            run = new_run("thread")
            await runs_of(saver).accept(run)
            found = await thread_row(saver)
            assert (found.status, found.version, found.incarnation) == ("running", grave.version, run.incarnation)
            assert await saver.commit(stale.unit(Step({"count": b"4"}))) == Conflict(grave.version)
            claim = await claim_one(saver)
            unit = await commit_with(saver, await writer_of(saver), RunUpdate(claim.seq, RunState.DONE), status="done")
            assert unit.version == grave.version + 1
            assert state_of(await loaded(saver, "thread")) == {"count": b"1"}

    async def test_a_closed_saver_refuses_calls_of_its_runs(self) -> None:
        saver = await self.open()
        seq = await accept(saver)
        await saver.aclose()
        runs = runs_of(saver)
        with raises_misuse("closed"):
            await runs.accept(new_run("thread"))
        with raises_misuse("closed"):
            await runs.claim(1, [QUEUE], 1)
        with raises_misuse("closed"):
            await runs.heartbeat(1, HOUR)
        with raises_misuse("closed"):
            await runs.sweep(5)
        with raises_misuse("closed"):
            await runs.find_run("thread", seq)
        with raises_misuse("closed"):
            await runs.list_runs()
        with raises_misuse("closed"):
            await runs.cancel_run("thread", seq, "reason")
