"""Enums by the name of the member, flags by their number.

A name keeps its meaning when members are added or values change (`auto()` renumbers them). A combination of flags has
none.
"""

from collections.abc import Mapping
from enum import Enum, Flag
from typing import Any

from durable_graph.codec.plan import Mismatch, Plan, Refusal, mismatch
from durable_graph.codec.registry import Shape
from durable_graph.codec.scalars import INT, STR
from durable_graph.codec.wire import BIG_INT, Key


class _Members(Shape):
    flat = True

    def settle(self, plans: Mapping[str, Plan]) -> None:
        """Members have no fields."""


class EnumShape(_Members):
    keys: frozenset[Key] = STR.keys

    def __init__(self, cls: type[Enum], tag: str) -> None:
        super().__init__(cls, tag)
        self._members = dict(cls.__members__)

    def spell(self, value: Any, room: int, walk: int) -> Any:
        name = value.name
        if self._members.get(name) is not value:
            raise Refusal(value, "it is no member that its class lists", "give it a name in the class")
        return STR.spell(name, room, walk)

    def build(self, wire: Any, walk: int) -> Any:
        name = STR.build(wire, walk)
        if name not in self._members:
            message = f"{self.cls.__qualname__} has no member {name!r}"
            raise Mismatch(message)
        return self._members[name]


class FlagShape(_Members):
    keys: frozenset[Key] = frozenset({int, BIG_INT})

    def spell(self, value: Any, room: int, walk: int) -> Any:
        return INT.spell(value.value, room, walk)

    def build(self, wire: Any, walk: int) -> Any:
        if type(wire) is bool:
            mismatch(wire, self.cls.__qualname__)
        number = INT.build(wire, walk)
        made: Flag = self.cls(number)
        # A boundary of CONFORM drops unknown bits, and one of EJECT gives an int.
        if type(made) is not self.cls or made.value != number:
            message = f"{self.cls.__qualname__} has no flags {number}"
            raise Mismatch(message)
        return made
