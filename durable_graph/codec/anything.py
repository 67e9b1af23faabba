"""`Any`: the wire form of every value determines its type. Plain data is plain MessagePack."""

from collections.abc import Iterable, Sequence
from itertools import chain
from types import NoneType
from typing import Any

from durable_graph.codec.plan import (
    CONVERTERS,
    EVERYTHING,
    KEEP_OUT,
    REGION,
    SHORTCUTS,
    Describe,
    Plan,
    Refusal,
    closest_builtin,
    is_code,
    mismatch,
)
from durable_graph.codec.registry import Registry, has_kind, storing_remedy
from durable_graph.codec.wire import PLAIN_KEYS, TAGGED, Key, items_of, key_of, values_of

_SCALARS = frozenset({NoneType, bool, int, float, str, bytes})
_PLAIN = _SCALARS | {list, dict}


class AnyPlan(Plan):
    """A value of any storable builtin type or registered class. `settle` gives it the plans of the builtin types."""

    plain = True
    direct = _SCALARS
    converts = False
    # No bytes: msgspec accepts only one of str and bytes in a union.
    native_if_flat = None | bool | int | float | str

    def __init__(self, registry: Registry) -> None:
        super().__init__(frozenset(), frozenset())
        self._registry = registry
        self._by_kind: dict[type, Plan] = {}
        self._by_key: dict[Key, Plan] = {}

    def settle(self, plans: Sequence[Plan]) -> None:
        for plan in plans:
            self._by_kind.update(dict.fromkeys(plan.kinds - self._by_kind.keys(), plan))
            self._by_key.update(dict.fromkeys(plan.keys - self._by_key.keys(), plan))

    def is_plain(self, batch: Iterable[Any], room: int) -> bool:
        level = list(batch)
        for _ in range(room + 1):
            kinds = set(map(type, level))
            if kinds <= _SCALARS:
                return True
            if not kinds <= _PLAIN:
                return False
            inner: list[Any] = []
            if dict in kinds:
                dicts = [value for value in level if type(value) is dict]
                if not PLAIN_KEYS.issuperset(map(type, chain.from_iterable(dicts))):
                    return False
                inner = list(values_of(dicts))
            if list in kinds:
                inner += items_of([value for value in level if type(value) is list])
            level = inner
        return False

    def spell(self, value: Any, room: int, walk: int) -> Any:
        kind = type(value)
        plan = self._by_kind.get(kind)
        if plan is not None:
            return plan.spell(value, room, walk or REGION)
        shape = self._registry.shape_of(kind)
        if shape is None:
            raise _refusal(value)
        return [TAGGED, shape.tag, shape.spell(value, room, walk if walk >= EVERYTHING else SHORTCUTS)]

    def build(self, wire: Any, walk: int) -> Any:
        key = key_of(wire)
        if type(key) is str:
            return self._registry.shape_tagged(key).build(wire[2], walk if walk >= EVERYTHING else SHORTCUTS)
        plan = self._by_key.get(key)
        if plan is None:
            mismatch(wire, "a storable type")
        return plan.build(wire, walk or REGION)

    def describe(self, of: Describe) -> str:
        return "any"

    def admits(self, kind: type) -> bool:
        return True

    def admits_key(self, key: Key) -> bool:
        return True


def _refusal(value: object) -> Refusal:
    kind = type(value)
    name = kind.__qualname__
    if has_kind(kind):
        return Refusal(
            value,
            "its class is not among the declared types",
            f"list it in compile(types=[{name}]), or in @entrypoint(types=[{name}]), or declare it",
        )
    closest = closest_builtin(kind)
    if closest is not None:
        remedy = f"convert it with {CONVERTERS[closest]}, or {storing_remedy(kind)}"
        return Refusal(value, f"it would come back as {closest.__name__}", remedy)
    if is_code(value):
        return Refusal(value, "it is a callable, an iterator or an awaitable, not data", KEEP_OUT)
    why = "the library does not know how to store instances of its class"
    return Refusal(value, why, f"{storing_remedy(kind)}, or convert it")
