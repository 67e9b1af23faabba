"""Clauses of retention and repair: deleting ended runs, keeping results, making runs ready after lost wake-ups."""

import msgspec
from msgspec.structs import replace

from durable_graph.checkpointing import Checkpointer, verify_page, verify_request
from durable_graph.errors import InvalidOptionError
from durable_graph.records import Committed, Conflict, Status
from durable_graph.run_records import NewMessage, RunState, RunUpdate, Sent, WaitsOn
from durable_graph.testing.conformance.run_store_under_test import (
    HOUR,
    RunStoreUnderTest,
    accept,
    claim_one,
    claims,
    commit_with,
    end_of,
    new_run,
    run_at,
    runs_of,
    state_at,
    unit_with,
    wait,
    writer_of,
)
from durable_graph.testing.conformance.saver_under_test import commit, loaded, raises, some_thread
from durable_graph.testing.rows import Step, state_of


class RetentionClauses(RunStoreUnderTest):
    """Clauses of `delete_ended`, and of the checkpoints that a prune keeps for runs."""

    async def test_an_ended_run_is_deleted_after_its_time(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            done, failed, cancelled = [await accept(saver, thread) for thread in "abc"]
            for claim in await claims(saver, most=2):
                state = RunState.DONE if claim.seq == done else RunState.FAILED
                await runs.settle(end_of(claim, 1, state))
            await runs.cancel_run("c", cancelled, "reason")
            ended = dict(zip("abc", (done, failed, cancelled), strict=True))
            assert await runs.delete_ended(keep=HOUR) == 0
            self.move_clock(saver, HOUR // 2)
            assert await runs.delete_ended(keep=HOUR) == 0
            assert all([await runs.find_run(thread, seq) for thread, seq in ended.items()])
            self.move_clock(saver, HOUR)
            assert await runs.delete_ended(keep=HOUR) == 3
            assert await runs.delete_ended(keep=HOUR) == 0
            assert await runs.list_runs() == []
            # The threads stay, and take further runs.
            assert len(await saver.list_threads()) == 3
            assert await accept(saver, "a") == done + 1

    async def test_unfinished_and_quarantined_runs_are_not_deleted(self) -> None:
        async with self.saver() as saver:
            quarantined = await accept(saver, "a")
            await self.crash(saver, most=1)
            waiting, _ = await wait(saver)
            blocked = await accept(saver)
            running = await accept(saver, "b")
            await claim_one(saver)
            ready = await accept(saver, "c")
            self.move_clock(saver, 9 * HOUR)
            assert await runs_of(saver).delete_ended(keep=HOUR) == 0
            assert await state_at(saver, quarantined, "a") == RunState.QUARANTINED
            states = [(await run_at(saver, *each)).state for each in ((waiting, "thread"), (blocked, "thread"))]
            assert states == [RunState.WAITING, RunState.BLOCKED]
            assert await state_at(saver, running, "b") == RunState.RUNNING
            assert await state_at(saver, ready, "c") == RunState.READY

    async def test_the_runs_that_ended_first_are_deleted_first(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            numbers = [await accept(saver) for _ in range(4)]
            for seq in reversed(numbers):
                await runs.cancel_run("thread", seq, "reason")
                self.move_clock(saver, HOUR)
            assert await runs.delete_ended(keep=HOUR // 2, limit=1) == 1
            assert [run.seq for run in await runs.list_runs()] == numbers[:3]
            assert await runs.delete_ended(keep=HOUR // 2, limit=2) == 2
            assert [run.seq for run in await runs.list_runs()] == numbers[:1]
            assert await runs.delete_ended(keep=HOUR // 2, limit=2) == 1
            with raises(InvalidOptionError):
                await runs.delete_ended(keep=HOUR, limit=0)

    async def test_a_run_whose_worker_has_a_wrong_clock_is_not_deleted_early(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver)
            await commit_with(saver, await writer_of(saver), RunUpdate(seq, RunState.DONE), status="done")
            # The worker's clock stands in the year 1970.
            assert (await run_at(saver, seq)).ended_at == 1
            assert await runs_of(saver).delete_ended(keep=HOUR) == 0
            self.move_clock(saver, 2 * HOUR)
            assert await runs_of(saver).delete_ended(keep=HOUR) == 1

    async def test_a_key_is_deleted_with_its_run(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            first = await accept(saver, key="first")
            await runs.cancel_run("thread", first, "reason")
            self.move_clock(saver, 2 * HOUR)
            second = await accept(saver, key="second")
            await runs.cancel_run("thread", second, "reason")
            other = await accept(saver, "other", key="first")
            assert await runs.delete_ended(keep=HOUR) == 1
            assert await _known(saver) == ["second"]
            again = await runs.accept(new_run("thread", key="second"))
            assert (again.seq, again.is_new) == (second, False)
            assert (await runs.accept(new_run("other", key="first"))).seq == other
            assert await accept(saver, key="first") == second + 1
            assert await _known(saver) == ["first", "second"]
            # The thread's row accounts for its requests: a writer is not refused.
            await claims(saver)
            await commit_with(saver, await writer_of(saver), RunUpdate(second + 1, RunState.DONE), status="done")
            assert await _known(saver) == ["first", "second"]

    async def test_a_run_that_has_ended_is_deleted_alone(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            first, second = await accept(saver, key="first"), await accept(saver, key="second")
            assert await runs.delete_run("thread", first) == RunState.READY
            assert await state_at(saver, first) == RunState.READY
            await runs.cancel_run("thread", first, "reason")
            await runs.cancel_run("thread", second, "reason")
            assert await runs.delete_run("thread", first) == RunState.CANCELLED
            assert await runs.delete_run("thread", first) is None
            assert [run.seq for run in await runs.list_runs()] == [second]
            assert await _known(saver) == ["second"]
            assert await accept(saver, key="first") == second + 1

    async def test_a_quarantined_run_is_not_deleted(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await self.crash(saver, most=1)
            assert await runs_of(saver).delete_run("thread", seq) == RunState.QUARANTINED
            assert await state_at(saver, seq) == RunState.QUARANTINED

    async def test_the_number_of_a_deleted_message_is_not_used_again(self) -> None:
        async with self.saver() as saver:
            runs, numbers = runs_of(saver), []
            for key in ("first", "second"):
                seq = await accept(saver)
                await _send(saver, key)
                (message,) = await runs.inbox("thread", ["parcel"])
                numbers.append(message.seq)
                await _take(saver, key, (await claim_one(saver)).now)
                await runs.release(1)
                await runs.cancel_run("thread", seq, "reason")
                self.move_clock(saver, 2 * HOUR)
                assert await runs.delete_ended(keep=HOUR) == 1
            assert numbers[0] < numbers[1]

    async def test_the_key_of_a_message_that_was_taken_long_ago_is_deleted(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            seq, claim = await wait(saver)
            for key in ("old", "recent", "waiting"):
                await _send(saver, key)
            await claim_one(saver)
            for key, at in (("old", claim.now), ("recent", claim.now + 3 * HOUR)):
                await _take(saver, key, at)
            await runs.release(1)
            await runs.cancel_run("thread", seq, "reason")
            self.move_clock(saver, 2 * HOUR)
            await accept(saver)
            assert await _send(saver, "old") == Sent.KNOWN
            assert await runs.delete_ended(keep=HOUR) == 1
            assert await _send(saver, "recent") == Sent.KNOWN
            assert await _send(saver, "waiting") == Sent.KNOWN
            assert await _send(saver, "old") == Sent.NEW
            assert [message.value for message in await runs.inbox("thread", ["parcel"])] == [b"waiting", b"old"]

    async def test_a_prune_keeps_the_results_of_runs(self) -> None:
        async with self.saver() as saver:
            ends = [await _done(saver, number) for number in range(3)]
            writer = await writer_of(saver)
            fork = writer.unit(Step({"count": b"fork"}))
            await saver.commit(fork)
            assert await saver.prune("thread") > 0
            for number, no in enumerate(ends):
                assert state_of(await loaded(saver, "thread", no=no)) == {"count": b"%d" % number, "first": b"only"}
            page = await saver.history("thread", limit=99)
            assert page is not None
            verify_page(page)
            assert [row.no for row in page.checkpoints] == [ends[-1] + 1, *reversed(ends)]
            # Once the runs are deleted, a prune removes their results.
            self.move_clock(saver, 2 * HOUR)
            assert await runs_of(saver).delete_ended(keep=HOUR) == 3
            assert await saver.prune("thread") == 3
            found = await saver.load("thread", no=ends[0])
            assert found is not None
            assert found.checkpoint is None

    async def test_a_prune_keeps_the_result_of_a_run_on_another_branch(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver, length=2)
            await commit(saver, writer, Step({"only of the head": b"yes"}))
            seq = await accept(saver)
            claim = await claim_one(saver)
            writer.thread = replace(writer.thread, epoch=claim.epoch)
            for count, state in ((b"4", RunState.RUNNING), (b"5", RunState.RUNNING), (b"6", RunState.DONE)):
                unit = writer.unit(Step({"count": count}, {"log": b"x,"}), fork_of=1 if count == b"4" else None)
                update = RunUpdate(seq, state, checkpoint=unit.checkpoints[-1].row.no)
                assert isinstance(await saver.commit(replace(unit, run=update)), Committed)
                writer.applied(unit)
            result = writer.state()
            await commit(saver, writer, Step({"count": b"7"}, {"log": b"f,"}), fork_of=3)
            head = writer.state()
            # What is left: all of the head's four checkpoints, or the newest of them; and the result, with what is
            # between it and the first kept one.
            for keep_last, gone in ((4, 0), (2, 2), (1, 3)):
                assert await saver.prune("thread", keep_last=keep_last) == gone, keep_last
                assert state_of(await loaded(saver, "thread", no=6)) == result
                assert state_of(await loaded(saver, "thread")) == head
                page = await saver.history("thread", limit=99)
                assert page is not None
                verify_page(page)

    async def test_a_listed_thread_with_an_unfinished_run_is_not_deleted(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            (listed,) = await saver.list_threads()
            seq = await accept(saver)
            assert not await saver.delete_thread("thread", seen=listed)
            assert await state_at(saver, seq) == RunState.READY
            await runs_of(saver).cancel_run("thread", seq, "reason")
            assert await saver.delete_thread("thread", seen=listed)
            assert await saver.list_threads() == []


class RepairClauses(RunStoreUnderTest):
    """Clauses of `repair`, and of `waits_on`."""

    async def test_a_run_that_waits_for_a_message_in_the_inbox_is_repaired(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            seq = await _waiting_beside(saver, "payment", waits_for=("parcel", "payment"))
            assert await state_at(saver, seq) == RunState.WAITING
            assert await runs.repair() == 1
            run = await run_at(saver, seq)
            assert (run.state, run.due >= run.accepted_at) == (RunState.READY, True)
            assert (await claim_one(saver)).seq == seq
            assert await runs.repair() == 0

    async def test_a_run_that_waits_for_other_messages_is_not_repaired(self) -> None:
        async with self.saver() as saver:
            for waits_for in (("payment",), (), None):
                seq = await _waiting_beside(saver, "parcel", waits_for=waits_for)
                assert await runs_of(saver).repair() == 0
                assert await state_at(saver, seq) == RunState.WAITING
                await saver.delete_thread("thread")

    async def test_a_blocked_run_without_an_earlier_one_is_repaired(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            stuck = [await accept(saver, thread, delay=HOUR) for thread in "ab"]
            behind = await accept(saver, "a")
            await self.block(saver, "a", stuck[0])
            await self.block(saver, "b", stuck[1])
            with raises(InvalidOptionError):
                await runs.repair(limit=0)
            assert await runs.repair(limit=1) == 1
            assert await runs.repair(limit=9) == 1
            assert await runs.repair() == 0
            assert await state_at(saver, stuck[0], "a") == RunState.READY
            assert await state_at(saver, behind, "a") == RunState.BLOCKED
            # It keeps its time.
            assert await claims(saver) == []
            self.move_clock(saver, 2 * HOUR)
            assert sorted(claim.thread for claim in await claims(saver, 2)) == ["a", "b"]

    async def test_a_waiting_run_shows_what_it_waits_for(self) -> None:
        async with self.saver() as saver:
            waits_on = _waits_on(("parcel",))
            seq, _ = await wait(saver, waits_on=waits_on)
            assert (await run_at(saver, seq)).waits_on == waits_on
            await _send(saver, "a")
            claim = await claim_one(saver)
            other = _waits_on(("payment",))
            await runs_of(saver).settle(end_of(claim, 1, RunState.WAITING, inbox=9, waits_on=other))
            assert (await run_at(saver, seq)).waits_on == other
            await runs_of(saver).cancel_run("thread", seq, "reason")
            assert (await run_at(saver, seq)).waits_on is None

    async def test_a_run_whose_holder_was_asked_to_cancel_it_does_not_wait(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claim_one(saver)
            assert await runs_of(saver).cancel_run("thread", seq, "reason") == RunState.RUNNING
            update = RunUpdate(seq, RunState.WAITING, first_checkpoint=1, checkpoint=1)
            await commit_with(saver, await writer_of(saver), update, status="interrupted")
            assert await state_at(saver, seq) == RunState.READY
            assert (await claim_one(saver)).request == 1

    async def test_a_fenced_writer_does_not_end_a_repaired_run(self) -> None:
        async with self.saver() as saver:
            seq = await _waiting_beside(saver, "parcel", waits_for=("parcel",))
            stale = await writer_of(saver)
            await runs_of(saver).repair()
            await claim_one(saver)
            assert await saver.commit(unit_with(stale, RunUpdate(seq, RunState.DONE))) == Conflict(1)


def _waits_on(topics: tuple[str, ...]) -> str:
    return msgspec.json.encode(WaitsOn(topics)).decode()


async def _waiting_beside(saver: Checkpointer, topic: str, *, waits_for: tuple[str, ...] | None) -> int:
    """A run that waits although a message of this topic is in the inbox, as it would after a lost wake-up."""
    seq = await accept(saver)
    await claim_one(saver)
    await runs_of(saver).send(NewMessage("thread", topic, "key", b"value"))
    waits_on = None if waits_for is None else _waits_on(waits_for)
    update = RunUpdate(seq, RunState.WAITING, first_checkpoint=1, checkpoint=1, inbox=1 << 40, waits_on=waits_on)
    await commit_with(saver, await writer_of(saver), update, status="interrupted")
    return seq


async def _send(saver: Checkpointer, key: str) -> Sent:
    return await runs_of(saver).send(NewMessage("thread", "parcel", key, key.encode()))


async def _take(saver: Checkpointer, value: str, at: int) -> None:
    (message,) = [each for each in await runs_of(saver).inbox("thread", ["parcel"]) if each.value == value.encode()]
    await saver.save_writes(replace((await writer_of(saver)).batch(at=at), taken=(message.seq,)))


async def _known(saver: Checkpointer) -> list[str]:
    """The keys that the thread knows, none of whose rows is damaged or missing."""
    known = []
    for key in ("first", "second", "third"):
        found = await saver.find_request("thread", key)
        if found is not None and verify_request(found) is not None:
            known.append(key)
    return known


async def _done(saver: Checkpointer, number: int) -> int:
    """Execute a run of three checkpoints. Returns its last one."""
    seq = await accept(saver)
    await claim_one(saver)
    no = 0
    for state in (RunState.RUNNING, RunState.RUNNING, RunState.DONE):
        writer = await writer_of(saver)
        status: Status = "done" if state is RunState.DONE else "running"
        unit = writer.unit(Step({"first": b"only", "count": b"%d" % number}), status=status)
        no = unit.checkpoints[-1].row.no
        await saver.commit(replace(unit, run=RunUpdate(seq, state, checkpoint=no)))
    return no
