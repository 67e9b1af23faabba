"""The data of `MemorySaver`: the rows of a thread, in the order of their numbers."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from durable_graph.checkpointing import rules, run_rules
from durable_graph.checkpointing.columns import missing_head, missing_newest, signed
from durable_graph.checkpointing.digests import EMPTY_STATE, add
from durable_graph.checkpointing.directory_rules import NO_METADATA, StoredMetadata
from durable_graph.checkpointing.event_log import STORED
from durable_graph.records import (
    CheckpointRow,
    CommitUnit,
    NestedRecord,
    RequestRow,
    StoredCheckpoint,
    StoredThread,
    Sums,
    TaskRecord,
    ThreadRow,
    ValueRow,
)
from durable_graph.run_records import UPDATES, Discarded, EventRow, Message, NewMessage, RunRow, RunState, RunUpdate

K = TypeVar("K", int, tuple[int, ...])
R = TypeVar("R")


@dataclass(slots=True)
class Rows(Generic[K, R]):
    """Rows by key. `order` has the keys, ascending."""

    order: list[K] = field(default_factory=list)
    by_key: dict[K, R] = field(default_factory=dict)

    def put(self, key: K, row: R) -> None:
        if key not in self.by_key:
            insort(self.order, key)
        self.by_key[key] = row

    def remove_all(self, keys: Collection[K]) -> None:
        """Remove several rows in one pass: removing one key from `order` costs a pass over all rows."""
        for key in keys:
            del self.by_key[key]
        self.order = [key for key in self.order if key in self.by_key]

    def between(self, first: K, end: K) -> Iterator[R]:
        """The rows from the key `first` to before the key `end`."""
        for key in self.order[bisect_left(self.order, first) : bisect_left(self.order, end)]:
            yield self.by_key[key]

    def newest(self, end: K | None, limit: int) -> list[R]:
        """Up to `limit` rows before the key `end`, newest first."""
        after = len(self.order) if end is None else bisect_left(self.order, end)
        return [self.by_key[key] for key in reversed(self.order[max(after - limit, 0) : after])]

    def copy(self) -> "Rows[K, R]":
        return Rows(list(self.order), dict(self.by_key))


Numbered = Rows[int, R]
"""Rows by the number of their checkpoint."""

Records = Rows[tuple[int, ...], TaskRecord]
"""A namespace's task records by (born, ord)."""


def last_within(rows: Rows[int, R], intervals: Iterable[rules.Interval]) -> int:
    """The newest number in a lineage, 0 if there is none."""
    for lo, hi in intervals:
        at = bisect_right(rows.order, hi)
        if at and rows.order[at - 1] >= lo:
            return rows.order[at - 1]
    return 0


def chain(rows: Numbered[ValueRow], no: int) -> Iterator[ValueRow]:
    """The row `no` and its predecessors in the chain."""
    while no in rows.by_key:
        row = rows.by_key[no]
        yield row
        # The numbers must decrease: otherwise a damaged chain could be walked for ever.
        no = min(row.prev, no - 1)


class StoredRun(msgspec.Struct, frozen=True, gc=False):
    """A run with its input, options and context. Its `token` distinguishes a repeated acceptance from another one.

    `claimed_writes` belongs to the row's `claimed_version`: the thread's writes at that time. `limit_key` is that of
    `NewRun`.
    """

    row: RunRow
    input: bytes
    options: bytes
    context: bytes
    token: bytes
    claimed_writes: int = 0
    limit_key: int = 0


@dataclass(slots=True)
class Inbox:
    """The messages of a thread, by their numbers, until a run takes them. `keys` has the number of each message, by its
    topic and key, also of those that were taken, and `taken` the time at which it was taken, by number."""

    waiting: dict[int, Message] = field(default_factory=dict)
    keys: dict[tuple[str, str], int] = field(default_factory=dict)
    taken: dict[int, int] = field(default_factory=dict)

    @property
    def has_updates(self) -> bool:
        """Whether an update is left to apply."""
        return any(message.topic == UPDATES for message in self.waiting.values())

    def put(self, seq: int, message: NewMessage) -> None:
        self.keys[message.topic, message.key] = seq
        self.waiting[seq] = Message(seq, message.topic, message.value, message.key)

    def take(self, seq: int, at: int) -> None:
        if self.waiting.pop(seq, None) is not None:
            self.taken[seq] = at

    def forget(self, before: int) -> None:
        """Delete the keys of the messages that were taken before this time."""
        gone = {seq for seq, at in self.taken.items() if at <= before}
        self.taken = {seq: at for seq, at in self.taken.items() if seq not in gone}
        self.keys = {key: seq for key, seq in self.keys.items() if seq not in gone}


@dataclass(slots=True)
class RunRows:
    """The runs of a thread, by their numbers. `last` is the last number that was assigned, also to a run that was
    deleted; `unfinished` has the numbers of the runs that have not ended, ascending. `followed` has
    the followed runs by number, each with ASKED or STORED. `events` are the stored events by version and
    position.
    """

    last: int = 0
    by_seq: dict[int, StoredRun] = field(default_factory=dict)
    unfinished: list[int] = field(default_factory=list)
    followed: dict[int, int] = field(default_factory=dict)
    events: Rows[tuple[int, ...], EventRow] = field(default_factory=Rows)
    inbox: Inbox = field(default_factory=Inbox)

    def put(self, run: StoredRun) -> None:
        row = run.row
        self.by_seq[row.seq] = run
        if row.seq in self.unfinished:
            self.unfinished.remove(row.seq)
        if not row.state.is_ended:
            insort(self.unfinished, row.seq)

    def change(self, row: RunRow) -> None:
        """Replace the row of a run. If the run has ended, the next one may begin."""
        self.put(msgspec.structs.replace(self.by_seq[row.seq], row=row))
        if row.state.is_ended:
            self.unblock()

    def unblock(self) -> None:
        """Make the first run that has not ended READY, if it was blocked."""
        first = self.first()
        if first is not None and first.state == RunState.BLOCKED:
            self.change(msgspec.structs.replace(first, state=RunState.READY))

    def update(self, update: RunUpdate, at: int) -> None:
        """Change a run together with its thread."""
        run = self.by_seq.get(update.seq)
        if run is not None:
            after = run_rules.row_after(run.row, update, at)
            if update.input is not None and after.state is RunState.READY:
                self.put(msgspec.structs.replace(run, input=update.input))
            elif after.first_checkpoint:
                self.put(msgspec.structs.replace(run, input=b""))
            self.change(after)

    def apply(self, unit: CommitUnit) -> None:
        """Take the updates that the unit applies, and change its run."""
        if unit.taken:
            self.take(unit.taken, unit.at, updates=True)
        if unit.run is not None:
            self.update(unit.run, unit.at)

    def with_status_of_run(self, unit: CommitUnit) -> CommitUnit:
        """As `transactions.commit`: the thread is not done before its run, for which an update may be left."""
        run = None if unit.run is None else self.by_seq.get(unit.run.seq)
        if unit.run is None or run is None or not run_rules.has_update_left(run.row, unit.run):
            return unit
        left = [each for seq, each in self.inbox.waiting.items() if each.topic == UPDATES and seq not in unit.taken]
        return msgspec.structs.replace(unit, status="running") if left else unit

    def log(self, events: Iterable[EventRow]) -> None:
        """Store events. An event that exists was stored by an earlier call with the same events."""
        for event in events:
            self.followed[event.seq] = STORED
            if (place := (event.version, event.position)) not in self.events.by_key:
                self.events.put(place, event)

    def drop_events(self, seq: int) -> int:
        """Remove the events of a run. Returns their number."""
        gone = [place for place, event in self.events.by_key.items() if event.seq == seq]
        self.events.remove_all(gone)
        return len(gone)

    def wake(self, at: int) -> None:
        """Wake the run that waits: something was sent to the thread."""
        for seq in self.unfinished:
            self.change(run_rules.woken(self.by_seq[seq].row, at))

    def ask_to_apply_updates(self) -> None:
        """Request that the unfinished runs look for updates in the inbox."""
        for seq in self.unfinished:
            self.change(run_rules.asked_to_apply_updates(self.by_seq[seq].row))

    def take(self, messages: Iterable[int], at: int, *, updates: bool = False) -> None:
        """Take messages. After the last of the `updates`, the request to look for updates is removed."""
        for message in messages:
            self.inbox.take(message, at)
        if updates and not self.inbox.has_updates:
            for seq in self.unfinished:
                self.change(run_rules.after_updates(self.by_seq[seq].row))

    def discard(self, topic: str, key: str, at: int) -> Discarded:
        """Take a message that no run is to take. As `run_transactions.discard` does it."""
        seq, first = self.inbox.keys.get((topic, key)), self.first()
        if seq is None or seq not in self.inbox.waiting:
            return Discarded.NO_MESSAGE
        if first is not None and first.state is RunState.RUNNING:
            return Discarded.RUNNING
        self.take((seq,), at, updates=True)
        return Discarded.DISCARDED

    def first(self) -> RunRow | None:
        """The first run that has not ended."""
        return self.by_seq[self.unfinished[0]].row if self.unfinished else None


@dataclass(slots=True)
class ThreadRows:
    """A thread with all of its rows, by namespace. `parents` has the parent of each branch, by its first number.

    `writes` is the sum over the task records of the head.
    """

    row: ThreadRow
    writes: bytes = EMPTY_STATE
    parents: dict[int, int] = field(default_factory=dict)
    checkpoints: dict[str, Numbered[CheckpointRow]] = field(default_factory=dict)
    values: dict[str, dict[str, Numbered[ValueRow]]] = field(default_factory=dict)
    records: dict[str, Records] = field(default_factory=dict)
    requests: dict[str, RequestRow] = field(default_factory=dict)
    runs: RunRows = field(default_factory=RunRows)
    metadata: StoredMetadata = NO_METADATA

    @property
    def signed(self) -> StoredThread:
        """The row of a thread without a checkpoint, with its digest."""
        return signed(self.row, Sums(requests=self.requests_digest), 0)

    def delete_run(self, seq: int) -> None:
        """Remove a run, with its request and its events."""
        del self.runs.by_seq[seq]
        self.runs.drop_events(seq)
        self.runs.followed.pop(seq, None)
        for key in [key for key, request in self.requests.items() if request.seq == seq]:
            del self.requests[key]

    @property
    def requests_digest(self) -> bytes:
        return add(EMPTY_STATE, *(request.digest for request in self.requests.values()))

    def copied(self, row: ThreadRow) -> "ThreadRows":
        """A copy of these rows, with another thread's row, and without requests and runs."""
        return ThreadRows(
            row=row,
            writes=self.writes,
            parents=dict(self.parents),
            checkpoints={ns: rows.copy() for ns, rows in self.checkpoints.items()},
            values={
                ns: {channel: rows.copy() for channel, rows in channels.items()} for ns, channels in self.values.items()
            },
            records={ns: rows.copy() for ns, rows in self.records.items()},
            metadata=self.metadata,
        )

    def load(self, thread: str, ns: str, no: int | None) -> StoredCheckpoint:
        """See `Checkpointer.load`."""
        row, first = self.row, self.runs.first()
        run = 0 if first is None else first.seq
        newest = row.head if ns == "" else self.newest(ns, row.version)
        wanted = newest if no is None else no
        checkpoint = self.checkpoint(ns, wanted)
        is_head = ns == "" and wanted == row.head
        if checkpoint is None:
            if is_head and wanted:
                raise missing_head(row)
            if ns and no is None and self.values_at(ns, row.version):
                raise missing_newest(thread, ns)
            return StoredCheckpoint(row, None, unfinished_run=run)
        # For the newest checkpoint, read values up to the thread's version: a newer checkpoint whose row is missing is
        # detected by its values.
        values = self.values_at(ns, wanted if no is not None else row.version)
        records = self.records_of(ns, checkpoint.born, checkpoint.no)
        if not is_head:
            return StoredCheckpoint(row, checkpoint, values, records, unfinished_run=run)
        since = (record for record in self.records_of_head(checkpoint.born) if record.ns)
        nested = tuple(NestedRecord(record.ns, record.born, record.ord, record.digest) for record in since)
        return StoredCheckpoint(row, checkpoint, values, records, self.writes, nested, unfinished_run=run)

    def checkpoint(self, ns: str, no: int) -> CheckpointRow | None:
        rows = self.checkpoints.get(ns)
        return rows.by_key.get(no) if rows else None

    def newest(self, ns: str, no: int) -> int:
        """The newest checkpoint of a namespace in the lineage of `no`, 0 if there is none."""
        rows = self.checkpoints.get(ns)
        return last_within(rows, rules.lineage(self.parents, no)) if rows else 0

    def values_at(self, ns: str, no: int) -> tuple[ValueRow, ...]:
        """The last row of every channel in the lineage of `no`, and the rows of its chain."""
        intervals = rules.lineage(self.parents, no)
        channels = self.values.get(ns, {}).values()
        return tuple(row for rows in channels for row in chain(rows, last_within(rows, intervals)))

    def records_of(self, ns: str, born: int, no: int) -> tuple[TaskRecord, ...]:
        """The records of the tasks that the checkpoints from `born` to `no` first planned."""
        rows = self.records.get(ns)
        return tuple(rows.between((born,), (no + 1,))) if rows else ()

    def record(self, ns: str, born: int, number: int) -> TaskRecord | None:
        rows = self.records.get(ns)
        return rows.by_key.get((born, number)) if rows else None

    def records_of_head(self, born: int) -> Iterator[TaskRecord]:
        """The records that the head's sum covers. `born` is the smallest number of a task of the head's plan."""
        for rows in self.records.values():
            later = rows.order[bisect_left(rows.order, (born,)) :]
            yield from (rows.by_key[key] for key in later if rules.is_of_head(rows.by_key[key], born, self.row.head))

    def head_born(self) -> int:
        """The smallest number under which a task of the head's plan is recorded."""
        head = self.checkpoint("", self.row.head)
        return head.born if head else 0
