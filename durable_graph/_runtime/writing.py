"""What user code hands over, as writes and arguments: checked, and encoded where there is a store.

It is encoded here, while the node is still to blame: what cannot be stored fails the node that returned it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
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
    where = f"the result of node {node.name!r}"
    return _encode_writes(topology, updates.items(), topology.channels, where, max_value_bytes)


def pair_writes(
    topology: Topology, pairs: Sequence[tuple[str, Any]], where: str, max_value_bytes: int | None
) -> tuple[Write, ...]:
    """What the (key, value) pairs of a Command write: a key may be in several.

    Raises `UnknownStateKeyError`, `UnstorableValueError`, `ValueTooLargeError`.
    """
    return _encode_writes(topology, pairs, topology.channels, where, max_value_bytes)


def pairs_in(topology: Topology, update: object) -> Sequence[tuple[str, Any]] | None:
    """The update of a Command, if it is (key, value) pairs. Where the state is one value, nothing is."""
    if topology.state.is_single or not isinstance(update, list | tuple):
        return None
    are_pairs = all(isinstance(pair, tuple) and len(pair) == _PAIR and isinstance(pair[0], str) for pair in update)
    return update if are_pairs else None


_PAIR = 2


def input_writes(topology: Topology, value: Any, max_value_bytes: int | None) -> tuple[Write, ...]:
    """The input of a run.

    Raises `InvalidInputError`, `UnknownStateKeyError`, `UnstorableValueError`, `ValueTooLargeError`.
    """
    is_dict = isinstance(value, Mapping) and not topology.input.is_single
    updates = value if is_dict else topology.input.updates(value)
    if updates is None:
        raise InvalidInputError(value, expected=f"a dict of {topology.state.cls.__name__}'s keys, or an instance of it")
    return _encode_writes(topology, updates.items(), topology.input.keys, "the input", max_value_bytes)


def update_writes(topology: Topology, update: Any, where: str, max_value_bytes: int | None) -> tuple[Write, ...]:
    """What a Command that is a run's input writes.

    Raises `InvalidInputError`, `UnknownStateKeyError`, `UnstorableValueError`, `ValueTooLargeError`.
    """
    pairs = pairs_in(topology, update)
    if pairs is not None:
        return pair_writes(topology, pairs, where, max_value_bytes)
    updates = update if isinstance(update, Mapping) else topology.state.updates(update)
    if updates is None:
        state = topology.state.cls.__name__
        raise InvalidInputError(update, expected=f"a dict of {state}'s keys, an instance of it, or (key, value) pairs")
    return _encode_writes(topology, updates.items(), topology.channels, where, max_value_bytes)


def _encode_writes(
    topology: Topology,
    updates: Iterable[tuple[str, Any]],
    known: Collection[str],
    where: str,
    max_value_bytes: int | None,
) -> tuple[Write, ...]:
    """Updates as writes, with their bytes unless `max_value_bytes` is None: then nothing is stored."""
    writes = []
    for channel, value in updates:
        if channel not in known:
            raise UnknownStateKeyError(channel, where=where, known=known)
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
