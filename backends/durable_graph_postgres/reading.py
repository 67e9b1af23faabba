"""The reads, as functions of a connection: each sees the database as it was at one moment."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from durable_graph.checkpointing.columns import (
    THREAD_WIDTH,
    Columns,
    LockedThread,
    Sums,
    check_line,
    checkpoint_from,
    key_of,
    orphaned,
    record_from,
    status_number,
    thread_from,
    thread_info_from,
    value_from,
)
from durable_graph.checkpointing.digests import EMPTY_STATE, add
from durable_graph.errors import CorruptCheckpointError
from durable_graph.records import (
    CheckpointRow,
    HistoryPage,
    NestedRecord,
    Status,
    StoredCheckpoint,
    StoredRecords,
    ThreadInfo,
    ThreadRow,
    ValueRow,
    checkpoint_id,
)
from durable_graph_postgres.moves import Place
from durable_graph_postgres.session import Session

_BEYOND = 1 << 62
_THREAD, _CHECKPOINT, _LINE, _VALUE, _RECORD, _NESTED, _ORPHAN = 0, 1, 2, 3, 4, 5, 9


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


async def load(db: Session, thread: str, ns: str, no: int | None) -> Loaded:
    """A checkpoint with all that makes its state. One statement."""
    arms: Mapping[int, list[Columns]] = {
        arm: [] for arm in (_THREAD, _CHECKPOINT, _LINE, _VALUE, _RECORD, _NESTED, _ORPHAN)
    }
    for arm, *columns in await db.rows("load", key_of(thread), ns, no):
        arms[arm].append(tuple(columns))
    if arms[_ORPHAN]:
        if (what := arms[_ORPHAN][0][0]) is not None:
            raise orphaned(thread, what)
        return Loaded(None)
    row, sums = thread_from(thread, _thread_columns(arms[_THREAD][0]))
    lines = [(lo, parent, digest) for _, lo, parent, *_, digest, _, _, _, _ in arms[_LINE]]
    is_head = ns == "" and no in (None, row.head)
    if not arms[_CHECKPOINT]:
        if is_head and row.head:
            what = f"the row of checkpoint {checkpoint_id(row.head)!r}"
            raise CorruptCheckpointError(thread, row=what, why="the thread is at it and it is missing")
        if ns and no is None and row.head:
            _check_lines(row, sums, lines)
        return Loaded(StoredCheckpoint(row, None), LockedThread(row, sums, 0) if not row.head else None)
    ns, number, parent, born, at, *_, commit_id, header, state_digest, digest, _ = arms[_CHECKPOINT][0]
    checkpoint = CheckpointRow(ns, number, parent, born, at, commit_id, header, state_digest, digest)
    _check_lines(row, sums if no is None else None, lines)
    found = StoredCheckpoint(
        row,
        checkpoint,
        tuple(
            value_from(thread, channel, no, prev, kind, value, digest)
            for channel, no, prev, kind, _, _, _, _, _, _, value, digest, *_ in arms[_VALUE]
        ),
        tuple(
            record_from(thread, (ns, born, order, rank, revision, commit_id, value, digest))
            for ns, born, order, rank, revision, _, _, _, _, _, commit_id, value, digest, _, _ in sorted(
                arms[_RECORD], key=_place
            )
        ),
        sums.writes if is_head else None,
        tuple(
            NestedRecord(ns, born, order, digest) for ns, born, order, _, _, _, _, _, _, _, digest, *_ in arms[_NESTED]
        ),
    )
    return Loaded(found, LockedThread(row, sums, born) if is_head else None)


def _place(record: Columns) -> Columns:
    # All of them are of one namespace. The server gives them as it finds them.
    return record[1:3]


def _thread_columns(columns: Columns) -> Columns:
    name, incarnation, version, head, epoch, wseq, gen, floor, status, since, *others = columns
    origin, commit_id, writes, lines, digest = others
    place = (name, incarnation, origin, version, head, epoch, wseq, gen, floor, status, since)
    return (*place, commit_id, writes, lines, digest)


async def history(db: Session, thread: str, ns: str, before: int | None, limit: int) -> HistoryPage | None:
    """A page of checkpoints. Four statements, and one or two for each checkpoint outside it that one inside follows."""
    tid = key_of(thread)
    columns = await db.row("find_thread", tid)
    if columns is None:
        await check_no_orphan(db, thread)
        return None
    row, _ = thread_from(thread, columns)
    sought = await db.rows("page_of_checkpoints", tid, ns, _BEYOND if before is None else before, limit + 1)
    found = [checkpoint_from(each) for each in sought]
    page = found[:limit]
    if not page:
        return HistoryPage(row, (), (), {}, (), 0)
    lo, hi, born = page[-1].no, page[0].no, min(each.born for each in page)
    values = await db.rows("page_of_values", tid, ns, lo, hi)
    records = await db.rows("page_of_records", tid, ns, born, hi)
    return HistoryPage(
        thread=row,
        checkpoints=tuple(page),
        values=tuple(value_from(thread, *each) for each in values),
        bases=await _bases(db, row, page),
        records=tuple(record_from(thread, each) for each in records),
        older=lo if len(found) > limit else 0,
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


async def list_threads(
    db: Session, status: Status | None, limit: int, after: str | None, before: int | None
) -> list[ThreadInfo]:
    """A page of threads by id. It shows rows as they are: one that is damaged must not hide the others."""
    name = "list_threads" if status is None else "list_threads_of_status"
    since = _BEYOND if before is None else before
    found = await db.rows(name, after or "", status_number(status or "deleted"), limit, since)
    return [thread_info_from(columns) for columns in found]


async def check_no_orphan(db: Session, thread: str) -> None:
    """Raises `CorruptCheckpointError` if there are rows of a thread that has none itself."""
    found = await db.row("find_orphan", key_of(thread))
    if found and found[0] is not None:
        raise orphaned(thread, found[0])


def _check_lines(thread: ThreadRow, sums: Sums | None, lines: Sequence[Columns]) -> None:
    """Raises `CorruptCheckpointError` unless the lines are whole, lead to the beginning and are those vouched for."""
    for lo, parent, digest in lines:
        check_line(thread, lo, parent, digest)
    leads_to_the_beginning = bool(lines) and lines[-1][1] == 0
    if not leads_to_the_beginning or (sums and add(EMPTY_STATE, *(line[2] for line in lines)) != sums.lines):
        raise CorruptCheckpointError(thread.thread, row="the row of a line", why="it is missing")


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
            lines.append((no, prev, digest))
        else:
            values.append(value_from(thread.thread, channel, no, prev, kind, value, digest))
    _check_lines(thread, None, lines)
    return tuple(values)
