"""Digests that bind a row's bytes to its place: a damaged, moved or vanished row is noticed before it is decoded.

BLAKE2b with 16 bytes, personalised by the kind of row. Fields are length-prefixed: no two different rows give one
input. The state digest is a sum modulo 2^128 over the channels' last rows (an incremental multiset hash, Bellare and
Micciancio 1997, here against accidents and not against an adversary): a commit updates it with what changed, a load
computes it whole.
"""

import struct
from collections.abc import Iterable
from hashlib import blake2b

from durable_graph.records import CheckpointRow, NestedRecord, TaskRecord, ThreadRow, ValueRow

SIZE = 16
_LENGTH = struct.Struct(">Q").pack
_INT = struct.Struct(">Qq").pack
_LONG = 1 << 16
_MODULUS = 1 << 128

EMPTY_STATE = bytes(SIZE)


def origin_of(thread: str, incarnation: int) -> bytes:
    """What the rows of a new thread are bound to."""
    return _digest(b"dg-origin", thread, incarnation)


def value_digest(origin: bytes, ns: str, row: ValueRow) -> bytes:
    return _digest(b"dg-value", origin, ns, row.channel, row.no, row.prev, int(row.kind), row.value)


def checkpoint_digest(origin: bytes, row: CheckpointRow) -> bytes:
    return _digest(
        b"dg-checkpoint",
        origin,
        row.ns,
        row.no,
        row.parent,
        row.born,
        row.at,
        row.commit_id,
        row.header,
        row.state_digest,
    )


def record_digest(origin: bytes, record: TaskRecord) -> bytes:
    return _digest(
        b"dg-task",
        origin,
        record.ns,
        record.born,
        record.ord,
        record.rank.value,
        record.revision,
        record.commit_id,
        record.value,
    )


def thread_digest(row: ThreadRow, *sums: bytes) -> bytes:
    """For the saver's own row of a thread; `sums` are those over other rows that it keeps in it."""
    return _digest(
        b"dg-thread",
        row.thread,
        row.incarnation,
        row.origin,
        row.version,
        row.head,
        row.epoch,
        row.wseq,
        row.gen,
        row.floor,
        row.status,
        row.status_since,
        row.commit_id,
        *sums,
    )


def line_digest(origin: bytes, lo: int, parent: int) -> bytes:
    """For the saver's row of a line: it begins with checkpoint `lo` and grows from `parent`."""
    return _digest(b"dg-line", origin, lo, parent)


def add(total: bytes, *digests: bytes) -> bytes:
    """`total` with digests added to it."""
    return _shift(total, digests, 1)


def subtract(total: bytes, *digests: bytes) -> bytes:
    """`total` with digests taken out of it."""
    return _shift(total, digests, -1)


def state_digest(last_rows: Iterable[ValueRow]) -> bytes:
    """The sum over the last row of every channel. Each row's digest already binds its channel and number."""
    return add(EMPTY_STATE, *(row.digest for row in last_rows))


def writes_digest(records: Iterable[TaskRecord | NestedRecord]) -> bytes:
    """The sum over task records: that of the head's tells whether one of them vanished."""
    return add(EMPTY_STATE, *map(share_of, records))


def share_of(record: TaskRecord | NestedRecord) -> bytes:
    """What a record adds to the sum over task records.

    One of a namespace adds its place once more: where only the sum is checked, its own digest cannot be made again.
    """
    if record.ns == "":
        return record.digest
    return _digest(b"dg-nested", record.ns, record.born, record.ord, record.digest)


def _shift(total: bytes, digests: Iterable[bytes], sign: int) -> bytes:
    number = int.from_bytes(total, "big")
    for digest in digests:
        number += sign * int.from_bytes(digest, "big")
    return (number % _MODULUS).to_bytes(SIZE, "big")


def _digest(kind: bytes, *fields: bytes | str | int) -> bytes:
    hashed = blake2b(digest_size=SIZE, person=kind)
    # Together, which is quicker than one by one; but a long field is not copied for it.
    parts: list[bytes] = []
    for field in fields:
        if isinstance(field, int):
            parts.append(_INT(8, field))
            continue
        data = field.encode("utf-8", "surrogatepass") if isinstance(field, str) else field
        parts.append(_LENGTH(len(data)))
        if len(data) > _LONG:
            hashed.update(b"".join(parts))
            hashed.update(data)
            parts.clear()
        else:
            parts.append(data)
    hashed.update(b"".join(parts))
    return hashed.digest()
