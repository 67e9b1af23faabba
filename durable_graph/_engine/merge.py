"""Writes into values: the one place where channels' rules are applied."""

from collections.abc import Container, Iterable, Mapping
from typing import Any

from durable_graph._engine.state import Absent, Change, Changes, Full, Unstored, Updates
from durable_graph._engine.task import Write
from durable_graph.channels import MISSING, Channel, Reduced, Values, changed
from durable_graph.errors import ConcurrentOverwriteError, ConcurrentUpdateError, ReducerError
from durable_graph.graph import Topology

Authored = list[tuple[str, Write]]


def merge_writes(
    topology: Topology, values: Mapping[str, Any], writes: Iterable[tuple[str, Write]]
) -> tuple[Values, Changes]:
    """The values after `writes`, given in task order with who made them, and what changed.

    An overwrite replaces the previous value.

    Raises:
        ConcurrentUpdateError: two writes to a channel that takes one write per superstep.
        ConcurrentOverwriteError: an overwrite and another write to the same channel.
        ReducerError: a reducer raised; the error is also of the class of what it raised.
    """
    by_channel: dict[str, Authored] = {}
    for author, write in writes:
        by_channel.setdefault(write.channel, []).append((author, write))
    merged: dict[str, Any] = {}
    changes: dict[str, Change] = {}
    for channel, authored in by_channel.items():
        rule = topology.channels[channel]
        value = _merge(channel, rule, values.get(channel, MISSING), authored)
        if isinstance(rule, Reduced) and value is not MISSING:
            # A reducer, like a node, may return a value of another class than declared.
            value = topology.codecs[channel].value.convert(value)
        changes[channel] = _change(rule, [write for _, write in authored])
        merged[channel] = value
        if value is MISSING:
            # Nothing was written to what a superstep begins anew, such as no items to a Topic.
            changes[channel] = Absent()
    return changed(values, merged), changes


def clear_unwritten(topology: Topology, values: Mapping[str, Any], written: Container[str]) -> tuple[Values, Changes]:
    """The values at the end of a superstep that wrote to `written`, and what it clears: what lives for one superstep.

    Costs as much as the graph has such channels.
    """
    if not topology.transient:
        return changed(values, {}), {}
    gone = [name for name in topology.transient if name in values and name not in written]
    return changed(values, dict.fromkeys(gone, MISSING)), {name: Absent() for name in gone}


def _merge(channel: str, rule: Channel, current: Any, authored: Authored) -> Any:
    nodes = [author for author, _ in authored]
    if rule.takes_one_write and len(authored) > 1:
        raise ConcurrentUpdateError(channel, nodes=nodes)
    overwriting = [author for author, write in authored if write.is_overwrite]
    if overwriting and len(authored) > 1:
        raise ConcurrentOverwriteError(channel, nodes=nodes, overwriting=overwriting)
    updates = [write.value for _, write in authored]
    if overwriting and not rule.is_transient:
        (current,), updates = updates, []
    try:
        return rule.merge(current, updates)
    except Exception as error:
        raise ReducerError.of(error, channel, nodes=nodes) from error


def _change(rule: Channel, writes: list[Write]) -> Change:
    if not rule.is_stored:
        return Unstored()
    if any(write.is_overwrite for write in writes):
        # The bytes of a lone overwrite are the bytes of the value.
        return Full(writes[0].data if len(writes) == 1 else None)
    if rule.stores_updates:
        return Updates(tuple(write.data for write in writes if write.data is not None))
    # So are those of a plain write; what a reducer made of it is encoded when it is stored.
    return Full(writes[-1].data if rule.replaces else None)
