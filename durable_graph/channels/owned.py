"""Copies of values for code that may change what it is given."""

import copy
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any, Final

_MAPPINGS: Final = frozenset({dict, OrderedDict, Counter, defaultdict})
_SEQUENCES: Final = frozenset({list, deque})


def owned(value: Any) -> Any:
    """The value with containers of its own, at every depth. Objects within them are the same ones.

    Costs as much as the value has containers and items.
    """
    return _owned(value, {})


def _owned(value: Any, made: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in _MAPPINGS or kind in _SEQUENCES:
        if id(value) not in made:
            # Known before its items are, which may lead back to it.
            fresh = made[id(value)] = copy.copy(value)
            for place, item in value.items() if kind in _MAPPINGS else enumerate(value):
                fresh[place] = _owned(item, made)
        return made[id(value)]
    if kind is tuple:
        return tuple([_owned(item, made) for item in value])
    # What is in a set cannot change.
    return value.copy() if kind is set or kind is bytearray else value
