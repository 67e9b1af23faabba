"""Decoding rows to the values of channels, in pieces. Rows that several checkpoints share are decoded once."""

import copy
import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from durable_graph.channels import MISSING, Channel, UpdateRefused, merged_by_mark
from durable_graph.checkpointing.chains import mark_of, updates_of
from durable_graph.checkpointing.pieces import Pace, Pieces
from durable_graph.codec import Upcast
from durable_graph.errors import DecodeError, GraphChangedError, ValueTooLargeError
from durable_graph.errors.shown import shown
from durable_graph.graph import Topology
from durable_graph.records import ValueKind, ValueRow

Chain = tuple[ValueRow, ...]
"""The rows that make a channel's value, oldest first."""


_UPDATE_COST = 128
"""The fixed cost of an update, as a number of bytes."""


class Values:
    """Decodes the channels' values of one load.

    All methods raise:
        GraphChangedError: a stored value does not fit the channel's type or rule any more.
        DecodeError: a row whose bytes this library did not write.
        ValueTooLargeError: a value above the limit, which is not decoded.
    """

    def __init__(self, topology: Topology, max_value_bytes: int) -> None:
        self.topology: Topology = topology
        self.max_value_bytes: int = max_value_bytes
        self.pace: Pace = Pace()

    def of(self, channel: str, chain: Chain) -> Pieces[Any]:
        """The value of a chain, MISSING if the channel has none."""
        upcast = self._upcast_of_former(channel, chain)
        if upcast is not None:
            return (yield from self._former(channel, chain, upcast))
        whole, updates = _parts(chain)
        value = yield from self._start(channel, whole)
        return (yield from self._merged(channel, value, updates))

    def whole(self, channel: str, row: ValueRow) -> Pieces[Any]:
        """The value of a row that holds all of it."""
        check_stored_size(f"channel {channel!r}", len(row.value), self.max_value_bytes)
        try:
            with _collecting_later():
                value = self.topology.codecs[channel].value.decode(row.value)
        except DecodeError as error:
            raise GraphChangedError.of_channel(channel, why=error.why) from error
        if self.pace.is_due(len(row.value)):
            yield
        return value

    def _upcast_of_former(self, channel: str, chain: Chain) -> Upcast | None:
        """The upcast for updates that were stored for an earlier rule of the channel, if there is one."""
        if former_mark(self.topology.channels.get(channel), chain) is None:
            return None
        first = next(updates_of(_parts(chain)[1], self.max_value_bytes), None)
        return self.topology.codecs[channel].value.upcast_of(first[0]) if first else None

    def _former(self, channel: str, chain: Chain, upcast: Upcast) -> Pieces[Any]:
        """The upcasted value: the updates are merged by the rule that they were written for, then upcasted."""
        codec = self.topology.codecs[channel].value
        whole, rows = _parts(chain)
        updates: list[Any] = []
        with _decoding(channel):
            value = MISSING if whole is None or whole.kind == ValueKind.ABSENT else codec.decode_plain(whole.value)
        for data in updates_of(rows, self.max_value_bytes):
            with _decoding(channel):
                updates.extend(map(codec.decode_plain, data))
            if self.pace.is_due(sum(map(len, data)) + _UPDATE_COST * len(data)):
                yield
        with _decoding(channel):
            return codec.upcasted(upcast, merged_by_mark(mark_of(rows[0]), value, updates))

    def _start(self, channel: str, whole: ValueRow | None) -> Pieces[Any]:
        if whole is not None:
            return MISSING if whole.kind == ValueKind.ABSENT else (yield from self.whole(channel, whole))
        rule = self.topology.channels.get(channel)
        return rule.initial() if rule is not None else MISSING

    def _merged(self, channel: str, value: Any, rows: Sequence[ValueRow]) -> Pieces[Any]:
        if not rows:
            return value
        rule = self._rule(channel, rows)
        with _fitting(channel):
            merging = rule.merging(value)
        for data in updates_of(rows, self.max_value_bytes):
            with _collecting_later():
                updates = self._updates(channel, data)
                with _fitting(channel):
                    merging.add(updates)
            if self.pace.is_due(sum(map(len, data)) + _UPDATE_COST * len(data)):
                yield
        with _fitting(channel):
            return merging.value()

    def _updates(self, channel: str, data: list[bytes]) -> list[Any]:
        try:
            return self.topology.codecs[channel].update.decode_all(data)
        except DecodeError as error:
            raise GraphChangedError.of_channel(channel, why=error.why) from error

    def _rule(self, channel: str, rows: Sequence[ValueRow]) -> Channel:
        rule = self.topology.channels.get(channel)
        if rule is None or not rule.stores_updates:
            raise GraphChangedError.of_channel(
                channel, why="it was stored as updates, and the current reducer does not merge updates"
            )
        if any(mark_of(row) != rule.mark for row in rows):
            raise GraphChangedError.of_channel(channel, why="it was stored as updates of another reducer")
        return rule


class PageValues(Values):
    """Decodes the values of the checkpoints of one page, whose oldest checkpoint has the number `oldest`.

    Each row is decoded once, and the updates from before the page are merged once. Each returned value is a shallow
    copy: changing the list of one checkpoint does not change those of others, but their items are shared.
    """

    def __init__(self, topology: Topology, max_value_bytes: int, oldest: int) -> None:
        super().__init__(topology, max_value_bytes)
        self._oldest = oldest
        self._wholes: dict[tuple[str, int], Any] = {}
        self._before: dict[tuple[str, int], Any] = {}
        self._decoded: dict[tuple[str, int], list[Any]] = {}

    def of(self, channel: str, chain: Chain) -> Pieces[Any]:
        """The value of a chain, MISSING if the channel has none."""
        upcast = self._upcast_of_former(channel, chain)
        if upcast is not None:
            return (yield from self._former(channel, chain, upcast))
        whole, updates = _parts(chain)
        shared = [row for row in updates if row.no < self._oldest]
        value = yield from self._value_before(channel, whole, shared)
        own = updates[len(shared) :]
        if own:
            rule = self._rule(channel, own)
            with _fitting(channel):
                merging = rule.merging(value)
            for row in own:
                decoded = yield from self._decoded_once(channel, row)
                with _fitting(channel):
                    merging.add(decoded)
            with _fitting(channel):
                value = merging.value()
        return copy.copy(value)

    def whole(self, channel: str, row: ValueRow) -> Pieces[Any]:
        """The value of a row that holds all of it."""
        place = channel, row.no
        if place not in self._wholes:
            self._wholes[place] = yield from super().whole(channel, row)
        return self._wholes[place]

    def _value_before(self, channel: str, whole: ValueRow | None, shared: Sequence[ValueRow]) -> Pieces[Any]:
        # A row refers to the row before it, so the number of the last row identifies the whole chain.
        for at in range(len(shared), 0, -1):
            place = channel, shared[at - 1].no
            if place in self._before:
                value, remaining = self._before[place], shared[at:]
                break
        else:
            value, remaining = (yield from self._start(channel, whole)), shared
        if remaining:
            value = yield from self._merged(channel, value, remaining)
            self._before[channel, remaining[-1].no] = value
        return value

    def _decoded_once(self, channel: str, row: ValueRow) -> Pieces[list[Any]]:
        place = channel, row.no
        if place not in self._decoded:
            decoded: list[Any] = []
            for data in updates_of((row,), self.max_value_bytes):
                decoded.extend(self._updates(channel, data))
                if self.pace.is_due(sum(map(len, data)) + _UPDATE_COST * len(data)):
                    yield
            self._decoded[place] = decoded
        return self._decoded[place]


def former_mark(rule: Channel | None, chain: Chain) -> int | None:
    """The mark of the rule that the updates were written for, if it is not the channel's current rule."""
    own = rule.mark if rule is not None and rule.stores_updates else None
    return next((mark for row in chain if row.kind == ValueKind.DELTA and (mark := mark_of(row)) != own), None)


def check_stored_size(where: str, size: int, max_value_bytes: int) -> None:
    """Raises `ValueTooLargeError` for stored bytes above the limit."""
    if size > max_value_bytes:
        raise ValueTooLargeError(channel=where, size=size, limit=max_value_bytes, is_stored=True)


def _parts(chain: Chain) -> tuple[ValueRow | None, Chain]:
    """The last row that is not an update (a whole value, or ABSENT), if there is one, and the updates after it."""
    for at in range(len(chain) - 1, -1, -1):
        if chain[at].kind != ValueKind.DELTA:
            return chain[at], chain[at + 1 :]
    return None, chain


@contextmanager
def _decoding(channel: str) -> Iterator[None]:
    try:
        yield
    except DecodeError as error:
        raise GraphChangedError.of_channel(channel, why=error.why) from error
    except UpdateRefused as error:
        raise GraphChangedError.of_channel(channel, why=str(error)) from error


@contextmanager
def _fitting(channel: str) -> Iterator[None]:
    """Turn an error of the rule into `GraphChangedError`: the rule would never have stored such updates."""
    try:
        yield
    except Exception as error:
        raise GraphChangedError.of_channel(channel, why=shown(error)) from error


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Pause garbage collection while one piece is decoded.

    Decoded values stay alive. The collector would traverse them again and again while their number grows, and soon all
    other objects of the process: for LangChain's messages, of seven objects each, that cost more than decoding.
    """
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_collecting:
            gc.enable()
