"""What a call gives back of the state."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from durable_graph._engine.state import output_of, state_keys, state_of
from durable_graph._runtime.drive import Ended
from durable_graph.errors import DurableGraphError, InvalidOptionError, UnknownStateKeyError
from durable_graph.graph import Interrupt, Topology
from durable_graph.graph.schema import Schema

ValueT = TypeVar("ValueT")
Keys = str | Sequence[str] | None

INTERRUPT = "__interrupt__"


class GraphOutput(msgspec.Struct, Generic[ValueT], frozen=True):
    """A run's output as its schema's class, and the questions that it waits for answers to.

    `value` is a dict where the class cannot be made of what there is, as in a run that stopped before a required key
    was written, and where `output_keys` chose some of the keys.
    """

    value: ValueT
    interrupts: tuple[Interrupt, ...] = ()


def check_version(version: object) -> None:
    """Raises `InvalidOptionError` for a version of results that there is not."""
    if version not in ("v1", "v2"):
        option = "version"
        raise InvalidOptionError(option, version, allowed='"v1" or "v2"')


def check_keys(topology: Topology, keys: Keys) -> None:
    """Raises `UnknownStateKeyError` for an output key that the graph's state does not have."""
    known = () if topology.state.is_single else state_keys(topology)
    for key in () if keys is None else (keys,) if isinstance(keys, str) else keys:
        if key not in known:
            raise UnknownStateKeyError(key, where="output_keys", known=known, alias_of=topology.field_called(key))


def chosen(values: Mapping[str, Any], keys: Keys) -> Any:
    """The part that was asked for: all of it, some keys, or one key's value (None if it has none)."""
    if keys is None:
        return dict(values)
    if isinstance(keys, str):
        return values.get(keys)
    return {key: values[key] for key in keys if key in values}


def as_output(schema: Schema | None, values: Any, keys: Keys) -> Any:
    """The output as callers get it: with `schema` as its class, if that can be made of all of it."""
    if not isinstance(values, Mapping):
        return values
    if schema is None or schema.is_single or keys is not None:
        return chosen(values, keys)
    try:
        return schema.read(values)
    except (DurableGraphError, ValueError, TypeError):
        # The run is not to blame, nor undone: what there is of the output is given as it is.
        return dict(values)


def result_of(topology: Topology, ended: Ended, output_keys: Keys, version: str) -> Any:
    """What `ainvoke` returns for a run that ended so."""
    values = (output_of if output_keys is None else state_of)(topology, ended.values)
    if version == "v2":
        return GraphOutput(as_output(topology.output, values, output_keys), ended.interrupts)
    # An output that is one value may be a dict, which is not one of keys.
    shown = values if topology.output.is_single else chosen(values, output_keys)
    if ended.interrupts:
        # Where the output is one value there is no place beside it.
        is_dict = isinstance(values, Mapping) and not topology.output.is_single and not isinstance(output_keys, str)
        return {**(shown if is_dict else {}), INTERRUPT: list(ended.interrupts)}
    return shown
