"""The single writes, as functions of a connection inside a transaction, which the caller commits or rolls back.

Writes that `moves` cannot prepare are made here: each locks its thread first, and then reads it.
"""

from collections.abc import Iterable
from typing import NamedTuple

import asyncpg

from durable_graph.checkpointing import pruning, rules
from durable_graph.checkpointing.columns import (
    STATUS,
    VERSION,
    LockedThread,
    Sums,
    check_line,
    checkpoint_columns,
    checkpoint_from,
    key_of,
    record_columns,
    record_from,
    request_columns,
    thread_columns,
    thread_from,
    value_columns,
)
from durable_graph.checkpointing.digests import EMPTY_STATE, add, branch_digest, writes_digest
from durable_graph.checkpointing.transfer import COLUMNS, ExportedThread, rows_of
from durable_graph.errors import CorruptCheckpointError, ThreadExistsError, UnknownThreadError
from durable_graph.records import (
    CommitResult,
    Committed,
    CommitUnit,
    Conflict,
    NestedRecord,
    Saved,
    SaveResult,
    TaskRecord,
    ThreadInfo,
    ThreadRow,
    WritesBatch,
)
from durable_graph_postgres.reading import check_no_orphan, key_in
from durable_graph_postgres.session import Session


class Wrote(NamedTuple):
    """The result of a write, and the thread's row after it; None if there is no row."""

    result: CommitResult | SaveResult | bool | int | None
    known: LockedThread | None


async def is_at(db: Session, thread: str, known: LockedThread | None) -> bool:
    """Whether an earlier attempt with an unknown outcome was committed: the thread's row is `known`, its result.

    A committed deletion may have been followed by a new thread of the same id. Then the incarnations differ.
    """
    found = await _lock(db, thread)
    if found is None or known is None or known.row.status != "deleted":
        return found == known
    return found == known or found.row.incarnation != known.row.incarnation


async def commit(db: Session, unit: CommitUnit) -> Wrote:
    """Apply the unit, or return the reason for refusing it."""
    tid, locked = key_of(unit.thread), await _lock(db, unit.thread)
    before = locked.row if locked else None
    decision = rules.decide(unit, before, await _read_back(db, unit, before))
    if decision is not None:
        return Wrote(decision, locked)
    if locked is None:
        await check_no_orphan(db, unit.thread)
    row = rules.thread_after_commit(unit, before, await _forked_head(db, unit))
    branches = await _branches_after(db, unit, locked)
    await db.run_each("add_checkpoint", [checkpoint_columns(tid, new.row) for new in unit.checkpoints])
    rows = [value_columns(tid, new.row.ns, value) for new in unit.checkpoints for value in new.values]
    await db.run_each("add_channel_row", rows)
    replaced, _ = await _record(db, tid, unit.thread, unit.records)
    writes, born = await _writes_after(db, unit, locked, row, replaced)
    if unit.request is not None:
        await db.run("add_request", *request_columns(tid, unit.request))
    sums = Sums(writes, branches, locked.sums.requests if locked else EMPTY_STATE).with_request(unit.request)
    await _put_thread(db, unit.thread, before, row, sums)
    return Wrote(Committed(unit.version), LockedThread(row, sums, born))


async def save_writes(db: Session, batch: WritesBatch) -> Wrote:
    """Store each task record unless an earlier record wins."""
    tid, locked = key_of(batch.thread), await _lock(db, batch.thread)
    if locked is None:
        return Wrote(Conflict(0), None)
    if not rules.accepts(batch, locked.row):
        recorded = [await _find_record(db, tid, batch.thread, record) for record in batch.records]
        return Wrote(rules.answer_to_late_save(batch, locked.row, recorded), locked)
    replaced, stood = await _record(db, tid, batch.thread, batch.records)
    writes = rules.sum_with(locked.sums.writes, replaced, locked.born, locked.row.head)
    is_bumped = rules.is_bumped(batch, locked.row, replaced)
    row = rules.thread_after_save(batch, locked.row, stood, bumped=is_bumped)
    sums = locked.sums._replace(writes=writes).with_request(batch.request)
    if batch.request is not None:
        await db.run("add_request", *request_columns(tid, batch.request))
    if (row, sums) != (locked.row, locked.sums):
        await _put_thread(db, batch.thread, locked.row, row, sums)
    saved = Saved(row.wseq, is_bumped, stood, row.status == "cancelled")
    return Wrote(saved, LockedThread(row, sums, locked.born))


_OF_THREADS = ("branches", "checkpoints", "channel_rows", "tasks", "requests", "runs", "messages", "events")


async def delete_thread(db: Session, thread: str, seen: ThreadInfo | None, at: int, *, purge: bool) -> Wrote:
    """Replace the thread by a tombstone of the time `at`, or by nothing with `purge`. True if no thread is left."""
    before, grave = await _grave(db, thread, seen, at)
    if before is not None and grave is None:
        return Wrote(False, None)  # noqa: FBT003  # the answer to the question above
    tid = key_of(thread)
    if purge or before is None or grave is None:
        await _remove(db, tid, with_its_own=True)
        if before is None and rules.is_damage_to_be_deleted(seen):
            await _remove(db, await key_in(db, thread), with_its_own=True)
        return Wrote(True, None)  # noqa: FBT003  # the answer to the question above
    await _remove(db, tid, with_its_own=False)
    await _put_thread(db, thread, before, grave, Sums())
    return Wrote(True, LockedThread(grave, Sums(), 0))  # noqa: FBT003  # the answer to the question above


async def _remove(db: Session, tid: int, *, with_its_own: bool) -> None:
    """Remove the rows of a thread, and its own row only if `with_its_own`."""
    for table in _OF_THREADS:
        await db.run(f"delete_{table}", tid)
    if with_its_own:
        await db.run("delete_row", tid)


async def _grave(
    db: Session, thread: str, seen: ThreadInfo | None, at: int
) -> tuple[ThreadRow | None, ThreadRow | None]:
    """The thread's row (None if it has none), and its tombstone (None if the thread is not to be deleted)."""
    try:
        locked = await _lock(db, thread)
    except CorruptCheckpointError:
        columns = await db.row("lock_thread", key_of(thread))
        grave = rules.tombstone_of_damage(columns[VERSION] if columns else 0, at)
        return _UNKNOWN, grave if rules.is_damage_to_be_deleted(seen) else None
    if locked is None:
        return None, None
    if locked.row.status == "deleted":
        return locked.row, locked.row
    return locked.row, rules.tombstone(locked.row, at) if rules.is_to_be_deleted(locked.row, seen) else None


# Stands for a damaged row: every new row differs from it.
_UNKNOWN = rules.tombstone_of_damage(None, 0)


async def forget_deleted(db: Session, before: int, limit: int) -> Wrote:
    """Remove tombstones of deletions before a time. Returns their number."""
    found = await db.row("forget_deleted", before, limit)
    return Wrote(found[0] if found else 0, None)


async def copy_thread(db: Session, source: str, target: str) -> Wrote:
    """Create a second thread with the same rows. Raises `UnknownThreadError`, `ThreadExistsError`."""
    found = {}
    # All writers lock several threads in the order of their keys, which prevents deadlocks.
    for thread in sorted((source, target), key=key_of):
        found[thread] = await _lock(db, thread)
    locked, there = found[source], found[target]
    if locked is None or locked.row.status == "deleted":
        raise UnknownThreadError(source)
    if there is not None and there.row.status != "deleted":
        if rules.is_copy(locked.row, there.row):
            return Wrote(None, there)
        raise ThreadExistsError(target)
    for table in ("branches", "checkpoints", "channel_rows", "tasks"):
        await db.run(f"copy_{table}", key_of(source), key_of(target))
    grave = there.row if there else None
    row = rules.copied(locked.row, target, grave, rules.drawn_incarnation())
    # The copy has no requests: callers sent them to the source.
    sums = locked.sums._replace(requests=EMPTY_STATE)
    await _put_thread(db, target, grave, row, sums)
    return Wrote(None, LockedThread(row, sums, locked.born))


async def import_thread(db: Session, exported: ExportedThread) -> Wrote:
    """Store the thread. Raises `ThreadExistsError`."""
    tid = key_of(exported.thread)
    there = await db.row("lock_thread", tid)
    if there is not None and there[STATUS] != "deleted":
        raise ThreadExistsError(exported.thread)
    # A tombstone, or rows of a thread whose own row is missing, would conflict with the imported rows.
    await _remove(db, tid, with_its_own=True)
    for table in COLUMNS:
        try:
            await db.run_each(f"import_{table}", rows_of(exported, table, tid))
        except asyncpg.DataError as error:
            why = f"a column of {table} is out of range ({error})"
            raise CorruptCheckpointError(exported.thread, row="a row to import", why=why) from error
    return Wrote(None, None)


async def prune(db: Session, thread: str, keep_last: int, before: int | None) -> Wrote:
    """Remove the rows that neither the newest `keep_last` root checkpoints nor those since `before` need.

    Raises `UnknownThreadError`.
    """
    locked = await _lock(db, thread)
    if locked is None:
        raise UnknownThreadError(thread)
    tid = key_of(thread)
    branches = await db.rows("find_branches", tid)
    for branch in branches:
        check_line(locked.row, *branch)
    found = [checkpoint_from(thread, columns) for columns in await db.rows("find_checkpoints", tid)]
    kept = pruning.kept(found, {lo: parent for lo, parent, *_ in branches}, locked.row, keep_last, before)
    if kept is None or len(kept.checkpoints) == len(found):
        return Wrote(0, locked)
    keys = [pruning.ValueKey(*columns) for columns in await db.rows("find_channel_keys", tid)]
    values = {key[:3] for key in keys} - pruning.needed_values(keys, kept)
    recorded = [NestedRecord(*columns) for columns in await db.rows("find_record_places", tid)]
    unneeded = [record for record in recorded if not kept.needs_record(record.ns, record.born)]
    gone = {(row.ns, row.no) for row in found} - kept.checkpoints
    await db.run_each("drop_channel_row", [(tid, *key) for key in values])
    await db.run_each("drop_task", [(tid, record.ns, record.born, record.ord) for record in unneeded])
    await db.run_each("drop_checkpoint", [(tid, *place) for place in gone])
    await db.run_each("drop_branch", [(tid, lo) for lo, *_ in branches if lo not in kept.lines])
    writes = rules.sum_without(locked.sums.writes, unneeded, locked.born, locked.row.head)
    row, sums = pruning.thread_after_prune(locked.row, kept.floor), locked.sums._replace(writes=writes)
    await _put_thread(db, thread, locked.row, row, sums)
    return Wrote(len(gone), LockedThread(row, sums, locked.born))


async def _lock(db: Session, thread: str) -> LockedThread | None:
    columns = await db.row("lock_thread", key_of(thread))
    if columns is None:
        return None
    row, sums = thread_from(thread, columns)
    born = await db.row("find_born", key_of(thread), row.head)
    return LockedThread(row, sums, born[0] if born else 0)


async def _put_thread(db: Session, thread: str, before: ThreadRow | None, row: ThreadRow, sums: Sums) -> None:
    await db.run("add_thread" if before is None else "change_thread", *thread_columns(row, sums, thread).values())


async def _read_back(db: Session, unit: CommitUnit, thread: ThreadRow | None) -> bytes | None:
    if not rules.needs_read_back(unit, thread):
        return None
    last = unit.checkpoints[-1].row
    found = await db.row("find_commit_id", key_of(unit.thread), last.ns, last.no)
    return found[0] if found else None


async def _forked_head(db: Session, unit: CommitUnit) -> int | None:
    if not rules.needs_forked_head(unit):
        return None
    found = await db.row("find_newest_root", key_of(unit.thread), unit.fork_of)
    return found[0] if found else 0


async def _record(
    db: Session, tid: int, thread: str, records: Iterable[TaskRecord]
) -> tuple[list[rules.Replacement], tuple[TaskRecord, ...]]:
    """Store each record that wins. Returns the replacements, and for each record the winner."""
    replaced: list[rules.Replacement] = []
    stood = []
    for record in records:
        before = await _find_record(db, tid, thread, record)
        stands = rules.standing(before, record)
        stood.append(stands)
        if stands != before:
            await db.run("put_record", *record_columns(tid, stands))
            replaced.append((before, stands))
    return replaced, tuple(stood)


async def _find_record(db: Session, tid: int, thread: str, record: TaskRecord) -> TaskRecord | None:
    columns = await db.row("find_record", tid, record.ns, record.born, record.ord)
    return record_from(thread, columns) if columns else None


async def _branches_after(db: Session, unit: CommitUnit, locked: LockedThread | None) -> bytes:
    """Store a new branch if the unit starts one. Returns the sum over the branches of the new version's lineage."""
    branch = rules.new_line(unit, locked.row if locked else None)
    if branch is None:
        return locked.sums.lines if locked else EMPTY_STATE
    tid, (lo, parent), digest = key_of(unit.thread), branch, branch_digest(unit.origin, *branch)
    await db.run("add_branch", tid, lo, parent, digest)
    earlier = await db.rows("find_lineage", tid, parent)
    if locked:
        for below in earlier:
            check_line(locked.row, *below)
    return add(digest, *(below[2] for below in earlier))


async def _writes_after(
    db: Session,
    unit: CommitUnit,
    locked: LockedThread | None,
    row: ThreadRow,
    replaced: Iterable[rules.Replacement],
) -> tuple[bytes, int]:
    """The sum over the task records of the new head, and the smallest number of a task in its plan."""
    before = locked or LockedThread(row, Sums(), 0)
    heads = [new.row for new in unit.checkpoints if new.row.ns == ""]
    if not heads and row.head == before.row.head:
        return rules.sum_with(before.sums.writes, replaced, before.born, row.head), before.born
    if heads:
        born = heads[-1].born
    else:
        found = await db.row("find_born", key_of(unit.thread), row.head)
        born = found[0] if found else 0
    if rules.is_bare(unit, born, row.head):
        return EMPTY_STATE, born
    records = await db.rows("find_records_of_head", key_of(unit.thread), born, row.head)
    return writes_digest(NestedRecord(*columns) for columns in records), born
