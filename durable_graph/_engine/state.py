"""The state of one namespace between two supersteps, and the changes of a superstep."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from durable_graph._engine.task import Task
from durable_graph.channels import MISSING, selected
from durable_graph.graph import Topology


class State(msgspec.Struct, frozen=True):
    """`values` has every channel with a value, joins included. `no` is the number of the state's checkpoint, which may
    not be committed yet."""

    no: int
    step: int
    values: Mapping[str, Any]
    plan: tuple[Task, ...]


class Full(msgspec.Struct, frozen=True, gc=False):
    """The channel got a new value. `data` is None if a reducer made the value: it has to be encoded from the state."""

    data: bytes | None


class Updates(msgspec.Struct, frozen=True, gc=False):
    """Updates were appended to the channel: the encoded writes, in order."""

    data: tuple[bytes, ...]


class Absent(msgspec.Struct, frozen=True, gc=False):
    """The channel has no value any more."""


class Unstored(msgspec.Struct, frozen=True, gc=False):
    """The channel got a new value, and its values are not stored."""


Change = Full | Updates | Absent | Unstored
Changes = Mapping[str, Change]


def merged(earlier: Changes, later: Changes) -> Changes:
    """The changes of two supersteps as those of one."""
    together = dict(earlier)
    for channel, change in later.items():
        together[channel] = _after(together.get(channel), change)
    return together


def _after(earlier: Change | None, later: Change) -> Change:
    match earlier, later:
        case Updates(), Updates():
            return Updates(earlier.data + later.data)
        case ((Full() | Absent()), Updates()):
            # The updates extend a value that gets no row of its own.
            return Full(None)
        case _:
            return later


def initial_state(topology: Topology) -> State:
    """The state of a thread before anything was written to it."""
    starts = {name: topology.start_of(name) for name in topology.channels}
    return State(no=0, step=-1, values={name: value for name, value in starts.items() if value is not MISSING}, plan=())


def state_of(topology: Topology, values: Mapping[str, Any]) -> Any:
    """The values of the keys of the state, of the graph's input and of its output; for a single-value state, the
    value."""
    if topology.state.is_single:
        return topology.state.read(values)
    return selected(values, state_keys(topology))


def state_keys(topology: Topology) -> Collection[str]:
    """The keys of the state, of the graph's input and of its output; for a single-value state, its channel."""
    if topology.state.is_single:
        return topology.state.keys
    return dict.fromkeys((*topology.state.fields, *topology.input.fields, *topology.output.fields))


def output_of(topology: Topology, values: Mapping[str, Any]) -> Any:
    """The values of the output's keys; for a single-value output, the value."""
    if topology.output.is_single:
        return topology.output.read(values)
    return {key: values[key] for key in topology.output.fields if key in values}
