"""The writes, as functions of a connection inside a write transaction, which the caller commits or rolls back."""

import sqlite3
from collections.abc import Iterable

from durable_graph.checkpointing import pruning, rules
from durable_graph.checkpointing.columns import (
    STATUS,
    THREAD_WIDTH,
    VALUE_KEY,
    VERSION,
    LockedThread,
    Sums,
    check_line,
    check_types,
    checkpoint_columns,
    checkpoint_from,
    key_of,
    nested_from,
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
    Saved,
    SaveResult,
    TaskRecord,
    ThreadInfo,
    ThreadRow,
    WritesBatch,
)
from durable_graph_sqlite import statements
from durable_graph_sqlite.reading import check_no_orphan, first_row, key_in
from durable_graph_sqlite.statements import SQL


def commit(db: sqlite3.Connection, unit: CommitUnit) -> CommitResult:
    """Apply the unit, or return the reason for refusing it."""
    tid, locked = key_of(unit.thread), _lock(db, unit.thread)
    before = locked.row if locked else None
    decision = rules.decide(unit, before, _read_back(db, unit, before))
    if decision is not None:
        return decision
    if locked is None:
        check_no_orphan(db, unit.thread)
    row = rules.thread_after_commit(unit, before, _forked_head(db, unit))
    branches = _branches_after(db, unit, locked)
    db.executemany(SQL["add_checkpoint"], [checkpoint_columns(tid, new.row) for new in unit.checkpoints])
    rows = [value_columns(tid, new.row.ns, value) for new in unit.checkpoints for value in new.values]
    db.executemany(SQL["add_channel_row"], rows)
    replaced, _ = _record(db, tid, unit.thread, unit.records)
    if unit.request is not None:
        db.execute(SQL["add_request"], request_columns(tid, unit.request))
    requests = locked.sums.requests if locked else EMPTY_STATE
    sums = Sums(_writes_after(db, unit, locked, row, replaced), branches, requests).with_request(unit.request)
    _put_thread(db, unit.thread, before, row, sums)
    return Committed(unit.version)


def save_writes(db: sqlite3.Connection, batch: WritesBatch) -> SaveResult:
    """Store each task record unless an earlier record wins."""
    tid, locked = key_of(batch.thread), _lock(db, batch.thread)
    if locked is None:
        return Conflict(0)
    if not rules.accepts(batch, locked.row):
        recorded = [_find_record(db, tid, batch.thread, record) for record in batch.records]
        return rules.answer_to_late_save(batch, locked.row, recorded)
    replaced, stood = _record(db, tid, batch.thread, batch.records)
    writes = rules.sum_with(locked.sums.writes, replaced, locked.born, locked.row.head)
    is_bumped = rules.is_bumped(batch, locked.row, replaced)
    row = rules.thread_after_save(batch, locked.row, stood, bumped=is_bumped)
    sums = locked.sums._replace(writes=writes).with_request(batch.request)
    if batch.request is not None:
        db.execute(SQL["add_request"], request_columns(tid, batch.request))
    if (row, sums) != (locked.row, locked.sums):
        _put_thread(db, batch.thread, locked.row, row, sums)
    return Saved(row.wseq, is_bumped, stood, row.status == "cancelled")


_OF_THREADS = ("branches", "checkpoints", "channel_rows", "tasks", "requests", "runs", "messages", "events")


def delete_thread(db: sqlite3.Connection, thread: str, seen: ThreadInfo | None, at: int, *, purge: bool) -> bool:
    """Replace the thread by a tombstone of the time `at`, or by nothing with `purge`. True if no thread is left."""
    before, grave = _grave(db, thread, seen, at)
    if before is not None and grave is None:
        return False
    _remove(db, key_of(thread), with_its_own=purge or before is None)
    if before is None and rules.is_damage_to_be_deleted(seen):
        _remove(db, key_in(db, thread), with_its_own=True)
    if not purge and before is not None and grave is not None:
        _put_thread(db, thread, before, grave, Sums())
    return True


def _remove(db: sqlite3.Connection, tid: int, *, with_its_own: bool) -> None:
    """Remove the rows of a thread, and its own row only if `with_its_own`."""
    for table in _OF_THREADS:
        db.execute(SQL[f"delete_{table}"], {"tid": tid})
    if with_its_own:
        db.execute(SQL["delete_row"], {"tid": tid})


def _grave(
    db: sqlite3.Connection, thread: str, seen: ThreadInfo | None, at: int
) -> tuple[ThreadRow | None, ThreadRow | None]:
    """The thread's row (None if it has none), and its tombstone (None if the thread is not to be deleted)."""
    try:
        locked = _lock(db, thread)
    except CorruptCheckpointError:
        columns = first_row(db, "lock_thread", {"tid": key_of(thread)})
        grave = rules.tombstone_of_damage(columns[VERSION] if columns else 0, at)
        return _UNKNOWN, grave if rules.is_damage_to_be_deleted(seen) else None
    if locked is None:
        return None, None
    if locked.row.status == "deleted":
        return locked.row, locked.row
    return locked.row, rules.tombstone(locked.row, at) if rules.is_to_be_deleted(locked.row, seen) else None


# Stands for a damaged row: every new row differs from it.
_UNKNOWN = rules.tombstone_of_damage(None, 0)


def forget_deleted(db: sqlite3.Connection, before: int, limit: int) -> int:
    """Remove tombstones of deletions before a time. Returns their number."""
    return db.execute(SQL["forget_deleted"], {"before": before, "limit": limit}).rowcount


def copy_thread(db: sqlite3.Connection, source: str, target: str) -> None:
    """Create a second thread with the same rows. Raises `UnknownThreadError`, `ThreadExistsError`."""
    locked, there = _lock(db, source), _lock(db, target)
    if locked is None or locked.row.status == "deleted":
        raise UnknownThreadError(source)
    if there is not None and there.row.status != "deleted":
        if rules.is_copy(locked.row, there.row):
            return
        raise ThreadExistsError(target)
    for table in ("branches", "checkpoints", "channel_rows", "tasks"):
        db.execute(SQL[f"copy_{table}"], {"source": key_of(source), "target": key_of(target)})
    grave = there.row if there else None
    row = rules.copied(locked.row, target, grave, rules.drawn_incarnation())
    # The copy has no requests: callers sent them to the source.
    _put_thread(db, target, grave, row, locked.sums._replace(requests=EMPTY_STATE))


def import_thread(db: sqlite3.Connection, exported: ExportedThread) -> None:
    """Store the thread. Raises `ThreadExistsError`."""
    tid = key_of(exported.thread)
    there = first_row(db, "find_thread", {"tid": tid})
    if there is not None and there[STATUS] != "deleted":
        raise ThreadExistsError(exported.thread)
    # A tombstone, or rows of a thread whose own row is missing, would conflict with the imported rows.
    _remove(db, tid, with_its_own=True)
    for table in COLUMNS:
        db.executemany(SQL[f"import_{table}"], rows_of(exported, table, tid))


def prune(db: sqlite3.Connection, thread: str, keep_last: int, before: int | None) -> int:
    """Remove the rows that neither the newest `keep_last` root checkpoints nor those since `before` need.

    Raises `UnknownThreadError`.
    """
    locked = _lock(db, thread)
    if locked is None:
        raise UnknownThreadError(thread)
    tid = key_of(thread)
    sought = {"tid": tid}
    branches = statements.rows(db, "find_branches", sought)
    for branch in branches:
        check_line(locked.row, *branch)
    found = [checkpoint_from(thread, columns) for columns in statements.rows(db, "find_checkpoints", sought)]
    kept = pruning.kept(found, {lo: parent for lo, parent, *_ in branches}, locked.row, keep_last, before)
    if kept is None or len(kept.checkpoints) == len(found):
        return 0
    keys = []
    for columns in statements.rows(db, "find_channel_keys", sought):
        check_types(thread, "a channel", columns, VALUE_KEY)
        keys.append(pruning.ValueKey(*columns))
    values = {key[:3] for key in keys} - pruning.needed_values(keys, kept)
    recorded = [nested_from(thread, columns) for columns in statements.rows(db, "find_record_places", sought)]
    unneeded = [record for record in recorded if not kept.needs_record(record.ns, record.born)]
    gone = {(row.ns, row.no) for row in found} - kept.checkpoints
    db.executemany(SQL["drop_channel_row"], [(tid, *key) for key in values])
    db.executemany(SQL["drop_task"], [(tid, record.ns, record.born, record.ord) for record in unneeded])
    db.executemany(SQL["drop_checkpoint"], [(tid, *place) for place in gone])
    db.executemany(SQL["drop_branch"], [(tid, lo) for lo, *_ in branches if lo not in kept.lines])
    writes = rules.sum_without(locked.sums.writes, unneeded, locked.born, locked.row.head)
    row = pruning.thread_after_prune(locked.row, kept.floor)
    _put_thread(db, thread, locked.row, row, locked.sums._replace(writes=writes))
    return len(gone)


def _lock(db: sqlite3.Connection, thread: str) -> LockedThread | None:
    columns = first_row(db, "lock_thread", {"tid": key_of(thread)})
    if columns is None:
        return None
    return LockedThread(*thread_from(thread, columns), columns[THREAD_WIDTH])


def _put_thread(db: sqlite3.Connection, thread: str, before: ThreadRow | None, row: ThreadRow, sums: Sums) -> None:
    columns = thread_columns(row, sums, thread)
    if before is None:
        db.execute(SQL["add_thread"], columns)
        return
    db.execute(SQL["change_thread"], columns)
    if (before.thread, before.status, before.status_since) != (row.thread, row.status, row.status_since):
        db.execute(SQL["change_status"], columns)


def _read_back(db: sqlite3.Connection, unit: CommitUnit, thread: ThreadRow | None) -> bytes | None:
    if not rules.needs_read_back(unit, thread):
        return None
    last = unit.checkpoints[-1].row
    sought = {"tid": key_of(unit.thread), "ns": last.ns, "no": last.no}
    found = statements.row(db, "find_commit_id", sought)
    return found[0] if found else None


def _forked_head(db: sqlite3.Connection, unit: CommitUnit) -> int | None:
    if not rules.needs_forked_head(unit):
        return None
    found = statements.row(db, "find_newest_root", {"tid": key_of(unit.thread), "at": unit.fork_of})
    return found[0] if found else 0


def _record(
    db: sqlite3.Connection, tid: int, thread: str, records: Iterable[TaskRecord]
) -> tuple[list[rules.Replacement], tuple[TaskRecord, ...]]:
    """Store each record that wins. Returns the replacements, and for each record the winner."""
    replaced: list[rules.Replacement] = []
    stood = []
    for record in records:
        before = _find_record(db, tid, thread, record)
        stands = rules.standing(before, record)
        stood.append(stands)
        if stands != before:
            db.execute(SQL["put_record"], record_columns(tid, stands))
            replaced.append((before, stands))
    return replaced, tuple(stood)


def _find_record(db: sqlite3.Connection, tid: int, thread: str, record: TaskRecord) -> TaskRecord | None:
    sought = {"tid": tid, "ns": record.ns, "born": record.born, "ord": record.ord}
    columns = statements.row(db, "find_record", sought)
    return record_from(thread, columns) if columns else None


def _branches_after(db: sqlite3.Connection, unit: CommitUnit, locked: LockedThread | None) -> bytes:
    """Store a new branch if the unit starts one. Returns the sum over the branches of the new version's lineage."""
    branch = rules.new_line(unit, locked.row if locked else None)
    if branch is None:
        return locked.sums.lines if locked else EMPTY_STATE
    tid, (lo, parent), digest = key_of(unit.thread), branch, branch_digest(unit.origin, *branch)
    db.execute(SQL["add_branch"], {"tid": tid, "lo": lo, "parent": parent, "digest": digest})
    earlier = statements.rows(db, "find_lineage", {"tid": tid, "at": parent})
    if locked:
        for below in earlier:
            check_line(locked.row, *below)
    return add(digest, *(below[2] for below in earlier))


def _writes_after(
    db: sqlite3.Connection,
    unit: CommitUnit,
    locked: LockedThread | None,
    row: ThreadRow,
    replaced: Iterable[rules.Replacement],
) -> bytes:
    """The sum over the task records of the new head."""
    before = locked or LockedThread(row, Sums(), 0)
    heads = [new.row for new in unit.checkpoints if new.row.ns == ""]
    if not heads and row.head == before.row.head:
        return rules.sum_with(before.sums.writes, replaced, before.born, row.head)
    sought = {"tid": key_of(unit.thread), "head": row.head}
    born = heads[-1].born if heads else statements.rows(db, "find_born", sought)[0][0]
    if rules.is_bare(unit, born, row.head):
        return EMPTY_STATE
    found = statements.rows(db, "find_records_of_head", {**sought, "born": born})
    return writes_digest(nested_from(unit.thread, columns) for columns in found)
