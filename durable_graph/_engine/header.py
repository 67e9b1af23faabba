"""What the engine itself stores: a checkpoint's header and a task's record, as compact as their meaning allows."""

from collections.abc import Mapping
from typing import Any

import msgspec

from durable_graph._engine.admit import Superseded
from durable_graph._engine.task import Argument, Done, Failed, Outcome, Route, RoutingOpen, Task, Write
from durable_graph.errors import DecodeError
from durable_graph.graph import Topology
from durable_graph.records import Rank

Metadata = dict[str, str | int | float | bool | None]


class PlanEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A task as stored. `born` is relative: how many numbers before this checkpoint it was first planned."""

    node: str
    ago: int
    ord: int
    argument: bytes | None = None


class Header(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`source` is "input", "loop", "fork" or "update"; `writers` the nodes whose writes made this checkpoint."""

    step: int
    source: str
    plan: tuple[PlanEntry, ...]
    writers: tuple[str, ...]
    superseded: tuple[Superseded, ...] = ()
    metadata: Metadata = msgspec.field(default_factory=dict)


class RecordedResult(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A task's record. `routes` are (node, argument or None)."""

    node: str
    writes: tuple[tuple[str, bytes], ...] = ()
    routes: tuple[tuple[str, bytes | None], ...] = ()
    error: str | None = None


_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(Header)
_result_decoder = msgspec.msgpack.Decoder(RecordedResult)


def encode_header(header: Header) -> bytes:
    return _encoder.encode(header)


def decode_header(data: bytes) -> Header:
    """Raises `DecodeError`. The digest was checked before: this is a header that another version wrote."""
    try:
        return _header_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("a checkpoint's header", str(error)) from error


def encode_plan(plan: tuple[Task, ...], no: int) -> tuple[PlanEntry, ...]:
    return tuple(
        PlanEntry(task.node, no - task.born, task.ord, task.argument.data if task.argument else None) for task in plan
    )


def decode_plan(topology: Topology, entries: tuple[PlanEntry, ...], no: int) -> tuple[Task, ...]:
    return tuple(Task(entry.node, no - entry.ago, entry.ord, _argument(topology, entry.argument)) for entry in entries)


def encode_result(outcome: Outcome) -> tuple[Rank, bytes]:
    """A task's record and how final it is."""
    match outcome:
        case Done():
            routes = tuple((route.node, route.argument.data if route.argument else None) for route in outcome.routes)
            return Rank.DONE, _encoder.encode(RecordedResult(outcome.task.node, _written(outcome.writes), routes))
        case RoutingOpen():
            result = RecordedResult(outcome.task.node, _written(outcome.writes), (), outcome.error)
            return Rank.ROUTING_OPEN, _encoder.encode(result)
        case Failed():
            return Rank.FAILED, _encoder.encode(RecordedResult(outcome.task.node, error=outcome.error))


def decode_result(topology: Topology, task: Task, rank: Rank, attempt: int, data: bytes) -> Outcome:
    """The outcome of `task` as it was recorded. Raises `DecodeError`."""
    try:
        result = _result_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("a task's record", str(error)) from error
    if rank == Rank.FAILED:
        return Failed(task, attempt, result.error or "")
    if rank == Rank.INTERRUPTED:
        # Read as done, it would let the run go on without the answer that it waits for.
        raise DecodeError("a task's record", "the task waits for an answer, which only a newer version can give")
    writes = tuple(Write(channel, _value(topology, channel, value), value) for channel, value in result.writes)
    if rank == Rank.ROUTING_OPEN:
        return RoutingOpen(task, attempt, writes, result.error or "")
    routes = tuple(Route(node, _argument(topology, argument)) for node, argument in result.routes)
    return Done(task, attempt, writes, routes)


def _written(writes: tuple[Write, ...]) -> tuple[tuple[str, bytes], ...]:
    return tuple((write.channel, write.data) for write in writes if write.data is not None)


def _value(topology: Topology, channel: str, data: bytes) -> Any:
    codecs: Mapping[str, Any] = topology.codecs
    if channel not in codecs:
        why = f"the graph no longer has the channel {channel!r}"
        raise DecodeError("a task's record", why)
    return topology.codecs[channel].update.decode(data)


def _argument(topology: Topology, data: bytes | None) -> Argument | None:
    return None if data is None else Argument(topology.argument.decode(data), data)
