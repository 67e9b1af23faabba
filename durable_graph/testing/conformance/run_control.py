"""Clauses of cancelling, retrying, listing and deleting runs."""

from typing import Any

from durable_graph.checkpointing.columns import key_of
from durable_graph.errors import InvalidOptionError
from durable_graph.records import Conflict
from durable_graph.run_records import QueueStats, RequestOfRun, RunState, RunUpdate
from durable_graph.testing.conformance.run_store_under_test import (
    HOUR,
    RunStoreUnderTest,
    accept,
    claim_one,
    claimed,
    claims,
    commit_with,
    end_of,
    run_at,
    runs_of,
    save_with,
    send,
    state_at,
    thread_row,
    unit_with,
    wait,
    writer_of,
)
from durable_graph.testing.conformance.saver_under_test import loaded, raises, some_thread
from durable_graph.testing.rows import Step, state_of


class CancelClauses(RunStoreUnderTest):
    """Clauses of `cancel_run`."""

    async def test_a_run_that_has_not_begun_is_cancelled_with_its_new_thread(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver, delay=HOUR)
            before = await thread_row(saver)
            for _ in range(2):
                assert await runs_of(saver).cancel_run("thread", seq, "too late") == RunState.CANCELLED
            run = await run_at(saver, seq)
            assert (run.state, run.error, run.first_checkpoint) == (RunState.CANCELLED, "too late", 0)
            assert run.ended_at >= run.accepted_at
            found = await thread_row(saver)
            assert (found.status, found.version) == ("cancelled", 0)
            assert found.epoch != before.epoch
            assert [info.thread for info in await saver.list_threads(status="cancelled")] == ["thread"]
            self.move_clock(saver, 2 * HOUR)
            assert await claims(saver) == []

    async def test_a_run_that_has_not_begun_is_cancelled_without_its_older_thread(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            seq = await accept(saver)
            assert await runs_of(saver).cancel_run("thread", seq, "reason") == RunState.CANCELLED
            assert (await thread_row(saver)).status == "running"
            assert state_of(await loaded(saver, "thread")) == writer.state()

    async def test_a_cancelled_run_is_fenced_from_a_worker_that_lost_it(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            seq = await accept(saver)
            await claim_one(saver)
            stale = await writer_of(saver)
            await self.lose(saver)
            assert await runs_of(saver).cancel_run("thread", seq, "reason") == RunState.CANCELLED
            unit = unit_with(stale, RunUpdate(seq, RunState.RUNNING, first_checkpoint=4))
            assert await saver.commit(unit) == Conflict(3)
            assert (await thread_row(saver)).status == "running"

    async def test_a_waiting_run_is_cancelled_with_its_thread(self) -> None:
        async with self.saver() as saver:
            seq, _ = await wait(saver)
            stale = await writer_of(saver)
            assert await runs_of(saver).cancel_run("thread", seq, "reason") == RunState.CANCELLED
            assert await state_at(saver, seq) == RunState.CANCELLED
            found = await thread_row(saver)
            assert found.status == "cancelled"
            # Writers that found the thread before are refused.
            assert await saver.commit(stale.unit(Step({"count": b"2"}))) == Conflict(1)
            assert await saver.save_writes(stale.batch(stale.record())) == Conflict(1)
            await send(saver)
            assert await state_at(saver, seq) == RunState.CANCELLED

    async def test_the_holder_of_a_running_run_is_asked_to_cancel_it(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            claim = await claim_one(saver)
            for _ in range(2):
                assert await runs_of(saver).cancel_run("thread", seq, "reason") == RunState.RUNNING
            run = await run_at(saver, seq)
            assert (run.state, run.worker, run.request) == (RunState.RUNNING, 1, RequestOfRun.CANCEL)
            found = await thread_row(saver)
            assert (found.status, found.epoch) == ("running", claim.epoch)
            # The holder's commit is not refused.
            writer = await writer_of(saver)
            await commit_with(saver, writer, RunUpdate(seq, RunState.RUNNING, first_checkpoint=1))
            assert (await run_at(saver, seq)).request == RequestOfRun.CANCEL
            await save_with(saver, writer, RunUpdate(seq, RunState.CANCELLED, error="reason"), "cancelled")
            run = await run_at(saver, seq)
            assert (run.state, run.request, run.error) == (RunState.CANCELLED, 0, "reason")
            assert (await thread_row(saver)).status == "cancelled"

    async def test_a_cancelled_run_has_the_reason_of_the_first_caller(self) -> None:
        async with self.saver() as saver:
            runs, seq = runs_of(saver), await accept(saver)
            claim = await claim_one(saver)
            await runs.cancel_run("thread", seq, "first")
            await runs.cancel_run("thread", seq, "second")
            await runs.settle(end_of(claim, 1, RunState.READY))
            claim = await claim_one(saver)
            await runs.settle(end_of(claim, 1, RunState.CANCELLED, error="of the worker"))
            run = await run_at(saver, seq)
            assert (run.state, run.error) == (RunState.CANCELLED, "first")

    async def test_a_run_that_is_done_before_its_cancellation_has_no_reason(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            claim = await claim_one(saver)
            await runs_of(saver).cancel_run("thread", seq, "reason")
            await runs_of(saver).settle(end_of(claim, 1, RunState.DONE))
            run = await run_at(saver, seq)
            assert (run.state, run.error) == (RunState.DONE, None)

    async def test_an_ended_or_unknown_run_is_not_cancelled(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            seq = await accept(saver)
            claim = await claim_one(saver)
            await runs.settle(end_of(claim, 1, RunState.DONE))
            before, thread = await run_at(saver, seq), await thread_row(saver)
            assert await runs.cancel_run("thread", seq, "reason") == RunState.DONE
            assert (await run_at(saver, seq), await thread_row(saver)) == (before, thread)
            assert await runs.cancel_run("thread", seq + 1, "reason") is None
            assert await runs.cancel_run("unknown", seq, "reason") is None


class RetryClauses(RunStoreUnderTest):
    """Clauses of `retry_run`."""

    async def test_a_failed_run_is_retried(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver, time_limit=HOUR)
            await claim_one(saver)
            writer = await writer_of(saver)
            await commit_with(saver, writer, RunUpdate(seq, RunState.RUNNING, checkpoint=1, first_checkpoint=1))
            await save_with(saver, writer, RunUpdate(seq, RunState.FAILED, error="error"), "failed")
            self.move_clock(saver, 2 * HOUR)
            assert await runs_of(saver).retry_run("thread", seq) == RunState.READY
            run = await run_at(saver, seq)
            assert (run.state, run.error, run.ended_at, run.crashes) == (RunState.READY, None, 0, 0)
            # The run continues where it was, and its time limit no longer counts.
            claim = await claim_one(saver)
            assert (claim.attempt, claim.checkpoint, claim.version) == (2, 1, 1)
            assert claim.deadline > claim.now
            await commit_with(saver, await writer_of(saver), RunUpdate(seq, RunState.DONE), status="done")

    async def test_a_cancelled_run_is_retried_with_its_thread(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver)
            await runs_of(saver).cancel_run("thread", seq, "reason")
            await runs_of(saver).release(1)
            assert await runs_of(saver).cancel_run("thread", seq, "reason") == RunState.CANCELLED
            assert (await thread_row(saver)).status == "cancelled"
            for _ in range(2):
                assert await runs_of(saver).retry_run("thread", seq) == RunState.READY
            assert (await thread_row(saver)).status == "running"
            claim = await claim_one(saver)
            assert (claim.request, claim.input, claim.version) == (0, b"input", 0)
            await commit_with(saver, await writer_of(saver), RunUpdate(seq, RunState.DONE), status="done")

    async def test_a_quarantined_run_is_retried(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            for _ in range(2):
                await self.crash(saver, most=2)
                self.move_clock(saver, HOUR)
            assert await state_at(saver, seq) == RunState.QUARANTINED
            assert await runs_of(saver).retry_run("thread", seq) == RunState.READY
            claim, swept = await self.crash(saver, most=2)
            assert (claim.crashes, claim.attempt, swept.quarantined) == (0, 3, 0)

    async def test_only_a_run_without_a_result_is_retried(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            seq = await accept(saver)
            assert await runs.retry_run("thread", seq) == RunState.READY
            claim = await claim_one(saver)
            assert await runs.retry_run("thread", seq) == RunState.RUNNING
            await runs.settle(end_of(claim, 1, RunState.DONE))
            before = await run_at(saver, seq)
            assert await runs.retry_run("thread", seq) == RunState.DONE
            assert await run_at(saver, seq) == before
            assert await runs.retry_run("thread", seq + 1) is None
            assert await runs.retry_run("unknown", seq) is None

    async def test_only_the_last_run_of_a_thread_is_retried(self) -> None:
        async with self.saver() as saver:
            first, second = [await accept(saver) for _ in range(2)]
            for seq in (first, second):
                await runs_of(saver).cancel_run("thread", seq, "reason")
            before = await run_at(saver, first)
            assert await runs_of(saver).retry_run("thread", first) == RunState.CANCELLED
            assert await run_at(saver, first) == before
            assert await runs_of(saver).retry_run("thread", second) == RunState.READY


class ListingClauses(RunStoreUnderTest):
    """Clauses of listings, and of threads that are deleted or copied."""

    async def test_a_run_is_found_by_the_id_or_the_key_of_its_thread(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            seq = await accept(saver)
            await accept(saver, "another")
            found = await run_at(saver, seq)
            assert (found.thread, found.seq) == ("thread", seq)
            assert await runs.find_run(key_of("thread"), seq) == found
            assert await runs.find_run("thread", seq + 1) is None
            assert await runs.find_run("unknown", seq) is None

    async def test_the_first_unfinished_run_of_a_thread_is_found(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            assert await runs.find_unfinished("thread") is None
            numbers = [await accept(saver) for _ in range(3)]
            await accept(saver, "another")
            for seq in numbers:
                found = await runs.find_unfinished("thread")
                assert found == await run_at(saver, seq)
                (claim,) = [each for each in await claims(saver) if each.thread == "thread"]
                assert await runs.find_unfinished("thread") == await run_at(saver, seq)
                await runs.settle(end_of(claim, 1, RunState.DONE))
            assert await runs.find_unfinished("thread") is None

    async def test_runs_are_listed_by_thread_and_number(self) -> None:
        async with self.saver() as saver:
            expected = []
            for thread in ("c", "b", "a"):
                expected += [(thread, await accept(saver, thread)) for _ in range(2)]
            expected.sort()
            found: list[tuple[str, int]] = []
            while page := await runs_of(saver).list_runs(limit=4, after=found[-1] if found else None):
                found += [(run.thread, run.seq) for run in page]
                assert len(found) in (4, 6)
            assert found == expected
            with raises(InvalidOptionError):
                await runs_of(saver).list_runs(limit=0)

    async def test_runs_are_listed_by_graph_state_and_thread(self) -> None:
        async with self.saver() as saver:
            for thread in ("a", "b", "c"):
                await accept(saver, thread, graph="mail" if thread == "b" else "order", queue=thread)
            await accept(saver, "a", graph="order", queue="a")
            assert await claimed(saver, 1, "a") == ["a"]
            runs = runs_of(saver)
            assert [run.thread for run in await runs.list_runs(graph="order")] == ["a", "a", "c"]
            assert [run.thread for run in await runs.list_runs(state=RunState.READY)] == ["b", "c"]
            assert [run.thread for run in await runs.list_runs(thread="a")] == ["a", "a"]
            assert [run.thread for run in await runs.list_runs(graph="order", state=RunState.READY)] == ["c"]
            assert await runs.list_runs(graph="mail", thread="a") == []
            assert await runs.list_runs(graph="unknown") == []

    async def test_runs_are_listed_by_metadata(self) -> None:
        async with self.saver() as saver:
            given = {"a": '{"user":"Ada","n":1}', "b": '{"user":"Ada","n":true}', "c": '{"user":null}', "d": ""}
            for thread, metadata in given.items():
                seq = await accept(saver, thread, metadata=metadata)
                assert ((await run_at(saver, seq, thread)).metadata or "") == metadata

            async def listed(sought: str, **others: Any) -> str:
                return "".join(run.thread for run in await runs_of(saver).list_runs(metadata=sought, **others))

            assert await listed('{"user":"Ada"}') == "ab"
            assert await listed('{"user":"Ada","n":1}') == "a"
            assert await listed('{"n":true}') == "b"
            assert await listed('{"user":null}') == "c"
            assert await listed('{"user":"Bob"}') == ""
            assert await listed('{"none":null}') == ""
            assert await listed('{"user":"Ada"}', thread="b") == "b"
            assert await listed('{"user":"Ada"}', limit=1) == "a"

    async def test_a_run_has_the_name_of_its_worker(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver, "a")
            await claim_one(saver, 7)
            assert (await run_at(saver, seq, "a")).worker_name == "worker 7"
            unfinished = await runs_of(saver).find_unfinished("a")
            assert unfinished == await run_at(saver, seq, "a")
            await accept(saver, "b")
            found = await runs_of(saver).list_runs()
            assert [(run.worker, run.worker_name) for run in found] == [(7, "worker 7"), (0, "")]

    async def test_runs_are_counted_by_queue_and_state(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            assert await runs.queue_stats() == []
            first = await run_at(saver, await accept(saver, "a", queue="mail"), "a")
            await accept(saver, "b", queue="mail")
            await accept(saver, "b", queue="mail")
            await accept(saver, "c", queue="mail", delay=HOUR)
            await accept(saver, "d", queue="order", delay=HOUR)
            mail, order = await runs.queue_stats()
            assert mail == QueueStats("mail", ready=3, blocked=1, oldest_due=first.due)
            assert order == QueueStats("order", ready=1)
            for state in (RunState.DONE, RunState.WAITING):
                (claim,) = await claims(saver, 1, "mail", most=1)
                await runs.settle(end_of(claim, 1, state))
            mail, _ = await runs.queue_stats()
            assert mail == QueueStats("mail", ready=1, waiting=1, blocked=1)
            self.move_clock(saver, 2 * HOUR)
            await claims(saver, 2, "mail")
            await self.lose(saver, most=1)
            await accept(saver, "e", queue="mail")
            await claims(saver, 3, "mail")
            mail, order = await runs.queue_stats()
            assert mail == QueueStats("mail", running=1, waiting=1, blocked=1, quarantined=1)
            assert (order.ready, order.oldest_due > 0) == (1, True)

    async def test_a_woken_or_released_run_is_due_since_then(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            seq, claim = await wait(saver)
            assert [stats.oldest_due for stats in await runs.queue_stats()] == [0]
            await send(saver)
            assert [stats.oldest_due > 0 for stats in await runs.queue_stats()] == [True]
            self.move_clock(saver, HOUR)
            await claim_one(saver)
            await runs.release(1)
            run = await run_at(saver, seq)
            assert run.due >= claim.now + HOUR
            assert [stats.oldest_due for stats in await runs.queue_stats()] == [run.due]

    async def test_a_deleted_thread_has_no_runs(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            for purge in (False, True):
                seq, claim = await wait(saver)
                later = await accept(saver)
                stale = await writer_of(saver)
                await saver.delete_thread("thread", purge=purge)
                assert await runs.list_runs() == []
                assert await runs.find_run("thread", seq) is None
                assert await runs.find_unfinished("thread") is None
                assert await runs.cancel_run("thread", later, "reason") is None
                assert not await runs.settle(end_of(claim, 1, RunState.DONE))
                assert isinstance(await saver.commit(stale.unit()), Conflict)
                assert await claims(saver) == []
                assert await runs.queue_stats() == []

    async def test_runs_are_not_copied(self) -> None:
        async with self.saver() as saver:
            seq, _ = await wait(saver)
            await saver.copy_thread("thread", "copy")
            assert [run.thread for run in await runs_of(saver).list_runs()] == ["thread"]
            assert await runs_of(saver).find_run("copy", seq) is None
            copy = await accept(saver, "copy")
            assert await state_at(saver, copy, "copy") == RunState.READY
            assert state_of(await loaded(saver, "copy")) == {"count": b"1"}
