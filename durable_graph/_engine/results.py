"""The writes of a past task, read from the rows of the checkpoint that it made.

The result of a task that ran alone is not stored in addition to that checkpoint: the same bytes would be stored twice.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from durable_graph._engine.header import RECORD_COST, DecodedHeader, Header, decode_header
from durable_graph._engine.task import Done, Outcome
from durable_graph._engine.values import Values, check_stored_size
from durable_graph.checkpointing.chains import newest_update
from durable_graph.checkpointing.pieces import Pace, Pieces
from durable_graph.errors import DecodeError, GraphChangedError
from durable_graph.graph import Topology
from durable_graph.records import HistoryPage, ValueKind, ValueRow


class Made(msgspec.Struct, frozen=True):
    """The writes of `node` in the superstep `step`, None if the rows do not show them. `by_hand`: an edit made them."""

    node: str
    step: int
    values: Mapping[str, Any] | None
    by_hand: bool


def is_read_back(topology: Topology, outcome: Outcome) -> bool:
    """Whether the writes of this outcome can be read from the rows of the checkpoint that it alone made."""
    if not isinstance(outcome, Done):
        return True
    channels: set[str] = set()
    for write in outcome.writes:
        plan = topology.plans[write.channel]
        is_in_row = plan.replaces or not plan.is_stored or (plan.stores_updates and not write.is_overwrite)
        # Of several writes to a channel, a row has only the last.
        if not is_in_row or write.channel in channels:
            return False
        channels.add(write.channel)
    return True


def by_key(written: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The value of each key that a task wrote; `{"$writes": [...]}` for a key that it wrote several times."""
    values: dict[str, list[Any]] = {}
    for key, value in written:
        values.setdefault(key, []).append(value)
    return {key: found[0] if len(found) == 1 else {"$writes": found} for key, found in values.items()}


def headers_in(page: HistoryPage, skipped: Container[int] = ()) -> Pieces[dict[int, DecodedHeader]]:
    """The headers of a page's checkpoints by their numbers, without those that are `skipped`. Raises `DecodeError`."""
    pace = Pace()
    headers: dict[int, DecodedHeader] = {}
    for checkpoint in page.checkpoints:
        if checkpoint.no in skipped:
            continue
        headers[checkpoint.no] = decode_header(checkpoint.header)
        if pace.is_due(RECORD_COST + len(checkpoint.header)):
            yield
    return headers


def made_in(
    values: Values,
    page: HistoryPage,
    headers: Mapping[int, Header],
    parents: Callable[[int], bool],
    newer: Mapping[int, Made] = MappingProxyType({}),
) -> Pieces[dict[int, Made]]:
    """The writes of single nodes, by the number of the checkpoint whose plan had the node alone.

    They are read from the checkpoints of the page that have a header in `headers`, if `parents` accepts the number of
    the checkpoint's parent. `newer` has the writes found on earlier pages. Raises `DecodeError` and
    `ValueTooLargeError`.
    """
    written: dict[int, list[ValueRow]] = {}
    for row in page.values:
        written.setdefault(row.no, []).append(row)
    made = {no: each for no, each in newer.items() if parents(no)}
    for checkpoint in page.checkpoints:
        header = headers.get(checkpoint.no)
        if header is None or not parents(checkpoint.parent):
            continue
        if values.pace.is_due(RECORD_COST):
            yield
        by_hand = header.source == "update"
        if len(header.writers) != 1 or not (by_hand or header.source == "loop"):
            continue
        shown: dict[str, Any] | None = {}
        for row in written.get(checkpoint.no, ()):
            shown = yield from _with(values, row, shown)
        known = made.get(checkpoint.parent)
        # A run's own writes take precedence over an edit's. Among edits the oldest wins, which is read last.
        if known is None or known.by_hand:
            made[checkpoint.parent] = Made(header.writers[0], header.step, shown, by_hand)
    return made


def _with(values: Values, row: ValueRow, shown: dict[str, Any] | None) -> Pieces[dict[str, Any] | None]:
    """The writes including those of one row; None if the row does not show its writes."""
    topology = values.topology
    if shown is None or row.channel not in topology.channels or row.kind == ValueKind.ABSENT:
        return shown
    codec, rule = topology.codecs.get(row.channel), topology.channels[row.channel]
    if codec is None:
        return shown
    try:
        if row.kind == ValueKind.FULL:
            # A whole value that a reducer made, or that replaced a chain of updates, does not show the last update.
            return {**shown, row.channel: (yield from values.whole(row.channel, row))} if rule.replaces else None
        # A segment ends with the updates of its own superstep.
        newest = newest_update(row)
        if newest is None:
            return None
        check_stored_size(f"channel {row.channel!r}", len(newest), values.max_value_bytes)
        return {**shown, row.channel: codec.update.decode(newest)}
    except (GraphChangedError, DecodeError):
        return None
