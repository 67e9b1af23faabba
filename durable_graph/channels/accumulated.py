"""The rule of a channel whose reducer is an operator that we know: it grows by what is written and stores that."""

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_origin

from durable_graph.channels.channel import MISSING
from durable_graph.channels.empty import concrete_type, empty_value

# Numbers are left out: their value is as short as a write to them, and read without a chain of rows.
_STORED_AS_UPDATES: dict[Callable[[Any, Any], Any], frozenset[type]] = {
    operator.add: frozenset({list, tuple, str, bytes}),
    operator.concat: frozenset({list, tuple, str, bytes}),
    operator.or_: frozenset({dict, set, frozenset}),
}

# Only for these classes themselves does changing a copy in place do what the operator does: `+=` takes any iterable.
_IN_PLACE: dict[type, Callable[[Any, Any], Any]] = {list: operator.iadd, dict: operator.ior, set: operator.ior}


@dataclass(frozen=True, slots=True)
class Accumulated:
    """`+` on a list, tuple, str or bytes, `|` on a dict or a set: each superstep stores its writes, not the whole."""

    declared: Any
    operation: Callable[[Any, Any], Any]
    takes_one_write: ClassVar[bool] = False
    stores_updates: ClassVar[bool] = True

    @property
    def update_type(self) -> Any:
        return self.declared

    def initial(self) -> Any:
        return empty_value(self.declared)

    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        kind = type(current)
        in_place = _IN_PLACE.get(kind)
        if in_place is not None and len(updates) > 1 and all(type(update) is kind for update in updates):
            # The operator would copy the whole value once per write: n writes would cost n times its length.
            return functools.reduce(in_place, updates, kind(current))
        value = current
        for update in updates:
            value = update if value is MISSING else self.operation(value, update)
        return value


def is_stored_as_updates(declared: Any, reducer: Callable[[Any, Any], Any]) -> bool:
    """Whether `reducer` on this type is one whose meaning is fixed by the language itself."""
    if get_origin(declared) is tuple or declared is tuple:
        kinds = _STORED_AS_UPDATES.get(reducer, frozenset())
        # A tuple of fixed length does not stay one when it grows.
        return tuple in kinds and (declared is tuple or declared.__args__[-1:] == (Ellipsis,))
    try:
        return concrete_type(declared) in _STORED_AS_UPDATES.get(reducer, frozenset())
    except TypeError:
        # An unhashable callable is a reducer of the user's.
        return False
