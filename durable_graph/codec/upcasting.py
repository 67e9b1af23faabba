"""Classes with an upcast."""

from collections.abc import Mapping
from typing import Any

from durable_graph.codec.plain import BuildOwn, plain
from durable_graph.codec.plan import SHORTCUTS, Describe, Mismatch, Plan, Refusal
from durable_graph.codec.registry import Shape, Upcast
from durable_graph.codec.wire import MAX_DEPTH, TAGGED
from durable_graph.errors.shown import shown


class UpcastShape(Shape):
    """The shape of a class with an upcast, which makes an instance of data that the class's shape cannot read."""

    def __init__(self, shape: Shape, upcast: Upcast, build_own: BuildOwn) -> None:
        super().__init__(shape.cls, shape.tag)
        self._shape = shape
        self._upcast = upcast
        self._build_own = build_own
        self.flat: bool = shape.flat

    def settle(self, plans: Mapping[str, Plan]) -> None:
        self._shape.settle(plans)

    def describe(self, of: Describe) -> str:
        return self._shape.describe(of)

    def spell(self, value: Any, room: int, walk: int) -> Any:
        return self._shape.spell(value, room, walk)

    def spell_all(self, values: list[Any], room: int) -> list[Any] | None:
        return self._shape.spell_all(values, room)

    def build(self, wire: Any, walk: int) -> Any:
        if self._shape.is_current(wire):
            try:
                return self._shape.build(wire, walk)
            except Mismatch:
                # A field had another type.
                pass
        return self._upcasted(wire)

    def _upcasted(self, wire: Any) -> Any:
        name = self.cls.__qualname__
        older = plain([TAGGED, self.tag, wire], self._build_own)
        try:
            made = self._upcast(older)
        except Exception as error:
            message = f"the upcast of {name} raised {shown(error)}"
            raise Mismatch(message) from error
        if type(made) is not self.cls:
            message = f"the upcast of {name} returned {type(made).__qualname__}"
            raise Mismatch(message)
        try:
            self._shape.spell(made, MAX_DEPTH, SHORTCUTS)
        except Refusal as refusal:
            message = f"what the upcast of {name} returned has at {refusal.path} {refusal.type_name}: {refusal.why}"
            raise Mismatch(message) from refusal
        return made
