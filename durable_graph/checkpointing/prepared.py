"""The usual writes of databases, computed without reading: see `transactions`."""

from collections.abc import Iterable, Sequence

import msgspec

from durable_graph.checkpointing import rules
from durable_graph.checkpointing.columns import (
    Columns,
    checkpoint_columns,
    key_of,
    record_columns,
    signed,
    value_columns,
)
from durable_graph.checkpointing.digests import EMPTY_STATE, branch_digest
from durable_graph.checkpointing.queries import Query
from durable_graph.checkpointing.run_changes import changes_of_request
from durable_graph.records import Committed, CommitUnit, Saved, StoredThread, Sums, TaskRecord, WritesBatch


class PreparedWrite(msgspec.Struct, frozen=True, gc=False):
    """A write that was computed without reading: the thread's row after it, and the rows that it adds.

    `before` is the row that the thread must have; None if the thread must not exist. `branch` is the branch that the
    write begins: its first number, its parent and its digest. `runs` are the statements that change the thread's run.
    """

    key: int
    before: StoredThread | None
    after: StoredThread
    result: Committed | Saved
    unit: CommitUnit | None = None
    records: tuple[TaskRecord, ...] = ()
    branch: tuple[int, int, bytes] | None = None
    runs: Sequence[Query] = ()

    def checkpoints(self) -> list[Columns]:
        """The rows of the new checkpoints."""
        made = self.unit.checkpoints if self.unit is not None else ()
        return [checkpoint_columns(self.key, new.row) for new in made]

    def values(self) -> list[Columns]:
        """The rows of the changed channels."""
        made = self.unit.checkpoints if self.unit is not None else ()
        return [value_columns(self.key, new.row.ns, value) for new in made for value in new.values]

    def tasks(self) -> list[Columns]:
        """The rows of the task records."""
        return [record_columns(self.key, record) for record in self.records]


def prepare(request: CommitUnit | WritesBatch) -> PreparedWrite | None:
    """The write, valid while the thread is as the request's `base`. None if the store has to be read first."""
    base = request.base
    if base is not None and (not base.digest or base.row.thread != request.thread):
        # The row is of a saver that keeps no digest, of another thread, or the tombstone of a deleted one.
        return None
    if request.events:
        # Rare: only a followed run has them.
        return None
    if request.request is not None:
        # The thread may have accepted the request before, which only the store shows.
        return None
    for record in request.records:
        # A later record of a task replaces a stored record, whose share is part of the sum. If a first record turns out
        # to be stored already, it cannot be inserted, and the transaction below decides.
        if record.revision > 1:
            return None
    if isinstance(request, CommitUnit):
        return _prepared_commit(request)
    return _prepared_save(request)


def _prepared_commit(unit: CommitUnit) -> PreparedWrite | None:
    base = unit.base
    if base is None:
        return _prepared_start(unit)
    if unit.fork_of is not None or rules.decide(unit, base.row) is not None:
        return None
    row = rules.thread_after_commit(unit, base.row)
    new = unit.checkpoints[-1].row
    if new.ns:
        heads = [each.row for each in unit.checkpoints if not each.row.ns]
        new = heads[-1] if heads else new
    if not new.ns:
        if not rules.is_bare(unit, new.born, row.head):
            return None
        writes, born = EMPTY_STATE, new.born
    else:
        writes, born = rules.sum_with(base.sums.writes, _all_new(unit.records), base.born, row.head), base.born
    branch = _first_branch(unit) if rules.begins_thread(base.row) else None
    branches = base.sums.branches if branch is None else branch[2]
    after = signed(row, Sums(writes, branches, base.sums.requests), born)
    runs = () if unit.run is None and not unit.taken else changes_of_request(unit)
    result = Committed(unit.version, after)
    return PreparedWrite(key_of(unit.thread), base, after, result, unit, unit.records, branch, runs)


def _prepared_start(unit: CommitUnit) -> PreparedWrite | None:
    """The first commit of a thread. If the thread exists, its row cannot be inserted."""
    new = unit.checkpoints[-1].row
    if unit.expected or unit.fork_of is not None or new.ns or not rules.is_bare(unit, new.born, new.no):
        return None
    branch = _first_branch(unit)
    after = signed(rules.thread_after_commit(unit, None), Sums(branches=branch[2]), new.born)
    result = Committed(unit.version, after)
    return PreparedWrite(key_of(unit.thread), None, after, result, unit, unit.records, branch)


def _first_branch(unit: CommitUnit) -> tuple[int, int, bytes]:
    first = unit.checkpoints[0].row.no
    return first, 0, branch_digest(unit.origin, first, 0)


def _prepared_save(batch: WritesBatch) -> PreparedWrite | None:
    base = batch.base
    if base is None or not rules.accepts(batch, base.row):
        return None
    is_bumped = rules.is_bumped(batch, base.row, batch.records)
    row = rules.thread_after_save(batch, base.row, batch.records, bumped=is_bumped)
    writes = rules.sum_with(base.sums.writes, _all_new(batch.records), base.born, row.head)
    after = signed(row, Sums(writes, base.sums.branches, base.sums.requests), base.born)
    result = Saved(row.wseq, is_bumped, batch.records, row.status == "cancelled", after)
    is_of_run = batch.run is not None or batch.wakes_run or batch.taken
    runs = changes_of_request(batch) if is_of_run else ()
    return PreparedWrite(key_of(batch.thread), base, after, result, records=batch.records, runs=runs)


def _all_new(records: Iterable[TaskRecord]) -> list[rules.Replacement]:
    return [(None, record) for record in records]
