"""How a run ended, and what its caller gets."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from durable_graph._engine.state import State, output_of, state_keys, state_of
from durable_graph._engine.task import Outcome
from durable_graph.errors import DurableGraphError, InvalidOptionError, UnknownStateKeyError
from durable_graph.graph import Interrupt, Topology
from durable_graph.graph.schema import Schema

ValueT = TypeVar("ValueT")
Keys = str | Sequence[str] | None

INTERRUPT = "__interrupt__"
ANSWERED = "__answered__"
"""Where a call that was given answers, and left them to the run at work, has the ids of their questions."""


Recorded = dict[tuple[int, int], Outcome]


class Ended(msgspec.Struct, frozen=True):
    """Where a run ended. It `is_stopped` where something is left to run: for answers to `interrupts`, or by a
    breakpoint.

    `recorded` are the outcomes that the tasks of its last plan came to already; `values` has what they wrote.
    `was_applied` is False where the call found its request taken already, or the thread finished, and stored nothing.
    `left_answers` are the questions whose answers the call recorded for a run that is at work: it ran nothing itself.
    """

    state: State
    recorded: Recorded
    values: Mapping[str, Any]
    interrupts: tuple[Interrupt, ...] = ()
    is_stopped: bool = False
    was_applied: bool = True
    left_answers: tuple[str, ...] = ()


class GraphOutput(msgspec.Struct, Generic[ValueT], frozen=True):
    """A run's output as its schema's class, and the questions that it waits for answers to.

    `value` is a dict where the class cannot be made of what there is, as in a run that stopped before a required key
    was written, and where `output_keys` chose some of the keys. `output["key"]` and `"key" in output` are about the
    value and, as in the result of `version="v1"`, about `"__interrupt__"`. `is_stopped`: the run has not ended; it
    waits for answers, stopped at a breakpoint, or is executed elsewhere. In the last case `answered` has the ids of the
    questions whose answers this call recorded for it. `was_applied` is False where the call stored nothing of its
    input: the thread had taken the request of this `key` before, or was finished and `if_finished` is "return".
    """

    value: ValueT
    interrupts: tuple[Interrupt, ...] = ()
    is_stopped: bool = False
    answered: tuple[str, ...] = ()
    was_applied: bool = True

    def __getitem__(self, key: str) -> Any:
        """The value of a key. Raises `KeyError`."""
        if key == INTERRUPT and self.interrupts:
            return list(self.interrupts)
        return self._values()[key]

    def __contains__(self, key: object) -> bool:
        return (key == INTERRUPT and bool(self.interrupts)) or key in self._values()

    # It has items, and none that are counted.
    __iter__: ClassVar[None] = None

    def _values(self) -> Mapping[str, Any]:
        value: Any = self.value
        if isinstance(value, Mapping):
            return value
        names = getattr(type(value), "__struct_fields__", None) or getattr(value, "__dict__", {})
        if dataclasses.is_dataclass(value):
            names = [field.name for field in dataclasses.fields(value)]
        return {name: getattr(value, name) for name in names}


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
        value = as_output(topology.output, values, output_keys)
        return GraphOutput(value, ended.interrupts, ended.is_stopped, ended.left_answers, ended.was_applied)
    # An output that is one value may be a dict, which is not one of keys.
    shown = values if topology.output.is_single else chosen(values, output_keys)
    beside: dict[str, Any] = {}
    if ended.interrupts:
        beside[INTERRUPT] = list(ended.interrupts)
    if ended.left_answers:
        beside[ANSWERED] = list(ended.left_answers)
    if not beside:
        return shown
    # Where the output is one value there is no place beside it.
    is_dict = isinstance(values, Mapping) and not topology.output.is_single and not isinstance(output_keys, str)
    return {**(shown if is_dict else {}), **beside}
