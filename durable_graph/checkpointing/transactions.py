"""The writes of databases, free of I/O: they are written once, and each database runs their statements.

`prepare` computes the usual write from the thread's row that the caller handed in: the next row, and the rows to add.
It reads nothing, because the digest of the stored row covers everything that the write was computed from: its columns,
and its sums over the task records of the head, the branches and the requests. So the write is right exactly if the row
still has that digest. The epoch is compared as well, because the digest does not cover it.

Everything else is a transaction: a fork, a record that replaces another, a row that the caller did not know, and every
prepared write whose row had another digest. A transaction is a generator. It yields a `Query` or a `Batch`, receives
the rows that the database found, and returns a `WriteResult`. The database begins, commits and rolls back; a
transaction may run again after a rollback.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from durable_graph.checkpointing import pruning, rules, run_rules
from durable_graph.checkpointing.columns import (
    STATUS,
    VALUE_KEY,
    VERSION,
    Columns,
    check_branch,
    check_types,
    checkpoint_columns,
    checkpoint_from,
    key_of,
    nested_from,
    record_columns,
    record_from,
    request_columns,
    signed,
    thread_columns,
    thread_from,
    value_columns,
)
from durable_graph.checkpointing.digests import EMPTY_STATE, add, branch_digest, writes_digest
from durable_graph.checkpointing.directory_rules import entries_in
from durable_graph.checkpointing.event_rows import event_columns
from durable_graph.checkpointing.handles import CommitHandle
from durable_graph.checkpointing.queries import Query, check_no_orphan, first_of, key_in
from durable_graph.checkpointing.run_changes import changes_of_request, run_from, takes_of
from durable_graph.checkpointing.run_parents import (
    deletions_for_parents,
    ends_child,
    parents_before,
    parents_behind,
)
from durable_graph.checkpointing.transfer import COLUMNS, ExportedThread, rows_of
from durable_graph.errors import CorruptCheckpointError, ThreadExistsError, UnknownThreadError
from durable_graph.records import (
    CommitResult,
    Committed,
    CommitUnit,
    Conflict,
    RequestRow,
    Saved,
    SaveResult,
    StoredThread,
    Sums,
    TaskRecord,
    ThreadInfo,
    ThreadRow,
    WritesBatch,
)
from durable_graph.run_records import EventRow, RunState

T = TypeVar("T")


class Batch(NamedTuple):
    """A statement to run once for each row of parameters. It finds nothing."""

    name: str
    rows: Sequence[Columns]


class WriteResult(NamedTuple, Generic[T]):
    """The result of a write, and the thread's row after it; None if there is no row."""

    result: T
    thread: StoredThread | None = None


Part = Generator[Query | Batch, Sequence[Columns], T]
Transaction = Generator[Query | Batch, Sequence[Columns], WriteResult[T]]


Wanted = CommitUnit | WritesBatch | Callable[[], Transaction[Any]]
"""A write that was asked for. A transaction that is no commit and no save is given by a function that begins it."""


class WriteRequest:
    """A write that was asked for, and its result."""

    __slots__ = ("answer", "thread", "wanted")

    def __init__(self, thread: str, wanted: Wanted) -> None:
        self.thread: str = thread
        self.wanted: Wanted = wanted
        self.answer: CommitHandle[Any] = CommitHandle()


def begun(wanted: Wanted) -> Transaction[Any]:
    """The transaction that makes the write. It can be begun again after a rollback."""
    if isinstance(wanted, CommitUnit):
        return commit(wanted)
    if isinstance(wanted, WritesBatch):
        return save_writes(wanted)
    return wanted()


# Transactions -------------------------------------------------------------------------------------


def is_at(thread: str, tried: StoredThread | None) -> Part[bool]:
    """Whether an earlier attempt with an unknown outcome was committed: the thread's row is `tried`, its result.

    A committed deletion may have been followed by a new thread of the same id. Then the incarnations differ.
    """
    found = yield from lock(thread)
    if found is None or tried is None or tried.row.status != "deleted":
        return found == tried
    return found == tried or found.row.incarnation != tried.row.incarnation


def commit(unit: CommitUnit) -> Transaction[CommitResult]:
    """Apply the unit, or return the reason for refusing it."""
    key, locked = key_of(unit.thread), (yield from _locked_with_parent(unit))
    before = locked.row if locked else None
    decision = rules.decide(unit, before, (yield from _read_back(unit, before)))
    if decision is not None:
        return WriteResult(_with_base(decision, unit, locked), locked)
    if locked is None:
        yield from check_no_orphan(unit.thread)
    unit = yield from _with_status_of_run(unit)
    row = rules.thread_after_commit(unit, before, (yield from _forked_head(unit)))
    branches = yield from _branches_after(unit, locked)
    yield Batch("add_checkpoint", [checkpoint_columns(key, new.row) for new in unit.checkpoints])
    rows = [value_columns(key, new.row.ns, value) for new in unit.checkpoints for value in new.values]
    yield Batch("add_channel_row", rows)
    replaced, _ = yield from _record(unit.thread, unit.records)
    writes, born = yield from _writes_after(unit, locked, row, replaced)
    requests = yield from _accept(unit.thread, unit.request, locked.sums.requests if locked else EMPTY_STATE)
    after = signed(row, Sums(writes, branches, requests), born)
    yield from put_thread(unit.thread, before, after)
    yield from run_all(changes_of_request(unit))
    yield from _log(key, unit.events)
    return WriteResult(Committed(unit.version, after), after)


def _with_status_of_run(unit: CommitUnit) -> Part[CommitUnit]:
    """The unit, with which the thread is not done before its run: an update may be left to apply."""
    if unit.run is None or unit.run.state != RunState.DONE:
        return unit
    yield from run_all(takes_of(unit))
    columns = yield from first_of("find_run", thread_key=key_of(unit.thread), seq=unit.run.seq)
    is_left = columns is not None and run_rules.has_update_left(run_from(columns), unit.run)
    return msgspec.structs.replace(unit, status="running") if is_left else unit


def _with_base(decision: CommitResult, unit: CommitUnit, locked: StoredThread | None) -> CommitResult:
    """The result of a unit that was not applied. For a unit that had been applied before it has the thread's row, if
    no other writer has recorded anything since: the caller must notice that at its next commit."""
    is_unchanged = locked is not None and locked.row.version == unit.version and not locked.row.wseq
    return Committed(unit.version, locked) if isinstance(decision, Committed) and is_unchanged else decision


def save_writes(batch: WritesBatch) -> Transaction[SaveResult]:
    """Store each task record unless an earlier record wins."""
    locked = yield from _locked_with_parent(batch)
    if locked is None:
        return WriteResult(Conflict(0))
    if not rules.accepts(batch, locked.row):
        recorded = []
        for record in batch.records:
            recorded.append((yield from _find_record(batch.thread, record)))
        return WriteResult(rules.answer_to_late_save(batch, locked.row, recorded), locked)
    replaced, stood = yield from _record(batch.thread, batch.records)
    is_bumped = rules.is_bumped(batch, locked.row, replaced)
    row = rules.thread_after_save(batch, locked.row, stood, bumped=is_bumped)
    writes = rules.sum_with(locked.sums.writes, replaced, locked.born, row.head)
    requests = yield from _accept(batch.thread, batch.request, locked.sums.requests)
    after = signed(row, Sums(writes, locked.sums.branches, requests), locked.born)
    if after != locked:
        yield from put_thread(batch.thread, locked.row, after)
    yield from run_all(changes_of_request(batch))
    yield from _log(key_of(batch.thread), batch.events)
    return WriteResult(Saved(row.wseq, is_bumped, stood, row.status == "cancelled", after), after)


_OF_THREADS = (
    *("branches", "checkpoints", "channel_rows", "tasks", "requests", "runs", "messages", "events"),
    *("thread_metadata", "metadata_entries"),
)


def delete_thread(thread: str, seen: ThreadInfo | None, at: int, *, purge: bool) -> Transaction[bool]:
    """Replace the thread by a tombstone of the time `at`, or by nothing with `purge`. True if no thread is left."""
    yield from run_all(parents_before(thread))
    before, grave = yield from _grave(thread, seen, at)
    if before is not None and grave is None:
        return WriteResult(result=False)
    key = key_of(thread)
    yield from run_all(parents_behind(thread))
    unfinished = [run_from(columns) for columns in (yield Query("find_unfinished_runs", {"thread_key": key}))]
    yield from run_all(deletions_for_parents(thread, unfinished, at))
    if purge or before is None or grave is None:
        yield from _remove(key, with_its_own=True)
        if before is None and rules.is_damage_to_be_deleted(seen):
            yield from _remove((yield from key_in(thread)), with_its_own=True)
        return WriteResult(result=True)
    yield from _remove(key, with_its_own=False)
    after = signed(grave, Sums(), 0)
    yield from put_thread(thread, before, after)
    return WriteResult(result=True, thread=after)


def _remove(key: int, *, with_its_own: bool) -> Part[None]:
    """Remove the rows of a thread, and its own row only if `with_its_own`."""
    for table in _OF_THREADS:
        yield Query(f"delete_{table}", {"thread_key": key})
    if with_its_own:
        yield Query("delete_row", {"thread_key": key})


def _grave(thread: str, seen: ThreadInfo | None, at: int) -> Part[tuple[ThreadRow | None, ThreadRow | None]]:
    """The thread's row (None if it has none), and its tombstone (None if the thread is not to be deleted)."""
    try:
        locked = yield from lock(thread)
    except CorruptCheckpointError:
        columns = yield from first_of("lock_thread", thread_key=key_of(thread))
        grave = rules.tombstone_of_damage(columns[VERSION] if columns else 0, at)
        return _UNKNOWN, grave if rules.is_damage_to_be_deleted(seen) else None
    if locked is None:
        return None, None
    if locked.row.status == "deleted":
        return locked.row, locked.row
    if seen is not None and (yield from first_of("find_unfinished_run", thread_key=key_of(thread))) is not None:
        return locked.row, None
    return locked.row, rules.tombstone(locked.row, at) if rules.is_to_be_deleted(locked.row, seen) else None


# Stands for a damaged row: every new row differs from it.
_UNKNOWN = rules.tombstone_of_damage(None, 0)


def forget_deleted(before: int, limit: int) -> Transaction[int]:
    """Remove tombstones of deletions before a time. Returns their number."""
    found = yield Query("find_deleted", {"before": before, "limit": limit})
    yield Batch("drop_thread", found)
    return WriteResult(len(found))


def copy_thread(source: str, target: str) -> Transaction[None]:
    """Create a second thread with the same rows. Raises `UnknownThreadError`, `ThreadExistsError`."""
    found = {}
    # All writers lock several threads in the order of their keys, which prevents deadlocks.
    for thread in sorted((source, target), key=key_of):
        found[thread] = yield from lock(thread)
    locked, there = found[source], found[target]
    if locked is None or locked.row.status == "deleted":
        raise UnknownThreadError(source)
    if there is not None and there.row.status != "deleted":
        if rules.is_copy(locked.row, there.row):
            return WriteResult(None, there)
        raise ThreadExistsError(target)
    for table in ("branches", "checkpoints", "channel_rows", "tasks", "thread_metadata", "metadata_entries"):
        yield Query(f"copy_{table}", {"source": key_of(source), "target": key_of(target)})
    grave = there.row if there else None
    row = rules.copied(locked.row, target, grave, rules.drawn_incarnation())
    # The copy has no requests: callers sent them to the source.
    after = signed(row, Sums(locked.sums.writes, locked.sums.branches), locked.born)
    yield from put_thread(target, grave, after)
    return WriteResult(None, after)


def import_thread(exported: ExportedThread) -> Transaction[None]:
    """Store the thread. Raises `ThreadExistsError`, and `CorruptCheckpointError` for a row that the database refuses
    by a `ValueError`."""
    key = key_of(exported.thread)
    there = yield from first_of("lock_thread", thread_key=key)
    if there is not None and there[STATUS] != "deleted":
        raise ThreadExistsError(exported.thread)
    # A tombstone, or rows of a thread whose own row is missing, would conflict with the imported rows.
    yield from _remove(key, with_its_own=True)
    for table in COLUMNS:
        try:
            yield Batch(f"import_{table}", rows_of(exported, table, key))
        except ValueError as error:
            why = f"a column of {table} is out of range ({error})"
            raise CorruptCheckpointError(exported.thread, row="a row to import", why=why) from error
    for _, metadata in exported.tables["thread_metadata"]:
        yield Batch("add_metadata_entry", [(key, entry) for entry in entries_in(metadata)])
    return WriteResult(None)


def prune(thread: str, keep_last: int, before: int | None) -> Transaction[int]:
    """Remove the rows that neither the newest `keep_last` root checkpoints nor those since `before` need.

    Raises `UnknownThreadError`.
    """
    locked = yield from lock(thread)
    if locked is None:
        raise UnknownThreadError(thread)
    key = key_of(thread)
    sought = {"thread_key": key}
    branches = yield Query("find_branches", sought)
    for branch in branches:
        check_branch(locked.row, *branch)
    found = [checkpoint_from(thread, columns) for columns in (yield Query("find_checkpoints", sought))]
    needed = pruning.needed_by((yield Query("find_needed_checkpoints", sought)))
    kept = pruning.kept(found, {first: parent for first, parent, *_ in branches}, locked.row, keep_last, before, needed)
    if kept is None or len(kept.checkpoints) == len(found):
        return WriteResult(0, locked)
    keys = []
    for columns in (yield Query("find_channel_keys", sought)):
        check_types(thread, "a channel", columns, VALUE_KEY)
        keys.append(pruning.ValueKey(*columns))
    values = {each[:3] for each in keys} - pruning.needed_values(keys, kept)
    recorded = [nested_from(thread, columns) for columns in (yield Query("find_record_places", sought))]
    unneeded = [record for record in recorded if not kept.needs_record(record.ns, record.born)]
    gone = {(row.ns, row.no) for row in found} - kept.checkpoints
    yield Batch("drop_channel_row", [(key, *each) for each in values])
    yield Batch("drop_task", [(key, record.ns, record.born, record.ord) for record in unneeded])
    yield Batch("drop_checkpoint", [(key, *place) for place in gone])
    yield Batch("drop_branch", [(key, first) for first, *_ in branches if first not in kept.branches])
    sums = locked.sums
    writes = rules.sum_without(sums.writes, unneeded, locked.born, locked.row.head)
    row = pruning.thread_after_prune(locked.row, kept.floor)
    after = signed(row, Sums(writes, sums.branches, sums.requests), locked.born)
    yield from put_thread(thread, locked.row, after)
    return WriteResult(len(gone), after)


# Their parts --------------------------------------------------------------------------------------


def run_all(queries: Iterable[Query]) -> Part[None]:
    """Run these statements, whose rows nobody needs."""
    # `yield from` would send the rows to the iterator, which takes none.
    for query in queries:  # noqa: UP028
        yield query


def lock(thread: str) -> Part[StoredThread | None]:
    """The thread's row, which no other transaction can change until this one ends."""
    columns = yield from first_of("lock_thread", thread_key=key_of(thread))
    if columns is None:
        return None
    found = thread_from(thread, columns)
    born = yield from first_of("find_born", thread_key=key_of(thread), head=found.row.head)
    return msgspec.structs.replace(found, born=born[0] if born else 0)


def _locked_with_parent(request: CommitUnit | WritesBatch) -> Part[StoredThread | None]:
    """The thread's row, locked, and with it the thread of the parent of a run that the write ends."""
    is_child = ends_child(request.run)
    yield from run_all(parents_before(request.thread, are_locked=is_child))
    locked = yield from lock(request.thread)
    yield from run_all(parents_behind(request.thread, are_locked=is_child))
    return locked


def put_thread(thread: str, before: ThreadRow | None, after: StoredThread) -> Part[None]:
    columns = thread_columns(after, thread)
    if before is None:
        yield Query("add_thread", columns)
    else:
        yield Query("change_thread", columns)


def _read_back(unit: CommitUnit, thread: ThreadRow | None) -> Part[bytes | None]:
    if not rules.needs_read_back(unit, thread):
        return None
    last = unit.checkpoints[-1].row
    found = yield from first_of("find_commit_id", thread_key=key_of(unit.thread), ns=last.ns, no=last.no)
    return found[0] if found else None


def _forked_head(unit: CommitUnit) -> Part[int | None]:
    if not rules.needs_forked_head(unit):
        return None
    found = yield from first_of("find_newest_root", thread_key=key_of(unit.thread), at=unit.fork_of)
    return found[0] if found else 0


def _record(thread: str, records: Iterable[TaskRecord]) -> Part[tuple[list[rules.Replacement], tuple[TaskRecord, ...]]]:
    """Store each record that wins. Returns the replacements, and for each record the winner."""
    replaced: list[rules.Replacement] = []
    stood = []
    for record in records:
        before = yield from _find_record(thread, record)
        stands = rules.standing(before, record)
        stood.append(stands)
        if stands != before:
            yield Batch("put_record", [record_columns(key_of(thread), stands)])
            replaced.append((before, stands))
    return replaced, tuple(stood)


def _find_record(thread: str, record: TaskRecord) -> Part[TaskRecord | None]:
    sought: Mapping[str, Any] = {"ns": record.ns, "born": record.born, "ord": record.ord}
    columns = yield from first_of("find_record", thread_key=key_of(thread), **sought)
    return record_from(thread, columns) if columns else None


def _log(key: int, events: Sequence[EventRow]) -> Part[None]:
    """Store events of a run."""
    if events:
        yield Batch("add_event", [event_columns(key, event) for event in events])
        yield Query("note_events", {"thread_key": key, "seq": events[0].seq})


def _accept(thread: str, request: RequestRow | None, requests: bytes) -> Part[bytes]:
    """Store a request with a key. Returns the sum over all requests."""
    if request is None:
        return requests
    yield Batch("add_request", [request_columns(key_of(thread), request)])
    return add(requests, request.digest)


def _branches_after(unit: CommitUnit, locked: StoredThread | None) -> Part[bytes]:
    """Store a new branch if the unit starts one. Returns the sum over the branches of the new version's lineage."""
    branch = rules.new_branch(unit, locked.row if locked else None)
    if branch is None:
        return locked.sums.branches if locked else EMPTY_STATE
    key, (first, parent), digest = key_of(unit.thread), branch, branch_digest(unit.origin, *branch)
    yield Batch("add_branch", [(key, first, parent, digest, b"")])
    earlier = yield Query("find_lineage", {"thread_key": key, "at": parent})
    if locked:
        for below in earlier:
            check_branch(locked.row, *below)
    return add(digest, *(below[2] for below in earlier))


def _writes_after(
    unit: CommitUnit, locked: StoredThread | None, row: ThreadRow, replaced: Iterable[rules.Replacement]
) -> Part[tuple[bytes, int]]:
    """The sum over the task records of the new head, and the smallest number of a task in its plan."""
    before = locked or StoredThread(row)
    heads = [new.row for new in unit.checkpoints if new.row.ns == ""]
    if not heads and row.head == before.row.head:
        return rules.sum_with(before.sums.writes, replaced, before.born, row.head), before.born
    if heads:
        born = heads[-1].born
    else:
        found = yield from first_of("find_born", thread_key=key_of(unit.thread), head=row.head)
        born = found[0] if found else 0
    if rules.is_bare(unit, born, row.head):
        return EMPTY_STATE, born
    sought = {"thread_key": key_of(unit.thread), "born": born, "head": row.head}
    records = yield Query("find_records_of_head", sought)
    return writes_digest(nested_from(unit.thread, columns) for columns in records), born
