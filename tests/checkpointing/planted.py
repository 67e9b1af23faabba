"""Savers with one bug each. A clause that passes on all of them proves nothing."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from durable_graph.checkpointing import MemorySaver, rules, verify_page
from durable_graph.checkpointing.binding import Binding
from durable_graph.checkpointing.digests import (
    checkpoint_digest,
    origin_of,
    record_digest,
    state_digest,
    value_digest,
)
from durable_graph.checkpointing.memory import ChannelRows, StoredThread
from durable_graph.errors import CorruptCheckpointError, StoreUnavailableError, UnknownThreadError
from durable_graph.records import (
    CommitResult,
    Committed,
    CommitUnit,
    Conflict,
    HistoryPage,
    Saved,
    SaveResult,
    Status,
    StoredCheckpoint,
    TaskRecord,
    ThreadInfo,
    ThreadRow,
    ValueKind,
    ValueRow,
    WritesBatch,
    WritesMoved,
)

replace = msgspec.structs.replace

Plant = Callable[[pytest.MonkeyPatch], MemorySaver]


def ruled(name: str, rule: Callable[..., Any]) -> Plant:
    """A saver of which one rule is replaced; the replacement gets the right one first, then its arguments."""

    def plant(patch: pytest.MonkeyPatch) -> MemorySaver:
        right = getattr(rules, name)
        patch.setattr(rules, name, lambda *args, **kwargs: rule(right, *args, **kwargs))
        return MemorySaver()

    return plant


def made(kind: type[MemorySaver]) -> Plant:
    return lambda patch: kind()


def unbound(patch: pytest.MonkeyPatch) -> MemorySaver:
    patch.setattr(Binding, "check_place", lambda self: None)
    return MemorySaver()


def answer_turned(wrong: type, into: CommitResult | None) -> Plant:
    """A saver that gives another answer than the one that is due."""

    def decide(right: Callable[..., Any], unit: CommitUnit, *rest: Any) -> CommitResult | None:
        due: CommitResult | None = right(unit, *rest)
        return into if isinstance(due, wrong) else due

    return ruled("decide", decide)


def is_of_child(right: Callable[..., Any], unit: CommitUnit, *rest: Any) -> CommitResult | None:
    due: CommitResult | None = right(unit, *rest)
    return None if unit.checkpoints[0].row.ns else due


def prunes_needed_rows(right: Callable[..., Any], keys: Any, kept: rules.Kept) -> set[tuple[str, str, int]]:
    numbers = {no for _, no in kept.checkpoints}
    return {key[:3] for key in right(keys, kept) if key[2] in numbers}


class Trims(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        checkpoints = tuple(
            replace(new, row=replace(new.row, header=new.row.header.strip(b"\0"))) for new in unit.checkpoints
        )
        return await super().commit(replace(unit, checkpoints=checkpoints))


class FailsNeighbours(MemorySaver):
    conflict: Conflict | None = None

    async def commit(self, unit: CommitUnit) -> CommitResult:
        answer = self.conflict or await super().commit(unit)
        if isinstance(answer, Conflict):
            self.conflict = answer
        return answer


class RefusesGaps(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        if unit.checkpoints[0].row.no != unit.expected + 1:
            return Conflict(unit.expected)
        return await super().commit(unit)


class TakesTheFirstCheckpointOnly(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        return await super().commit(replace(unit, checkpoints=unit.checkpoints[:1]))


class ForkOverwrites(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        answer = await super().commit(unit)
        if unit.fork_of is not None and answer == Committed(unit.version):
            rows = self._threads[unit.thread].checkpoints
            for place in [place for place in rows if unit.fork_of < place[1] < unit.version]:
                del rows[place]
        return answer


class DropsRidingRecords(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        return await super().commit(replace(unit, records=()))


class ForgetsOlderRecords(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        if unit.thread in self._threads:
            self._threads[unit.thread].records.clear()
        return await super().commit(unit)


class IgnoresAbsence(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        checkpoints = tuple(
            replace(new, values=tuple(value for value in new.values if value.kind != ValueKind.ABSENT))
            for new in unit.checkpoints
        )
        return await super().commit(replace(unit, checkpoints=checkpoints))


class ReadsEverything(MemorySaver):
    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        found = await super().load(thread, ns, no)
        if found is None:
            return None
        stored = self._threads[thread]
        values = (row for channel in stored.values.get(ns, {}).values() for row in channel.rows.values())
        return replace(found, values=tuple(values), records=tuple(stored.records.values()))


class InventsThreads(MemorySaver):
    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        found = await super().load(thread, ns, no)
        empty = ThreadRow(thread, 0, origin_of(thread, 0), 0, 0, 0, 0, 0, 0, "done", 0, b"")
        return found or StoredCheckpoint(empty, None)


class FallsBack(MemorySaver):
    """If the newest checkpoint is gone, the one before it will do."""

    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        numbers = [each for of, each in self._threads[thread].checkpoints if of == ns]
        return await super().load(thread, ns, no or max(numbers, default=None))


class SignsWhatItReads(MemorySaver):
    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        found = await super().load(thread, ns, no)
        if found is None or found.checkpoint is None:
            return found
        origin = found.thread.origin
        values = tuple(replace(row, digest=value_digest(origin, ns, row)) for row in found.values)
        newest: dict[str, ValueRow] = {}
        for row in sorted(values, key=lambda row: row.no):
            newest[row.channel] = row
        checkpoint = replace(found.checkpoint, state_digest=state_digest(newest.values()))
        checkpoint = replace(checkpoint, digest=checkpoint_digest(origin, checkpoint))
        records = tuple(replace(record, digest=record_digest(origin, record)) for record in found.records)
        return StoredCheckpoint(found.thread, checkpoint, values, records)


class HidesDamage(MemorySaver):
    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        page = await super().history(thread, ns, before=before, limit=limit)
        assert page is not None
        try:
            verify_page(page)
        except CorruptCheckpointError:
            return HistoryPage(page.thread, (), (), {}, (), 0)
        return page


class HasOnePage(MemorySaver):
    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        page = await super().history(thread, ns, before=before, limit=limit)
        return replace(page, older=0) if page else None


class PagesByCounting(MemorySaver):
    count = 0

    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        numbers = sorted((no for _, no in self._threads[thread].checkpoints), reverse=True)[self.count :]
        self.count += limit
        return await super().history(thread, ns, before=numbers[0] + 1, limit=limit)


class CountsTheBound(MemorySaver):
    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        return await super().history(thread, ns, before=before + 1 if before else None, limit=limit)


class ListsAsCreated(MemorySaver):
    async def list_threads(
        self, *, status: Status | None = None, limit: int = 100, after: str | None = None
    ) -> list[ThreadInfo]:
        return [rules.thread_info(found.row) for found in self._threads.values()][:limit]


class AlwaysBumps(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        answer = await super().save_writes(batch)
        stored = self._threads[batch.thread]
        stored.row = replace(stored.row, wseq=stored.row.wseq + 1)
        return answer


class ForgetsTheStatus(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        return await super().save_writes(replace(batch, status=None))


class DeletesTheTombstone(MemorySaver):
    async def delete_thread(self, thread: str) -> None:
        if thread not in self._threads:
            raise UnknownThreadError(thread)
        del self._threads[thread]


class CopyShares(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        await super().copy_thread(source, target)
        stored, copy = self._threads[source], self._threads[target]
        copy.values, copy.checkpoints = stored.values, stored.checkpoints


class CopyDropsRecords(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        await super().copy_thread(source, target)
        self._threads[target].records.clear()


class CopyOverwrites(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        self._threads.pop(target, None)
        await super().copy_thread(source, target)


class NeverCloses(MemorySaver):
    async def aclose(self) -> None:
        """Do nothing."""


class TearsCommits(MemorySaver):
    """The values a moment after the checkpoint, as with a driver that is used statement by statement."""

    async def commit(self, unit: CommitUnit) -> CommitResult:
        before = self._threads.get(unit.thread)
        if before is not None and before.row.version >= unit.version:
            return await super().commit(unit)
        bare = tuple(replace(new, values=()) for new in unit.checkpoints)
        answer = await super().commit(replace(unit, checkpoints=bare))
        await asyncio.sleep(0)
        channels = self._threads[unit.thread].values
        for new in unit.checkpoints:
            for row in new.values:
                channels[new.row.ns].setdefault(row.channel, ChannelRows()).put(row)
        return answer


class TearsSaves(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        standing: tuple[TaskRecord, ...] = ()
        for record in batch.records:
            saved = await super().save_writes(replace(batch, records=(record,)))
            assert isinstance(saved, Saved)
            standing += saved.standing
            await asyncio.sleep(0)
        return Saved(1, bumped=True, standing=standing)


class TearsCopies(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        self._threads[target] = StoredThread(replace(self._threads[source].row, thread=target))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del self._threads[target]
        await super().copy_thread(source, target)


class StaysInsideTransactions(MemorySaver):
    """A read that is cancelled leaves the connection where no other call can use it."""

    inside = False

    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        self.inside = True
        await asyncio.sleep(0)
        self.inside = False
        return await super().load(thread, ns, no)

    async def commit(self, unit: CommitUnit) -> CommitResult:
        if self.inside:
            raise StoreUnavailableError("the store", "cannot start a transaction within a transaction")
        return await super().commit(unit)


class CancelsTheGroup(MemorySaver):
    def __init__(self) -> None:
        super().__init__()
        self.group: set[asyncio.Task[Any]] = set()

    async def commit(self, unit: CommitUnit) -> CommitResult:
        task = asyncio.current_task()
        assert task is not None
        self.group.add(task)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            for other in self.group:
                other.cancel()
            raise
        self.group.discard(task)
        return await super().commit(unit)


class DropsOnClose(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        for _ in range(3):
            await asyncio.sleep(0)
        return await super().commit(unit)


never_conflicts = answer_turned(Conflict, None)
forgets_what_it_applied = answer_turned(Committed, Conflict(0))
signs_what_it_reads = made(SignsWhatItReads)

PLANTS: Mapping[str, tuple[Plant, ...]] = {
    "what_is_committed_comes_back_as_it_was_given": (made(Trims),),
    "of_two_writers_at_one_head_one_commits": (never_conflicts,),
    "of_two_writers_of_a_new_thread_one_commits": (never_conflicts,),
    "a_writer_of_another_namespace_is_a_second_writer_too": (ruled("decide", is_of_child),),
    "a_repeated_commit_is_answered_as_the_first_time": (forgets_what_it_applied,),
    "a_repeated_commit_is_known_after_the_thread_moved_on": (ruled("needs_read_back", lambda right, *args: False),),
    "the_first_commit_repeated_is_not_a_conflict": (forgets_what_it_applied,),
    "another_epoch_is_a_conflict": (never_conflicts,),
    "a_commit_that_has_not_seen_a_recorded_task_is_sent_back": (answer_turned(WritesMoved, None),),
    "a_conflict_does_not_fail_its_neighbours": (made(FailsNeighbours),),
    "numbers_may_have_gaps": (made(RefusesGaps),),
    "one_unit_may_hold_several_checkpoints_of_several_namespaces": (made(TakesTheFirstCheckpointOnly),),
    "a_fork_reads_the_values_of_its_own_line": (ruled("lineage", lambda right, parents, no: [(1, no)]),),
    "a_fork_leaves_the_old_line_readable": (made(ForkOverwrites),),
    "a_long_chain_of_updates_is_read_in_few_rows": (made(ReadsEverything),),
    "what_is_recorded_comes_back_with_its_checkpoint": (made(ReadsEverything),),
    "the_first_recorded_result_stands": (ruled("standing", lambda right, before, offered: offered),),
    "a_more_final_result_replaces_a_less_final_one": (
        ruled("standing", lambda right, before, offered: before or offered),
        ruled("standing", lambda right, before, offered: offered),
    ),
    "equally_final_results_do_not_replace_each_other": (ruled("standing", lambda right, before, offered: offered),),
    "a_repeated_save_is_answered_as_the_first_time": (made(AlwaysBumps),),
    "a_repeated_save_is_known_after_the_thread_moved_on": (
        ruled("answer_to_late_save", lambda right, batch, thread, stood: Conflict(thread.version)),
    ),
    "records_on_top_of_another_checkpoint_are_refused": (ruled("accepts", lambda right, batch, thread: True),),
    "a_loser_does_not_change_the_status": (
        ruled("thread_after_save", lambda right, batch, thread, stood, bumped: replace(thread, status=batch.status)),
    ),
    "a_status_may_be_saved_without_records": (made(ForgetsTheStatus),),
    "records_that_ride_in_a_commit_are_kept": (made(DropsRidingRecords),),
    "tasks_that_are_planned_again_keep_their_records": (made(ForgetsOlderRecords),),
    "what_never_existed_is_not_found": (made(InventsThreads),),
    "an_older_checkpoint_has_the_values_of_its_time": (made(ReadsEverything),),
    "a_value_that_is_gone_does_not_come_back": (made(IgnoresAbsence),),
    "history_is_complete_page_by_page": (made(HasOnePage),),
    "history_pages_are_sound_while_another_writes": (made(PagesByCounting),),
    "a_page_before_the_first_checkpoint_is_empty": (made(CountsTheBound),),
    "threads_are_listed_by_id_page_by_page": (made(ListsAsCreated),),
    "threads_are_listed_by_status": (ruled("is_listed", lambda right, thread, status: True),),
    "a_deleted_thread_leaves_a_tombstone": (made(DeletesTheTombstone),),
    "deleting_what_never_existed_does_nothing": (made(DeletesTheTombstone),),
    "a_writer_that_still_believes_in_a_deleted_thread_is_shut_out": (
        never_conflicts,
        ruled("_is_of_life", lambda right, unit, thread: True),
    ),
    "a_deleted_thread_may_begin_anew": (ruled("_is_of_life", lambda right, unit, thread: unit.incarnation == 0),),
    "a_copy_has_all_that_the_thread_had": (made(CopyDropsRecords),),
    "a_copy_and_its_source_go_separate_ways": (made(CopyShares),),
    "a_copy_overwrites_nothing": (made(CopyOverwrites),),
    "a_copy_onto_a_tombstone_shuts_out_its_writers": (
        ruled("copied", lambda right, source, target, grave: right(source, target, None)),
    ),
    "pruning_keeps_what_the_kept_need": (ruled("needed_values", prunes_needed_rows),),
    "a_pruned_thread_is_read_and_gone_on_from": (
        ruled("needed_values", prunes_needed_rows),
        ruled("thread_after_prune", lambda right, thread, floor: replace(thread, gen=thread.gen + 1)),
    ),
    "pruning_removes_other_lines": (ruled("is_within", lambda right, intervals, no: True),),
    "a_fork_from_what_was_pruned_meanwhile_is_a_conflict": (
        ruled("thread_after_prune", lambda right, thread, floor: replace(thread, floor=floor)),
    ),
    "pruning_leaves_at_least_one_checkpoint": (ruled("check_keep_last", lambda right, keep_last: None),),
    "a_cancelled_commit_is_whole_or_absent": (made(TearsCommits),),
    "a_cancelled_save_is_whole_or_absent": (made(TearsSaves),),
    "cancelled_upkeep_is_whole_or_absent": (made(TearsCopies),),
    "a_cancelled_read_leaves_nothing_behind": (made(StaysInsideTransactions),),
    "a_caller_that_is_cancelled_takes_no_neighbour_with_it": (made(CancelsTheGroup),),
    "closing_finishes_what_was_begun": (made(DropsOnClose),),
    "a_closed_saver_says_so": (made(NeverCloses),),
    "a_saver_is_not_for_another_loop": (unbound,),
    "a_damaged_value_is_noticed": (signs_what_it_reads,),
    "a_vanished_value_is_noticed": (signs_what_it_reads,),
    "a_damaged_checkpoint_is_noticed": (signs_what_it_reads,),
    "a_vanished_head_is_not_an_older_state": (made(FallsBack),),
    "a_vanished_checkpoint_is_noticed_in_the_history": (made(HidesDamage),),
    "a_damaged_task_record_is_noticed": (signs_what_it_reads,),
    "a_vanished_task_record_is_noticed": (signs_what_it_reads,),
    "a_vanished_record_of_a_task_that_was_planned_again_is_noticed": (signs_what_it_reads,),
    "a_vanished_line_is_noticed": (signs_what_it_reads,),
}
"""Which savers each clause has to fail on, by the clause's name without `test_`."""
