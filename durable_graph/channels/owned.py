"""Copies of values for code that may change its arguments."""

import copy
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any, Final

_MAPPINGS: Final = frozenset({dict, OrderedDict, Counter, defaultdict})
_SEQUENCES: Final = frozenset({list, deque})


def owned(value: Any) -> Any:
    """A copy of the value with copied containers at every depth. Objects inside them are shared.

    The cost is proportional to the number of containers and items.
    """
    return _owned(value, {})


def _owned(value: Any, made: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in _MAPPINGS or kind in _SEQUENCES:
        if id(value) not in made:
            # The copy is registered before its items are copied, because an item may contain the container.
            fresh = made[id(value)] = copy.copy(value)
            for place, item in value.items() if kind in _MAPPINGS else enumerate(value):
                fresh[place] = _owned(item, made)
        return made[id(value)]
    if kind is tuple:
        return tuple([_owned(item, made) for item in value])
    # Items of a set are hashable, so none is a container to copy.
    return value.copy() if kind is set or kind is bytearray else value
