"""The rule of a channel whose reducer is a known operator: it stores the writes, not the whole value."""

import functools
import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_origin

from durable_graph.channels.channel import MISSING, Channel
from durable_graph.channels.empty import concrete_type, empty_value
from durable_graph.channels.merging import Merging
from durable_graph.channels.optional import check_none

# No numbers: a number is as short as a write to it, and reading it needs no chain of rows.
_STORED_AS_UPDATES: dict[Callable[[Any, Any], Any], frozenset[type]] = {
    operator.add: frozenset({list, tuple, str, bytes}),
    operator.concat: frozenset({list, tuple, str, bytes}),
    operator.or_: frozenset({dict, set, frozenset}),
}

# The operator for many writes at once: one by one, it would copy the whole value for each write. Only for exactly these
# classes: `+=` accepts any iterable, and a subclass may redefine the operator.
_AT_ONCE: dict[type, Callable[[Any, Sequence[Any]], Any]] = {
    list: lambda value, updates: functools.reduce(operator.iadd, updates, list(value)),
    tuple: lambda value, updates: tuple(itertools.chain(value, *updates)),
    str: lambda value, updates: "".join((value, *updates)),
    bytes: lambda value, updates: b"".join((value, *updates)),
    dict: lambda value, updates: functools.reduce(operator.ior, updates, dict(value)),
    set: lambda value, updates: value.union(*updates),
    frozenset: lambda value, updates: value.union(*updates),
}

# The same operators in place, for merging in pieces. Text and tuples cannot grow: they are joined once at the end.
_GROWN: dict[type, Callable[[Any, Any], Any]] = {list: operator.iadd, dict: operator.ior, set: operator.ior}


@dataclass(frozen=True, slots=True)
class Accumulated(Channel):
    """`+` on a list, tuple, str or bytes, `|` on a dict or a set: each superstep stores its writes only.

    `is_optional`: see `channels/optional.py`.
    """

    declared: Any
    operation: Callable[[Any, Any], Any]
    is_optional: bool = False

    @property
    def stores_updates(self) -> bool:
        return True

    def initial(self) -> Any:
        return empty_value(self.declared)

    def is_checked(self, update: Any) -> bool:
        return self.is_optional and update is None

    def check(self, current: Any, update: Any) -> None:
        check_none(current)

    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        if self.is_optional:
            values = [each for each in (current, *updates) if each is not None and each is not MISSING]
            if not values:
                return None if updates else current
            current, updates = values[0], values[1:]
        kind = type(current)
        at_once = _AT_ONCE.get(kind)
        if at_once is not None and len(updates) > 1 and all(type(update) is kind for update in updates):
            return at_once(current, updates)
        value = current
        for update in updates:
            value = update if value is MISSING else self.operation(value, update)
        return value

    def merging(self, current: Any) -> Merging:
        grow = _GROWN.get(type(current))
        # No super(): dataclasses with slots replace the class.
        return Channel.merging(self, current) if grow is None else _Grown(self, current, grow)


class _Grown:
    """A merge in place, as long as all updates are of exactly the value's class."""

    def __init__(self, rule: Accumulated, current: Any, grow: Callable[[Any, Any], Any]) -> None:
        self._rule = rule
        self._grow = grow
        self._kind = type(current)
        self._value = current.copy()

    def add(self, updates: Sequence[Any]) -> None:
        if set(map(type, updates)) == {self._kind}:
            self._value = functools.reduce(self._grow, updates, self._value)
        else:
            self._value = self._rule.merge(self._value, updates)
            self._kind = type(self._value)

    def value(self) -> Any:
        return self._value


def is_stored_as_updates(declared: Any, reducer: Callable[[Any, Any], Any]) -> bool:
    """Whether the language defines the result of `reducer` on this type."""
    if get_origin(declared) is tuple or declared is tuple:
        kinds = _STORED_AS_UPDATES.get(reducer, frozenset())
        # A tuple of fixed length would not keep its length.
        return tuple in kinds and (declared is tuple or declared.__args__[-1:] == (Ellipsis,))
    try:
        return concrete_type(declared) in _STORED_AS_UPDATES.get(reducer, frozenset())
    except TypeError:
        # An unhashable callable is a user's reducer.
        return False
