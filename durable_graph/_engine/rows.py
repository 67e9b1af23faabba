"""The rows that a superstep adds: which channels are stored whole, and which as updates."""

from durable_graph._engine.state import Absent, Changes, Full, State, Unstored, Updates
from durable_graph.channels import changed
from durable_graph.checkpointing.chains import (
    ChannelRows,
    Stored,
    absent_row,
    chain_size,
    delta_row,
    extended,
    whole_row,
)
from durable_graph.checkpointing.digests import add, subtract
from durable_graph.errors import ValueTooLargeError
from durable_graph.graph import Topology
from durable_graph.graph.schema import INTERNAL_PREFIX
from durable_graph.records import ValueRow

STEP_MARK = f"{INTERNAL_PREFIX}step"
"""The channel of a row without a value, for a superstep of a nested graph that changed no other channel."""

# A chain of fewer bytes is not compared with the size of its value.
_SMALL_CHAIN = 4096


def add_rows(
    topology: Topology, stored: Stored, state: State, changes: Changes, max_value_bytes: int
) -> tuple[tuple[ValueRow, ...], Stored]:
    """The rows of checkpoint `state.no`, and the stored rows including them. The cost grows with the changes, not with
    the state."""
    rows: list[ValueRow] = []
    added: dict[str, ChannelRows] = {}
    digest = stored.digest
    for channel, change in sorted(changes.items()):
        if isinstance(change, Unstored):
            continue
        before = stored.channels.get(channel)
        row, after = _row(topology, stored, channel, before, change, state, max_value_bytes)
        rows.append(row)
        added[channel] = after
        digest = add(subtract(digest, before.digest) if before else digest, row.digest)
    if not rows and stored.ns:
        # If the newest checkpoint of a nested namespace had no value row, its loss could not be detected. The root's
        # newest checkpoint is named by the thread's row.
        before = stored.channels.get(STEP_MARK)
        row, after = _row(topology, stored, STEP_MARK, before, Absent(), state, max_value_bytes)
        rows.append(row)
        added[STEP_MARK] = after
        digest = add(subtract(digest, before.digest) if before else digest, row.digest)
    return tuple(rows), Stored(stored.origin, stored.ns, changed(stored.channels, added), digest)


def _row(
    topology: Topology,
    stored: Stored,
    channel: str,
    before: ChannelRows | None,
    change: Full | Updates | Absent,
    state: State,
    max_value_bytes: int,
) -> tuple[ValueRow, ChannelRows]:
    no = state.no
    match change:
        case Absent():
            return absent_row(stored, channel, no)
        case Full():
            data = change.data if change.data is not None else encode_whole(topology, channel, state, max_value_bytes)
            return whole_row(stored, channel, no, data)
        case Updates() if before is not None and before.is_foreign:
            return whole_row(stored, channel, no, encode_whole(topology, channel, state, max_value_bytes))
    links, whole_size = (before.links, before.whole_size) if before else ((), 0)
    if not links and channel in topology.defaults:
        # Updates alone are applied to the empty value, and not to a default, which the next deployment may change.
        return whole_row(stored, channel, no, encode_whole(topology, channel, state, max_value_bytes))
    links = extended(links, no, change.data, max_value_bytes)
    if links[-1].level > 0 and (chain := chain_size(links)) > 2 * whole_size + _SMALL_CHAIN:
        # The value is measured only when the chain has doubled, so measuring costs no more than writing the chain did.
        data = topology.codecs[channel].value.encode(state.values[channel])
        # A value too large for one row is no error here: it stays a chain of small rows.
        if 2 * len(data) < chain and len(data) <= max_value_bytes:
            return whole_row(stored, channel, no, data)
        whole_size = len(data)
    row = delta_row(stored, channel, links, topology.channels[channel].mark)
    return row, ChannelRows(links, row.digest, whole_size)


def encode_whole(topology: Topology, channel: str, state: State, max_value_bytes: int) -> bytes:
    data = topology.codecs[channel].value.encode(state.values[channel])
    check_size(f"channel {channel!r}", data, max_value_bytes)
    return data


def check_size(where: str, data: bytes, max_value_bytes: int) -> None:
    """Raises `ValueTooLargeError`."""
    if len(data) > max_value_bytes:
        raise ValueTooLargeError(channel=where, size=len(data), limit=max_value_bytes)
