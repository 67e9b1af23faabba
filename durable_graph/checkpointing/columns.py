"""Converting database rows to records of the protocol, and back. Columns have the order of the records' fields."""

import struct
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from durable_graph.checkpointing.digests import branch_digest, thread_digest
from durable_graph.checkpointing.rules import thread_info
from durable_graph.errors import CorruptCheckpointError, ValueTooLargeError
from durable_graph.records import (
    STATUSES,
    CheckpointRow,
    NestedRecord,
    Rank,
    RequestRow,
    StoredThread,
    Sums,
    TaskRecord,
    ThreadInfo,
    ThreadRow,
    ValueKind,
    ValueRow,
    checkpoint_id,
)

Columns = tuple[Any, ...]
"""A row as returned by a database driver. The schema defines the types of its columns."""

THREAD_WIDTH = 24
"""The number of columns of a thread's row that queries select, from `thread_id` to `digest`."""

VERSION, STATUS, STATUS_SINCE = 5, 11, 12
"""The indexes of the columns `version`, `status` and `status_since`."""

_json = msgspec.json.Encoder()
_next_decoder = msgspec.json.Decoder(tuple[str, ...])


@lru_cache(maxsize=4096)
def key_of(thread: str) -> int:
    """The key of a thread's rows: 63 bits of a hash of its id."""
    return int.from_bytes(blake2b(thread.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1


def thread_from(thread: str | None, columns: Columns, born: int = 0) -> StoredThread:
    """The thread's row, with the sums and the digest in it. `thread` is the id of the lookup, None in a listing; `born`
    is the smallest number of a task in the head's plan, if it was read.

    Raises `CorruptCheckpointError` for a damaged row.
    """
    row, sums, digest = _thread(columns)
    if row is None:
        raise _damaged(thread, f"{columns[STATUS]!r} is not a status, or another column cannot be read")
    try:
        is_as_stored = thread_digest(row, sums) == digest
    except (TypeError, AttributeError, struct.error) as error:
        # SQLite stores the type of each value, and damage may have changed it.
        raise _damaged(thread, "a column has a value of another type") from error
    if not is_as_stored:
        raise _damaged(thread, "its bytes do not match its digest")
    if thread is not None and row.status != "deleted" and row.thread != thread:
        raise _damaged(thread, f"its key belongs to thread {row.thread!r}")
    return StoredThread(row, sums, born, digest)


def _thread(columns: Columns) -> tuple[ThreadRow | None, Sums, bytes]:
    name, incarnation, origin, graph, graph_digest, version, head, epoch, wseq, gen, floor, *others = columns
    status, since, created, updated, commit_id, after, metadata, error, extra, *sums_found, digest = others[:13]
    sums = Sums(*sums_found)
    try:
        next_ = _next_decoder.decode(after)
    except (msgspec.DecodeError, UnicodeError, TypeError):
        return None, sums, digest
    if status not in STATUSES:
        return None, sums, digest
    row = ThreadRow(
        thread=name or "",
        incarnation=incarnation,
        origin=origin,
        version=version,
        head=head,
        epoch=epoch,
        wseq=wseq,
        gen=gen,
        floor=floor,
        status=status,
        status_since=since,
        commit_id=commit_id,
        graph=graph,
        graph_digest=graph_digest,
        next=next_,
        metadata=metadata,
        error=error,
        created_at=created,
        updated_at=updated,
        extra=extra,
    )
    return row, sums, digest


def _damaged(thread: str | None, why: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(thread or "", row="the thread's row", why=why)


def thread_info_from(columns: Columns) -> ThreadInfo:
    """A thread's item in a listing. For a damaged row it has only the id, the status "damaged" and the reason.

    The row's key follows its other columns.
    """
    try:
        row = thread_from(None, columns).row
        if columns[THREAD_WIDTH] != key_of(row.thread):
            raise _damaged(row.thread, "its key belongs to another thread")
    except CorruptCheckpointError as error:
        return ThreadInfo(columns[0] if isinstance(columns[0], str) else "", "damaged", damage=error.why)
    return thread_info(row)


def signed(row: ThreadRow, sums: Sums, born: int) -> StoredThread:
    """The row as a store keeps it, with its digest."""
    return StoredThread(row, sums, born, thread_digest(row, sums))


def thread_columns(stored: StoredThread, thread: str) -> dict[str, Any]:
    """The columns of the row of `thread`. A deleted thread's row has no id of its own."""
    row, sums = stored.row, stored.sums
    return {
        "thread_key": key_of(thread),
        "thread_id": row.thread or None,
        "incarnation": row.incarnation,
        "origin": row.origin,
        "graph": row.graph,
        "graph_digest": row.graph_digest,
        "version": row.version,
        "head": row.head,
        "epoch": row.epoch,
        "writes_seq": row.wseq,
        "prunes": row.gen,
        "oldest_kept": row.floor,
        "status": row.status,
        "status_since": row.status_since,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "commit_id": row.commit_id,
        "next": next_column(row),
        "metadata": row.metadata,
        "error": row.error,
        "extra": row.extra,
        "writes_digest": sums.writes,
        "branches_digest": sums.branches,
        "requests_digest": sums.requests,
        "digest": stored.digest,
    }


def next_column(row: ThreadRow) -> str:
    """The column `next`: the names of the nodes as a JSON array."""
    return _json.encode(row.next).decode()


_CHECKPOINT = (str, int, int, int, int, bytes, bytes, bytes, bytes, bytes)
_VALUE = (str, int, int, int, bytes, bytes)
_RECORD = (str, int, int, int, int, bytes, bytes, bytes, bytes)
_NESTED = (str, int, int, bytes)
_BRANCH = (int, int, bytes, bytes)
_REQUEST = (str, bytes, int, int, int, bytes, bytes)
VALUE_KEY = (str, str, int, int)
"""The types of a row's columns. SQLite stores the type of each value, and damage may have changed it."""


def check_types(thread: str, what: str, columns: Columns, types: tuple[type, ...]) -> None:
    """Raises `CorruptCheckpointError` for a row with a column of another type. `what` is the row's kind."""
    if tuple(map(type, columns)) != types:
        raise CorruptCheckpointError(thread, row=f"the row of {what}", why="a column has a value of another type")


def checkpoint_from(thread: str, columns: Columns) -> CheckpointRow:
    """A checkpoint's row. Raises `CorruptCheckpointError` for a column of another type."""
    check_types(thread, "a checkpoint", columns, _CHECKPOINT)
    return CheckpointRow(*columns)


def nested_from(thread: str, columns: Columns) -> NestedRecord:
    """The key and digest of a task's record. Raises `CorruptCheckpointError` for a column of another type."""
    check_types(thread, "a task", columns, _NESTED)
    return NestedRecord(*columns)


def checkpoint_columns(key: int, row: CheckpointRow) -> Columns:
    place = (key, row.ns, row.no, row.parent, row.born, row.at)
    return (*place, row.commit_id, row.state_digest, row.digest, row.extra, row.header)


def value_from(thread: str, channel: str, no: int, prev: int, kind: int, value: bytes, digest: bytes) -> ValueRow:
    """A channel's row. Raises `CorruptCheckpointError` for a column of another type and for an unknown kind."""
    check_types(thread, "a channel", (channel, no, prev, kind, value, digest), _VALUE)
    if not 0 <= kind < len(ValueKind):
        what = f"the value of channel {channel!r} of checkpoint {no}"
        raise CorruptCheckpointError(thread, row=what, why=f"{kind} is not a kind of value")
    return ValueRow(channel, no, prev, ValueKind(kind), value, digest)


def above_limit(channel: str, size: int, max_value_bytes: int) -> ValueTooLargeError:
    """The error for a whole value that was not read, because its stored size is above the limit."""
    return ValueTooLargeError(channel=f"channel {channel!r}", size=size, limit=max_value_bytes, is_stored=True)


def value_columns(key: int, ns: str, row: ValueRow) -> Columns:
    return (key, ns, row.channel, row.no, row.prev, int(row.kind), row.digest, row.value)


def record_from(thread: str, columns: Columns) -> TaskRecord:
    """A task's record. Raises `CorruptCheckpointError` for a column of another type and for an unknown rank."""
    check_types(thread, "a task", columns, _RECORD)
    ns, born, ordinal, rank, *rest = columns
    if not 0 <= rank < len(Rank):
        what = f"the record of task {ordinal} of checkpoint {born}"
        raise CorruptCheckpointError(thread, row=what, why=f"{rank} is not a rank")
    return TaskRecord(ns, born, ordinal, Rank(rank), *rest)


def record_columns(key: int, record: TaskRecord) -> Columns:
    place = (key, record.ns, record.born, record.ord, record.rank.value, record.revision)
    return (*place, record.commit_id, record.digest, record.extra, record.value)


def check_branch(thread: ThreadRow, lo: int, parent: int, digest: bytes, extra: bytes = b"") -> None:
    """Raises `CorruptCheckpointError` for a damaged row of a branch."""
    check_types(thread.thread, "a branch", (lo, parent, digest, extra), _BRANCH)
    if branch_digest(thread.origin, lo, parent, extra) != digest:
        what = f"the row of the branch that begins at {lo}"
        raise CorruptCheckpointError(thread.thread, row=what, why="its bytes do not match its digest")


def request_from(thread: str, columns: Columns) -> RequestRow:
    """A request from its columns, `key` first. Raises `CorruptCheckpointError` for a column of another type."""
    check_types(thread, "a request", columns, _REQUEST)
    key, input_digest, seq, checkpoint, made_at, extra, digest = columns
    return RequestRow(key, input_digest, seq, checkpoint, made_at, digest, extra)


def request_columns(key: int, row: RequestRow) -> Columns:
    return (key, row.key, row.input_digest, row.seq, row.checkpoint, row.made_at, row.extra, row.digest)


def orphaned(thread: str, what: str, row: str = "the thread's row") -> CorruptCheckpointError:
    """The error for rows of the kind `what` whose owning `row` is missing."""
    return CorruptCheckpointError(thread, row=row, why=f"it is missing, and {what} of it exist")


def missing_head(thread: ThreadRow) -> CorruptCheckpointError:
    """The error for a thread whose newest checkpoint does not exist."""
    what = f"the row of checkpoint {checkpoint_id(thread.head)!r}"
    return CorruptCheckpointError(thread.thread, row=what, why="it is missing, and it is the thread's newest one")


def missing_newest(thread: str, ns: str) -> CorruptCheckpointError:
    """The error for a namespace that has values, and no checkpoint."""
    return orphaned(thread, "values", f"the row of the newest checkpoint of namespace {ns!r}")
