"""Prepared writes: the next row of a thread, computed from its cached row without I/O.

A thread's row has a digest over all of its columns except the epoch, including its sums over other rows. So a writer
that has the row can compute the next row in advance, and one statement replaces the row if its digest and epoch are
still those of the cached row. Writes that depend on more than the row (a fork, a record that replaces another) are made
by `writing`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from durable_graph.checkpointing import rules
from durable_graph.checkpointing.columns import (
    Columns,
    LockedThread,
    Sums,
    checkpoint_columns,
    key_of,
    record_columns,
    thread_columns,
    value_columns,
)
from durable_graph.checkpointing.digests import EMPTY_STATE, branch_digest, thread_digest
from durable_graph.records import CommitResult, Committed, CommitUnit, Saved, SaveResult, TaskRecord, WritesBatch

Place = tuple[str, int, int]
"""The key of a task record: its namespace, `born` and `ord`."""

_WIDTHS = (27, 5, 11, 8, 10)


class Known(NamedTuple):
    """A thread's cached row. `places` are the keys of stored task records of its head, as far as they are known."""

    thread: LockedThread
    digest: bytes
    places: frozenset[Place]


class Move(NamedTuple):
    """A prepared write: the thread's row after it, and the rows that it adds.

    `before` and `epoch` are the digest and the epoch that the thread's row must have; None if the thread must not
    exist.
    """

    tid: int
    thread: Mapping[str, Any]
    before: bytes | None
    epoch: int | None
    known: LockedThread
    result: CommitResult | SaveResult
    lines: Sequence[Columns] = ()
    checkpoints: Sequence[Columns] = ()
    values: Sequence[Columns] = ()
    records: Sequence[Columns] = ()
    places: frozenset[Place] = frozenset()

    @property
    def digest(self) -> bytes:
        """The digest of the thread's row after the write."""
        digest: bytes = self.thread["digest"]
        return digest

    @property
    def is_plain(self) -> bool:
        """Whether the write only adds one checkpoint to an existing thread, as most supersteps do."""
        return self.before is not None and len(self.checkpoints) == 1 and not self.records and not self.lines


def digest_of(thread: LockedThread) -> bytes:
    """The digest of the thread's row."""
    return thread_digest(thread.row, *thread.sums)


def move_of(request: CommitUnit | WritesBatch, known: Known | None) -> Move | None:
    """The prepared write, valid if the thread is still as `known`; None if the store has to be read first."""
    if request.request is not None:
        # The thread may have accepted the request before, which only the store shows.
        return None
    places = frozenset((record.ns, record.born, record.ord) for record in request.records)
    if len(places) != len(request.records) or (known is not None and places & known.places):
        return None
    if isinstance(request, CommitUnit):
        return _committed(request, known, places)
    return _saved(request, known, places)


def _committed(unit: CommitUnit, known: Known | None, places: frozenset[Place]) -> Move | None:
    seen = known.thread if known else None
    before = seen.row if seen else None
    if unit.fork_of is not None or (before is None and unit.expected) or rules.decide(unit, before) is not None:
        return None
    row = rules.thread_after_commit(unit, before)
    heads = [new.row for new in unit.checkpoints if new.row.ns == ""]
    if heads:
        born = heads[-1].born
        if not rules.is_bare(unit, born, row.head):
            return None
        writes = EMPTY_STATE
    elif seen is not None:
        born = seen.born
        writes = rules.sum_with(seen.sums.writes, _all_new(unit.records), born, row.head)
    else:
        return None
    tid, branch = key_of(unit.thread), rules.new_line(unit, before)
    branches: list[Columns] = []
    branches_sum = seen.sums.lines if seen else EMPTY_STATE
    if branch is not None:
        branches_sum = branch_digest(unit.origin, *branch)
        branches.append((tid, *branch, branches_sum, b""))
    return _move(
        LockedThread(row, Sums(writes, branches_sum, seen.sums.requests if seen else EMPTY_STATE), born),
        known,
        Committed(unit.version),
        lines=branches,
        checkpoints=[checkpoint_columns(tid, new.row) for new in unit.checkpoints],
        values=[value_columns(tid, new.row.ns, value) for new in unit.checkpoints for value in new.values],
        records=unit.records,
        places=places,
    )


def _saved(batch: WritesBatch, known: Known | None, places: frozenset[Place]) -> Move | None:
    if known is None or not rules.accepts(batch, known.thread.row):
        return None
    seen = known.thread
    is_bumped = rules.is_bumped(batch, seen.row, batch.records)
    row = rules.thread_after_save(batch, seen.row, batch.records, bumped=is_bumped)
    writes = rules.sum_with(seen.sums.writes, _all_new(batch.records), seen.born, row.head)
    after = LockedThread(row, seen.sums._replace(writes=writes), seen.born)
    result = Saved(row.wseq, is_bumped, batch.records, row.status == "cancelled")
    return _move(after, known, result, records=batch.records, places=places)


def _all_new(records: Iterable[TaskRecord]) -> list[rules.Replacement]:
    return [(None, record) for record in records]


def _move(
    after: LockedThread,
    known: Known | None,
    result: CommitResult | SaveResult,
    *,
    records: Iterable[TaskRecord],
    places: frozenset[Place],
    lines: Sequence[Columns] = (),
    checkpoints: Sequence[Columns] = (),
    values: Sequence[Columns] = (),
) -> Move:
    tid = key_of(after.row.thread)
    return Move(
        tid,
        thread_columns(after.row, after.sums, after.row.thread),
        known.digest if known else None,
        known.thread.row.epoch if known else None,
        after,
        result,
        lines,
        checkpoints,
        values,
        [record_columns(tid, record) for record in records],
        places,
    )


def parameters(moves: Sequence[Move]) -> list[list[Any]]:
    """The parameters of the statement for these prepared writes: a list for each column."""
    ordered = sorted(moves, key=lambda move: move.tid)
    tables: tuple[list[Columns], ...] = (
        [(*move.thread.values(), move.before, move.epoch) for move in ordered],
        [row for move in ordered for row in move.lines],
        [row for move in ordered for row in move.checkpoints],
        [row for move in ordered for row in move.values],
        [row for move in ordered for row in move.records],
    )
    return [column for rows, width in zip(tables, _WIDTHS, strict=True) for column in _columns(rows, width)]


_SWAPPED = (
    "version",
    "head",
    "graph",
    "graph_digest",
    "status",
    "status_since",
    "updated_at",
    "commit_id",
    "next",
    "metadata",
    "error",
    "writes_digest",
    "digest",
)


def plain_parameters(move: Move) -> list[Any]:
    """The parameters of the statement for one plain write: the last are a list for each column of the values."""
    ((tid, *checkpoint),) = move.checkpoints
    values = [(channel, prev, kind, digest, value) for _, _, channel, _, prev, kind, digest, value in move.values]
    swapped = (move.thread[name] for name in _SWAPPED)
    return [tid, move.before, move.epoch, *swapped, *checkpoint, *_columns(values, 5)]


def _columns(rows: Sequence[Columns], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
