"""Lists, tuples, sets and deques."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from msgspec import Raw
from msgspec.msgpack import Ext

from durable_graph.codec.limits import MAX_EQUAL_HASHES, most_equal_hashes
from durable_graph.codec.plan import (
    EVERYTHING,
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
from durable_graph.codec.wire import (
    DEQUE,
    FROZENSET,
    SET,
    TUPLE,
    array_of,
    fixed_array_of,
    items_of,
    key_of,
    mark_of,
    pack,
)


class ListPlan(Plan):
    """A list of one type of items: a MessagePack array."""

    def __init__(self, item: Plan) -> None:
        super().__init__(frozenset({list}), frozenset({list}))
        self.item = item
        self.plain: bool = item.plain
        self.converts: bool = item.converts
        self.native: Any = list[item.native] if item.native is not None else None  # type: ignore[name-defined]  # built at run time
        if item.native_if_flat is not None:
            self.native_if_flat: Any = list[item.native_if_flat]  # type: ignore[name-defined]  # built at run time

    def is_plain(self, batch: Iterable[Any], room: int) -> bool:
        lists = list(batch)
        if not set(map(type, lists)) <= self.kinds or not room:
            return False
        return self.item.is_plain(items_of(lists), room - 1)

    def spell(self, value: Any, room: int, walk: int) -> Any:
        if type(value) is not list:
            refuse(value, "list")
        return spell_items(self.item, value, room, walk)

    def build(self, wire: Any, walk: int) -> Any:
        if type(wire) is not list:
            mismatch(wire, "list")
        return build_items(self.item, wire, walk)

    def wire_type(self, of: WireType) -> Any:
        return array_of(of(self.item))

    def describe(self, of: Describe) -> str:
        return f"list[{of(self.item)}]"


class TuplePlan(Plan):
    """A tuple of any length: an envelope."""

    def __init__(self, item: Plan) -> None:
        super().__init__(frozenset({tuple}), frozenset({mark_of(TUPLE)}))
        self._item = item

    def spell(self, value: Any, room: int, walk: int) -> Any:
        if type(value) is not tuple:
            refuse(value, "tuple")
        return [TUPLE, *spell_items(self._item, value, room, walk)]

    def build(self, wire: Any, walk: int) -> Any:
        if key_of(wire) != TUPLE.data:
            mismatch(wire, "tuple")
        return tuple(build_items(self._item, wire[1:], walk))

    def wire_type(self, of: WireType) -> Any:
        return array_of(Ext, of(self._item))

    def describe(self, of: Describe) -> str:
        return f"tuple[{of(self._item)},...]"


class FixedTuplePlan(Plan):
    """A tuple with a type for each place."""

    def __init__(self, items: Sequence[Plan]) -> None:
        super().__init__(frozenset({tuple}), frozenset({mark_of(TUPLE)}))
        self._items = tuple(items)

    def spell(self, value: Any, room: int, walk: int) -> Any:
        if type(value) is not tuple:
            refuse(value, "tuple")
        if len(value) != len(self._items):
            raise Refusal(
                value,
                f"it has {len(value)} items where {len(self._items)} are declared",
                "return as many as declared, or declare tuple[<type>, ...]",
            )
        if not room:
            raise TooDeep(value)
        wire: list[Any] = [TUPLE]
        for index, (plan, item) in enumerate(zip(self._items, value, strict=True)):
            try:
                wire.append(plan.lower(item, room - 1, walk))
            except Refusal as refusal:
                refusal.inside(f"[{index}]", value)
                raise
        return wire

    def build(self, wire: Any, walk: int) -> Any:
        if key_of(wire) != TUPLE.data:
            mismatch(wire, "tuple")
        if len(wire) - 1 != len(self._items):
            message = f"{len(wire) - 1} items where {len(self._items)} are declared"
            raise Mismatch(message)
        return tuple([plan.restore(item, walk) for plan, item in zip(self._items, wire[1:], strict=True)])

    def wire_type(self, of: WireType) -> Any:
        return fixed_array_of(Ext, *map(of, self._items))

    def describe(self, of: Describe) -> str:
        return f"tuple[{','.join(map(of, self._items))}]"


class SetPlan(Plan):
    """A set or frozenset: an envelope with the items sorted by their bytes, an order that all processes share."""

    def __init__(self, kind: type[set[Any]] | type[frozenset[Any]], item: Plan) -> None:
        self._mark = SET if kind is set else FROZENSET
        super().__init__(frozenset({kind}), frozenset({mark_of(self._mark)}))
        self._kind = kind
        self._item = item

    def spell(self, value: Any, room: int, walk: int) -> Any:
        if type(value) is not self._kind:
            refuse(value, self._kind.__name__)
        if not room:
            raise TooDeep(value)
        if (count := most_equal_hashes(value)) > MAX_EQUAL_HASHES:
            raise colliding(value, count, "items")
        try:
            packed = [pack(self._item.lower(item, room - 1, walk)) for item in value]
        except Refusal as refusal:
            refusal.inside("{...}", value)
            raise
        return [self._mark, *map(Raw, sorted(packed))]

    def build(self, wire: Any, walk: int) -> Any:
        if key_of(wire) != self._mark.data:
            mismatch(wire, self._kind.__name__)
        items = build_items(self._item, wire[1:], walk)
        if (count := most_equal_hashes(items)) > MAX_EQUAL_HASHES:
            message = f"a {self._kind.__name__} with {count} items of one hash"
            raise Mismatch(message)
        value = self._kind(items)
        if len(value) != len(wire) - 1:
            message = f"a {self._kind.__name__} with equal items"
            raise Mismatch(message)
        return value

    def wire_type(self, of: WireType) -> Any:
        return array_of(Ext, of(self._item))

    def describe(self, of: Describe) -> str:
        return f"{self._kind.__name__}[{of(self._item)}]"


class DequePlan(Plan):
    """A deque with its `maxlen`."""

    def __init__(self, item: Plan) -> None:
        super().__init__(frozenset({deque}), frozenset({mark_of(DEQUE)}))
        self._item = item

    def spell(self, value: Any, room: int, walk: int) -> Any:
        if type(value) is not deque:
            refuse(value, "deque")
        return [DEQUE, value.maxlen, *spell_items(self._item, value, room, walk)]

    def build(self, wire: Any, walk: int) -> Any:
        if key_of(wire) != DEQUE.data or len(wire) < 2:
            mismatch(wire, "deque")
        maxlen, count = wire[1], len(wire) - 2
        if not (maxlen is None or (type(maxlen) is int and maxlen >= count)):
            message = f"a deque of {count} items with the maxlen {maxlen!r}"
            raise Mismatch(message)
        return deque(build_items(self._item, wire[2:], walk), maxlen)

    def wire_type(self, of: WireType) -> Any:
        return array_of(Ext, int, None, of(self._item))

    def describe(self, of: Describe) -> str:
        return f"deque[{of(self._item)}]"


def colliding(value: object, count: int, what: str) -> Refusal:
    why = f"{count} of its {what} have the same hash, and the limit is {MAX_EQUAL_HASHES}"
    return Refusal(value, why, "give their class a __hash__ with fewer collisions, or store them in a list")


def spell_items(plan: Plan, values: Collection[Any], room: int, walk: int) -> list[Any]:
    if not room:
        raise TooDeep(values)
    if not walk and len(values) > 3:
        wires = _spell_all(plan, list(values), room - 1)
        if wires is not None:
            return wires
    spell = plan.spell if walk else plan.lower
    direct = plan.direct if walk < EVERYTHING else NOTHING
    wire: list[Any] = []
    try:
        for item in values:
            wire.append(item if type(item) in direct else spell(item, room - 1, walk))
    except Refusal as refusal:
        refusal.inside(f"[{len(wire)}]", values)
        raise
    return wire


def _spell_all(plan: Plan, values: list[Any], room: int) -> list[Any] | None:
    try:
        return plan.spell_all(values, room)
    except Refusal:
        # The slow path finds the item.
        return None


def build_items(plan: Plan, wire: list[Any], walk: int) -> list[Any]:
    if len(wire) > 3:
        values = plan.build_all(wire)
        if values is not None:
            return values
    build = plan.build if walk else plan.restore
    direct = plan.direct
    return [item if type(item) in direct else build(item, walk) for item in wire]
