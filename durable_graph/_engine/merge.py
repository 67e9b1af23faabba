"""Writes into values: the one place where channels' rules are applied."""

from collections.abc import Iterable, Mapping
from typing import Any

from durable_graph._engine.state import Change, Changes, Full, Updates
from durable_graph._engine.task import Write
from durable_graph.channels import MISSING, Channel
from durable_graph.errors import ConcurrentUpdateError, ReducerError
from durable_graph.graph import Topology


def merge_writes(
    topology: Topology, values: Mapping[str, Any], writes: Iterable[tuple[str, Write]]
) -> tuple[dict[str, Any], Changes]:
    """The values after `writes`, given in task order with who made them, and what changed.

    Raises:
        ConcurrentUpdateError: two writes to a channel that takes one.
        ReducerError: a reducer raised.
    """
    by_channel: dict[str, list[tuple[str, Write]]] = {}
    for author, write in writes:
        by_channel.setdefault(write.channel, []).append((author, write))
    merged = dict(values)
    changes: dict[str, Change] = {}
    for channel, authored in by_channel.items():
        rule = topology.channels[channel]
        merged[channel] = _merge(channel, rule, values.get(channel, MISSING), authored)
        changes[channel] = _change(rule, [write for _, write in authored])
    return merged, changes


def _merge(channel: str, rule: Channel, current: Any, authored: list[tuple[str, Write]]) -> Any:
    nodes = [author for author, _ in authored]
    if rule.takes_one_write and len(authored) > 1:
        raise ConcurrentUpdateError(channel, nodes=nodes)
    try:
        return rule.merge(current, [write.value for _, write in authored])
    except Exception as error:
        raise ReducerError(channel, nodes=nodes, why=f"{type(error).__name__}: {error}") from error


def _change(rule: Channel, writes: list[Write]) -> Change:
    if rule.stores_updates:
        return Updates(tuple(write.data for write in writes if write.data is not None))
    # The bytes of a plain write are the bytes of the value; what a reducer made of it is encoded when it is stored.
    return Full(writes[-1].data if rule.takes_one_write else None)
