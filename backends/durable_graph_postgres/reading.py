"""The reads, as functions of a connection: each sees the database as it was at one moment."""

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
_THREAD, _CHECKPOINT, _LINE, _VALUE, _RECORD, _NESTED, _VANISHED, _ORPHAN = 0, 1, 2, 3, 4, 5, 6, 9


class Loaded(NamedTuple):
    """A checkpoint, and what its thread's row vouches for, where it is the head."""

    found: StoredCheckpoint | None
    known: LockedThread | None = None

    @property
    def places(self) -> frozenset[Place]:
        """Where there are task records of the head."""
        if self.found is None:
            return frozenset()
        places = {(record.ns, record.born, record.ord) for record in self.found.records}
        return frozenset(places.union((record.ns, record.born, record.ord) for record in self.found.nested))


async def load(db: Session, thread: str, ns: str, no: int | None, max_value_bytes: int) -> Loaded:
    """A checkpoint with all that makes its state. One statement. Raises `ValueTooLargeError`."""
    arms: Mapping[int, list[Columns]] = {
        arm: [] for arm in (_THREAD, _CHECKPOINT, _LINE, _VALUE, _RECORD, _NESTED, _VANISHED, _ORPHAN)
    }
    for arm, *columns in await db.rows("load", key_of(thread), ns, no, max_value_bytes):
        arms[arm].append(tuple(columns))
    if arms[_ORPHAN]:
        if (what := arms[_ORPHAN][0][0]) is not None:
            raise orphaned(thread, what)
        return Loaded(None)
    row, sums = thread_from(thread, _thread_columns(arms[_THREAD][0][-1]))
    lines = [(lo, parent, digest, extra) for _, lo, parent, _, _, digest, extra, *_ in arms[_LINE]]
    is_head = ns == "" and no in (None, row.head)
    if not arms[_CHECKPOINT]:
        if is_head and row.head:
            what = f"the row of checkpoint {checkpoint_id(row.head)!r}"
            raise CorruptCheckpointError(thread, row=what, why="it is missing, and it is the thread's newest one")
        if ns and no is None and row.head:
            _check_lines(row, sums, lines)
            if arms[_VANISHED]:
                raise orphaned(thread, "values", f"the row of the newest checkpoint of namespace {ns!r}")
        return Loaded(StoredCheckpoint(row, None), LockedThread(row, sums, 0) if not row.head else None)
    # As `checkpoint_from` takes them.
    checkpoint = checkpoint_from(thread, arms[_CHECKPOINT][0][:_CHECKPOINT_WIDTH])
    _check_lines(row, sums if no is None else None, lines)
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
    # All of them are of one namespace. The server gives them as it finds them.
    return record[1:3]


_READ: tuple[Callable[[str], Any], ...] = (
    *(str, int, bytes.fromhex, str, bytes.fromhex, int, int, int, int, int, int, str, int, int, int),
    *(bytes.fromhex, str, str, str, *(bytes.fromhex,) * 5),
)
"""From the text of each column of a thread to its value."""


def _thread_columns(texts: Sequence[str | None]) -> Columns:
    return tuple(None if text is None else read(text) for read, text in zip(_READ, texts, strict=True))


async def history(db: Session, thread: str, ns: str, before: int | None, limit: int) -> HistoryPage | None:
    """A page of checkpoints. Four statements, one more where it has the head, and one or two for each checkpoint
    outside it that one inside follows."""
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
    """All rows of a thread, as they are: under its key, and its own row under another key if one was damaged."""
    tables: dict[str, list[Columns]] = {table: [] for table in COLUMNS}
    for tid in {key_of(thread), await key_in(db, thread)}:
        for table in tables:
            tables[table] += await db.rows(f"export_{table}", tid)
    return ExportedThread(thread, tables) if is_thread(tables) else None


async def find_request(db: Session, thread: str, key: str) -> StoredRequests | None:
    """A request of a thread, or the digests of all where there is none of this key."""
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
    """A page of threads. Each row is checked, so a damaged one hides no other."""
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
    """The key of a thread, also of one that is listed under another id than its own because that is damaged."""
    tid = key_of(thread)
    if await db.rows("is_there", tid):
        return tid
    found = await db.row("find_key", thread)
    key: int = found[0] if found else tid
    return key


async def check_no_orphan(db: Session, thread: str) -> None:
    """Raises `CorruptCheckpointError` if there are rows of a thread that has none itself."""
    found = await db.row("find_orphan", key_of(thread))
    if found and found[0] is not None:
        raise orphaned(thread, found[0])


def _check_lines(thread: ThreadRow, sums: Sums | None, lines: Sequence[Columns]) -> None:
    """Raises `CorruptCheckpointError` unless the branches are whole, reach the beginning and have the thread's sum."""
    for line in lines:
        check_line(thread, *line)
    leads_to_the_beginning = bool(lines) and lines[-1][1] == 0
    if not leads_to_the_beginning or (sums and add(EMPTY_STATE, *(line[2] for line in lines)) != sums.lines):
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
    lines: list[Columns] = []
    values: list[ValueRow] = []
    for arm, channel, no, prev, kind, value, digest in await db.rows("find_state", key_of(thread.thread), ns, at):
        if arm == _LINE:
            lines.append((no, prev, digest, value))
        else:
            values.append(value_from(thread.thread, channel, no, prev, kind, value, digest))
    _check_lines(thread, None, lines)
    return tuple(values)
