"""Enums, stored as the member's name, and flags, stored as the names of their bits.

A name keeps its meaning when members are added or values change (`auto()` renumbers them). An `IntFlag` may have bits
without a name, which follow the names as a number.
"""

import reprlib
from collections.abc import Mapping
from enum import Enum, Flag
from typing import Any

from durable_graph.codec.plan import Describe, Mismatch, Plan, Refusal, WireType, mismatch
from durable_graph.codec.registry import Shape
from durable_graph.codec.scalars import INT, STR
from durable_graph.codec.wire import array_of


class _Members(Shape):
    flat = True

    def settle(self, plans: Mapping[str, Plan]) -> None:
        """Does nothing: members have no fields."""

    def describe(self, of: Describe) -> str:
        return f"({','.join(sorted(self.cls.__members__))})"


class EnumShape(_Members):
    def __init__(self, cls: type[Enum], tag: str) -> None:
        super().__init__(cls, tag)
        self._members = dict(cls.__members__)

    def wire_type(self, of: WireType) -> Any:
        return of(STR)

    def spell(self, value: Any, room: int, walk: int) -> Any:
        name = value.name
        if self._members.get(name) is not value:
            raise Refusal(value, "it is not a named member of its class", "give it a name in the class")
        return STR.spell(name, room, walk)

    def build(self, wire: Any, walk: int) -> Any:
        name = STR.build(wire, walk)
        if name not in self._members:
            message = f"{self.cls.__qualname__} has no member {reprlib.repr(name)}"
            raise Mismatch(message)
        return self._members[name]


class FlagShape(_Members):
    """A list of names, and the number of the bits without a name as its last item, if there are any."""

    def __init__(self, cls: type[Flag], tag: str) -> None:
        super().__init__(cls, tag)
        self._bits = {name: member.value for name, member in cls.__members__.items() if _is_bit(member.value)}

    def wire_type(self, of: WireType) -> Any:
        return array_of(of(STR), of(INT))

    def spell(self, value: Any, room: int, walk: int) -> Any:
        number = value.value
        if number < 0:
            # On Python 3.11 and 3.12, ~flag of an IntFlag may have all bits except a few.
            return [INT.spell(number, room, walk)]
        names: list[Any] = []
        for name, bit in self._bits.items():
            if number & bit:
                names.append(STR.spell(name, room, walk))
                number &= ~bit
        return [*names, INT.spell(number, room, walk)] if number else names

    def build(self, wire: Any, walk: int) -> Any:
        if type(wire) is not list:
            mismatch(wire, self.cls.__qualname__)
        number = 0
        for index, part in enumerate(wire):
            if type(part) is str:
                if part not in self._bits:
                    message = f"{self.cls.__qualname__} has no flag {reprlib.repr(part)}"
                    raise Mismatch(message)
                number |= self._bits[part]
            elif index == len(wire) - 1 and type(part) is not bool:
                number |= INT.build(part, walk)
            else:
                mismatch(part, f"a flag of {self.cls.__qualname__}")
        made: Flag = self.cls(number)
        # With the boundary CONFORM the class drops unknown bits, with EJECT it makes an int.
        if type(made) is not self.cls or made.value != number:
            message = f"{self.cls.__qualname__} has no flags {number}"
            raise Mismatch(message)
        return made


def _is_bit(number: int) -> bool:
    return number > 0 and not number & (number - 1)
