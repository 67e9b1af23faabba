"""The end of a run, and the result that its caller gets."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from durable_graph._engine.state import State, output_of, state_keys, state_of
from durable_graph._engine.task import Outcome
from durable_graph.errors import DurableGraphError, InvalidOptionError, StateKeyError
from durable_graph.graph import Interrupt, Topology
from durable_graph.graph.schema import Schema

ValueT = TypeVar("ValueT")
Keys = str | Sequence[str] | None

INTERRUPT = "__interrupt__"
ANSWERED = "__answered__"
"""The key, in the result of a call whose answers another run uses, of the ids of the answered interrupts."""


Recorded = dict[tuple[int, int], Outcome]


class Start(msgspec.Struct, frozen=True):
    """Where a run starts: at `state`, with the outcomes that tasks of its plan already have.

    `passes_breakpoint`: the run was stopped before the tasks of this plan, and is not to stop there again.
    """

    state: State
    recorded: Recorded = msgspec.field(default_factory=dict)
    passes_breakpoint: bool = False


class Ended(msgspec.Struct, frozen=True):
    """The end of a run. It `is_stopped` if tasks are left to run: for answers to `interrupts`, or by a breakpoint.

    `recorded` are the outcomes so far of the tasks of the last plan; `values` includes their writes. `was_applied` is
    False if the call stored nothing, because its request had been accepted before or the thread was finished.
    `left_answers` are the ids of the interrupts whose answers the call recorded for another run that executes the
    thread; the call itself ran nothing.
    """

    state: State
    recorded: Recorded
    values: Mapping[str, object]
    interrupts: tuple[Interrupt, ...] = ()
    is_stopped: bool = False
    was_applied: bool = True
    left_answers: tuple[str, ...] = ()


class GraphOutput(msgspec.Struct, Generic[ValueT], frozen=True):
    """A run's output as its schema's class, and its pending interrupts.

    `value` is a dict if the class cannot be made of the values, as in a run that stopped before a required key was
    written, and if `output_keys` chose some of the keys. `output["key"]` and `"key" in output` look up keys of the
    value and, as in the result of `version="v1"`, `"__interrupt__"`. `is_stopped`: the run has not ended; it waits for
    answers, stopped at a breakpoint, or another call executes it. In the last case `answered` has the ids of the
    interrupts whose answers this call recorded for it. `was_applied` is False if the call stored nothing of its input:
    the thread had accepted the request of this `key` before, or was finished and `if_finished` is "return".
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

    # Python would iterate over a class with `__getitem__` by calling it with 0, 1, and so on.
    __iter__: ClassVar[None] = None

    def _values(self) -> Mapping[str, object]:
        value: Any = self.value
        if isinstance(value, Mapping):
            return value
        names = getattr(type(value), "__struct_fields__", None) or getattr(value, "__dict__", {})
        if dataclasses.is_dataclass(value):
            names = [field.name for field in dataclasses.fields(value)]
        return {name: getattr(value, name) for name in names}


def check_version(version: object) -> None:
    """Raises `InvalidOptionError` for an unknown version of results."""
    if version not in ("v1", "v2"):
        option = "version"
        raise InvalidOptionError(option, version, allowed='"v1" or "v2"')


def check_keys(topology: Topology, keys: Keys) -> None:
    """Raises `StateKeyError` for an output key that the graph's state does not have."""
    known = () if topology.state.is_single else state_keys(topology)
    for key in () if keys is None else (keys,) if isinstance(keys, str) else keys:
        if key not in known:
            raise StateKeyError.of_unknown(key, where="output_keys", known=known, alias_of=topology.field_called(key))


def chosen(values: Mapping[str, Any], keys: Keys) -> Any:
    """The chosen part of the values: all keys, some keys, or one key's value (None if it has none)."""
    if keys is None:
        return dict(values)
    if isinstance(keys, str):
        return values.get(keys)
    return {key: values[key] for key in keys if key in values}


def as_output(schema: Schema | None, values: object, keys: Keys) -> object:
    """The output as callers get it: of the class of `schema`, if the class can be made of all the values."""
    if not isinstance(values, Mapping):
        return values
    if schema is None or schema.is_single or keys is not None:
        return chosen(values, keys)
    try:
        return schema.read(values)
    except (DurableGraphError, ValueError, TypeError):
        # The run has not failed, and its commits stand: the caller gets the output as a dict.
        return dict(values)


def result_of(topology: Topology, ended: Ended, output_keys: Keys, version: str) -> object:
    """The result of `ainvoke` for the end of a run."""
    values = (output_of if output_keys is None else state_of)(topology, ended.values)
    if version == "v2":
        value = as_output(topology.output, values, output_keys)
        return GraphOutput(value, ended.interrupts, ended.is_stopped, ended.left_answers, ended.was_applied)
    # An output that is a single value may be a dict, whose keys are not the state's.
    shown = values if topology.output.is_single else chosen(values, output_keys)
    extra: dict[str, object] = {}
    if ended.interrupts:
        extra[INTERRUPT] = list(ended.interrupts)
    if ended.left_answers:
        extra[ANSWERED] = list(ended.left_answers)
    if not extra:
        return shown
    # An output that is a single value cannot hold the extra keys: they replace it.
    is_dict = isinstance(values, Mapping) and not topology.output.is_single and not isinstance(output_keys, str)
    return {**(shown if is_dict else {}), **extra}
