"""The reads, as functions of a connection: each runs in one transaction, on one snapshot of the file."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from durable_graph.checkpointing import rules
from durable_graph.checkpointing.columns import (
    STATUS_SINCE,
    THREAD_WIDTH,
    Columns,
    Sums,
    above_limit,
    check_line,
    checkpoint_from,
    key_of,
    nested_from,
    orphaned,
    record_from,
    request_from,
    thread_from,
    thread_info_from,
    value_from,
)
from durable_graph.checkpointing.digests import EMPTY_STATE, add, request_digest
from durable_graph.checkpointing.transfer import COLUMNS, ExportedThread, is_thread
from durable_graph.errors import CorruptCheckpointError
from durable_graph.records import (
    CheckpointRow,
    HistoryPage,
    ListedStatus,
    NestedRecord,
    StoredCheckpoint,
    StoredRecords,
    StoredRequests,
    TaskRecord,
    ThreadInfo,
    ThreadRow,
    ValueRow,
    checkpoint_id,
)
from durable_graph_sqlite import statements

_BEYOND = 1 << 62
_BRANCH, _VALUE, _NESTED = 0, 1, 3


def load(db: sqlite3.Connection, thread: str, ns: str, no: int | None, max_value_bytes: int) -> StoredCheckpoint | None:
    """A checkpoint with the rows of its state. Two statements. Raises `ValueTooLargeError`."""
    tid = key_of(thread)
    newest = ns != "" and no is None
    sought = {"tid": tid, "ns": ns} if newest else {"tid": tid, "ns": ns, "no": no}
    columns = first_row(db, "find_newest_checkpoint" if newest else "find_checkpoint", sought)
    if columns is None:
        check_no_orphan(db, thread)
        return None
    row, sums = thread_from(thread, columns)
    is_head = ns == "" and no in (None, row.head)
    if columns[THREAD_WIDTH] is None:
        if is_head and row.head:
            what = f"the row of checkpoint {checkpoint_id(row.head)!r}"
            raise CorruptCheckpointError(thread, row=what, why="it is missing, and it is the thread's newest one")
        if newest and row.head:
            _check_branches(row, sums, statements.rows(db, "find_lineage", {"tid": tid, "at": row.version}))
            if statements.rows(db, "find_value_in_lineage", {"tid": tid, "ns": ns, "at": row.version}):
                raise orphaned(thread, "values", f"the row of the newest checkpoint of namespace {ns!r}")
        return StoredCheckpoint(row, None)
    checkpoint = checkpoint_from(thread, columns[THREAD_WIDTH:])
    # For the newest checkpoint, read values up to the thread's version: a newer checkpoint whose row is missing is
    # detected by its values.
    at = row.version if no is None else no
    state = _state(db, row, checkpoint, at, max_value_bytes, is_head=is_head, sums=sums if no is None else None)
    return StoredCheckpoint(
        row, checkpoint, state.values, state.records, sums.writes if is_head else None, state.nested
    )


def history(db: sqlite3.Connection, thread: str, ns: str, before: int | None, limit: int) -> HistoryPage | None:
    """A page of checkpoints. Four statements, one more if the page has the head, and one or two for each parent that is
    not on the page."""
    tid = key_of(thread)
    columns = first_row(db, "find_thread", {"tid": tid})
    if columns is None:
        check_no_orphan(db, thread)
        return None
    row, sums = thread_from(thread, columns)
    sought = {"tid": tid, "ns": ns, "before": _BEYOND if before is None else before, "limit": limit + 1}
    found = [checkpoint_from(thread, each) for each in statements.rows(db, "page_of_checkpoints", sought)]
    page = found[:limit]
    if not page:
        return HistoryPage(row, (), (), {}, (), 0, ns, before)
    lo, hi, born = page[-1].no, page[0].no, min(each.born for each in page)
    head = next((each for each in page if ns == "" and each.no == row.head), None)
    values = statements.rows(
        db, "page_of_values", {"tid": tid, "ns": ns, "lo": lo, "hi": _BEYOND if before is None else hi}
    )
    records = statements.rows(db, "page_of_records", {"tid": tid, "ns": ns, "born": born, "hi": hi})
    of_head = (
        statements.rows(db, "find_records_of_head", {"tid": tid, "born": head.born, "head": head.no}) if head else []
    )
    return HistoryPage(
        thread=row,
        checkpoints=tuple(page),
        values=tuple(value_from(thread, *each) for each in values),
        bases=_bases(db, row, page),
        records=tuple(record_from(thread, each) for each in records),
        older=lo if len(found) > limit else 0,
        ns=ns,
        before=before,
        writes_digest=sums.writes if head else None,
        head_records=tuple(nested_from(thread, each) for each in of_head),
    )


def load_records(db: sqlite3.Connection, thread: str, ns: str) -> StoredRecords | None:
    """The task records of one namespace. One statement."""
    found = statements.rows_as_they_are(db, "find_records", {"tid": key_of(thread), "ns": ns})
    if not found:
        check_no_orphan(db, thread)
        return None
    row, _ = thread_from(thread, found[0])
    records = (columns[THREAD_WIDTH:] for columns in found)
    return StoredRecords(row, tuple(record_from(thread, columns) for columns in records if columns[0] is not None))


def export_thread(db: sqlite3.Connection, thread: str) -> ExportedThread | None:
    """All rows of a thread, unchanged: those under its key, and its own row under another key if its id or key is
    damaged."""
    tables: dict[str, list[Columns]] = {table: [] for table in COLUMNS}
    for tid in {key_of(thread), key_in(db, thread)}:
        for table in tables:
            # An export has only valid text. A damaged text is changed, and stays detectable by its digest.
            tables[table] += statements.rows_as_they_are(db, f"export_{table}", {"tid": tid}, errors="replace")
    return ExportedThread(thread, tables) if is_thread(tables) else None


def find_request(db: sqlite3.Connection, thread: str, key: str) -> StoredRequests | None:
    """The request of a thread with this key, or the digests of all its requests if there is none."""
    sought = {"tid": key_of(thread)}
    columns = first_row(db, "find_thread", sought)
    if columns is None:
        check_no_orphan(db, thread)
        return None
    row, sums = thread_from(thread, columns)
    found = statements.row(db, "find_request", {**sought, "key": key})
    others = [] if found else statements.rows(db, "find_requests", sought)
    digests = tuple(request_digest(row.origin, request_from(thread, each)) for each in others)
    return StoredRequests(thread, row.origin, request_from(thread, found) if found else None, digests, sums.requests)


def list_threads(
    db: sqlite3.Connection, status: ListedStatus | None, limit: int, after: ThreadInfo | str | None, before: int | None
) -> list[ThreadInfo]:
    """A page of threads. Each row is checked separately, so a damaged row hides no other."""
    cursor = rules.Cursor.of(after)
    found: list[ThreadInfo] = []
    while len(found) < limit:
        rows = _rows_listed(db, status, limit, cursor, before)
        infos = [thread_info_from(columns) for columns in rows]
        found += [info for info in infos if status in (None, info.status)]
        if len(rows) < limit:
            break
        cursor = rules.Cursor(rows[-1][STATUS_SINCE], rows[-1][0])
    return found[:limit]


def _rows_listed(
    db: sqlite3.Connection, status: ListedStatus | None, limit: int, cursor: rules.Cursor, before: int | None
) -> list[Columns]:
    # The cursor is bytes, because a damaged id may be invalid text, and the next page starts after it.
    after = cursor.thread.encode("utf-8", statements.ESCAPED)
    sought = {"after": after, "limit": limit, "before": _BEYOND if before is None else before}
    if status in (None, "damaged"):
        return statements.rows_as_they_are(db, "list_threads", sought)
    return statements.rows_as_they_are(
        db, "list_threads_of_status", {**sought, "status": status, "since": cursor.since}
    )


class _State(NamedTuple):
    values: tuple[ValueRow, ...]
    records: tuple[TaskRecord, ...]
    nested: tuple[NestedRecord, ...]


def _state(
    db: sqlite3.Connection,
    thread: ThreadRow,
    checkpoint: CheckpointRow,
    at: int,
    max_value_bytes: int = _BEYOND,
    *,
    is_head: bool = False,
    sums: Sums | None = None,
) -> _State:
    """The value rows of a checkpoint's namespace in the lineage of number `at`, and the checkpoint's task records.

    For the head, the state includes the digests of records in other namespaces. `sums` are those in the thread's row,
    if `at` is its version. Raises `ValueTooLargeError`.
    """
    sought = {
        "tid": key_of(thread.thread),
        "ns": checkpoint.ns,
        "at": at,
        "born": checkpoint.born,
        "no": checkpoint.no,
        "nested": checkpoint.born if is_head else _BEYOND,
        "most": max_value_bytes,
    }
    branches, values, records, nested = [], [], [], []
    for arm, text, *rest in statements.rows(db, "read_state", sought):
        if arm == _BRANCH:
            lo, parent, _, _, digest, _, extra = rest
            branches.append((lo, parent, digest, extra))
        elif arm == _VALUE:
            no, prev, kind, _, digest, value, _ = rest
            if isinstance(value, int):
                raise above_limit(text, value, max_value_bytes)
            values.append(value_from(thread.thread, text, no, prev, kind, value, digest))
        elif arm == _NESTED:
            born, ordinal, _, _, digest, *_ = rest
            nested.append(nested_from(thread.thread, (text, born, ordinal, digest)))
        else:
            born, ordinal, rank, revision, digest, value, extra = rest
            columns: Columns = (checkpoint.ns, born, ordinal, rank, revision, text, value, digest, extra)
            records.append(record_from(thread.thread, columns))
    _check_branches(thread, sums, branches)
    return _State(tuple(values), tuple(records), tuple(nested))


def _check_branches(thread: ThreadRow, sums: Sums | None, branches: Sequence[Columns]) -> None:
    """Raises `CorruptCheckpointError` unless the branches are undamaged, the last has no parent, and their sum is the
    thread's."""
    for branch in branches:
        check_line(thread, *branch)
    is_complete = bool(branches) and branches[-1][1] == 0
    if not is_complete or (sums and add(EMPTY_STATE, *(branch[2] for branch in branches)) != sums.lines):
        raise CorruptCheckpointError(thread.thread, row="the row of a branch", why="it is missing")


def _bases(db: sqlite3.Connection, thread: ThreadRow, page: Sequence[CheckpointRow]) -> dict[int, tuple[ValueRow, ...]]:
    tid, oldest = key_of(thread.thread), page[-1].no
    bases: dict[int, tuple[ValueRow, ...]] = {}
    for row in page:
        if row.parent >= oldest or row.parent in bases or row.parent == 0:
            continue
        if statements.row(db, "find_commit_id", {"tid": tid, "ns": row.ns, "no": row.parent}) is not None:
            bases[row.parent] = _state(db, thread, row, row.parent).values
        elif row.parent < thread.floor:
            values = _state(db, thread, row, row.no).values
            bases[row.parent] = tuple(value for value in values if value.no != row.no)
    return bases


def first_row(db: sqlite3.Connection, name: str, sought: Mapping[str, Any]) -> Columns | None:
    """The first row of a query whose columns start with a thread's, which `thread_from` checks."""
    found = statements.rows_as_they_are(db, name, sought)
    return found[0] if found else None


def key_in(db: sqlite3.Connection, thread: str) -> int:
    """The key of the thread that a listing shows under this id. A damaged id in its row does not match its key."""
    tid = key_of(thread)
    if statements.rows(db, "is_there", {"tid": tid}):
        return tid
    found = statements.row(db, "find_key", {"thread": thread.encode("utf-8", statements.ESCAPED)})
    key: int = found[0] if found else tid
    return key


def check_no_orphan(db: sqlite3.Connection, thread: str) -> None:
    """Raises `CorruptCheckpointError` if rows of the thread exist, and the thread's own row is missing."""
    found = statements.row(db, "find_orphan", {"tid": key_of(thread)})
    if found and found[0] is not None:
        raise orphaned(thread, found[0])
