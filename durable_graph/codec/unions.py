"""Unions: the class of a value, or the beginning of a wire form, selects the member."""

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Any, get_args

from durable_graph.codec.plan import (
    CONVERTING,
    EVERYTHING,
    REGION,
    Deferred,
    Describe,
    Mismatch,
    Plan,
    Refusal,
    WireType,
    mismatch,
    refuse,
)
from durable_graph.codec.wire import Key, joined, key_of


class UnionPlan(Plan):
    """A value of one of several types. Members whose wire forms begin alike are tried in turn: every member that
    accepts a wire form makes the same value of it."""

    def __init__(self, members: Sequence[Plan], name: str) -> None:
        super().__init__(
            frozenset().union(*(member.kinds for member in members)),
            frozenset().union(*(member.keys for member in members)),
        )
        self._members = tuple(members)
        self._name = name
        self._by_kind: dict[type, tuple[Plan, ...]] = {}
        self._by_key: dict[Key, tuple[Plan, ...]] = {}
        self.converts: bool = any(member.converts for member in members)
        self.flat: bool = all(member.flat or member.plain for member in members)
        self.is_scalar: bool = all(member.is_scalar for member in members)
        owners = [kind for member in members if not member.is_scalar for kind in member.kinds]
        self.plain: bool = (
            all(member.plain for member in members)
            and len(owners) == len(set(owners))
            and not any(kind in member.kinds for member in members if member.is_scalar for kind in owners)
        )
        # A literal accepts only some values of its class, which only the slow path checks.
        self.plain = self.plain and all(not member.is_scalar or member.native is not None for member in members)
        if self.plain and all(member.native is not None for member in members):
            native = reduce(or_, (member.native for member in members))
            # msgspec refuses a union of str and bytes, which some of its formats cannot distinguish. MessagePack can.
            self.native: Any = None if {str, bytes}.issubset(get_args(native)) else native

    def is_plain(self, batch: Iterable[Any], room: int) -> bool:
        values = list(batch)
        found = set(map(type, values))
        if not self.kinds >= found:
            return False
        for member in self._members:
            if not member.is_scalar and not member.kinds.isdisjoint(found):
                chosen = [value for value in values if type(value) in member.kinds]
                if not member.is_plain(chosen, room):
                    return False
        return True

    def spell(self, value: Any, room: int, walk: int) -> Any:
        kind = type(value)
        candidates = self._by_kind.get(kind)
        if candidates is None:
            candidates = tuple(member for member in self._members if member.admits(kind))
            self._by_kind[kind] = candidates
        # Members that accept the value unchanged come before members that convert it.
        tries = [(plan, min(walk, EVERYTHING)) for plan in candidates]
        if walk == CONVERTING:
            tries += [(plan, CONVERTING) for plan in self._by_base(kind)]
        best: Refusal | None = None
        for plan, how in tries:
            try:
                return plan.lower(value, room, how)
            except Refusal as refusal:
                # The refusal at the deepest place is the most specific.
                if best is None or len(refusal.steps) > len(best.steps):
                    best = refusal
        if best is None or not (candidates or best.steps):
            refuse(value, self._name)
        raise best

    def _by_base(self, kind: type) -> list[Plan]:
        """All members, ordered by the base classes of `kind` that they accept, nearest base first."""
        bases = [base for base in kind.__mro__ if any(base in member.kinds for member in self._members)]
        nearest = [member for base in bases for member in self._members if base in member.kinds]
        return list(dict.fromkeys((*nearest, *self._members)))

    def build(self, wire: Any, walk: int) -> Any:
        key = key_of(wire)
        candidates = self._by_key.get(key)
        if candidates is None:
            candidates = tuple(member for member in self._members if member.admits_key(key))
            if not candidates:
                mismatch(wire, self._name)
            self._by_key[key] = candidates
        if walk == CONVERTING:
            # Members that restore the value unchanged come before members that convert it.
            for plan in candidates:
                try:
                    return plan.restore(wire, REGION)
                except Mismatch:
                    continue
        *others, last = candidates
        for plan in others:
            try:
                return plan.restore(wire, walk)
            except Mismatch:
                continue
        return last.restore(wire, walk)

    def wire_type(self, of: WireType) -> Any:
        return joined(*map(of, self._members))

    def describe(self, of: Describe) -> str:
        return f"<{'|'.join(sorted(set(map(of, self._leaves(set())))))}>"

    def _leaves(self, seen: set[int]) -> Iterator[Plan]:
        # By an alias a union may be inside another union, or inside itself.
        seen.add(id(self))
        for member in self._members:
            plan = member.target if isinstance(member, Deferred) else member
            if not isinstance(plan, UnionPlan):
                yield plan
            elif id(plan) not in seen:
                yield from plan._leaves(seen)

    def admits(self, kind: type) -> bool:
        return any(member.admits(kind) for member in self._members)

    def admits_key(self, key: Key) -> bool:
        return any(member.admits_key(key) for member in self._members)
