"""Between a database's tuples and the records of the protocol. Columns come in the order of the records' fields."""

from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from durable_graph.checkpointing.digests import EMPTY_STATE, line_digest, thread_digest
from durable_graph.errors import CorruptCheckpointError
from durable_graph.records import (
    STATUSES,
    CheckpointRow,
    Rank,
    Status,
    TaskRecord,
    ThreadInfo,
    ThreadRow,
    ValueKind,
    ValueRow,
)

Columns = tuple[Any, ...]
"""A row as a driver gives it. Which type stands where is the schema's word."""

THREAD_WIDTH = 15
_STATUS_NUMBERS = {status: number for number, status in enumerate(STATUSES)}


class Sums(NamedTuple):
    """What a thread's row vouches for: the task records of its head, and the lines that led to its version."""

    writes: bytes = EMPTY_STATE
    lines: bytes = EMPTY_STATE


class LockedThread(NamedTuple):
    """A thread as a transaction found it. `born` is how far back the plan of its head goes."""

    row: ThreadRow
    sums: Sums
    born: int


@lru_cache(maxsize=4096)
def key_of(thread: str) -> int:
    """The key that a thread's rows have: 63 bits of a hash, so that it is the same for whoever looks for them."""
    return int.from_bytes(blake2b(thread.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1


def status_number(status: Status) -> int:
    return _STATUS_NUMBERS[status]


def thread_from(thread: str, columns: Columns) -> tuple[ThreadRow, Sums]:
    """The thread's row and what it vouches for. Raises `CorruptCheckpointError` for a damaged one."""
    name, incarnation, origin, version, head, epoch, wseq, gen, floor, *others = columns[:THREAD_WIDTH]
    status, since, commit_id, writes, lines, digest = others
    sums = Sums(writes, lines)
    if not 0 <= status < len(STATUSES):
        raise CorruptCheckpointError(thread, row="the thread's row", why=f"{status} is no status")
    row = ThreadRow(
        name, incarnation, origin, version, head, epoch, wseq, gen, floor, STATUSES[status], since, commit_id
    )
    if thread_digest(row, *sums) != digest:
        raise CorruptCheckpointError(thread, row="the thread's row", why="its bytes do not match its digest")
    if row.thread != thread:
        raise CorruptCheckpointError(thread, row="the thread's row", why=f"its key belongs to thread {row.thread!r}")
    return row, sums


def thread_info_from(columns: Columns) -> ThreadInfo:
    """A thread as a listing shows it. A status that there is not is listed as failed: somebody has to look at it."""
    thread, status, *numbers = columns
    return ThreadInfo(thread, STATUSES[status] if 0 <= status < len(STATUSES) else "failed", *numbers)


def thread_columns(row: ThreadRow, sums: Sums) -> dict[str, Any]:
    return {
        "tid": key_of(row.thread),
        "thread": row.thread,
        "incarnation": row.incarnation,
        "origin": row.origin,
        "version": row.version,
        "head": row.head,
        "epoch": row.epoch,
        "wseq": row.wseq,
        "gen": row.gen,
        "floor": row.floor,
        "status": status_number(row.status),
        "status_since": row.status_since,
        "commit_id": row.commit_id,
        "writes_digest": sums.writes,
        "lines_digest": sums.lines,
        "digest": thread_digest(row, *sums),
    }


def checkpoint_from(columns: Columns) -> CheckpointRow:
    return CheckpointRow(*columns)


def checkpoint_columns(tid: int, row: CheckpointRow) -> Columns:
    place = (tid, row.ns, row.no, row.parent, row.born, row.at)
    return (*place, row.commit_id, row.state_digest, row.digest, row.header)


def value_from(thread: str, channel: str, no: int, prev: int, kind: int, value: bytes, digest: bytes) -> ValueRow:
    """A channel's row. Raises `CorruptCheckpointError` for a kind that there is not."""
    if not 0 <= kind < len(ValueKind):
        what = f"the value of channel {channel!r} of checkpoint {no}"
        raise CorruptCheckpointError(thread, row=what, why=f"{kind} is no kind of value")
    return ValueRow(channel, no, prev, ValueKind(kind), value, digest)


def value_columns(tid: int, ns: str, row: ValueRow) -> Columns:
    return (tid, ns, row.channel, row.no, row.prev, int(row.kind), row.digest, row.value)


def record_from(thread: str, columns: Columns) -> TaskRecord:
    """A task's record. Raises `CorruptCheckpointError` for a rank that there is not."""
    ns, born, ordinal, rank, *rest = columns
    if not 0 <= rank < len(Rank):
        what = f"the record of task {ordinal} of checkpoint {born}"
        raise CorruptCheckpointError(thread, row=what, why=f"{rank} is no rank")
    return TaskRecord(ns, born, ordinal, Rank(rank), *rest)


def record_columns(tid: int, record: TaskRecord) -> Columns:
    place = (tid, record.ns, record.born, record.ord, record.rank.value, record.revision)
    return (*place, record.commit_id, record.digest, record.value)


def check_line(thread: ThreadRow, lo: int, parent: int, digest: bytes) -> None:
    """Raises `CorruptCheckpointError` for a damaged row of a line."""
    if line_digest(thread.origin, lo, parent) != digest:
        what = f"the row of the line that begins at {lo}"
        raise CorruptCheckpointError(thread.thread, row=what, why="its bytes do not match its digest")


def orphaned(thread: str, what: str) -> CorruptCheckpointError:
    """The error where there are rows of a thread, of the kind `what`, and it has none itself."""
    return CorruptCheckpointError(thread, row="the thread's row", why=f"it is missing and {what} of it are there")
