"""Digests that bind a row's bytes to its key: a damaged, moved or missing row is detected before decoding.

BLAKE2b with 16 bytes, personalised by the kind of row. The first byte of the input is the row's format, so that a
later format can cover other fields. Fields are length-prefixed: no two different rows give one input. The state digest
is a sum modulo 2^128 over the channels' last rows (an incremental multiset hash, Bellare and Micciancio 1997, here
against accidents and not against an adversary): a commit updates it by the changes, a load recomputes it.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

from durable_graph.checkpointing.pieces import PIECE_BYTES, Pieces, at_once
from durable_graph.records import (
    EMPTY_SUM,
    CheckpointRow,
    NestedRecord,
    RequestRow,
    Sums,
    TaskRecord,
    ThreadRow,
    ValueRow,
)

SIZE = 16
_FORMAT = b"\x01"
"""The format of the rows: the fields that a digest covers, and their order."""
_LENGTH = struct.Struct(">Q").pack
# Integers are fields of 8 bytes, with a length prefix as all fields.
_INT = struct.Struct(">Qq").pack
_INTS_3 = struct.Struct(">QqQqQq").pack
_INTS_4 = struct.Struct(">QqQqQqQq").pack
_INTS_5 = struct.Struct(">QqQqQqQqQq").pack
_LONG = 1 << 16
_MODULUS = 1 << 128

EMPTY_STATE = EMPTY_SUM


def origin_of(thread: str, incarnation: int) -> bytes:
    """The origin of a new thread, which the digests of its rows include."""
    return _digest(b"dg-origin", _text(thread), _INT(8, incarnation))


def value_digest(origin: bytes, ns: str, row: ValueRow) -> bytes:
    if len(row.value) <= _LONG:
        return _hashed(b"dg-value", *_before_value(origin, ns, row), row.value)
    return at_once(value_digested(origin, ns, row))


def value_digested(origin: bytes, ns: str, row: ValueRow) -> Pieces[bytes]:
    """`value_digest` for a long row, in pieces."""
    # Joining all fields would copy the long value.
    hashed = blake2b(b"".join(_before_value(origin, ns, row)), digest_size=SIZE, person=b"dg-value")
    value = memoryview(row.value)
    for at in range(0, len(value), PIECE_BYTES):
        if at:
            yield
        hashed.update(value[at : at + PIECE_BYTES])
    return hashed.digest()


def _before_value(origin: bytes, ns: str, row: ValueRow) -> tuple[bytes, ...]:
    place = _INTS_3(8, row.no, 8, row.prev, 8, row.kind)
    return (_FORMAT, _LENGTH(len(origin)), origin, _text(ns), _text(row.channel), place, _LENGTH(len(row.value)))


def checkpoint_digest(origin: bytes, row: CheckpointRow) -> bytes:
    return _digest(
        b"dg-checkpoint",
        _LENGTH(len(origin)),
        origin,
        _text(row.ns),
        _INTS_4(8, row.no, 8, row.parent, 8, row.born, 8, row.at),
        _LENGTH(len(row.commit_id)),
        row.commit_id,
        _LENGTH(len(row.header)),
        row.header,
        _LENGTH(len(row.state_digest)),
        row.state_digest,
        _field(row.extra),
    )


def record_digest(origin: bytes, record: TaskRecord) -> bytes:
    return _digest(
        b"dg-task",
        _LENGTH(len(origin)),
        origin,
        _text(record.ns),
        _INTS_4(8, record.born, 8, record.ord, 8, record.rank.value, 8, record.revision),
        _LENGTH(len(record.commit_id)),
        record.commit_id,
        _LENGTH(len(record.value)),
        record.value,
        _field(record.extra),
    )


def thread_digest(row: ThreadRow, sums: Sums) -> bytes:
    """The digest of a thread's row, with the sums over other rows that it contains.

    The digest omits the epoch: operators change the epoch in SQL to refuse writers, and databases lack this hash.
    """
    # Each commit computes it, so that it calls few functions of Python.
    metadata = row.metadata.encode("utf-8", "surrogatepass")
    fields = (
        _before_version(row.thread, row.incarnation, row.origin),
        _INTS_5(8, row.version, 8, row.head, 8, row.wseq, 8, row.gen, 8, row.floor),
        _text(row.status),
        _INTS_3(8, row.status_since, 8, row.created_at, 8, row.updated_at),
        _LENGTH(len(row.commit_id)),
        row.commit_id,
        b"\x00" if row.graph is None else b"\x01" + _text(row.graph),
        _LENGTH(len(row.graph_digest)),
        row.graph_digest,
        _INT(8, len(row.next)),
        *map(_text, row.next),
        _LENGTH(len(metadata)),
        metadata,
        b"\x00" if row.error is None else b"\x01" + _field(row.error.encode("utf-8", "surrogatepass")),
        _LENGTH(len(row.extra)),
        row.extra,
        _LENGTH(len(sums.writes)),
        sums.writes,
        _LENGTH(len(sums.branches)),
        sums.branches,
        _LENGTH(len(sums.requests)),
        sums.requests,
    )
    return blake2b(b"".join(fields), digest_size=SIZE, person=b"dg-thread").digest()


@lru_cache(maxsize=1024)
def _before_version(thread: str, incarnation: int, origin: bytes) -> bytes:
    """The fields that no commit of a thread changes."""
    return _FORMAT + _text(thread) + _INT(8, incarnation) + _field(origin)


def branch_digest(origin: bytes, first: int, parent: int, extra: bytes = b"") -> bytes:
    """The digest of a branch's row: the branch starts with checkpoint `first` and grows from `parent`."""
    return _digest(b"dg-branch", _field(origin), _INT(8, first), _INT(8, parent), _field(extra))


def request_digest(origin: bytes, row: RequestRow) -> bytes:
    return _digest(
        b"dg-request",
        _field(origin),
        _text(row.key),
        _field(row.input_digest),
        _INTS_3(8, row.seq, 8, row.checkpoint, 8, row.made_at),
        _field(row.extra),
    )


def add(total: bytes, *digests: bytes) -> bytes:
    """`total` with digests added to it."""
    return _shift(total, digests, 1)


def subtract(total: bytes, *digests: bytes) -> bytes:
    """`total` with digests subtracted from it."""
    return _shift(total, digests, -1)


def state_digest(last_rows: Iterable[ValueRow]) -> bytes:
    """The sum over the last row of every channel. Each row's digest already binds its channel and number."""
    return add(EMPTY_STATE, *(row.digest for row in last_rows))


def writes_digest(records: Iterable[TaskRecord | NestedRecord]) -> bytes:
    """The sum over task records. The sum over the head's records detects a missing record."""
    return add(EMPTY_STATE, *map(share_of, records))


def share_of(record: TaskRecord | NestedRecord) -> bytes:
    """A record's share of the sum over task records.

    The share of a nested record includes its key again: a load of the head has only the key and the digest of nested
    records, and cannot recompute the digest.
    """
    if record.ns == "":
        return record.digest
    place = _INT(8, record.born) + _INT(8, record.ord)
    return _digest(b"dg-nested", _text(record.ns), place, _field(record.digest))


def _shift(total: bytes, digests: Iterable[bytes], sign: int) -> bytes:
    number = int.from_bytes(total, "big")
    for digest in digests:
        number += sign * int.from_bytes(digest, "big")
    return (number % _MODULUS).to_bytes(SIZE, "big")


def _field(data: bytes) -> bytes:
    return _LENGTH(len(data)) + data


@lru_cache(maxsize=1024)
def _text(text: str) -> bytes:
    """A field of text, cached: the same few names are repeated often."""
    return _field(text.encode("utf-8", "surrogatepass"))


def _digest(kind: bytes, *parts: bytes) -> bytes:
    return _hashed(kind, _FORMAT, *parts)


def _hashed(kind: bytes, *parts: bytes) -> bytes:
    return blake2b(b"".join(parts), digest_size=SIZE, person=kind).digest()
