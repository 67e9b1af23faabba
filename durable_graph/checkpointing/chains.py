"""The stored rows of a channel as a chain, in bytes: short chains, few bytes, the same updates back.

A channel that is stored as updates is a chain of rows. If each row had only its superstep's updates, a load would read
one row per superstep; if the whole value were stored now and then, the file would grow with the square of its length.
So every FAN-th row of a level is a *segment*: it contains the updates of the previous rows of that level, and replaces
them in the chain. With N supersteps a load reads at most (FAN - 1) * log_FAN(N) rows, and each byte is written at most
log_FAN(N) + 1 times (the levels of a log-structured merge tree, O'Neil et al. 1996).

    row      1  2  ..  31  32       33 ..  63  64
    holds    1  2  ..  31  1-32     33 ..  63  33-64
    prev     0  1  ..  30  0        32 ..  62  32

The first byte of such a row is the mark of the merge rule and the row's level, four bits each. The frames of the
updates follow: the length of each in four bytes, and its bytes.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from durable_graph.checkpointing.digests import value_digest
from durable_graph.checkpointing.pieces import PIECE_BYTES
from durable_graph.errors import DecodeError, ValueTooLargeError
from durable_graph.records import ValueKind, ValueRow, checkpoint_id

FAN = 32

PIECE_UPDATES = 2048
"""The maximum number of updates that are decoded between two pauses, however small they are."""

# The size of a piece is checked after this many bytes of a row.
_STRETCH = 1 << 15
_CUT_SHORT = "an update is cut short"
_WHOLE = -1
_FRAME_HEAD = 4
_frame_size = struct.Struct(">I").unpack_from
# Segments of level 15 hold 32 ** 15 supersteps.
_LEVEL_BITS = 4
_MAX_LEVEL = 15


class Link(msgspec.Struct, frozen=True, gc=False):
    """A row of a chain. `level` is _WHOLE for a row with the whole value, and `frames` is empty then."""

    no: int
    level: int
    frames: bytes | memoryview


class ChannelRows(msgspec.Struct, frozen=True, gc=False):
    """The rows that make a channel's value, and the last row's digest.

    `whole_size` is the value's encoded size when it was last measured, in bytes: a chain that has outgrown it
    (a dict whose keys are written again and again) is replaced by the value. `is_foreign` says that the rows hold
    updates of an earlier rule, which an upcast read: no update of the current rule may follow them.
    """

    links: tuple[Link, ...]
    digest: bytes
    whole_size: int = 0
    is_foreign: bool = False


class Stored(msgspec.Struct, frozen=True):
    """The stored rows of a namespace: each channel's rows, and the sum of their last rows' digests."""

    origin: bytes
    ns: str
    channels: Mapping[str, ChannelRows]
    digest: bytes


def extended(links: tuple[Link, ...], no: int, updates: tuple[bytes, ...], max_row_bytes: int) -> tuple[Link, ...]:
    """The chain with the row of checkpoint `no`: the row itself, or the segment that it completes."""
    newest = Link(no, 0, frames_of(updates))
    while True:
        siblings = links[-(FAN - 1) :]
        if len(siblings) < FAN - 1 or any(link.level != newest.level for link in siblings):
            return (*links, newest)
        frames = b"".join((*(link.frames for link in siblings), newest.frames))
        if len(frames) > max_row_bytes:
            return (*links, newest)
        links = links[: -(FAN - 1)]
        newest = Link(newest.no, newest.level + 1, frames)


def chain_size(links: tuple[Link, ...]) -> int:
    return sum(len(link.frames) for link in links)


def delta_row(stored: Stored, channel: str, links: tuple[Link, ...], mark: int) -> ValueRow:
    """The row of the last link. `mark` is the mark of the channel's merge rule."""
    newest = links[-1]
    prev = links[-2].no if len(links) > 1 else 0
    head = bytes([mark << _LEVEL_BITS | newest.level])
    return signed(stored, ValueRow(channel, newest.no, prev, ValueKind.DELTA, head + newest.frames, b""))


def whole_row(stored: Stored, channel: str, no: int, data: bytes) -> tuple[ValueRow, ChannelRows]:
    """The row of a whole value, and the chain that it begins."""
    row = signed(stored, ValueRow(channel, no, 0, ValueKind.FULL, data, b""))
    return row, ChannelRows((Link(no, _WHOLE, b""),), row.digest, len(data))


def absent_row(stored: Stored, channel: str, no: int) -> tuple[ValueRow, ChannelRows]:
    """The row of a channel that has no value any more, and its empty chain."""
    row = signed(stored, ValueRow(channel, no, 0, ValueKind.ABSENT, b"", b""))
    return row, ChannelRows((), row.digest)


def signed(stored: Stored, row: ValueRow) -> ValueRow:
    """The row with its digest."""
    return msgspec.structs.replace(row, digest=value_digest(stored.origin, stored.ns, row))


def frames_of(updates: tuple[bytes, ...]) -> bytes:
    """Concatenated updates, each after its length: rows are merged by concatenation, without decoding."""
    parts: list[bytes] = []
    for data in updates:
        parts.append(len(data).to_bytes(_FRAME_HEAD, "big"))
        parts.append(data)
    return b"".join(parts)


def updates_of(rows: Iterable[ValueRow], max_value_bytes: int) -> Iterator[list[bytes]]:
    """The updates of delta rows, in pieces of about PIECE_BYTES, and of about PIECE_UPDATES updates at most.

    Raises:
        DecodeError: a row's bytes are not a result of `frames_of`.
        ValueTooLargeError: an update is larger than the limit.
    """
    piece: list[bytes] = []
    room = PIECE_BYTES
    for row in rows:
        mark_of(row)
        at, end = 1, len(row.value)
        while at < end:
            before, known = at, len(piece)
            at = _read_frames(row, at, min(end, at + _STRETCH), piece)
            if end > max_value_bytes:
                _check_sizes(row, piece[known:], max_value_bytes)
            room -= at - before
            if room <= 0 or len(piece) >= PIECE_UPDATES:
                yield piece
                piece, room = [], PIECE_BYTES
    if piece:
        yield piece


def _read_frames(row: ValueRow, at: int, due: int, found: list[bytes]) -> int:
    """Append to `found` the updates whose frames start in `[at, due)`. Returns the start of the next frame."""
    # The loop runs for each update that a thread ever had: checks that can come afterwards are not made in it.
    data, end = row.value, len(row.value)
    try:
        while at < due:
            start = at + _FRAME_HEAD
            at = start + _frame_size(data, at)[0]
            found.append(data[start:at])
    except struct.error as error:
        raise DecodeError(_named(row), _CUT_SHORT) from error
    if at > end:
        raise DecodeError(_named(row), _CUT_SHORT)
    return at


def _check_sizes(row: ValueRow, updates: Iterable[bytes], max_value_bytes: int) -> None:
    for data in updates:
        if len(data) > max_value_bytes:
            raise ValueTooLargeError(
                channel=f"channel {row.channel!r}", size=len(data), limit=max_value_bytes, is_stored=True
            )


def newest_update(row: ValueRow) -> bytes | None:
    """The last update of a delta row, None if it has none. Raises `DecodeError`."""
    mark_of(row)
    start, at, end = 0, 1, len(row.value)
    while at < end:
        start = at + _FRAME_HEAD
        at = start + (_frame_size(row.value, at)[0] if start <= end else 0)
    if at > end:
        raise DecodeError(_named(row), _CUT_SHORT)
    return row.value[start:] if start else None


def mark_of(row: ValueRow) -> int:
    """The mark of the rule that a delta row's updates were written for, in its first byte. Raises `DecodeError`."""
    if not row.value:
        raise DecodeError(_named(row), "the row is empty")
    return row.value[0] >> _LEVEL_BITS


def _named(row: ValueRow) -> str:
    return f"channel {row.channel!r} by checkpoint {checkpoint_id(row.no)!r}"


def chains_of(rows: Iterable[ValueRow]) -> dict[str, tuple[ValueRow, ...]]:
    """The rows of each channel that make its value, oldest first. `rows` may contain others.

    The rows have to be verified: a missing row of a chain raises `KeyError`.
    """
    by_place = {(row.channel, row.no): row for row in rows}
    last: dict[str, int] = {}
    for channel, no in by_place:
        last[channel] = max(no, last.get(channel, 0))
    return {channel: chain_to(by_place, channel, no) for channel, no in last.items()}


def chain_to(rows: Mapping[tuple[str, int], ValueRow], channel: str, last: int) -> tuple[ValueRow, ...]:
    """The rows that lead to a channel's row `last`, oldest first."""
    chain: list[ValueRow] = []
    no = last
    while no:
        row = rows[channel, no]
        chain.append(row)
        no = row.prev
    return tuple(reversed(chain))


def channel_rows(chain: tuple[ValueRow, ...], *, is_foreign: bool = False) -> ChannelRows:
    """A channel's rows after a load, to which a run adds rows. Raises `DecodeError`."""
    links: list[Link] = []
    for row in chain:
        if row.kind == ValueKind.FULL:
            links.append(Link(row.no, _WHOLE, b""))
        elif row.kind == ValueKind.DELTA:
            mark_of(row)
            # A memoryview avoids copying a long chain at every load.
            links.append(Link(row.no, row.value[0] & _MAX_LEVEL, memoryview(row.value)[1:]))
    return ChannelRows(tuple(links), chain[-1].digest, is_foreign=is_foreign)
