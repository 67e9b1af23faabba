"""What user code hands over, as writes and arguments: checked, and encoded where there is a store.

It is encoded here, while the node is still to blame: what cannot be stored fails the node that returned it.
"""

from collections.abc import Collection, Mapping
from typing import Any

from durable_graph._engine.rows import check_size
from durable_graph._engine.task import Argument, Write
from durable_graph.errors import InvalidInputError, InvalidNodeResultError, UnknownStateKeyError
from durable_graph.graph import Node, Topology


def node_writes(
    topology: Topology, node: Node, result: Any, values: Mapping[str, Any], max_value_bytes: int | None
) -> tuple[Write, ...]:
    """What a node returned.

    Raises `InvalidNodeResultError`, `UnknownStateKeyError`, `UnstorableValueError`, `ValueTooLargeError`.
    """
    updates = _updates(topology, node, result)
    _check_keys(updates, topology.channels, f"the result of node {node.name!r}")
    return _encode_writes(topology, updates, max_value_bytes)


def input_writes(topology: Topology, value: Any, max_value_bytes: int | None) -> tuple[Write, ...]:
    """The input of a run.

    Raises `InvalidInputError`, `UnknownStateKeyError`, `UnstorableValueError`, `ValueTooLargeError`.
    """
    updates = value if isinstance(value, Mapping) else topology.state.updates(value)
    if updates is None:
        raise InvalidInputError(value, expected=f"a dict of {topology.state.cls.__name__}'s keys, or an instance of it")
    _check_keys(updates, topology.state.keys, "the input")
    return _encode_writes(topology, updates, max_value_bytes)


def update_writes(topology: Topology, update: Any, where: str, max_value_bytes: int | None) -> tuple[Write, ...]:
    """What a Command that is a run's input writes."""
    updates = update if isinstance(update, Mapping) else topology.state.updates(update)
    if updates is None:
        raise InvalidInputError(
            update, expected=f"a dict of {topology.state.cls.__name__}'s keys, or an instance of it"
        )
    _check_keys(updates, topology.channels, where)
    return _encode_writes(topology, updates, max_value_bytes)


def _check_keys(updates: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for key in updates:
        if key not in known:
            raise UnknownStateKeyError(key, where=where, known=known)


def _encode_writes(topology: Topology, updates: Mapping[str, Any], max_value_bytes: int | None) -> tuple[Write, ...]:
    """Updates as writes, with their bytes unless `max_value_bytes` is None: then nothing is stored."""
    writes = []
    for channel, value in updates.items():
        data = None
        if max_value_bytes is not None:
            data = topology.codecs[channel].update.encode(value)
            check_size(f"channel {channel!r}", data, max_value_bytes)
        writes.append(Write(channel, value, data))
    return tuple(writes)


def encode_argument(topology: Topology, value: Any, max_value_bytes: int | None) -> Argument:
    """What a Send carries."""
    if max_value_bytes is None:
        return Argument(value, None)
    data = topology.argument.encode(value)
    check_size("the argument of a Send", data, max_value_bytes)
    return Argument(value, data)


def _updates(topology: Topology, node: Node, result: Any) -> Mapping[str, Any]:
    if result is None:
        return {}
    if isinstance(result, dict):
        return result
    for schema in (topology.state, node.input):
        updates = schema.updates(result)
        if updates is not None:
            return updates
    state = topology.state.cls.__name__
    raise InvalidNodeResultError(
        node.name, result, expected=f"a dict of updates to {state}, an instance of it, or None"
    )
