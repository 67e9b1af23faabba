"""What a write will make of a thread, worked out from what is known of it: no I/O.

A thread's row has a digest of all that is in it and of what it vouches for. Who knows the row can say beforehand what
it becomes, and one statement makes it so if the digest is still that of the row that was known. What depends on more
than the row - a fork, a record that takes another's place - is left to `writing`.
"""

from collections.abc import Iterable, Sequence
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
from durable_graph.checkpointing.digests import EMPTY_STATE, line_digest, thread_digest
from durable_graph.records import CommitResult, Committed, CommitUnit, Saved, SaveResult, TaskRecord, WritesBatch

Place = tuple[str, int, int]
"""Where a task record is: its namespace, `born` and `ord`."""

_WIDTHS = (17, 4, 10, 8, 9)


class Move(NamedTuple):
    """A write of which it is known what it makes of its thread, and the rows that it adds."""

    tid: int
    thread: Columns
    known: LockedThread
    result: CommitResult | SaveResult
    lines: Sequence[Columns] = ()
    checkpoints: Sequence[Columns] = ()
    values: Sequence[Columns] = ()
    records: Sequence[Columns] = ()
    places: frozenset[Place] = frozenset()


def move_of(request: CommitUnit | WritesBatch, known: LockedThread | None, recorded: frozenset[Place]) -> Move | None:
    """What the request makes of the thread, if it is as it is `known`; None if that takes a look at the store.

    `recorded` are task records that are there.
    """
    places = frozenset((record.ns, record.born, record.ord) for record in request.records)
    if len(places) != len(request.records) or places & recorded:
        return None
    if isinstance(request, CommitUnit):
        return _committed(request, known, places)
    return _saved(request, known, places)


def _committed(unit: CommitUnit, known: LockedThread | None, places: frozenset[Place]) -> Move | None:
    before = known.row if known else None
    if unit.fork_of is not None or (before is None and unit.expected) or rules.decide(unit, before) is not None:
        return None
    row = rules.thread_after_commit(unit, before)
    heads = [new.row for new in unit.checkpoints if new.row.ns == ""]
    if heads:
        born = heads[-1].born
        if not rules.is_bare(unit, born, row.head):
            return None
        writes = EMPTY_STATE
    elif known is not None:
        born = known.born
        writes = rules.sum_with(known.sums.writes, _all_new(unit.records), born, row.head)
    else:
        return None
    tid, line = key_of(unit.thread), rules.new_line(unit, before)
    lines: list[Columns] = []
    lines_sum = known.sums.lines if known else EMPTY_STATE
    if line is not None:
        lines_sum = line_digest(unit.origin, *line)
        lines.append((tid, *line, lines_sum))
    return _move(
        LockedThread(row, Sums(writes, lines_sum), born),
        known,
        Committed(unit.version),
        lines=lines,
        checkpoints=[checkpoint_columns(tid, new.row) for new in unit.checkpoints],
        values=[value_columns(tid, new.row.ns, value) for new in unit.checkpoints for value in new.values],
        records=unit.records,
        places=places,
    )


def _saved(batch: WritesBatch, known: LockedThread | None, places: frozenset[Place]) -> Move | None:
    if known is None or not rules.accepts(batch, known.row):
        return None
    row = rules.thread_after_save(batch, known.row, batch.records, bumped=bool(batch.records))
    writes = rules.sum_with(known.sums.writes, _all_new(batch.records), known.born, row.head)
    after = LockedThread(row, Sums(writes, known.sums.lines), known.born)
    result = Saved(row.wseq, bool(batch.records), batch.records)
    return _move(after, known, result, records=batch.records, places=places)


def _all_new(records: Iterable[TaskRecord]) -> list[rules.Replacement]:
    return [(None, record) for record in records]


def _move(
    after: LockedThread,
    known: LockedThread | None,
    result: CommitResult | SaveResult,
    *,
    records: Iterable[TaskRecord],
    places: frozenset[Place],
    lines: Sequence[Columns] = (),
    checkpoints: Sequence[Columns] = (),
    values: Sequence[Columns] = (),
) -> Move:
    tid = key_of(after.row.thread)
    before = thread_digest(known.row, *known.sums) if known else None
    return Move(
        tid,
        (*thread_columns(after.row, after.sums).values(), before),
        after,
        result,
        lines,
        checkpoints,
        values,
        [record_columns(tid, record) for record in records],
        places,
    )


def parameters(moves: Sequence[Move]) -> list[list[Any]]:
    """The parameters of the statement that makes these moves: a list for each column."""
    ordered = sorted(moves, key=lambda move: move.tid)
    tables: tuple[list[Columns], ...] = (
        [move.thread for move in ordered],
        [row for move in ordered for row in move.lines],
        [row for move in ordered for row in move.checkpoints],
        [row for move in ordered for row in move.values],
        [row for move in ordered for row in move.records],
    )
    return [column for rows, width in zip(tables, _WIDTHS, strict=True) for column in _columns(rows, width)]


def _columns(rows: Sequence[Columns], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
