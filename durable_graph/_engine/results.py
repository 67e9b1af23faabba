"""What a task wrote, read off the superstep after it.

The result of a task that ran alone is not stored beside the checkpoint that it made: that would be the same bytes a
second time. Whoever looks back at the task finds it there.
"""

from collections.abc import Container, Mapping
from typing import Any

import msgspec

from durable_graph._engine.header import decode_header
from durable_graph._engine.restore import Rows, rows_in
from durable_graph._engine.rows import chain_to, read_delta, updates_in
from durable_graph._engine.task import Done, Outcome, Write
from durable_graph.channels import Channel
from durable_graph.errors import DecodeError
from durable_graph.graph import Topology
from durable_graph.records import HistoryPage, ValueKind, ValueRow


class Made(msgspec.Struct, frozen=True):
    """What `node` wrote in the superstep `step`, None where its rows do not say. `by_hand`: an edit says so."""

    node: str
    step: int
    values: Mapping[str, Any] | None
    by_hand: bool


def is_read_back(topology: Topology, outcome: Outcome) -> bool:
    """Whether the rows of a checkpoint that this outcome alone made say what it wrote."""
    return not isinstance(outcome, Done) or all(
        _says(topology.channels[write.channel], write) for write in outcome.writes
    )


def _says(rule: Channel, write: Write) -> bool:
    return rule.replaces or not rule.is_stored or (rule.stores_updates and not write.is_overwrite)


def made_in(topology: Topology, page: HistoryPage, skipped: Container[int] = ()) -> dict[int, Made]:
    """What a single node wrote, for each checkpoint that it was planned in, as far as the page has the one it made."""
    rows, last_rows = rows_in(page)
    written: dict[int, list[ValueRow]] = {}
    for row in page.values:
        written.setdefault(row.no, []).append(row)
    made: dict[int, Made] = {}
    for checkpoint in page.checkpoints:
        header = decode_header(checkpoint.header)
        by_hand = header.source == "update"
        if checkpoint.no in skipped or len(header.writers) != 1 or not (by_hand or header.source == "loop"):
            continue
        values: dict[str, Any] | None = {}
        for row in written.get(checkpoint.no, ()):
            values = _with(topology, rows, last_rows.get(checkpoint.parent, {}), row, values)
        known = made.get(checkpoint.parent)
        # The run that went on tells more than an edit beside it; of several edits the first is the one at the time.
        if known is None or known.by_hand:
            made[checkpoint.parent] = Made(header.writers[0], header.step, values, by_hand)
    return made


def _with(
    topology: Topology, rows: Rows, before: Mapping[str, int], row: ValueRow, values: dict[str, Any] | None
) -> dict[str, Any] | None:
    """The values with what a row says was written; None where it does not say."""
    if values is None or row.channel not in topology.channels or row.kind == ValueKind.ABSENT:
        return values
    codec, rule = topology.codecs.get(row.channel), topology.channels[row.channel]
    if codec is None:
        return values
    try:
        if row.kind == ValueKind.FULL:
            # A value that was made of the one before, or takes the place of a chain of updates, says nothing about the
            # last of them.
            return {**values, row.channel: codec.value.decode(row.value)} if rule.replaces else None
        *_, newest = updates_in(_newest_frames(rows, before, row))
        return {**values, row.channel: codec.update.decode(newest)}
    except DecodeError:
        return None


def _newest_frames(rows: Rows, before: Mapping[str, int], row: ValueRow) -> bytes:
    """The updates of a row itself: one that is a segment begins with those of the rows that it takes the place of."""
    _, frames = read_delta(row)
    earlier = chain_to(rows, row.channel, before[row.channel]) if row.channel in before else ()
    replaced = [each for each in earlier if each.no > row.prev and each.kind == ValueKind.DELTA]
    return frames[sum(len(read_delta(each)[1]) for each in replaced) :]
