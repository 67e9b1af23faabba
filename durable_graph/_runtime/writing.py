"""What user code hands over, as writes and arguments: checked, and encoded where there is a store.

All of it happens here, while the node is still to blame: what cannot be merged, is refused by the state's model or
cannot be stored fails the node that returned it, and nothing of it is recorded. Ids are drawn here as well, so that a
message has the same one however often its write is merged.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from durable_graph._engine.merge import merge_writes
from durable_graph._engine.rows import check_size
from durable_graph._engine.task import Argument, Write
from durable_graph._runtime.workflow import is_workflow
from durable_graph.channels import MISSING, Overwrite, UpdateRefused
from durable_graph.errors import (
    InvalidInputError,
    InvalidNodeResultError,
    InvalidStateValueError,
    ManagedKeyError,
    ReducerError,
    UnknownStateKeyError,
    UnmergeableUpdateError,
    UnstorableValueError,
)
from durable_graph.graph import START, Node, Schema, Topology

Pairs = Sequence[tuple[str, Any]]
_PAIR = 2


# What is written


def updates_of(topology: Topology, node: Node, result: Any) -> Pairs:
    """What a node's result, or the update of its Command, says about the state, as (key, value) pairs.

    It is a dict, such pairs, or an instance of the state's class, the node's input or the graph's input or output.
    Where the state is one value, it is that value. None says nothing. Raises `InvalidNodeResultError`.
    """
    if result is None:
        return ()
    if isinstance(result, dict) and not is_one_value(topology):
        return tuple(result.items())
    pairs = pairs_in(topology, result)
    if pairs:
        return pairs
    updates = _said_by(result, topology.state, node.input, topology.output, topology.input)
    if updates is None:
        expected = f"a dict of updates to {topology.state.name}, an instance of it, (key, value) pairs, or None"
        raise InvalidNodeResultError(node.name, result, expected=expected)
    return updates


def pairs_in(topology: Topology, update: object) -> Pairs | None:
    """The update of a Command, if it is (key, value) pairs: a key may be in several. Where the state is one value,
    nothing is."""
    if topology.state.is_single or not isinstance(update, list | tuple):
        return None
    are_pairs = all(isinstance(pair, tuple) and len(pair) == _PAIR and isinstance(pair[0], str) for pair in update)
    return update if are_pairs else None


def is_one_value(topology: Topology) -> bool:
    """Whether what nodes return is the value of the state. What an entrypoint's does is put into keys before."""
    return topology.state.is_single and not is_workflow(topology)


def _said_by(result: Any, *schemas: Schema) -> Pairs | None:
    for schema in schemas:
        updates = schema.updates(result)
        if updates is not None:
            return tuple(updates.items())
    return None


# Writes


def node_writes(
    topology: Topology,
    node: Node,
    updates: Pairs,
    values: Mapping[str, Any],
    max_value_bytes: int | None,
) -> tuple[Write, ...]:
    """What a node said by `updates_of`, given the `values` that its superstep began with.

    Raises `UnknownStateKeyError`, `ManagedKeyError`, `UnmergeableUpdateError`, `InvalidStateValueError`,
    `UnstorableValueError`, `ValueTooLargeError`.
    """
    where = f"the result of node {node.name!r}"
    writes = _writes(topology, updates, topology.channels, where)
    made = _check(topology, (topology.state,), values, writes, node.name, where)
    return _encoded(topology, writes, made, max_value_bytes)


def input_writes(
    topology: Topology, value: Any, values: Mapping[str, Any], max_value_bytes: int | None
) -> tuple[Write, ...]:
    """The input of a run, given the `values` that it comes to.

    Raises `InvalidInputError`, and what `node_writes` does.
    """
    is_dict = isinstance(value, Mapping) and not topology.input.is_single
    updates = tuple(value.items()) if is_dict else _said_by(value, topology.input, topology.state)
    if updates is None:
        raise InvalidInputError(value, expected=f"a dict of {topology.input.name}'s keys, or an instance of it")
    where = "the input"
    writes = _writes(topology, updates, topology.input.keys, where, whose=topology.input.name)
    schemas = (topology.input,) if topology.input is topology.state else (topology.input, topology.state)
    made = _check(topology, schemas, values, writes, START, where)
    return _encoded(topology, writes, made, max_value_bytes)


def update_writes(
    topology: Topology, update: Any, values: Mapping[str, Any], where: str, max_value_bytes: int | None
) -> tuple[Write, ...]:
    """What a Command that is a run's input writes. Raises what `input_writes` does."""
    pairs = pairs_in(topology, update)
    if pairs is None and isinstance(update, Mapping) and not is_one_value(topology):
        pairs = tuple(update.items())
    if pairs is None:
        pairs = _said_by(update, topology.state, topology.input, topology.output)
    if pairs is None:
        state = topology.state.name
        raise InvalidInputError(update, expected=f"a dict of {state}'s keys, an instance of it, or (key, value) pairs")
    writes = _writes(topology, pairs, topology.channels, where)
    made = _check(topology, (topology.state,), values, writes, START, where)
    return _encoded(topology, writes, made, max_value_bytes)


def _writes(
    topology: Topology, updates: Iterable[tuple[str, Any]], known: Collection[str], where: str, whose: str = "the state"
) -> list[Write]:
    writes = []
    for key, value in updates:
        if key not in known:
            if any(key in schema.managed for schema in _schemas(topology)):
                raise ManagedKeyError(key, where=where)
            raise UnknownStateKeyError(key, where=where, known=known, whose=whose)
        try:
            writes.append(_write(topology, key, value))
        except UpdateRefused as error:
            raise UnmergeableUpdateError(key, where=where, why=str(error)) from error
    return writes


def _write(topology: Topology, key: str, value: Any) -> Write:
    rule = topology.channels[key]
    if not isinstance(value, Overwrite):
        return Write(key, rule.prepare(value, _new_id), None)
    if rule.replaces:
        return Write(key, rule.prepare(value.value, _new_id), None)
    return Write(key, rule.prepare_whole(value.value, _new_id), None, is_overwrite=True)


def _new_id() -> str:
    return uuid.uuid4().hex


def _schemas(topology: Topology) -> Iterable[Schema]:
    yield topology.state
    yield from (node.input for node in topology.nodes.values())


def _check(
    topology: Topology,
    schemas: tuple[Schema, ...],
    values: Mapping[str, Any],
    writes: list[Write],
    author: str,
    where: str,
) -> dict[str, Any]:
    """Whether these writes alone make sense, and a state that pydantic models take; what those make of the keys that
    are written. Most graphs have neither such models nor writes that could make none.

    Raises `UnmergeableUpdateError`, `InvalidStateValueError`.
    """
    for place, write in enumerate(writes):
        rule = topology.channels[write.channel]
        if rule.is_checked(write.value):
            earlier = [(author, each) for each in writes[:place] if each.channel == write.channel]
            before, _ = merge_writes(topology, values, earlier)
            try:
                rule.check(before.get(write.channel, MISSING), write.value)
            except UpdateRefused as error:
                raise UnmergeableUpdateError(write.channel, where=where, why=str(error)) from error
    models = [schema for schema in schemas if schema.is_validated]
    return _made(topology, models, values, [(author, write) for write in writes], where) if models and writes else {}


def _made(
    topology: Topology, models: list[Schema], values: Mapping[str, Any], writes: list[tuple[str, Write]], where: str
) -> dict[str, Any]:
    try:
        merged, _ = merge_writes(topology, values, writes)
    except ReducerError:
        # A reducer of the user's: it raises again when the superstep is merged, and the results are kept.
        return {}
    made: dict[str, Any] = {}
    for schema in models:
        model, problems = schema.validated(merged)
        if problems:
            raise InvalidStateValueError(schema.name, problems, where=where)
        if model is not None:
            written = (write.channel for _, write in writes if topology.channels[write.channel].replaces)
            made.update((key, getattr(model, key)) for key in written if key in schema.fields)
    return made


def _encoded(
    topology: Topology, writes: list[Write], made: Mapping[str, Any], max_value_bytes: int | None
) -> tuple[Write, ...]:
    """With their bytes, unless `max_value_bytes` is None: then nothing is stored.

    A value is stored as it is written; where it is of another type than declared, it is what the state's model made of
    it, if there is one: a model from a dict, a time from a text.
    """
    if max_value_bytes is None:
        return tuple(writes)
    encoded = []
    for write in writes:
        codec = topology.codecs.get(write.channel)
        if codec is None:
            # A value that is never stored.
            encoded.append(write)
            continue
        chosen, value = codec.value if write.is_overwrite else codec.update, write.value
        try:
            data = chosen.encode(value)
        except UnstorableValueError:
            if write.channel not in made:
                raise
            value = made[write.channel]
            data = chosen.encode(value)
        check_size(f"channel {write.channel!r}", data, max_value_bytes)
        encoded.append(Write(write.channel, value, data, write.is_overwrite))
    return tuple(encoded)


# Arguments


def encode_argument(topology: Topology, value: Any, max_value_bytes: int | None) -> Argument:
    """What a Send carries. The keys of a dict that are never stored go to the node in this process only."""
    if max_value_bytes is None:
        return Argument(value, None)
    data = topology.argument.encode(stored_part(topology, value))
    check_size("the argument of a Send", data, max_value_bytes)
    return Argument(value, data)


def encode_anything(topology: Topology, value: Any, what: str, max_value_bytes: int | None) -> bytes | None:
    """The bytes of a value that no channel declares; None where nothing is stored. `what` it is, in errors.

    Raises `UnstorableValueError`, `ValueTooLargeError`.
    """
    if max_value_bytes is None:
        return None
    try:
        data = topology.argument.encode(value)
    except UnstorableValueError as error:
        raise UnstorableValueError(
            channel=what, path=error.path, type_name=error.type_name, why=error.why, remedy=error.remedy
        ) from None
    check_size(what, data, max_value_bytes)
    return data


def stored_part(topology: Topology, argument: Any) -> Any:
    """What is stored of what a Send carries."""
    if not topology.untracked or not isinstance(argument, dict) or topology.untracked.isdisjoint(argument):
        return argument
    return {key: value for key, value in argument.items() if key not in topology.untracked}
