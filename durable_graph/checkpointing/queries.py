"""The reads that all databases have in common, free of I/O, as generators of queries.

Each yields a `Query` and receives the rows that it found. All queries of a read use one snapshot of the database.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from durable_graph.checkpointing import rules
from durable_graph.checkpointing.columns import (
    STATUS_SINCE,
    THREAD_WIDTH,
    Columns,
    above_limit,
    check_branch,
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
    StoredRecords,
    StoredRequests,
    StoredThread,
    ThreadInfo,
    ThreadRow,
    ValueRow,
)

T = TypeVar("T")

BEYOND = 1 << 62
"""A number above every number of a checkpoint."""

BRANCH_ROW, VALUE_ROW, RECORD_ROW, NESTED_ROW = 0, 1, 2, 3
"""The kinds of the rows that the query `read_state` finds."""


class Query(NamedTuple):
    """A statement by its name, and its parameters."""

    name: str
    sought: Mapping[str, Any]


Steps = Generator[Query, Sequence[Columns], T]


def first_of(name: str, **sought: Any) -> Steps[Columns | None]:
    """The first row of a query, None if it finds nothing."""
    found = yield Query(name, sought)
    return found[0] if found else None


def history(thread: str, ns: str, before: int | None, limit: int) -> Steps[HistoryPage | None]:
    """A page of checkpoints. Four queries, one more if the page has the head, and one or two for each parent that is
    not on the page."""
    key = key_of(thread)
    stored = yield from _find_thread(thread)
    if stored is None:
        return None
    row = stored.row
    sought = {"thread_key": key, "ns": ns, "before": BEYOND if before is None else before, "limit": limit + 1}
    found = [checkpoint_from(thread, each) for each in (yield Query("page_of_checkpoints", sought))]
    page = found[:limit]
    if not page:
        return HistoryPage(row, (), (), {}, (), 0, ns, before)
    lo, hi, born = page[-1].no, page[0].no, min(each.born for each in page)
    head = next((each for each in page if ns == "" and each.no == row.head), None)
    newest = BEYOND if before is None else hi
    values = yield Query("page_of_values", {"thread_key": key, "ns": ns, "lo": lo, "hi": newest})
    records = yield Query("page_of_records", {"thread_key": key, "ns": ns, "born": born, "hi": hi})
    of_head: Sequence[Columns] = ()
    if head:
        of_head = yield Query("find_records_of_head", {"thread_key": key, "born": head.born, "head": head.no})
    return HistoryPage(
        thread=row,
        checkpoints=tuple(page),
        values=tuple(value_from(thread, *each) for each in values),
        bases=(yield from _bases(row, page)),
        records=tuple(record_from(thread, each) for each in records),
        older=lo if len(found) > limit else 0,
        ns=ns,
        before=before,
        writes_digest=stored.sums.writes if head else None,
        head_records=tuple(nested_from(thread, each) for each in of_head),
    )


def load_records(thread: str, ns: str) -> Steps[StoredRecords | None]:
    """The task records of one namespace. One query."""
    found = yield Query("find_records", {"thread_key": key_of(thread), "ns": ns})
    if not found:
        yield from check_no_orphan(thread)
        return None
    row = thread_from(thread, found[0]).row
    records = (columns[THREAD_WIDTH:] for columns in found)
    return StoredRecords(row, tuple(record_from(thread, columns) for columns in records if columns[0] is not None))


def export_thread(thread: str) -> Steps[ExportedThread | None]:
    """All rows of a thread, unchanged: those under its key, and its own row under another key if its id or key is
    damaged."""
    tables: dict[str, list[Columns]] = {table: [] for table in COLUMNS}
    for key in {key_of(thread), (yield from key_in(thread))}:
        for table in tables:
            tables[table] += yield Query(f"export_{table}", {"thread_key": key})
    return ExportedThread(thread, tables) if is_thread(tables) else None


def find_request(thread: str, key: str) -> Steps[StoredRequests | None]:
    """The request of a thread with this key, or the digests of all its requests if there is none."""
    stored = yield from _find_thread(thread)
    if stored is None:
        return None
    origin, sought = stored.row.origin, {"thread_key": key_of(thread), "key": key}
    found = yield Query("find_request", sought)
    others = () if found else (yield Query("find_requests", sought))
    digests = tuple(request_digest(origin, request_from(thread, each)) for each in others)
    request = request_from(thread, found[0]) if found else None
    return StoredRequests(thread, origin, request, digests, stored.sums.requests)


def list_threads(
    status: ListedStatus | None, limit: int, after: ThreadInfo | str | None, before: int | None
) -> Steps[list[ThreadInfo]]:
    """A page of threads. Each row is checked separately, so a damaged row hides no other."""
    cursor = rules.Cursor.of(after)
    found: list[ThreadInfo] = []
    while len(found) < limit:
        sought = {"after": cursor.thread, "limit": limit, "before": BEYOND if before is None else before}
        if status in (None, "damaged"):
            rows = yield Query("list_threads", sought)
        else:
            rows = yield Query("list_threads_of_status", {**sought, "status": status, "since": cursor.since})
        infos = [thread_info_from(columns) for columns in rows]
        found += [info for info in infos if status in (None, info.status)]
        if len(rows) < limit:
            break
        cursor = rules.Cursor(rows[-1][STATUS_SINCE], rows[-1][0])
    return found[:limit]


def key_in(thread: str) -> Steps[int]:
    """The key of the thread that a listing shows under this id. A damaged id in its row does not match its key."""
    key = key_of(thread)
    if (yield Query("is_there", {"thread_key": key})):
        return key
    found = yield from first_of("find_key", thread=thread)
    return found[0] if found else key


def check_no_orphan(thread: str) -> Steps[None]:
    """Raises `CorruptCheckpointError` if rows of the thread exist, and the thread's own row is missing."""
    found = yield from first_of("find_orphan", thread_key=key_of(thread))
    if found and found[0] is not None:
        raise orphaned(thread, found[0])


def check_branches(thread: ThreadRow, branches: Sequence[Columns], expected: bytes | None) -> None:
    """Raises `CorruptCheckpointError` unless the branches of a lineage are undamaged, the last has no parent, and their
    sum is `expected`, which the thread's row has for the lineage of its version."""
    for branch in branches:
        check_branch(thread, *branch)
    is_complete = bool(branches) and branches[-1][1] == 0
    if not is_complete or (expected is not None and add(EMPTY_STATE, *(branch[2] for branch in branches)) != expected):
        raise CorruptCheckpointError(thread.thread, row="the row of a branch", why="it is missing")


def values_from(thread: str, rows: Sequence[Columns], max_value_bytes: int = BEYOND) -> tuple[ValueRow, ...]:
    """The rows of channels that `read_state` found. Raises `ValueTooLargeError`."""
    values = []
    for kind_of_row, channel, no, prev, kind, _, digest, value, _ in rows:
        if kind_of_row == VALUE_ROW:
            if isinstance(value, int):
                raise above_limit(channel, value, max_value_bytes)
            values.append(value_from(thread, channel, no, prev, kind, value, digest))
    return tuple(values)


def branches_from(rows: Sequence[Columns]) -> list[Columns]:
    """The branches that `read_state` found: the first number, the parent, the digest and `extra` of each."""
    return [
        (first, parent, digest, extra)
        for kind_of_row, _, first, parent, _, _, digest, _, extra in rows
        if kind_of_row == BRANCH_ROW
    ]


def _find_thread(thread: str) -> Steps[StoredThread | None]:
    columns = yield from first_of("find_thread", thread_key=key_of(thread))
    if columns is None:
        yield from check_no_orphan(thread)
        return None
    return thread_from(thread, columns)


def _bases(thread: ThreadRow, page: Sequence[CheckpointRow]) -> Steps[dict[int, tuple[ValueRow, ...]]]:
    key, on_page = key_of(thread.thread), {row.no for row in page}
    bases: dict[int, tuple[ValueRow, ...]] = {}
    for row in page:
        if row.parent in on_page or row.parent in bases or row.parent == 0:
            continue
        if (yield from first_of("find_commit_id", thread_key=key, ns=row.ns, no=row.parent)) is not None:
            bases[row.parent] = yield from _values_at(thread, row.ns, row.parent)
        elif row.parent < thread.floor:
            values = yield from _values_at(thread, row.ns, row.no)
            bases[row.parent] = tuple(value for value in values if value.no != row.no)
    return bases


def _values_at(thread: ThreadRow, ns: str, at: int) -> Steps[tuple[ValueRow, ...]]:
    sought = {"thread_key": key_of(thread.thread), "ns": ns, "at": at}
    # No task records: those of a checkpoint are read with the page.
    sought.update(born=BEYOND, no=0, nested=BEYOND, most=BEYOND)
    found = yield Query("read_state", sought)
    check_branches(thread, branches_from(found), None)
    return values_from(thread.thread, found)
