"""A saver in memory: the protocol on dicts of rows. For tests, and for threads that may end with the process."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from durable_graph.checkpointing import rules
from durable_graph.checkpointing.binding import Binding
from durable_graph.checkpointing.digests import EMPTY_STATE, add, subtract, writes_digest
from durable_graph.checkpointing.protocol import DEFAULT_MAX_VALUE_BYTES
from durable_graph.errors import (
    CorruptCheckpointError,
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
    Saved,
    SaveResult,
    Status,
    StoredCheckpoint,
    StoredRecords,
    TaskRecord,
    ThreadInfo,
    ThreadRow,
    ValueRow,
    WritesBatch,
    WritesMoved,
    checkpoint_id,
)


@dataclass(slots=True)
class ChannelRows:
    """A channel's rows by number. `order` has the numbers, ascending."""

    order: list[int] = field(default_factory=list)
    rows: dict[int, ValueRow] = field(default_factory=dict)

    def last_within(self, intervals: Iterable[rules.Interval]) -> int:
        """The newest number in a lineage, 0 if there is none."""
        for lo, hi in intervals:
            at = bisect_right(self.order, hi)
            if at and self.order[at - 1] >= lo:
                return self.order[at - 1]
        return 0

    def chain(self, no: int) -> Iterator[ValueRow]:
        """The row `no` and those that it goes on from."""
        while no in self.rows:
            row = self.rows[no]
            yield row
            # Downwards only: a damaged chain must not be walked for ever.
            no = min(row.prev, no - 1)

    def put(self, row: ValueRow) -> None:
        if row.no not in self.rows:
            insort(self.order, row.no)
        self.rows[row.no] = row

    def between(self, lo: int, hi: int) -> Iterator[ValueRow]:
        for no in self.order[bisect_left(self.order, lo) : bisect_right(self.order, hi)]:
            yield self.rows[no]


@dataclass(slots=True)
class StoredThread:
    """A thread with all of its rows. `parents` has the parent of each line, by its first number."""

    row: ThreadRow
    writes: bytes = EMPTY_STATE
    parents: dict[int, int] = field(default_factory=dict)
    checkpoints: dict[tuple[str, int], CheckpointRow] = field(default_factory=dict)
    values: dict[str, dict[str, ChannelRows]] = field(default_factory=dict)
    records: dict[tuple[str, int, int], TaskRecord] = field(default_factory=dict)

    def newest(self, ns: str) -> int:
        """The newest checkpoint of a namespace in the head's line, 0 if there is none."""
        if ns == "":
            return self.row.head
        intervals = rules.lineage(self.parents, self.row.version)
        numbers = (no for of, no in self.checkpoints if of == ns and rules.is_within(intervals, no))
        return max(numbers, default=0)

    def values_at(self, ns: str, no: int) -> tuple[ValueRow, ...]:
        """For every channel its last row in the lineage of `no`, and the rows of its chain."""
        intervals = rules.lineage(self.parents, no)
        channels = self.values.get(ns, {}).values()
        return tuple(row for channel in channels for row in channel.chain(channel.last_within(intervals)))

    def records_between(self, ns: str, lo: int, hi: int) -> tuple[TaskRecord, ...]:
        keys = sorted(key for key in self.records if key[0] == ns and lo <= key[1] <= hi)
        return tuple(self.records[key] for key in keys)

    def head_born(self) -> int:
        """The smallest number under which a task of the head's plan is recorded."""
        head = self.checkpoints.get(("", self.row.head))
        return head.born if head else 0


class MemorySaver:
    """Keeps threads in this process's memory, until it is dropped.

    It has the semantics of every other saver, commit by compare-and-swap included, so what works on it works on those.
    Values have been encoded before they get here: nothing in it is shared with the caller's state.
    """

    def __init__(self, *, max_value_bytes: int = DEFAULT_MAX_VALUE_BYTES) -> None:
        self.max_value_bytes = max_value_bytes
        self._threads: dict[str, StoredThread] = {}
        self._binding = Binding("MemorySaver()")

    @classmethod
    def from_url(cls, url: str) -> Self:
        """`memory://`, with nothing behind it."""
        if url != "memory://":
            raise InvalidOptionError("url", url, allowed="'memory://' alone: there is nothing to name")
        return cls()

    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        """See `Checkpointer.load`."""
        self._binding.check()
        found = self._threads.get(thread)
        if found is None:
            return None
        wanted = found.newest(ns) if no is None else no
        checkpoint = found.checkpoints.get((ns, wanted))
        is_head = ns == "" and wanted == found.row.head
        if checkpoint is None:
            if is_head and wanted:
                what = f"the row of checkpoint {checkpoint_id(wanted)!r}"
                raise CorruptCheckpointError(thread, row=what, why="the thread is at it and it is missing")
            return StoredCheckpoint(found.row, None)
        # Of the newest one up to the version: the values of a checkpoint whose row vanished must not pass unseen.
        values = found.values_at(ns, wanted if no is not None else found.row.version)
        records = found.records_between(ns, checkpoint.born, checkpoint.no)
        return StoredCheckpoint(found.row, checkpoint, values, records, found.writes if is_head else None)

    async def commit(self, unit: CommitUnit) -> CommitResult:
        """See `Checkpointer.commit`."""
        self._binding.check()
        found = self._threads.get(unit.thread)
        before = found.row if found else None
        decision = rules.decide(unit, before, self._read_back(unit, found))
        if decision is not None:
            return decision
        if found is None or rules.begins_thread(before):
            found = self._threads[unit.thread] = StoredThread(rules.thread_after_commit(unit, before))
        line = rules.new_line(unit, before)
        if line is not None:
            found.parents[line[0]] = line[1]
        found.row = rules.thread_after_commit(unit, before)
        for new in unit.checkpoints:
            found.checkpoints[new.row.ns, new.row.no] = new.row
            channels = found.values.setdefault(new.row.ns, {})
            for value in new.values:
                channels.setdefault(value.channel, ChannelRows()).put(value)
        self._record(found, unit.records)
        found.writes = writes_digest(found.records_between("", found.head_born(), found.row.head))
        return Committed(unit.version)

    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        """See `Checkpointer.save_writes`."""
        self._binding.check()
        found = self._threads.get(batch.thread)
        if found is None:
            return Conflict(0)
        if not rules.accepts(batch, found.row):
            return self._already_saved(batch, found)
        if rules.has_moved(batch, found.row):
            late = self._already_saved(batch, found)
            return late if isinstance(late, Saved) else WritesMoved(found.row.wseq)
        bumped, stood = self._record(found, batch.records)
        found.row = rules.thread_after_save(batch, found.row, stood, bumped=bumped)
        return Saved(found.row.wseq, bumped, stood)

    async def load_records(self, thread: str, ns: str) -> StoredRecords | None:
        """See `Checkpointer.load_records`."""
        self._binding.check()
        found = self._threads.get(thread)
        if found is None:
            return None
        return StoredRecords(found.row, found.records_between(ns, 0, found.row.version))

    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        """See `Checkpointer.history`."""
        self._binding.check()
        rules.check_limit(limit)
        found = self._threads.get(thread)
        if found is None:
            return None
        numbers = sorted(
            (no for of, no in found.checkpoints if of == ns and (before is None or no < before)), reverse=True
        )
        page = [found.checkpoints[ns, no] for no in numbers[:limit]]
        if not page:
            return HistoryPage(found.row, (), (), {}, (), 0)
        lo, hi = page[-1].no, page[0].no
        return HistoryPage(
            thread=found.row,
            checkpoints=tuple(page),
            values=tuple(row for rows in found.values.get(ns, {}).values() for row in rows.between(lo, hi)),
            bases=self._bases(found, ns, page),
            records=found.records_between(ns, min(row.born for row in page), hi),
            older=lo if len(numbers) > limit else 0,
        )

    async def list_threads(
        self, *, status: Status | None = None, limit: int = 100, after: str | None = None
    ) -> list[ThreadInfo]:
        """See `Checkpointer.list_threads`."""
        self._binding.check()
        rules.check_limit(limit)
        rows = (
            found.row
            for name, found in sorted(self._threads.items())
            if (after is None or name > after) and rules.is_listed(found.row, status)
        )
        return [rules.thread_info(row) for row, _ in zip(rows, range(limit), strict=False)]

    async def delete_thread(self, thread: str) -> None:
        """See `Checkpointer.delete_thread`."""
        self._binding.check()
        found = self._threads.get(thread)
        if found is not None and found.row.status != "deleted":
            self._threads[thread] = StoredThread(rules.tombstone(found.row))

    async def copy_thread(self, source: str, target: str) -> None:
        """See `Checkpointer.copy_thread`."""
        self._binding.check()
        found, grave = self._threads.get(source), self._threads.get(target)
        if found is None or found.row.status == "deleted":
            raise UnknownThreadError(source)
        if grave is not None and grave.row.status != "deleted":
            if rules.is_copy(found.row, grave.row):
                return
            raise ThreadExistsError(target)
        self._threads[target] = StoredThread(
            row=rules.copied(found.row, target, grave.row if grave else None),
            writes=found.writes,
            parents=dict(found.parents),
            checkpoints=dict(found.checkpoints),
            values={
                ns: {channel: ChannelRows(list(rows.order), dict(rows.rows)) for channel, rows in channels.items()}
                for ns, channels in found.values.items()
            },
            records=dict(found.records),
        )

    async def prune(self, thread: str, *, keep_last: int = 1) -> int:
        """See `Checkpointer.prune`."""
        self._binding.check()
        rules.check_keep_last(keep_last)
        found = self._threads.get(thread)
        if found is None:
            raise UnknownThreadError(thread)
        kept = rules.kept(found.checkpoints.values(), found.parents, found.row, keep_last)
        if kept is None or len(kept.checkpoints) == len(found.checkpoints):
            return 0
        removed = len(found.checkpoints) - len(kept.checkpoints)
        keys = [
            rules.ValueKey(ns, channel, row.no, row.prev)
            for ns, channels in found.values.items()
            for channel, rows in channels.items()
            for row in rows.rows.values()
        ]
        for ns, channel, no in {key[:3] for key in keys} - rules.needed_values(keys, kept):
            rows = found.values[ns][channel]
            del rows.rows[no]
            rows.order.remove(no)
        found.checkpoints = {place: row for place, row in found.checkpoints.items() if place in kept.checkpoints}
        found.parents = {lo: parent for lo, parent in found.parents.items() if lo in kept.lines}
        found.records = {
            key: record for key, record in found.records.items() if kept.needs_record(record.ns, record.born)
        }
        found.row = rules.thread_after_prune(found.row, kept.floor)
        return removed

    async def aclose(self) -> None:
        """Refuse further use. Calling it again does nothing."""
        self._binding.check_place()
        self._binding.closed = True

    async def __aenter__(self) -> Self:
        self._binding.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _read_back(self, unit: CommitUnit, found: StoredThread | None) -> bytes | None:
        if found is None or not rules.needs_read_back(unit, found.row):
            return None
        last = unit.checkpoints[-1].row
        row = found.checkpoints.get((last.ns, last.no))
        return row.commit_id if row else None

    def _already_saved(self, batch: WritesBatch, found: StoredThread) -> SaveResult:
        stood = tuple(found.records.get((record.ns, record.born, record.ord)) for record in batch.records)
        return rules.answer_to_late_save(batch, found.row, stood)

    def _record(self, found: StoredThread, records: Iterable[TaskRecord]) -> tuple[bool, tuple[TaskRecord, ...]]:
        """Keep each record unless another one stands. Whether any was kept, and those that stand."""
        bumped, stood = False, []
        born = found.head_born()
        for record in records:
            key = record.ns, record.born, record.ord
            before = found.records.get(key)
            stands = rules.standing(before, record)
            stood.append(stands)
            if stands == before:
                continue
            found.records[key] = stands
            bumped = True
            if rules.is_of_head(record, born, found.row.head):
                without = subtract(found.writes, before.digest) if before else found.writes
                found.writes = add(without, stands.digest)
        return bumped, tuple(stood)

    def _bases(self, found: StoredThread, ns: str, page: list[CheckpointRow]) -> dict[int, tuple[ValueRow, ...]]:
        oldest = page[-1].no
        bases: dict[int, tuple[ValueRow, ...]] = {}
        for row in page:
            if row.parent >= oldest or row.parent in bases or row.parent == 0:
                continue
            if (ns, row.parent) in found.checkpoints:
                bases[row.parent] = found.values_at(ns, row.parent)
            elif row.parent < found.row.floor:
                bases[row.parent] = tuple(value for value in found.values_at(ns, row.no) if value.no != row.no)
        return bases
