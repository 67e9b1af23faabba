"""The results and inputs of user code as writes and arguments: checked, and encoded if there is a store.

All of it happens here, while the node is still to blame: what cannot be merged, is refused by the state's model or
cannot be stored fails the node that returned it, and nothing of it is recorded. Ids are drawn here as well, so that a
message has the same one however often its write is merged.
"""

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from durable_graph._engine.merge import merge_writes
from durable_graph._engine.rows import check_size
from durable_graph._engine.task import Argument, Write
from durable_graph._runtime.task.lengths import CONTAINERS, length_of
from durable_graph.channels import MISSING, Overwrite, UpdateRefused, overwritten_by
from durable_graph.codec import TypeCodec
from durable_graph.errors import (
    ConcurrentUpdateError,
    InvalidInputError,
    InvalidNodeResultError,
    InvalidStateValueError,
    ReducerError,
    StateKeyError,
    UnstorableValueError,
)
from durable_graph.errors.tree import is_namesake, kind_of
from durable_graph.graph import START, Node, Schema, Topology
from durable_graph.graph.defaults import is_same
from durable_graph.graph.entrypoints import is_workflow

Pairs = Sequence[tuple[str, object]]
_PAIR = 2

_Draft = tuple[str, Any, bool]
"""A write that is not encoded yet: its channel, its value, and whether it is an overwrite."""


# Updates


def updates_of(topology: Topology, node: Node, result: object, values: Mapping[str, object]) -> Pairs:
    """The updates in a node's result, or in the update of its Command, as (key, value) pairs.
    `values` are those that its superstep began with.

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
    updates = _said_by(topology, result, values, topology.state, node.input, topology.output, topology.input)
    if updates is None:
        expected = f"a dict of updates to {topology.state.name}, an instance of it, (key, value) pairs, or None"
        raise InvalidNodeResultError.of_update(node.name, result, expected=expected)
    return updates


def pairs_in(topology: Topology, update: object) -> Pairs | None:
    """The update of a Command, if it is (key, value) pairs: a key may be in several. Where the state is one value,
    nothing is."""
    if topology.state.is_single or not isinstance(update, list | tuple):
        return None
    are_pairs = all(isinstance(pair, tuple) and len(pair) == _PAIR and isinstance(pair[0], str) for pair in update)
    return update if are_pairs else None


def is_one_value(topology: Topology) -> bool:
    """Whether a node's result is the value of the state. An entrypoint's result is put into keys before."""
    return topology.state.is_single and not is_workflow(topology)


def _said_by(topology: Topology, result: object, values: Mapping[str, object], *schemas: Schema) -> Pairs | None:
    for schema in schemas:
        updates = schema.updates(result)
        if updates is not None:
            said = tuple(pair for pair in updates.items() if not _is_start(topology, schema, *pair))
            return said + tuple((key, None) for key in _emptied(topology, schema, updates, values))
    return None


def _emptied(
    topology: Topology, schema: Schema, updates: Mapping[str, object], values: Mapping[str, object]
) -> Iterator[str]:
    """The keys that have a value, and that an instance has as None, their default, which `updates` leaves out.

    A pydantic model knows whether that was set.
    """
    if schema.is_validated:
        return
    for key, field in schema.fields.items():
        if field.omits_none and key not in updates and values.get(key) is not None:
            rule = topology.channels.get(key)
            if rule is not None and rule.replaces:
                yield key


def _is_start(topology: Topology, schema: Schema, key: str, value: object) -> bool:
    """Whether this says no more than that a key with a reducer has the default that it began with.

    A pydantic model knows which of its fields were set. Other instances do not, and to merge the default once more is
    never meant.
    """
    field = schema.fields.get(key)
    if schema.is_validated or field is None or field.default is None or topology.channels[key].replaces:
        return False
    return is_same(value, topology.start_of(key))


# Writes


def node_writes(
    topology: Topology,
    node: Node,
    updates: Iterable[tuple[str, object]],
    values: Mapping[str, object],
    max_value_bytes: int | None,
) -> tuple[Write, ...]:
    """The writes of a node from the result of `updates_of`, given the `values` at the start of its superstep.

    Raises `StateKeyError`, `InvalidStateValueError`, `UnstorableValueError`, `ValueTooLargeError`.
    """
    where = f"the result of node {node.name!r}"
    drafts = _drafts(topology, updates, topology.channels, where)
    made: Mapping[str, object] = {}
    is_checked = topology.state.is_validated
    for key, _, is_overwrite in drafts:
        is_checked = is_checked or is_overwrite or topology.plans[key].is_checked is not None
    if is_checked:
        made = _check(topology, (topology.state,), values, drafts, node.name, where)
    return _encoded(topology, drafts, made, max_value_bytes)


def input_writes(
    topology: Topology, value: Any, values: Mapping[str, object], max_value_bytes: int | None
) -> tuple[Write, ...]:
    """The writes of a run's input, given the `values` of the thread.

    Raises `InvalidInputError`, and what `node_writes` does.
    """
    is_dict = isinstance(value, Mapping) and not topology.input.is_single
    updates = tuple(value.items()) if is_dict else _said_by(topology, value, values, topology.input, topology.state)
    if updates is None:
        raise InvalidInputError(value, expected=f"a dict of {topology.input.name}'s keys, or an instance of it")
    where = "the input"
    drafts = _drafts(topology, updates, topology.input.keys, where, whose=topology.input.name)
    schemas = (topology.input,) if topology.input is topology.state else (topology.input, topology.state)
    made = _check(topology, schemas, values, drafts, START, where)
    return _encoded(topology, drafts, made, max_value_bytes)


def update_writes(
    topology: Topology, update: object, values: Mapping[str, object], where: str, max_value_bytes: int | None
) -> tuple[Write, ...]:
    """The writes of a Command that is a run's input. Raises as `input_writes` does."""
    pairs = pairs_in(topology, update)
    if pairs is None and isinstance(update, Mapping) and not is_one_value(topology):
        pairs = tuple(update.items())
    if pairs is None:
        pairs = _said_by(topology, update, values, topology.state, topology.input, topology.output)
    if pairs is None:
        state = topology.state.name
        raise InvalidInputError(update, expected=f"a dict of {state}'s keys, an instance of it, or (key, value) pairs")
    drafts = _drafts(topology, pairs, topology.channels, where)
    made = _check(topology, (topology.state,), values, drafts, START, where)
    return _encoded(topology, drafts, made, max_value_bytes)


def _drafts(
    topology: Topology,
    updates: Iterable[tuple[str, object]],
    known: Collection[str],
    where: str,
    whose: str = "the state",
) -> list[_Draft]:
    drafts: list[_Draft] = []
    for key, value in updates:
        if key not in known:
            if any(key in schema.managed for schema in _schemas(topology)):
                raise StateKeyError.of_managed(key, where=where)
            alias_of = topology.field_called(key)
            if topology.ignores_extra_keys and alias_of not in known:
                continue
            raise StateKeyError.of_unknown(
                key,
                where=where,
                known=known,
                whose=whose,
                alias_of=alias_of if alias_of in known else None,
                is_droppable=not is_workflow(topology),
            )
        plan = topology.plans[key]
        if type(value) not in plan.direct and is_namesake(value, "Overwrite"):
            raise InvalidStateValueError.of_rule(
                key, where=where, why=f"it is {kind_of(value)}; import it from durable_graph"
            )
        try:
            if not plan.replaces and (overwrite := overwritten_by(value)) is not None:
                drafts.append((key, plan.rule.prepare_whole(overwrite.value, _new_id), True))
            else:
                written = value.value if isinstance(value, Overwrite) else value
                drafts.append((key, written if plan.prepare is None else plan.prepare(written, _new_id), False))
        except UpdateRefused as error:
            raise InvalidStateValueError.of_rule(key, where=where, why=str(error)) from error
    return drafts


def _new_id() -> str:
    return uuid.uuid4().hex


def _schemas(topology: Topology) -> Iterable[Schema]:
    yield topology.state
    yield from (node.input for node in topology.nodes.values())


def _check(
    topology: Topology,
    schemas: tuple[Schema, ...],
    values: Mapping[str, object],
    drafts: list[_Draft],
    author: str,
    where: str,
) -> dict[str, object]:
    """Whether these writes alone make sense, and a state that pydantic models take; what those make of the keys that
    are written. Most graphs have neither such models nor writes that could make none.

    Raises `ConcurrentUpdateError`, `InvalidStateValueError`.
    """
    for overwritten, _, is_overwriting in drafts:
        if not is_overwriting:
            continue
        beside = [is_overwrite for key, _, is_overwrite in drafts if key == overwritten]
        if len(beside) > 1:
            raise ConcurrentUpdateError(overwritten, nodes=[author] * len(beside), overwriting=[author] * sum(beside))
    for place, (key, value, is_overwrite) in enumerate(drafts):
        plan = topology.plans[key]
        if not is_overwrite and plan.is_checked is not None and plan.is_checked(value):
            earlier = [draft for draft in drafts[:place] if draft[0] == key]
            before = _merged(topology, values, earlier, author)
            try:
                plan.rule.check(before.get(key, MISSING), value)
            except UpdateRefused as error:
                raise InvalidStateValueError.of_rule(key, where=where, why=str(error)) from error
    made: dict[str, object] = {}
    for schema in schemas:
        if schema.is_validated and drafts:
            made.update(_made(topology, schema, values, drafts, author, where))
    return made


def _made(
    topology: Topology, schema: Schema, values: Mapping[str, object], drafts: list[_Draft], author: str, where: str
) -> dict[str, object]:
    try:
        merged = _merged(topology, values, drafts, author)
    except ReducerError:
        # A reducer of the user's: it raises again when the superstep is merged, and the results are kept.
        return {}
    model, problems = schema.validated(merged)
    if problems:
        raise InvalidStateValueError.of_model(schema.name, problems, where=where)
    if model is None:
        return {}
    replaced = (key for key, _, _ in drafts if topology.channels[key].replaces)
    return {key: getattr(model, key) for key in replaced if key in schema.fields}


def _merged(
    topology: Topology, values: Mapping[str, object], drafts: list[_Draft], author: str
) -> Mapping[str, object]:
    writes = [(author, Write(key, value, None, is_overwrite)) for key, value, is_overwrite in drafts]
    merged, _ = merge_writes(topology, values, writes)
    return merged


def _encoded(
    topology: Topology, drafts: list[_Draft], made: Mapping[str, object], max_value_bytes: int | None
) -> tuple[Write, ...]:
    """As writes, with their bytes unless `max_value_bytes` is None: then nothing is stored.

    A value of another type than declared is converted if the conversion loses nothing. If it cannot be converted and
    the state is a model, the value that the model made of it is written: an instance from a dict, a time from a string.
    """
    writes = []
    for key, value, is_overwrite in drafts:
        plan = topology.plans[key]
        codec = plan.codec
        if codec is None or (max_value_bytes is None and not is_overwrite and type(value) in plan.direct):
            writes.append(Write(key, value, None, is_overwrite, len(value) if type(value) in CONTAINERS else None))
            continue
        chosen = codec.value if is_overwrite else codec.update
        if max_value_bytes is None:
            kept = chosen.convert(value) if key not in made else _kept_of(chosen, value, made[key])
            writes.append(Write(key, kept, None, is_overwrite, length_of(kept)))
            continue
        try:
            kept, data = chosen.take(value)
        except UnstorableValueError:
            # The argument of a reducer has no declared type, but often has the type of the key.
            is_other = key not in made and plan.is_reduced and not is_overwrite
            another = codec.value.convert(value) if is_other else made.get(key, value)
            if another is value:
                raise
            kept, data = chosen.take(another)
        if len(data) > max_value_bytes:
            # Compared here first, so that the text for the message is made only if it is needed.
            check_size(f"channel {key!r}", data, max_value_bytes)
        writes.append(Write(key, kept, data, is_overwrite, len(kept) if type(kept) in CONTAINERS else None))
    return tuple(writes)


def _kept_of(codec: TypeCodec, value: object, *made: object) -> object:
    """The value that a run without a store keeps, the same as a run with a store: the value, or what the state's model
    made of it. If neither can be stored, it is the value as it was returned."""
    for each in (value, *made):
        try:
            return codec.take(each)[0]
        except UnstorableValueError:
            continue
    return value


# Arguments


def encode_argument(topology: Topology, value: object, max_value_bytes: int | None) -> Argument:
    """The argument of a Send. Keys of a dict that are never stored reach the node in this process only."""
    if max_value_bytes is None:
        return Argument(topology.argument.convert(value, is_open=True), None)
    part = stored_part(topology, value)
    kept, data = topology.argument.take(part)
    check_size("the argument of a Send", data, max_value_bytes)
    return Argument(kept if part is value else value, data)


def encode_anything(topology: Topology, value: object, what: str, max_value_bytes: int | None) -> bytes | None:
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


def stored_part(topology: Topology, argument: object) -> object:
    """The stored part of a Send's argument."""
    if not topology.untracked or not isinstance(argument, dict) or topology.untracked.isdisjoint(argument):
        return argument
    return {key: value for key, value in argument.items() if key not in topology.untracked}
