"""The lengths of the containers that nodes are given: whether code changed one of them in place, at the top level.

Later nodes and the caller see changes in place, and the store does not. To compare lengths
takes one pass over the containers, in C, and is done for every superstep; `mutation.py` compares whole values, on
request.

A container is a list, a dict, a set, a deque or a bytearray. Nodes are given the containers that the keys of the state
hold, the argument of a Send, and those that the argument holds as items or fields.
"""

import copy
import dataclasses
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping, Sized
from typing import Any, TypeVar

import msgspec

from durable_graph._engine.state import State
from durable_graph._engine.task import Done, Task
from durable_graph.graph import Node, Topology

T = TypeVar("T")

ARGUMENT = "the argument of its Send"

CONTAINERS: frozenset[type] = frozenset({list, dict, set, bytearray, deque, OrderedDict, Counter, defaultdict})
_MAPPINGS: frozenset[type] = frozenset({dict, OrderedDict, Counter, defaultdict})


def length_of(value: Any) -> int | None:
    """The length of a container; None for any other value."""
    return len(value) if type(value) in CONTAINERS else None


def copy_of(value: T) -> T:
    """A container of its own with the same items; any other value itself."""
    return copy.copy(value) if type(value) in CONTAINERS else value


class Lengths:
    """The containers that the stored keys of `state` hold, with the length that each had when the key was written."""

    __slots__ = ("_containers", "_lengths", "_places", "state")

    def __init__(self, topology: Topology, state: State) -> None:
        self.state: State = state
        self._places: dict[str, int] = {}
        self._containers: list[Sized] = []
        self._lengths: list[int] = []
        for key, rule in topology.channels.items():
            # Nothing of an untracked value is stored: it may be changed at will.
            if rule.is_stored and (length := length_of(value := state.values.get(key))) is not None:
                self._put(key, value, length)

    def changed(self) -> list[str]:
        """The keys whose containers have another length now."""
        if list(map(len, self._containers)) == self._lengths:
            return []
        return [key for key, place in self._places.items() if len(self._containers[place]) != self._lengths[place]]

    def follow(self, topology: Topology, after: State, written: Iterable[str], done: Iterable[Done]) -> list[str]:
        """Go on with the state `after`, in which the keys in `written` are new.

        Gives those of them whose value was changed since the node in `done` returned it: what is stored is the value
        as it was returned.
        """
        self.state = after
        returned: dict[int, int] | None = None
        changed = []
        for key in written:
            plan = topology.plans.get(key)
            if plan is None or not plan.is_stored:
                continue
            value: Any = after.values.get(key)
            if type(value) not in CONTAINERS:
                # Nothing of it can change: the place stays, for a container without items that nobody has.
                if key in self._places:
                    self._put(key, (), 0)
                continue
            length = len(value)
            if returned is None:
                returned = _lengths_returned(done)
            if returned.get(id(value), length) != length:
                changed.append(key)
            self._put(key, value, length)
        return changed

    def _put(self, key: str, container: Any, length: int) -> None:
        place = self._places.get(key)
        if place is None:
            self._places[key] = len(self._containers)
            self._containers.append(container)
            self._lengths.append(length)
        else:
            self._containers[place], self._lengths[place] = container, length


def _lengths_returned(done: Iterable[Done]) -> dict[int, int]:
    """The length that each container had when its node returned it."""
    return {id(write.value): write.length for outcome in done for write in outcome.writes if write.length is not None}


class ArgumentLengths:
    """The containers of the arguments of a plan's Sends, with their lengths."""

    __slots__ = ("_containers", "_lengths")

    def __init__(self, plan: Iterable[Task]) -> None:
        self._containers: list[Sized] = []
        for task in plan:
            if task.argument is not None:
                for _, container in _held_by(task.argument.value):
                    self._containers.append(container)
        self._lengths = list(map(len, self._containers))

    def changed(self, plan: Iterable[Task]) -> list[tuple[str, str]]:
        """The arguments whose containers have another length now: the node of each, and what to call it."""
        if list(map(len, self._containers)) == self._lengths:
            return []
        pairs = zip(self._containers, self._lengths, strict=True)
        changed = {id(container) for container, length in pairs if len(container) != length}
        return [
            (task.node, ARGUMENT if name is None else f"{name} in {ARGUMENT}")
            for task in plan
            if task.argument is not None
            for name, container in _held_by(task.argument.value)
            if id(container) in changed
        ]


class PrivateLengths:
    """The containers that an instance of the state's class has for itself: copies that pydantic made, and defaults.

    No other node sees them. A node that changes one without writing the key loses the change.
    """

    __slots__ = ("_found",)

    def __init__(self, node: Node, given: object, values: Mapping[str, object]) -> None:
        self._found: list[tuple[str, Any, int]] = []
        for key in node.input.fields:
            value = getattr(given, key, None)
            if (length := length_of(value)) is not None and value is not values.get(key):
                self._found.append((key, value, length))

    def lost(self, written: Iterable[str]) -> list[str]:
        """The keys that were changed and are not among those that the node has written."""
        known = set(written)
        return [key for key, value, length in self._found if len(value) != length and key not in known]


def _held_by(argument: Any) -> list[tuple[object, Any]]:
    """The containers of an argument with their keys, None for the argument itself."""
    kind = type(argument)
    found: list[tuple[object, Any]] = []
    if kind in CONTAINERS:
        found.append((None, argument))
    if kind in _MAPPINGS:
        for key, value in argument.items():
            if type(value) in CONTAINERS:
                found.append((key, value))
    elif kind not in CONTAINERS:
        for name in _field_names(kind):
            value = getattr(argument, name, None)
            if type(value) in CONTAINERS:
                found.append((name, value))
    return found


def _field_names(kind: type) -> Iterable[str]:
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__
    # Whoever has a model has imported pydantic.
    model = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    if model is not None and issubclass(kind, model):
        fields: Mapping[str, object] = kind.model_fields  # type: ignore[attr-defined]  # it is a model
        return fields
    return ()
