"""A saver in memory: the protocol on dicts of rows, for tests and for threads that need not outlive the process."""

import threading
import time
from collections.abc import Awaitable, Iterable
from types import TracebackType
from typing import Self

from durable_graph.checkpointing import pruning, rules
from durable_graph.checkpointing.binding import Binding
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.digests import EMPTY_STATE, request_digest, writes_digest
from durable_graph.checkpointing.handles import CommitHandle
from durable_graph.checkpointing.listeners import LocalNotifier
from durable_graph.checkpointing.memory_directory import MemoryDirectory
from durable_graph.checkpointing.memory_events import MemoryEvents
from durable_graph.checkpointing.memory_lock import alone
from durable_graph.checkpointing.memory_parents import send_deletions, send_end_of
from durable_graph.checkpointing.memory_queues import MemoryQueues
from durable_graph.checkpointing.memory_rows import Rows, RunRows, ThreadRows
from durable_graph.checkpointing.memory_runs import MemoryRuns
from durable_graph.checkpointing.memory_schedules import MemorySchedules
from durable_graph.checkpointing.memory_transfer import exported_from, stored_from
from durable_graph.checkpointing.protocol import DEFAULT_MAX_VALUE_BYTES
from durable_graph.checkpointing.transfer import ExportedThread
from durable_graph.errors import (
    InvalidOptionError,
    ThreadExistsError,
    UnknownThreadError,
)
from durable_graph.records import (
    CheckpointRow,
    CommitResult,
    Committed,
    CommitUnit,
    Conflict,
    HistoryPage,
    ListedStatus,
    NestedRecord,
    Saved,
    SaveResult,
    StoredCheckpoint,
    StoredRecords,
    StoredRequests,
    StoredThread,
    TaskRecord,
    ThreadInfo,
    ThreadRow,
    ValueRow,
    WritesBatch,
)

_BEYOND = 1 << 62


class MemorySaver:
    """Keeps threads in this process's memory, as long as the saver object exists.

    It has the semantics of every other saver, including commits by compare-and-swap, so a program that works with it
    works with the others. The runtime encodes values before it calls a saver, so no object is shared with the caller's
    state.

    Any event loop of the process may use it, one after the other or several at once in different operating-system
    threads. Stored threads outlive `aclose`, which only refuses further calls: `async with` on the same saver finds
    them again.
    """

    def __init__(self, *, max_value_bytes: int = DEFAULT_MAX_VALUE_BYTES) -> None:
        self.max_value_bytes = max_value_bytes
        # The keys are hashes of ids: a deleted thread's id is not kept.
        self._threads: dict[int, ThreadRows] = {}
        self._binding = Binding("MemorySaver()", any_loop=True)
        self._lock = threading.RLock()
        self.runs: MemoryRuns = MemoryRuns(self._threads, self._lock, self._binding)
        self.schedules: MemorySchedules = MemorySchedules(self.runs, self._lock, self._binding)
        self.queues: MemoryQueues = MemoryQueues(self._threads, self._lock, self._binding, self.runs)
        self.events: MemoryEvents = MemoryEvents(self._threads, self._lock, self._binding)
        self.directory: MemoryDirectory = MemoryDirectory(self._threads, self._lock, self._binding)
        self.notifier: LocalNotifier = LocalNotifier()

    @classmethod
    def from_url(cls, url: str) -> Self:
        """A saver for the URL `memory://`, which may have no further parts."""
        if url != "memory://":
            raise InvalidOptionError("url", url, allowed="'memory://' without further parts")
        return cls()

    @alone
    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        """See `Checkpointer.load`."""
        found = self._threads.get(key_of(thread))
        return None if found is None else found.load(thread, ns, no)

    @alone
    async def load_records(self, thread: str, ns: str) -> StoredRecords | None:
        """See `Checkpointer.load_records`."""
        found = self._threads.get(key_of(thread))
        return StoredRecords(found.row, found.records_of(ns, 0, _BEYOND)) if found else None

    def commit(self, unit: CommitUnit) -> Awaitable[CommitResult]:
        """See `Checkpointer.commit`. The unit is applied when this returns."""
        self._binding.check()
        with self._lock:
            return CommitHandle.done(self._commit(unit))

    def _commit(self, unit: CommitUnit) -> CommitResult:
        found = self._threads.get(key_of(unit.thread))
        before = found.row if found else None
        decision = rules.decide(unit, before, self._read_back(unit, found))
        if decision is not None:
            return decision
        unit = unit if found is None or unit.run is None else found.runs.with_status_of_run(unit)
        forked_head = found.newest("", unit.fork_of or 0) if found and rules.needs_forked_head(unit) else None
        row = rules.thread_after_commit(unit, before, forked_head)
        if found is None or found.row.status == "deleted":
            found = self._threads[key_of(unit.thread)] = _new(row, found)
        branch = rules.new_branch(unit, before)
        if branch is not None:
            found.parents[branch[0]] = branch[1]
        for new in unit.checkpoints:
            rows = found.checkpoints.get(new.row.ns)
            if rows is None:
                rows = found.checkpoints[new.row.ns] = Rows()
            rows.put(new.row.no, new.row)
            channels = found.values.setdefault(new.row.ns, {})
            for value in new.values:
                of_channel = channels.get(value.channel)
                if of_channel is None:
                    of_channel = channels[value.channel] = Rows()
                of_channel.put(value.no, value)
        self._record_with(found, unit, row)
        if unit.request is not None:
            found.requests[unit.request.key] = unit.request
        if unit.run is not None or unit.taken:
            found.runs.apply(unit)
            send_end_of(self._threads, found, unit)
        return Committed(unit.version, StoredThread(row))

    def save_writes(self, batch: WritesBatch) -> Awaitable[SaveResult]:
        """See `Checkpointer.save_writes`. The records are saved when this returns."""
        self._binding.check()
        with self._lock:
            return CommitHandle.done(self._save_writes(batch))

    def _save_writes(self, batch: WritesBatch) -> SaveResult:
        found = self._threads.get(key_of(batch.thread))
        if found is None:
            return Conflict(0)
        if not rules.accepts(batch, found.row):
            recorded = (found.record(record.ns, record.born, record.ord) for record in batch.records)
            return rules.answer_to_late_save(batch, found.row, recorded)
        replaced, stood = self._record(found, batch.records)
        found.writes = rules.sum_with(found.writes, replaced, found.head_born(), found.row.head)
        is_bumped = rules.is_bumped(batch, found.row, replaced)
        found.row = rules.thread_after_save(batch, found.row, stood, bumped=is_bumped)
        if batch.request is not None:
            found.requests[batch.request.key] = batch.request
        found.runs.take(batch.taken, batch.at)
        if batch.run is not None:
            found.runs.update(batch.run, batch.at)
            send_end_of(self._threads, found, batch)
        if batch.wakes_run:
            found.runs.wake(batch.at)
        if batch.events:
            found.runs.log(batch.events)
        is_cancelled = found.row.status == "cancelled"
        return Saved(found.row.wseq, is_bumped, stood, is_cancelled, StoredThread(found.row))

    @alone
    async def find_request(self, thread: str, key: str) -> StoredRequests | None:
        """See `Checkpointer.find_request`."""
        found = self._threads.get(key_of(thread))
        if found is None:
            return None
        request = found.requests.get(key)
        others = () if request else found.requests.values()
        digests = tuple(request_digest(found.row.origin, each) for each in others)
        return StoredRequests(thread, found.row.origin, request, digests, found.requests_digest)

    @alone
    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        """See `Checkpointer.history`."""
        rules.check_limit(limit)
        found = self._threads.get(key_of(thread))
        if found is None:
            return None
        rows = found.checkpoints.get(ns, Rows())
        sought = rows.newest(before, limit + 1)
        page = sought[:limit]
        if not page:
            return HistoryPage(found.row, (), (), {}, (), 0, ns, before)
        lo, hi = page[-1].no, page[0].no
        channels = found.values.get(ns, {}).values()
        head = next((row for row in page if ns == "" and row.no == found.row.head), None)
        of_head = found.records_of_head(head.born) if head else ()
        return HistoryPage(
            thread=found.row,
            checkpoints=tuple(page),
            values=tuple(row for rows in channels for row in rows.between(lo, _BEYOND if before is None else hi + 1)),
            bases=self._bases(found, ns, page),
            records=found.records_of(ns, min(row.born for row in page), hi),
            older=lo if len(sought) > limit else 0,
            ns=ns,
            before=before,
            writes_digest=found.writes if head else None,
            head_records=tuple(NestedRecord(each.ns, each.born, each.ord, each.digest) for each in of_head),
        )

    @alone
    async def list_threads(
        self,
        *,
        status: ListedStatus | None = None,
        limit: int = 100,
        after: ThreadInfo | str | None = None,
        before: int | None = None,
    ) -> list[ThreadInfo]:
        """See `Checkpointer.list_threads`."""
        rules.check_listing(status, limit, after, before)
        listed = [found.row for found in self._threads.values() if rules.is_listed(found.row, status, before)]
        cursor = rules.Cursor.of(after)
        if status is None:
            rows = sorted((row for row in listed if row.thread > cursor.thread), key=lambda row: row.thread)
        else:
            places = {rules.Cursor(row.status_since, row.thread): row for row in listed}
            rows = [places[place] for place in sorted(places) if place > cursor]
        return [rules.thread_info(row) for row in rows[:limit]]

    @alone
    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        """See `Checkpointer.delete_thread`."""
        found = self._threads.get(key_of(thread))
        is_owned = seen is not None and found is not None and found.runs.first() is not None
        if found is not None and not is_owned and rules.is_to_be_deleted(found.row, seen):
            grave = rules.tombstone(found.row, time.time_ns() // 1000)
            send_deletions(self._threads, found, time.time_ns() // 1000)
            found = self._threads[key_of(thread)] = _new(grave, found)
        if found is not None and found.row.status != "deleted":
            return False
        if purge:
            self._threads.pop(key_of(thread), None)
        return True

    @alone
    async def forget_deleted(self, *, before: int, limit: int = 500) -> int:
        """See `Checkpointer.forget_deleted`."""
        rules.check_limit(limit)
        gone = [
            key
            for key, found in self._threads.items()
            if found.row.status == "deleted" and found.row.status_since < before
        ][:limit]
        for key in gone:
            del self._threads[key]
        return len(gone)

    @alone
    async def export_thread(self, thread: str) -> ExportedThread | None:
        """See `Transferable.export_thread`."""
        found = self._threads.get(key_of(thread))
        return exported_from(found) if found is not None and found.row.status != "deleted" else None

    @alone
    async def import_thread(self, exported: ExportedThread) -> None:
        """See `Transferable.import_thread`. Raises `CorruptCheckpointError` for a thread that is damaged."""
        there = self._threads.get(key_of(exported.thread))
        if there is not None and there.row.status != "deleted":
            raise ThreadExistsError(exported.thread)
        self._threads[key_of(exported.thread)] = stored_from(exported)

    @alone
    async def copy_thread(self, source: str, target: str) -> None:
        """See `Checkpointer.copy_thread`."""
        found, grave = self._threads.get(key_of(source)), self._threads.get(key_of(target))
        if found is None or found.row.status == "deleted":
            raise UnknownThreadError(source)
        if grave is not None and grave.row.status != "deleted":
            if rules.is_copy(found.row, grave.row):
                return
            raise ThreadExistsError(target)
        row = rules.copied(found.row, target, grave.row if grave else None, rules.drawn_incarnation())
        copy = self._threads[key_of(target)] = found.copied(row)
        copy.runs = RunRows(grave.runs.last if grave else 0)

    @alone
    async def prune(self, thread: str, *, keep_last: int = 1, before: int | None = None) -> int:
        """See `Checkpointer.prune`."""
        pruning.check_keep_last(keep_last)
        found = self._threads.get(key_of(thread))
        if found is None:
            raise UnknownThreadError(thread)
        places = {(ns, no) for ns, rows in found.checkpoints.items() for no in rows.order}
        checkpoints = (row for rows in found.checkpoints.values() for row in rows.by_key.values())
        runs = [run.row for run in found.runs.by_seq.values()]
        needed = pruning.needed_by(
            (row.state, row.checkpoint, None if row.first_checkpoint else row.from_checkpoint) for row in runs
        )
        kept = pruning.kept(checkpoints, found.parents, found.row, keep_last, before, needed)
        if kept is None or len(kept.checkpoints) == len(places):
            return 0
        keys = [
            pruning.ValueKey(ns, channel, row.no, row.prev)
            for ns, channels in found.values.items()
            for channel, rows in channels.items()
            for row in rows.by_key.values()
        ]
        values: dict[tuple[str, str], list[int]] = {}
        for ns, channel, no in {key[:3] for key in keys} - pruning.needed_values(keys, kept):
            values.setdefault((ns, channel), []).append(no)
        for (ns, channel), numbers in values.items():
            found.values[ns][channel].remove_all(numbers)
        gone = places - kept.checkpoints
        for ns, rows in found.checkpoints.items():
            rows.remove_all([no for no in rows.order if (ns, no) in gone])
        found.parents = {lo: parent for lo, parent in found.parents.items() if lo in kept.branches}
        self._forget(found, kept)
        found.row = pruning.thread_after_prune(found.row, kept.floor)
        return len(gone)

    async def aclose(self) -> None:
        """Refuse further use. Calling it again does nothing."""
        self._binding.check_place()
        self._binding.closed = True

    async def __aenter__(self) -> Self:
        self._binding.check_place()
        self._binding.closed = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _read_back(self, unit: CommitUnit, found: ThreadRows | None) -> bytes | None:
        if found is None or not rules.needs_read_back(unit, found.row):
            return None
        last = unit.checkpoints[-1].row
        row = found.checkpoint(last.ns, last.no)
        return row.commit_id if row else None

    def _record_with(self, found: ThreadRows, unit: CommitUnit, row: ThreadRow) -> None:
        """Store the unit's records and events and the thread's new `row`, and update the sum over the records of its
        head."""
        replaced, _ = self._record(found, unit.records)
        is_same_head, found.row = row.head == found.row.head, row
        born = found.head_born()
        if is_same_head:
            found.writes = rules.sum_with(found.writes, replaced, born, row.head)
        elif rules.is_bare(unit, born, row.head):
            found.writes = EMPTY_STATE
        else:
            found.writes = writes_digest(found.records_of_head(born))
        if unit.events:
            found.runs.log(unit.events)

    def _record(
        self, found: ThreadRows, records: Iterable[TaskRecord]
    ) -> tuple[list[rules.Replacement], tuple[TaskRecord, ...]]:
        """Store each record unless an earlier record wins. Returns the replacements, and for each record the winner."""
        replaced: list[rules.Replacement] = []
        stood = []
        for record in records:
            before = found.record(record.ns, record.born, record.ord)
            stands = rules.standing(before, record)
            stood.append(stands)
            if stands != before:
                found.records.setdefault(record.ns, Rows()).put((record.born, record.ord), stands)
                replaced.append((before, stands))
        return replaced, tuple(stood)

    def _forget(self, found: ThreadRows, kept: pruning.Kept) -> None:
        gone = [
            record
            for ns, rows in found.records.items()
            for record in rows.by_key.values()
            if not kept.needs_record(ns, record.born)
        ]
        found.writes = rules.sum_without(found.writes, gone, found.head_born(), found.row.head)
        for ns, rows in found.records.items():
            rows.remove_all([(record.born, record.ord) for record in gone if record.ns == ns])

    def _bases(self, found: ThreadRows, ns: str, page: list[CheckpointRow]) -> dict[int, tuple[ValueRow, ...]]:
        on_page = {row.no for row in page}
        bases: dict[int, tuple[ValueRow, ...]] = {}
        for row in page:
            if row.parent in on_page or row.parent in bases or row.parent == 0:
                continue
            if found.checkpoint(ns, row.parent):
                bases[row.parent] = found.values_at(ns, row.parent)
            elif row.parent < found.row.floor:
                bases[row.parent] = tuple(value for value in found.values_at(ns, row.no) if value.no != row.no)
        return bases


def _new(row: ThreadRow, before: ThreadRows | None) -> ThreadRows:
    """A thread without other rows. The numbers of its runs continue those of the thread `before` it."""
    return ThreadRows(row, runs=RunRows(before.runs.last if before else 0))


InMemorySaver = MemorySaver
"""LangGraph's name for it."""
