"""The reads, as functions of a connection: each uses one snapshot of the database."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from durable_graph.checkpointing import rules
from durable_graph.checkpointing.columns import (
    STATUS_SINCE,
    THREAD_WIDTH,
    Columns,
    LockedThread,
    Sums,
    above_limit,
    check_line,
    checkpoint_from,
    key_of,
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
    ThreadInfo,
    ThreadRow,
    ValueRow,
    checkpoint_id,
)
from durable_graph_postgres.moves import Place
from durable_graph_postgres.session import Session

_BEYOND = 1 << 62
_CHECKPOINT_WIDTH, _RECORD_WIDTH = 10, 9
_THREAD, _CHECKPOINT, _BRANCH, _VALUE, _RECORD, _NESTED, _VANISHED, _ORPHAN = 0, 1, 2, 3, 4, 5, 6, 9


class Loaded(NamedTuple):
    """A checkpoint, and its thread's row with the sums if the checkpoint is the head."""

    found: StoredCheckpoint | None
    known: LockedThread | None = None

    @property
    def places(self) -> frozenset[Place]:
        """The keys of the head's task records."""
        if self.found is None:
            return frozenset()
        places = {(record.ns, record.born, record.ord) for record in self.found.records}
        return frozenset(places.union((record.ns, record.born, record.ord) for record in self.found.nested))


async def load(db: Session, thread: str, ns: str, no: int | None, max_value_bytes: int) -> Loaded:
    """A checkpoint with the rows of its state. One statement. Raises `ValueTooLargeError`."""
    arms: Mapping[int, list[Columns]] = {
        arm: [] for arm in (_THREAD, _CHECKPOINT, _BRANCH, _VALUE, _RECORD, _NESTED, _VANISHED, _ORPHAN)
    }
    for arm, *columns in await db.rows("load", key_of(thread), ns, no, max_value_bytes):
        arms[arm].append(tuple(columns))
    if arms[_ORPHAN]:
        if (what := arms[_ORPHAN][0][0]) is not None:
            raise orphaned(thread, what)
        return Loaded(None)
    row, sums = thread_from(thread, _thread_columns(arms[_THREAD][0][-1]))
    branches = [(lo, parent, digest, extra) for _, lo, parent, _, _, digest, extra, *_ in arms[_BRANCH]]
    is_head = ns == "" and no in (None, row.head)
    if not arms[_CHECKPOINT]:
        if is_head and row.head:
            what = f"the row of checkpoint {checkpoint_id(row.head)!r}"
            raise CorruptCheckpointError(thread, row=what, why="it is missing, and it is the thread's newest one")
        if ns and no is None and row.head:
            _check_branches(row, sums, branches)
            if arms[_VANISHED]:
                raise orphaned(thread, "values", f"the row of the newest checkpoint of namespace {ns!r}")
        return Loaded(StoredCheckpoint(row, None), LockedThread(row, sums, 0) if not row.head else None)
    checkpoint = checkpoint_from(thread, arms[_CHECKPOINT][0][:_CHECKPOINT_WIDTH])
    _check_branches(row, sums if no is None else None, branches)
    for channel, _, _, _, size, *_ in arms[_VALUE]:
        if size is not None:
            raise above_limit(channel, size, max_value_bytes)
    found = StoredCheckpoint(
        row,
        checkpoint,
        tuple(
            value_from(thread, channel, no, prev, kind, value, digest)
            for channel, no, prev, kind, _, value, digest, *_ in arms[_VALUE]
        ),
        tuple(record_from(thread, columns[:_RECORD_WIDTH]) for columns in sorted(arms[_RECORD], key=_place)),
        sums.writes if is_head else None,
        tuple(NestedRecord(ns, born, order, digest) for ns, born, order, _, _, digest, *_ in arms[_NESTED]),
    )
    return Loaded(found, LockedThread(row, sums, checkpoint.born) if is_head else None)


def _place(record: Columns) -> Columns:
    # All records are of one namespace. The server returns them in no particular order.
    return record[1:3]


_READ: tuple[Callable[[str], Any], ...] = (
    *(str, int, bytes.fromhex, str, bytes.fromhex, int, int, int, int, int, int, str, int, int, int),
    *(bytes.fromhex, str, str, str, *(bytes.fromhex,) * 5),
)
"""The conversion of each column of a thread's row from its text to its value."""


def _thread_columns(texts: Sequence[str | None]) -> Columns:
    return tuple(None if text is None else read(text) for read, text in zip(_READ, texts, strict=True))


async def history(db: Session, thread: str, ns: str, before: int | None, limit: int) -> HistoryPage | None:
    """A page of checkpoints. Four statements, one more if the page has the head, and one or two for each parent that is
    not on the page."""
    tid = key_of(thread)
    columns = await db.row("find_thread", tid)
    if columns is None:
        await check_no_orphan(db, thread)
        return None
    row, sums = thread_from(thread, columns)
    sought = await db.rows("page_of_checkpoints", tid, ns, _BEYOND if before is None else before, limit + 1)
    found = [checkpoint_from(thread, each) for each in sought]
    page = found[:limit]
    if not page:
        return HistoryPage(row, (), (), {}, (), 0, ns, before)
    lo, hi, born = page[-1].no, page[0].no, min(each.born for each in page)
    head = next((each for each in page if ns == "" and each.no == row.head), None)
    values = await db.rows("page_of_values", tid, ns, lo, _BEYOND if before is None else hi)
    records = await db.rows("page_of_records", tid, ns, born, hi)
    of_head = await db.rows("find_records_of_head", tid, head.born, head.no) if head else []
    return HistoryPage(
        thread=row,
        checkpoints=tuple(page),
        values=tuple(value_from(thread, *each) for each in values),
        bases=await _bases(db, row, page),
        records=tuple(record_from(thread, each) for each in records),
        older=lo if len(found) > limit else 0,
        ns=ns,
        before=before,
        writes_digest=sums.writes if head else None,
        head_records=tuple(NestedRecord(*each) for each in of_head),
    )


async def load_records(db: Session, thread: str, ns: str) -> StoredRecords | None:
    """The task records of one namespace. One statement."""
    found = await db.rows("find_records", key_of(thread), ns)
    if not found:
        await check_no_orphan(db, thread)
        return None
    row, _ = thread_from(thread, found[0])
    records = (columns[THREAD_WIDTH:] for columns in found)
    return StoredRecords(row, tuple(record_from(thread, columns) for columns in records if columns[0] is not None))


async def export_thread(db: Session, thread: str) -> ExportedThread | None:
    """All rows of a thread, unchanged: those under its key, and its own row under another key if its id or key is
    damaged."""
    tables: dict[str, list[Columns]] = {table: [] for table in COLUMNS}
    for tid in {key_of(thread), await key_in(db, thread)}:
        for table in tables:
            tables[table] += await db.rows(f"export_{table}", tid)
    return ExportedThread(thread, tables) if is_thread(tables) else None


async def find_request(db: Session, thread: str, key: str) -> StoredRequests | None:
    """The request of a thread with this key, or the digests of all its requests if there is none."""
    tid = key_of(thread)
    columns = await db.row("find_thread", tid)
    if columns is None:
        await check_no_orphan(db, thread)
        return None
    row, sums = thread_from(thread, columns)
    found = await db.row("find_request", tid, key)
    others = [] if found else await db.rows("find_requests", tid)
    digests = tuple(request_digest(row.origin, request_from(thread, each)) for each in others)
    return StoredRequests(thread, row.origin, request_from(thread, found) if found else None, digests, sums.requests)


async def list_threads(
    db: Session, status: ListedStatus | None, limit: int, after: ThreadInfo | str | None, before: int | None
) -> list[ThreadInfo]:
    """A page of threads. Each row is checked separately, so a damaged row hides no other."""
    cursor = rules.Cursor.of(after)
    found: list[ThreadInfo] = []
    while len(found) < limit:
        rows = await _rows_listed(db, status, limit, cursor, _BEYOND if before is None else before)
        infos = [thread_info_from(columns) for columns in rows]
        found += [info for info in infos if status in (None, info.status)]
        if len(rows) < limit:
            break
        cursor = rules.Cursor(rows[-1][STATUS_SINCE], rows[-1][0])
    return found[:limit]


async def _rows_listed(
    db: Session, status: ListedStatus | None, limit: int, cursor: rules.Cursor, before: int
) -> list[Columns]:
    if status in (None, "damaged"):
        return await db.rows("list_threads", cursor.thread, limit, before)
    return await db.rows("list_threads_of_status", status, cursor.since, cursor.thread, before, limit)


async def key_in(db: Session, thread: str) -> int:
    """The key of the thread that a listing shows under this id. A damaged id in its row does not match its key."""
    tid = key_of(thread)
    if await db.rows("is_there", tid):
        return tid
    found = await db.row("find_key", thread)
    key: int = found[0] if found else tid
    return key


async def check_no_orphan(db: Session, thread: str) -> None:
    """Raises `CorruptCheckpointError` if rows of the thread exist, and the thread's own row is missing."""
    found = await db.row("find_orphan", key_of(thread))
    if found and found[0] is not None:
        raise orphaned(thread, found[0])


def _check_branches(thread: ThreadRow, sums: Sums | None, branches: Sequence[Columns]) -> None:
    """Raises `CorruptCheckpointError` unless the branches are undamaged, the last has no parent, and their sum is the
    thread's."""
    for branch in branches:
        check_line(thread, *branch)
    is_complete = bool(branches) and branches[-1][1] == 0
    if not is_complete or (sums and add(EMPTY_STATE, *(branch[2] for branch in branches)) != sums.lines):
        raise CorruptCheckpointError(thread.thread, row="the row of a branch", why="it is missing")


async def _bases(db: Session, thread: ThreadRow, page: Sequence[CheckpointRow]) -> dict[int, tuple[ValueRow, ...]]:
    tid, oldest = key_of(thread.thread), page[-1].no
    bases: dict[int, tuple[ValueRow, ...]] = {}
    for row in page:
        if row.parent >= oldest or row.parent in bases or row.parent == 0:
            continue
        if await db.row("find_commit_id", tid, row.ns, row.parent) is not None:
            bases[row.parent] = await _values(db, thread, row.ns, row.parent)
        elif row.parent < thread.floor:
            values = await _values(db, thread, row.ns, row.no)
            bases[row.parent] = tuple(value for value in values if value.no != row.no)
    return bases


async def _values(db: Session, thread: ThreadRow, ns: str, at: int) -> tuple[ValueRow, ...]:
    branches: list[Columns] = []
    values: list[ValueRow] = []
    for arm, channel, no, prev, kind, value, digest in await db.rows("find_state", key_of(thread.thread), ns, at):
        if arm == _BRANCH:
            branches.append((no, prev, digest, value))
        else:
            values.append(value_from(thread.thread, channel, no, prev, kind, value, digest))
    _check_branches(thread, None, branches)
    return tuple(values)
