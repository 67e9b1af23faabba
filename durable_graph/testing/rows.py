"""The rows that a run would send, for testing a saver without a graph.

A `Writer` has the state of a run: its thread's row, as it expects it and as the saver returned it, and the stored
chains. A value is stored whole; data that is *added* to a channel is stored like updates of the engine, where every
32nd row of a level replaces the rows before it.
"""

from collections.abc import Iterable, Mapping

import msgspec

from durable_graph.checkpointing.chains import (
    Stored,
    absent_row,
    chain_to,
    chains_of,
    channel_rows,
    delta_row,
    extended,
    updates_of,
    whole_row,
)
from durable_graph.checkpointing.digests import EMPTY_STATE, checkpoint_digest, origin_of, record_digest, state_digest
from durable_graph.checkpointing.prepared import prepare
from durable_graph.checkpointing.rules import needs_forked_head, thread_after_commit
from durable_graph.records import (
    CheckpointRow,
    CommitUnit,
    HistoryPage,
    NewCheckpoint,
    Rank,
    Status,
    StoredCheckpoint,
    StoredThread,
    TaskRecord,
    ThreadRow,
    ValueKind,
    ValueRow,
    WritesBatch,
)

_UNLIMITED = 1 << 62


class Namespace(msgspec.Struct, frozen=True):
    """The stored rows of a namespace at one of its checkpoints."""

    no: int = 0
    rows: tuple[ValueRow, ...] = ()

    @property
    def state(self) -> dict[str, bytes]:
        """The values of all channels."""
        return _state_of(chains_of(self.rows))


class Step(msgspec.Struct, frozen=True):
    """A checkpoint to make: `values` sets channels (None removes a value), `added` adds to channels.

    `gap` skips numbers before it. `born` is the oldest number of its plan's tasks, by default its own number.
    """

    values: Mapping[str, bytes | None] = {}
    added: Mapping[str, bytes] = {}
    ns: str = ""
    gap: int = 0
    born: int | None = None
    header: bytes = b"header"


class Writer:
    """A run of a thread. `run` distinguishes its commits from those of other runs."""

    def __init__(self, thread: ThreadRow, run: bytes = b"the-first-run---") -> None:
        self.thread: ThreadRow = thread
        self.base: StoredThread | None = None
        self.run = run
        self.namespaces: dict[str, Namespace] = {}
        self._seen: dict[int, dict[str, Namespace]] = {0: {}}

    @classmethod
    def of(cls, thread: str, run: bytes = b"the-first-run---") -> "Writer":
        """A run of a new thread."""
        return cls(ThreadRow(thread, 1, origin_of(thread, 1), 0, 0, 0, 0, 0, 0, "done", 0, b""), run)

    @classmethod
    def at(cls, stored: StoredCheckpoint, run: bytes = b"the-next-run----") -> "Writer":
        """A run that has read a thread: its newest checkpoint, or the row of a thread that has none yet."""
        writer = cls(stored.thread, run)
        writer.base = stored.base
        if stored.checkpoint is not None:
            writer.namespaces[""] = Namespace(stored.checkpoint.no, stored.values)
            writer._seen[stored.checkpoint.no] = dict(writer.namespaces)
        return writer

    def rival(self, run: bytes = b"the-second-run--") -> "Writer":
        """Another run that has read the same state."""
        other = Writer(self.thread, run)
        other.base = self.base
        other.namespaces, other._seen = dict(self.namespaces), dict(self._seen)
        return other

    def reborn(self, tombstone: ThreadRow) -> "Writer":
        """A run that creates the thread again after its deletion."""
        name, incarnation = self.thread.thread, self.thread.incarnation + 1
        row = ThreadRow(name, incarnation, origin_of(name, incarnation), 0, 0, 0, 0, 0, 0, "done", 0, b"")
        return Writer(msgspec.structs.replace(row, version=tombstone.version, epoch=tombstone.epoch), self.run)

    def unit(
        self,
        *steps: Step,
        records: Iterable[TaskRecord] = (),
        status: Status = "running",
        fork_of: int | None = None,
        at: int = 1,
    ) -> CommitUnit:
        """The commit of these steps after the run's newest checkpoint. It does not change the writer: see `applied`."""
        spaces = dict(self.namespaces if fork_of is None else self._seen[fork_of])
        made, no = [], self.thread.version
        for step in steps or (Step(),):
            no += 1 + step.gap
            before = spaces.get(step.ns, Namespace())
            new, spaces[step.ns] = self._checkpoint(step, no, before, at)
            made.append(new)
        return CommitUnit(
            thread=self.thread.thread,
            incarnation=self.thread.incarnation,
            origin=self.thread.origin,
            expected=self.thread.version,
            epoch=self.thread.epoch,
            wseq=self.thread.wseq,
            gen=self.thread.gen,
            commit_id=self.run,
            at=at,
            status=status,
            checkpoints=tuple(made),
            records=tuple(records),
            fork_of=fork_of,
            base=self.base,
        )

    def applied(self, unit: CommitUnit, base: StoredThread | None = None) -> None:
        """Move the writer to the unit's last checkpoint. `base` is the thread as the saver returned it."""
        spaces = dict(self.namespaces if unit.fork_of is None else self._seen[unit.fork_of])
        for new in unit.checkpoints:
            rows = spaces.get(new.row.ns, Namespace()).rows
            spaces[new.row.ns] = Namespace(new.row.no, (*rows, *new.values))
            self._seen[new.row.no] = dict(spaces)
        self.namespaces = spaces
        prepared = prepare(unit)
        self.base = prepared.after if base is None and prepared is not None else base
        forked_head = self._seen[unit.fork_of].get("", Namespace()).no if unit.fork_of is not None else None
        self.thread = thread_after_commit(
            unit, self.thread if self.thread.version else None, forked_head if needs_forked_head(unit) else None
        )

    def record(
        self,
        *,
        born: int | None = None,
        number: int = 0,
        rank: Rank = Rank.DONE,
        revision: int = 1,
        value: bytes = b"result",
        ns: str = "",
    ) -> TaskRecord:
        """The record of a task, by default of a task that the newest checkpoint planned."""
        born = self.thread.version if born is None else born
        record = TaskRecord(ns, born, number, rank, revision, self.run, value, b"")
        return msgspec.structs.replace(record, digest=record_digest(self.thread.origin, record))

    def batch(
        self, *records: TaskRecord, status: Status | None = None, at: int = 2, if_unmoved: bool = False
    ) -> WritesBatch:
        """A batch of these records at the newest checkpoint; with `if_unmoved` it fails if another writer recorded."""
        thread = self.thread
        wseq = thread.wseq if if_unmoved else None
        return WritesBatch(thread.thread, thread.version, thread.epoch, at, records, status, wseq, base=self.base)

    def known(self) -> Iterable[int]:
        """The numbers of the checkpoints that the run may fork, with 0 for the beginning."""
        return self._seen.keys()

    def state(self, no: int | None = None, ns: str = "") -> dict[str, bytes]:
        """The values of a namespace, now or at the time when checkpoint `no` was the newest."""
        spaces = self.namespaces if no is None else self._seen[no]
        return spaces.get(ns, Namespace()).state

    def _checkpoint(self, step: Step, no: int, before: Namespace, at: int) -> tuple[NewCheckpoint, Namespace]:
        stored = Stored(self.thread.origin, step.ns, {}, EMPTY_STATE)
        rows: list[ValueRow] = []
        for channel, value in step.values.items():
            made = absent_row(stored, channel, no) if value is None else whole_row(stored, channel, no, value)
            rows.append(made[0])
        chains = {channel: channel_rows(chain) for channel, chain in chains_of((*before.rows, *rows)).items()}
        for channel, value in step.added.items():
            links = chains[channel].links if channel in chains else ()
            rows.append(delta_row(stored, channel, extended(links, no, (value,), _UNLIMITED), mark=0))
        after = Namespace(no, (*before.rows, *rows))
        header = CheckpointRow(
            ns=step.ns,
            no=no,
            parent=before.no,
            born=no if step.born is None else step.born,
            at=at,
            commit_id=self.run,
            header=step.header,
            state_digest=state_digest(chain[-1] for chain in chains_of(after.rows).values()),
            digest=b"",
        )
        header = msgspec.structs.replace(header, digest=checkpoint_digest(self.thread.origin, header))
        return NewCheckpoint(header, tuple(rows)), after


def state_of(stored: StoredCheckpoint) -> dict[str, bytes]:
    """The values of all channels, from the rows that a saver returned."""
    return _state_of(chains_of(stored.values))


def states_of(page: HistoryPage) -> dict[int, dict[str, bytes]]:
    """The values of all channels at each checkpoint of a page."""
    rows = {(row.channel, row.no): row for base in page.bases.values() for row in base}
    rows.update(((row.channel, row.no), row) for row in page.values)
    last: dict[int, dict[str, int]] = {0: {}}
    for no, base in page.bases.items():
        last[no] = {channel: chain[-1].no for channel, chain in chains_of(base).items()}
    states = {}
    for checkpoint in reversed(page.checkpoints):
        written = {row.channel: row.no for row in page.values if row.no == checkpoint.no}
        newest = last[checkpoint.no] = {**last[checkpoint.parent], **written}
        states[checkpoint.no] = _state_of({channel: chain_to(rows, channel, no) for channel, no in newest.items()})
    return states


def _state_of(chains: Mapping[str, tuple[ValueRow, ...]]) -> dict[str, bytes]:
    present = {channel: chain for channel, chain in chains.items() if chain[-1].kind != ValueKind.ABSENT}
    return {channel: b"".join(map(_bytes_of, chain)) for channel, chain in present.items()}


def _bytes_of(row: ValueRow) -> bytes:
    if row.kind != ValueKind.DELTA:
        return row.value
    return b"".join(data for updates in updates_of([row], _UNLIMITED) for data in updates)
