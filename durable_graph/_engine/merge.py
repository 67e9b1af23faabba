"""Applying writes to values: the only place where the channels' rules run."""

from collections.abc import Container, Iterable, Mapping
from typing import Any

from durable_graph._engine.state import Absent, Change, Changes, Full, Unstored, Updates
from durable_graph._engine.task import Write
from durable_graph.channels import MISSING, changed
from durable_graph.errors import ConcurrentUpdateError, ReducerError
from durable_graph.graph import Topology
from durable_graph.graph.topology import ChannelPlan

Authored = list[tuple[str, Write]]


def merge_writes(
    topology: Topology, values: Mapping[str, Any], writes: Iterable[tuple[str, Write]]
) -> tuple[Mapping[str, Any], Changes]:
    """The values after `writes`, and their changes. The writes are in task order, each with its node.

    An overwrite replaces the previous value.

    Raises:
        ConcurrentUpdateError: two writes to a channel that takes one write per superstep, or an overwrite and another
            write to the same channel.
        ReducerError: a reducer raised; the error is also an instance of the class of that error.
    """
    by_channel: dict[str, Authored] = {}
    for authored in writes:
        by_channel.setdefault(authored[1].channel, []).append(authored)
    merged: dict[str, Any] = {}
    changes: dict[str, Change] = {}
    for channel, written in by_channel.items():
        plan = topology.plans[channel]
        value = merged[channel] = _merge(channel, plan, values.get(channel, MISSING), written)
        # The value may be MISSING: for example after a write of no items to a Topic, which each superstep clears.
        changes[channel] = _ABSENT if value is MISSING else _change(plan, written)
    return changed(values, merged), changes


def clear_unwritten(
    topology: Topology, values: Mapping[str, Any], written: Container[str]
) -> tuple[Mapping[str, Any], Changes]:
    """The values without one-superstep channels that are not in `written`, and the changes that clear them.

    The cost grows with the number of one-superstep channels of the graph.
    """
    if not topology.transient:
        return changed(values, {}), {}
    gone = [name for name in topology.transient if name in values and name not in written]
    return changed(values, dict.fromkeys(gone, MISSING)), {name: Absent() for name in gone}


def _merge(channel: str, plan: ChannelPlan, current: Any, written: Authored) -> Any:
    if len(written) > 1:
        _check_together(channel, plan, written)
    last = written[-1][1]
    if plan.replaces:
        return last.value
    if last.is_overwrite and not plan.is_transient:
        current, updates = last.value, []
    else:
        updates = [last.value] if len(written) == 1 else [write.value for _, write in written]
    try:
        value = plan.rule.merge(current, updates)
    except Exception as error:
        raise ReducerError.of(error, channel, nodes=_authors(written)) from error
    if plan.is_reduced and value is not MISSING and plan.codec is not None:
        # A reducer, like a node, may return a value of another class than declared.
        value = plan.codec.value.convert(value)
    return value


def _check_together(channel: str, plan: ChannelPlan, written: Authored) -> None:
    if plan.takes_one_write:
        raise ConcurrentUpdateError(channel, nodes=_authors(written))
    overwriting = [author for author, write in written if write.is_overwrite]
    if overwriting:
        raise ConcurrentUpdateError(channel, nodes=_authors(written), overwriting=overwriting)


def _authors(written: Authored) -> list[str]:
    return [author for author, _ in written]


_ABSENT: Change = Absent()
_UNSTORED: Change = Unstored()


def _change(plan: ChannelPlan, written: Authored) -> Change:
    if not plan.is_stored:
        return _UNSTORED
    last = written[-1][1]
    if plan.stores_updates and not last.is_overwrite:
        return Updates(tuple([write.data for _, write in written if write.data is not None]))
    # The bytes of an overwrite or of a plain write are those of the value. A value that a reducer made is encoded when
    # it is stored.
    return Full(last.data if plan.replaces or last.is_overwrite else None)
