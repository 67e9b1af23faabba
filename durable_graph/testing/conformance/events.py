"""The clauses that every event log of runs has to satisfy, for a backend's own tests.

class TestEventsOfMySaver(EventLogConformance):
    async def open(self) -> Checkpointer:
        return MySaver(...)

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return MySaver(...)
"""

import asyncio
from typing import Any

from msgspec.structs import replace

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.event_log import (
    FIRST_ROW,
    EventLog,
    EventPage,
    Follow,
    Followed,
    KeepsEvents,
    MadeCheckpoint,
    event_id,
)
from durable_graph.records import Committed, Conflict, Saved, WritesMoved
from durable_graph.run_records import Claim, EventKind, EventRow, RunState, RunUpdate
from durable_graph.testing.conformance.run_store_under_test import (
    HOUR,
    RunStoreUnderTest,
    accept,
    claim_one,
    commit_with,
    end_of,
    run_at,
    runs_of,
    unit_with,
    wait,
    writer_of,
)
from durable_graph.testing.conformance.saver_under_test import save
from durable_graph.testing.rows import Step

LIMIT = 100


class AppendClauses(RunStoreUnderTest):
    """Clauses of appended events, and of those that a commit or a save stores."""

    async def test_appended_events_are_read_in_the_order_of_their_ids(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            claim = await _begun(saver)
            assert await _log(saver).append("thread", claim.epoch, [_event(claim, 2), _event(claim, 0)])
            assert await _log(saver).append("thread", claim.epoch, [_event(claim, 1, EventKind.MESSAGE, task="task")])
            page = await _tail(other, claim.seq)
            assert [each.row for each in page.rows] == [
                _event(claim, 0),
                _event(claim, 1, EventKind.MESSAGE, task="task"),
                _event(claim, 2),
            ]
            assert await _log(saver).append("thread", claim.epoch, [])

    async def test_events_that_are_appended_again_are_stored_once(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            for _ in range(2):
                assert await _log(saver).append("thread", claim.epoch, [_event(claim, 0), _event(claim, 1)])
            assert await _positions(saver, claim.seq) == [0, 1]

    async def test_an_earlier_holder_appends_nothing(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            await self.lose(saver)
            later = await claim_one(saver, 2)
            assert not await _log(saver).append("thread", claim.epoch, [_event(claim, 0)])
            assert await _log(saver).append("thread", later.epoch, [_event(later, 1)])
            assert await _positions(saver, claim.seq) == [1]

    async def test_a_worker_whose_lease_has_ended_appends_events_until_its_run_is_claimed(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            await self.lose(saver)
            assert await _log(saver).append("thread", claim.epoch, [_event(claim, 0)])
            await claim_one(saver, 2)
            await self.lose(saver, most=1)
            quarantined = await run_at(saver, claim.seq)
            assert quarantined.state == RunState.QUARANTINED
            assert not await _log(saver).append("thread", claim.epoch, [_event(claim, 1)])
            assert await _positions(saver, claim.seq) == [0]

    async def test_a_quarantined_run_takes_the_events_of_its_worker(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            await self.lose(saver, most=1)
            assert (await run_at(saver, claim.seq)).state == RunState.QUARANTINED
            assert await _log(saver).append("thread", claim.epoch, [_event(claim, 0)])
            assert await _positions(saver, claim.seq) == [0]

    async def test_nothing_is_appended_to_a_run_that_does_not_run(self) -> None:
        async with self.saver() as saver:
            seq, claim = await wait(saver)
            assert not await _log(saver).append("thread", claim.epoch, [_event(claim, 0)])
            assert not await _log(saver).append("unknown", claim.epoch, [_event(claim, 0)])
            assert await _positions(saver, seq) == []

    async def test_a_save_stores_its_events(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            writer = await writer_of(saver)
            record = writer.record()
            batch = replace(writer.batch(record), events=(_result_of(claim, 0), _event(claim, 1)))
            for _ in range(2):
                assert isinstance(await saver.save_writes(batch), Saved)
                page = await _tail(saver, claim.seq)
                assert [each.row.position - FIRST_ROW for each in page.rows] == [0, 1]
                assert [each.record for each in page.rows] == [record, None]

    async def test_a_refused_save_stores_no_events(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            writer, other = await writer_of(saver), await writer_of(saver)
            await save(saver, other, other.batch(other.record(number=7)))
            batch = replace(writer.batch(writer.record()), wseq=0, events=(_event(claim, 0),))
            assert isinstance(await saver.save_writes(batch), WritesMoved)
            assert await _positions(saver, claim.seq) == []

    async def test_a_commit_stores_its_events(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            writer = await writer_of(saver)
            update = RunUpdate(claim.seq, RunState.WAITING, checkpoint=2)
            unit = replace(unit_with(writer, update, status="interrupted"), events=(_event(claim, 0, version=2),))
            for _ in range(2):
                assert isinstance(await saver.commit(unit), Committed)
                assert await _positions(saver, claim.seq) == [0]

    async def test_a_refused_commit_stores_no_events(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            writer = await writer_of(saver)
            unit = replace(writer.unit(Step({"count": b"2"})), epoch=claim.epoch + 1, events=(_event(claim, 0),))
            assert isinstance(await saver.commit(unit), Conflict)
            assert await _positions(saver, claim.seq) == []


class TailClauses(RunStoreUnderTest):
    """Clauses of reading."""

    async def test_a_page_has_the_run_and_its_new_checkpoints(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            writer = await writer_of(saver)
            steps = [Step({"memory": b"m"}, ns="child"), Step({"count": b"2"}), Step({"count": b"3"})]
            for step in steps:
                unit = writer.unit(step)
                answer = await saver.commit(unit)
                assert isinstance(answer, Committed)
                writer.applied(unit, answer.base)
            page = await _tail(saver, claim.seq)
            assert (page.version, page.origin, page.state) == (4, writer.thread.origin, RunState.RUNNING)
            assert (page.first_checkpoint, page.checkpoint, page.until) == (1, 1, 0)
            made = [MadeCheckpoint(1, "", 0), MadeCheckpoint(2, "child", 0), MadeCheckpoint(3, "", 1)]
            assert page.checkpoints == (*made, MadeCheckpoint(4, "", 3))
            after = await _tail(saver, claim.seq, event_id(3, 0))
            assert [made.no for made in after.checkpoints] == [3, 4]
            after = await _tail(saver, claim.seq, event_id(3, FIRST_ROW - 1))
            assert [made.no for made in after.checkpoints] == [4]
            some = await _log(saver).tail("thread", claim.seq, 0, 2)
            assert some is not None
            assert [made.no for made in some.checkpoints] == [1, 2]

    async def test_a_page_has_the_rows_after_an_event(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            rows = [_event(claim, number) for number in range(5)]
            assert await _log(saver).append("thread", claim.epoch, rows)
            assert await _positions(saver, claim.seq, event_id(1, FIRST_ROW + 1)) == [2, 3, 4]
            some = await _log(saver).tail("thread", claim.seq, event_id(1, FIRST_ROW), 2)
            assert some is not None
            assert [each.row.position - FIRST_ROW for each in some.rows] == [1, 2]

    async def test_an_unknown_run_has_no_page(self) -> None:
        async with self.saver() as saver:
            assert await _log(saver).tail("thread", 1, 0, LIMIT) is None
            seq = await accept(saver)
            assert await _log(saver).tail("thread", seq + 1, 0, LIMIT) is None
            assert await _log(saver).open_events("thread", seq + 1) is None
            assert await _log(saver).results("unknown", 1, 1 << 52) == []

    async def test_a_run_that_has_not_begun_has_no_checkpoints(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.FAILED))
            later = await accept(saver)
            page = await _tail(saver, later)
            assert (page.first_checkpoint, page.checkpoints) == (0, ())

    async def test_each_run_has_its_own_events(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            assert await _log(saver).append("thread", claim.epoch, [_event(claim, 0)])
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.FAILED))
            await accept(saver)
            later = await claim_one(saver)
            update = RunUpdate(later.seq, RunState.RUNNING, checkpoint=2, first_checkpoint=2)
            await commit_with(saver, await writer_of(saver), update)
            assert await _log(saver).append("thread", later.epoch, [_event(later, 1, version=2)])
            assert await _positions(saver, claim.seq) == [0]
            assert await _positions(saver, later.seq) == [1]
            assert (await _tail(saver, claim.seq)).until == 2
            assert [made.no for made in (await _tail(saver, later.seq)).checkpoints] == [2]

    async def test_the_results_that_are_events_are_known(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            rows = [_result_of(claim, number, ord=number, ns="child") for number in range(3)]
            assert await _log(saver).append("thread", claim.epoch, [*rows, _event(claim, 3)])
            found = await _log(saver).results("thread", claim.seq, event_id(1, FIRST_ROW + 1))
            assert sorted(found) == [("child", 1, 0), ("child", 1, 1)]
            assert await _log(saver).results("thread", claim.seq + 1, 1 << 52) == []

    async def test_the_tasks_whose_events_are_not_void_are_known(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            log = _log(saver)
            found = await log.open_events("thread", claim.seq)
            assert found is not None
            assert (found.version, found.position, found.tasks) == (1, FIRST_ROW - 1, frozenset())
            custom, retracted = EventKind.CUSTOM, EventKind.RETRACTED
            told = [(custom, "a"), (custom, "b"), (EventKind.MESSAGE, "c"), (retracted, "a"), (retracted, "c")]
            rows = [
                _event(claim, number, kind, task=task) for number, (kind, task) in enumerate([*told, (custom, "c")])
            ]
            assert await log.append("thread", claim.epoch, rows)
            found = await log.open_events("thread", claim.seq)
            assert found is not None
            assert (found.position, found.tasks) == (FIRST_ROW + 5, frozenset({"b", "c"}))
            await commit_with(saver, await writer_of(saver), RunUpdate(claim.seq, RunState.RUNNING, checkpoint=2))
            found = await log.open_events("thread", claim.seq)
            assert found is not None
            assert (found.version, found.position, found.tasks) == (2, FIRST_ROW - 1, frozenset())


class FollowClauses(RunStoreUnderTest):
    """Clauses of following, and of removing events."""

    async def test_a_heartbeat_returns_the_followed_runs(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            claim = await _begun(saver)
            assert claim.followed == 0
            assert (await _heartbeat(saver)).followed == ()
            for _ in range(2):
                assert await _log(other).follow(Follow("thread", claim.seq)) is Followed.HELD
            beat = await _heartbeat(saver)
            assert (beat.requests, beat.followed) == ((), (("thread", claim.seq),))
            await self.lose(saver)
            assert (await claim_one(saver, 2)).followed == 1

    async def test_a_follower_is_known_once_the_holder_has_stored_an_event(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            assert await _log(saver).follow(Follow("thread", claim.seq)) is Followed.HELD
            assert await _log(saver).append("thread", claim.epoch, [_event(claim, 0)])
            assert await _log(saver).follow(Follow("thread", claim.seq)) is Followed.KNOWN
            await self.lose(saver)
            assert (await claim_one(saver, 2)).followed == 2

    async def test_a_follower_is_known_once_a_save_or_a_commit_has_stored_an_event(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            writer = await writer_of(saver)
            batch = replace(writer.batch(writer.record()), events=(_result_of(claim, 0),))
            assert isinstance(await saver.save_writes(batch), Saved)
            assert await _log(saver).follow(Follow("thread", claim.seq)) is Followed.KNOWN
            other = await accept(saver, "other")
            await claim_one(saver, 2)
            update = RunUpdate(other, RunState.WAITING, checkpoint=1, first_checkpoint=1)
            unit = unit_with(await writer_of(saver, "other"), update, status="interrupted")
            event = replace(_event(claim, 0), seq=other)
            assert isinstance(await saver.commit(replace(unit, events=(event,))), Committed)
            assert await _log(saver).follow(Follow("other", other)) is Followed.KNOWN

    async def test_the_first_follower_of_a_run_that_waits_stores_the_recorded_results(self) -> None:
        async with self.saver() as saver:
            seq, claim = await wait(saver)
            follow = await _follow(saver, claim, _result_of(claim, 0), _event(claim, 0, EventKind.WAITING))
            assert await _log(saver).follow(follow) is Followed.NEW
            assert await _positions(saver, seq) == [0, 1]
            assert await _log(saver).follow(follow) is Followed.KNOWN
            assert await _positions(saver, seq) == [0, 1]

    async def test_only_one_of_simultaneous_first_followers_stores_the_recorded_results(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            seq, claim = await wait(saver)
            follow = await _follow(saver, claim, _event(claim, 0, EventKind.WAITING))
            found = await asyncio.gather(*(_log(each).follow(follow) for each in (saver, other) * 4))
            assert sorted(found, key=lambda each: each.value) == [Followed.NEW] + [Followed.KNOWN] * 7
            assert await _positions(saver, seq) == [0]

    async def test_a_follower_that_saw_another_state_is_refused(self) -> None:
        async with self.saver() as saver:
            seq, claim = await wait(saver)
            follow = await _follow(saver, claim, _event(claim, 0, EventKind.WAITING))
            for moved in (
                replace(follow, version=follow.version + 1),
                replace(follow, epoch=follow.epoch + 1),
                replace(follow, wseq=follow.wseq + 1),
            ):
                assert await _log(saver).follow(moved) is Followed.MOVED
            assert await _positions(saver, seq) == []
            assert await _log(saver).follow(follow) is Followed.NEW

    async def test_an_unknown_run_is_not_followed(self) -> None:
        async with self.saver() as saver:
            assert await _log(saver).follow(Follow("thread", 1)) is Followed.NO_RUN
            seq = await accept(saver)
            assert await _log(saver).follow(Follow("thread", seq + 1)) is Followed.NO_RUN

    async def test_events_are_removed_run_by_run(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            assert await _log(saver).append("thread", claim.epoch, [_event(claim, 0), _event(claim, 1)])
            assert await _log(saver).remove_events("thread", claim.seq + 1) == 0
            assert await _log(saver).remove_events("unknown", claim.seq) == 0
            assert await _positions(saver, claim.seq) == [0, 1]
            assert await _log(saver).remove_events("thread", claim.seq) == 2
            assert await _positions(saver, claim.seq) == []

    async def test_events_are_deleted_with_their_run(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            event = _result_of(claim, 0)
            assert await _log(saver).append("thread", claim.epoch, [event])
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.FAILED))
            await accept(saver)
            later = await claim_one(saver)
            assert await _log(saver).append(
                "thread", later.epoch, [replace(event, seq=later.seq, position=FIRST_ROW + 1)]
            )
            self.move_clock(saver, 2 * HOUR)
            assert await runs_of(saver).delete_ended(keep=HOUR) == 1
            assert await _log(saver).results("thread", claim.seq, 1 << 52) == []
            assert await _positions(saver, later.seq) == [1]

    async def test_events_are_deleted_with_their_thread_and_not_copied(self) -> None:
        async with self.saver() as saver:
            claim = await _begun(saver)
            assert await _log(saver).append("thread", claim.epoch, [_result_of(claim, 0)])
            await saver.copy_thread("thread", "copy")
            copied = await accept(saver, "copy")
            assert await _positions(saver, copied, thread="copy") == []
            for purge in (False, True):
                await saver.delete_thread("thread", purge=purge)
                assert await _log(saver).results("thread", claim.seq, 1 << 52) == []
                assert await _log(saver).tail("thread", claim.seq, 0, LIMIT) is None


class EventLogConformance(AppendClauses, TailClauses, FollowClauses):
    """All clauses. A subclass implements `open` and `open_another`."""


def _log(saver: Checkpointer) -> EventLog:
    assert isinstance(saver, KeepsEvents), f"{saver} keeps no events"
    return saver.events


async def _begun(saver: Checkpointer) -> Claim:
    """The claim of a run whose input is checkpoint 1."""
    seq = await accept(saver)
    claim = await claim_one(saver)
    update = RunUpdate(seq, RunState.RUNNING, checkpoint=1, first_checkpoint=1)
    await commit_with(saver, await writer_of(saver), update)
    return claim


def _event(
    claim: Claim, number: int, kind: EventKind = EventKind.CUSTOM, *, version: int = 1, task: str = ""
) -> EventRow:
    """The event `number` of a version, counted from 0."""
    return EventRow(claim.seq, version, FIRST_ROW + number, claim.epoch, kind, b"value", task=task)


def _result_of(claim: Claim, number: int, **key: Any) -> EventRow:
    """The event of the result of the task that `Writer.record` records."""
    return replace(_event(claim, number, EventKind.RESULT), **{"born": 1, "ord": 0, **key})


async def _tail(saver: Checkpointer, seq: int, after: int = 0, *, thread: str = "thread") -> EventPage:
    found = await _log(saver).tail(thread, seq, after, LIMIT)
    assert found is not None
    return found


async def _positions(saver: Checkpointer, seq: int, after: int = 0, *, thread: str = "thread") -> list[int]:
    """The numbers of the run's events."""
    page = await _tail(saver, seq, after, thread=thread)
    return [each.row.position - FIRST_ROW for each in page.rows]


async def _heartbeat(saver: Checkpointer) -> Any:
    beat = await runs_of(saver).heartbeat(1, HOUR)
    assert beat is not None
    return beat


async def _follow(saver: Checkpointer, claim: Claim, *rows: EventRow) -> Follow:
    """A request of a follower that sees the thread as it is."""
    found = await saver.load("thread")
    assert found is not None
    row = found.thread
    return Follow("thread", claim.seq, row.version, row.epoch, row.wseq, rows)
