"""Dicts and their relatives. The order of insertion is observable, so it is kept, and equality includes the order."""

import reprlib
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from msgspec.msgpack import Ext

from durable_graph.codec.limits import MAX_EQUAL_HASHES, most_equal_hashes
from durable_graph.codec.plan import (
    CONVERTING,
    EVERYTHING,
    GENERIC_ALIAS,
    KEEP_OUT,
    NOTHING,
    Describe,
    Mismatch,
    Plan,
    Refusal,
    TooDeep,
    WireType,
    mismatch,
    refuse,
)
from durable_graph.codec.scalars import STR
from durable_graph.codec.sequences import build_items, colliding
from durable_graph.codec.wire import (
    COUNTER,
    DEFAULT_DICT,
    ORDERED_DICT,
    PAIRS,
    PLAIN_KEYS,
    array_of,
    joined,
    key_of,
    map_of,
    mark_of,
    once,
    values_of,
)

FACTORIES: dict[str, type] = {kind.__name__: kind for kind in (list, dict, set, int, float, str, bytes, tuple, bool)}
"""The factories of defaultdicts that can be stored, by name."""

_NAMES = {kind: name for name, kind in FACTORIES.items()}


class DictPlan(Plan):
    """A dict: a MessagePack map, or an envelope of pairs if a key cannot be a key of a MessagePack map."""

    def __init__(self, key: Plan, item: Plan) -> None:
        super().__init__(frozenset({dict}), frozenset({dict, mark_of(PAIRS)}))
        self._key = key
        self._item = item
        self.converts: bool = key.converts or item.converts
        self.plain: bool = key.plain and item.plain and PLAIN_KEYS.issuperset(key.kinds)
        if self.plain and key.native is not None and item.native is not None:
            self.native: Any = dict[key.native, item.native]  # type: ignore[name-defined]  # built at run time
        if self.plain and key.native is not None and item.native_if_flat is not None:
            self.native_if_flat: Any = dict[key.native, item.native_if_flat]  # type: ignore[name-defined]  # built at run time

    def is_plain(self, batch: Iterable[Any], room: int) -> bool:
        dicts = list(batch)
        if not set(map(type, dicts)) <= self.kinds or not room:
            return False
        dicts = once(dicts)
        keys = chain.from_iterable(dicts)
        return self._key.is_plain(keys, room - 1) and self._item.is_plain(values_of(dicts), room - 1)

    def spell(self, value: Any, room: int, walk: int) -> Any:
        if type(value) is not dict:
            refuse(value, "dict")
        return spell_dict(self._key, self._item, value, room, walk)

    def build(self, wire: Any, walk: int) -> Any:
        if type(wire) is dict:
            keys = build_items(self._key, list(wire), walk)
            return dict(zip(keys, build_items(self._item, list(wire.values()), walk), strict=True))
        if key_of(wire) != PAIRS.data:
            mismatch(wire, "dict")
        return dict(build_pairs(self._key, self._item, wire, 1, walk))

    def wire_type(self, of: WireType) -> Any:
        pairs = array_of(Ext, of(self._key), of(self._item))
        return joined(map_of(of(self._item)), pairs)

    def describe(self, of: Describe) -> str:
        return f"dict[{of(self._key)},{of(self._item)}]"


class OrderedDictPlan(Plan):
    def __init__(self, key: Plan, item: Plan) -> None:
        super().__init__(frozenset({OrderedDict}), frozenset({mark_of(ORDERED_DICT)}))
        self._key = key
        self._item = item

    def spell(self, value: Any, room: int, walk: int) -> Any:
        if type(value) is not OrderedDict:
            refuse(value, "OrderedDict")
        refuse_attributes(value)
        return [ORDERED_DICT, *spell_pairs(self._key, self._item, value, room, walk)]

    def build(self, wire: Any, walk: int) -> Any:
        if key_of(wire) != ORDERED_DICT.data:
            mismatch(wire, "OrderedDict")
        return OrderedDict(build_pairs(self._key, self._item, wire, 1, walk))

    def wire_type(self, of: WireType) -> Any:
        return array_of(Ext, of(self._key), of(self._item))

    def describe(self, of: Describe) -> str:
        return f"OrderedDict[{of(self._key)},{of(self._item)}]"


class CounterPlan(Plan):
    def __init__(self, key: Plan, item: Plan) -> None:
        super().__init__(frozenset({Counter}), frozenset({mark_of(COUNTER)}))
        self._key = key
        self._item = item

    def spell(self, value: Any, room: int, walk: int) -> Any:
        if type(value) is not Counter:
            refuse(value, "Counter")
        refuse_attributes(value)
        return [COUNTER, *spell_pairs(self._key, self._item, value, room, walk)]

    def build(self, wire: Any, walk: int) -> Any:
        if key_of(wire) != COUNTER.data:
            mismatch(wire, "Counter")
        return Counter(dict(build_pairs(self._key, self._item, wire, 1, walk)))

    def wire_type(self, of: WireType) -> Any:
        return array_of(Ext, of(self._key), of(self._item))

    def describe(self, of: Describe) -> str:
        return f"Counter[{of(self._key)},{of(self._item)}]"


class DefaultDictPlan(Plan):
    """A defaultdict whose factory is None or one of `FACTORIES`: other functions cannot be stored."""

    def __init__(self, key: Plan, item: Plan) -> None:
        super().__init__(frozenset({defaultdict}), frozenset({mark_of(DEFAULT_DICT)}))
        self._key = key
        self._item = item

    def spell(self, value: Any, room: int, walk: int) -> Any:
        if type(value) is not defaultdict:
            refuse(value, "defaultdict")
        factory = value.default_factory
        if factory is not None and factory not in _NAMES:
            raise Refusal(
                value,
                "its default_factory is a function that is not stored",
                f"use a factory among {', '.join(FACTORIES)}, or convert it with dict(...)",
            )
        name = None if factory is None else _NAMES[factory]
        return [DEFAULT_DICT, name, *spell_pairs(self._key, self._item, value, room, walk)]

    def build(self, wire: Any, walk: int) -> Any:
        if key_of(wire) != DEFAULT_DICT.data or len(wire) < 2:
            mismatch(wire, "defaultdict")
        name = wire[1]
        if name is not None and (type(name) is not str or name not in FACTORIES):
            message = f"a defaultdict with the factory {name!r}"
            raise Mismatch(message)
        factory = None if name is None else FACTORIES[name]
        return defaultdict(factory, build_pairs(self._key, self._item, wire, 2, walk))

    def wire_type(self, of: WireType) -> Any:
        return array_of(Ext, str, None, of(self._key), of(self._item))

    def describe(self, of: Describe) -> str:
        return f"defaultdict[{of(self._key)},{of(self._item)}]"


class TypedDictPlan(Plan):
    """A dict with a type for each key. Unknown keys and missing required keys are refused."""

    def __init__(self, name: str, fields: Mapping[str, Plan], required: frozenset[str]) -> None:
        super().__init__(frozenset({dict}), frozenset({dict}))
        self._name = name
        self._fields = dict(fields)
        self._required = required
        self.plain: bool = all(plan.plain for plan in self._fields.values())

    def is_plain(self, batch: Iterable[Any], room: int) -> bool:
        dicts = list(batch)
        if not set(map(type, dicts)) <= self.kinds or not room:
            return False
        dicts = once(dicts)
        if not set(map(type, chain.from_iterable(dicts))) <= {str}:
            return False
        # Most dicts of a batch have the same keys, in the same order.
        if not all(self._required <= set(keys) <= self._fields.keys() for keys in set(map(tuple, dicts))):
            return False
        return all(
            plan.is_plain([found[name] for found in dicts if name in found], room - 1)
            for name, plan in self._fields.items()
        )

    def spell(self, value: Any, room: int, walk: int) -> Any:
        if type(value) is not dict:
            refuse(value, self._name, takes=dict)
        if not room:
            raise TooDeep(value)
        wire: dict[str, Any] = {}
        for given, item in value.items():
            key = STR.spell(given, room, walk) if walk == CONVERTING and isinstance(given, str) else given
            if type(key) is not str or key not in self._fields:
                refusal = Refusal(
                    item,
                    f"{self._name} declares no key {reprlib.repr(key)}",
                    f"declare the key in {self._name}, or leave it out",
                )
                refusal.inside(step_of(key), value)
                raise refusal
            try:
                wire[key] = self._fields[key].lower(item, room - 1, walk)
            except Refusal as refusal:
                refusal.inside(step_of(key), value)
                raise
        refuse_fewer(wire, value)
        missing = self._required - wire.keys()
        if missing:
            raise Refusal(
                value,
                f"{self._name} requires the key {min(missing)!r}, which is missing",
                "add the key, or declare it NotRequired",
            )
        return wire

    def build(self, wire: Any, walk: int) -> Any:
        if type(wire) is not dict:
            mismatch(wire, self._name)
        unknown = [key for key in wire if type(key) is not str or key not in self._fields]
        missing = self._required - wire.keys()
        if unknown or missing:
            key = reprlib.repr(unknown[0] if unknown else min(missing))
            message = f"{self._name} {'declares no' if unknown else 'requires the'} key {key}"
            raise Mismatch(message)
        return {key: self._fields[key].restore(item, walk) for key, item in wire.items()}

    def wire_type(self, of: WireType) -> Any:
        return map_of(*map(of, self._fields.values()))

    def describe(self, of: Describe) -> str:
        fields = (
            f"{key}{'' if key in self._required else '?'}:{of(self._fields[key])}" for key in sorted(self._fields)
        )
        return f"{{{','.join(fields)}}}"


def spell_dict(key_plan: Plan, item_plan: Plan, value: dict[Any, Any], room: int, walk: int) -> Any:
    pairs = spell_pairs(key_plan, item_plan, value, room, walk)
    keys = pairs[::2]
    if not PLAIN_KEYS.issuperset(map(type, keys)):
        return [PAIRS, *pairs]
    wire = dict(zip(keys, pairs[1::2], strict=True))
    refuse_fewer(wire, value)
    return wire


def refuse_fewer(wire: dict[Any, Any], value: dict[Any, Any]) -> None:
    if len(wire) < len(value):
        raise Refusal(value, "two of its keys are the same after conversion", "use keys of one class")


def spell_pairs(key_plan: Plan, item_plan: Plan, value: Mapping[Any, Any], room: int, walk: int) -> list[Any]:
    if not room:
        raise TooDeep(value)
    if (count := most_equal_hashes(value)) > MAX_EQUAL_HASHES:
        raise colliding(value, count, "keys")
    direct_keys = key_plan.direct if walk < EVERYTHING else NOTHING
    direct_items = item_plan.direct if walk < EVERYTHING else NOTHING
    wire: list[Any] = []
    key: Any = None
    step = ""
    try:
        for key, item in value.items():
            step = ".keys()"
            wire.append(key if type(key) in direct_keys else key_plan.lower(key, room - 1, walk))
            step = ""
            wire.append(item if type(item) in direct_items else item_plan.lower(item, room - 1, walk))
    except Refusal as refusal:
        refusal.inside(step or step_of(key), value)
        raise
    return wire


def build_pairs(key_plan: Plan, item_plan: Plan, wire: list[Any], start: int, walk: int) -> list[tuple[Any, Any]]:
    keys, items = wire[start::2], wire[start + 1 :: 2]
    if len(keys) != len(items):
        message = "a key without a value"
        raise Mismatch(message)
    pairs = [
        (key_plan.restore(key, walk), item_plan.restore(item, walk)) for key, item in zip(keys, items, strict=True)
    ]
    if (count := most_equal_hashes([key for key, _ in pairs])) > MAX_EQUAL_HASHES:
        message = f"{count} keys of one hash"
        raise Mismatch(message)
    if len({key for key, _ in pairs}) != len(pairs):
        message = "equal keys"
        raise Mismatch(message)
    return pairs


def step_of(key: object) -> str:
    # Other keys may have a repr that fails or is very long; Python refuses an int's beyond 4,300 digits.
    is_shown = type(key) in PLAIN_KEYS and not (type(key) is int and key.bit_length() > 64)
    return f"[{reprlib.repr(key) if is_shown else f'<{type(key).__qualname__}>'}]"


def refuse_attributes(value: Any) -> None:
    # Most instances have an empty __dict__; attributes in addition to the items would be lost.
    extra = vars(value).keys() - GENERIC_ALIAS
    if extra:
        raise Refusal(value, f"it has attributes of its own: {', '.join(sorted(extra))}", KEEP_OUT)
