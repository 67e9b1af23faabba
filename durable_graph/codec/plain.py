"""The value of a wire form without classes: the older shape of a value, which an upcast receives."""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Any

from msgspec.msgpack import Ext

from durable_graph.codec.plan import SHORTCUTS, Mismatch, mismatch
from durable_graph.codec.scalars import LEAVES, build_int, build_str
from durable_graph.codec.stored_type import OWN_PREFIX
from durable_graph.codec.times import TIMES
from durable_graph.codec.wire import (
    BIG_INT,
    COUNTER,
    DEFAULT_DICT,
    DEQUE,
    FROZENSET,
    LONE_SURROGATES,
    MODEL,
    ORDERED_DICT,
    PAIRS,
    SET,
    TUPLE,
    Key,
    key_of,
    mark_of,
)

BuildOwn = Callable[[Any], Any]
"""A function from a wire form to an instance of the library's own classes, which an upcast receives as instances."""


def plain(wire: Any, own: BuildOwn, *, is_key: bool = False) -> Any:
    """The value with each instance as a dict of its fields, an enum's member as its name, flags as a list of names.

    In hashed places, a dict of fields becomes a tuple of pairs and a list a tuple. Raises `Mismatch`.
    """
    if type(wire) is Ext:
        return _leaf(wire)
    if type(wire) is dict:
        items = [(key, plain(item, own, is_key=is_key)) for key, item in wire.items()]
        return tuple(items) if is_key else dict(items)
    if type(wire) is not list:
        return wire
    key = key_of(wire)
    if type(key) is str:
        return own(wire) if key.startswith(OWN_PREFIX) else _fields(wire[2], own, is_key=is_key)
    if key is list:
        items = [plain(item, own, is_key=is_key) for item in wire]
        return tuple(items) if is_key else items
    return _container(key, wire, own, is_key=is_key)


def _fields(wire: Any, own: BuildOwn, *, is_key: bool) -> Any:
    if key_of(wire) != mark_of(MODEL) or len(wire) != 5:
        return plain(wire, own, is_key=is_key)
    _, fields, _, extra, _ = wire
    return plain({**fields, **(extra or {})}, own, is_key=is_key)


def _container(key: Key, wire: list[Any], own: BuildOwn, *, is_key: bool) -> Any:
    made = _OF_ITEMS.get(key)
    if made is not None:
        is_hashed = is_key or made is not tuple
        return made([plain(item, own, is_key=is_hashed) for item in wire[1:]])
    if key == mark_of(DEQUE) and len(wire) > 1:
        return deque([plain(item, own) for item in wire[2:]], wire[1])
    of_pairs = _OF_PAIRS.get(key)
    if of_pairs is None:
        mismatch(wire, "a storable type")
    start = 2 if key == mark_of(DEFAULT_DICT) else 1
    pairs = zip(wire[start::2], wire[start + 1 :: 2], strict=True)
    return of_pairs([(plain(key, own, is_key=True), plain(item, own)) for key, item in pairs])


def _leaf(wire: Ext) -> Any:
    data = bytes(wire.data)
    if wire.code == BIG_INT:
        return build_int(data)
    if wire.code == LONE_SURROGATES:
        return build_str(data)
    leaf = _LEAVES.get(wire.code)
    if leaf is None:
        message = f"an extension with the code {wire.code}"
        raise Mismatch(message)
    return leaf.build(wire, SHORTCUTS)


_OF_ITEMS: dict[Key, Callable[[list[Any]], Any]] = {
    mark_of(TUPLE): tuple,
    mark_of(SET): set,
    mark_of(FROZENSET): frozenset,
}

_OF_PAIRS: dict[Key, Callable[[list[Any]], Any]] = {
    mark_of(PAIRS): dict,
    mark_of(DEFAULT_DICT): dict,
    mark_of(ORDERED_DICT): OrderedDict,
    mark_of(COUNTER): lambda pairs: Counter(dict(pairs)),
}

_LEAVES = {code: leaf for leaf in (*LEAVES, *TIMES) for code in leaf.keys}
