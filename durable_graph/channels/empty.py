"""The class of a declared type, and its empty value."""

import collections
import collections.abc as abc
from typing import Any, get_origin

from durable_graph.channels.channel import MISSING

_CONCRETE: dict[Any, type] = {
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    abc.Set: set,
    abc.MutableSet: set,
    abc.Mapping: dict,
    abc.MutableMapping: dict,
}

# Classes whose constructor without arguments makes an empty value. Any other constructor is user code, and may do
# anything.
_EMPTY: frozenset[type] = frozenset(
    {list, tuple, dict, set, frozenset, str, bytes, bytearray, int, float, complex, bool, collections.deque}
)


def concrete_type(declared: Any) -> Any:
    """`list` for `list[str]` and `Sequence[str]`, `dict` for `Mapping`, the class itself for a class."""
    bare = get_origin(declared) or declared
    return _CONCRETE.get(bare, bare)


def empty_value(declared: Any) -> Any:
    """`[]`, `0`, `""` ... for a type that has an empty value, otherwise MISSING."""
    concrete = concrete_type(declared)
    if isinstance(concrete, type) and concrete in _EMPTY:
        return concrete()
    return MISSING


def is_empty(value: object) -> bool:
    """Whether the value is the empty value of a class in `_EMPTY`."""
    return type(value) in _EMPTY and not value
