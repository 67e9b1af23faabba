"""Instances of classes with a `StoredType`."""

from collections.abc import Mapping
from typing import Any

from durable_graph.codec.plan import EVERYTHING, SHORTCUTS, Describe, Mismatch, Plan, Refusal, TooDeep
from durable_graph.codec.registry import Shape
from durable_graph.codec.stored_type import StoredType
from durable_graph.codec.wire import MAX_DEPTH, pack, read
from durable_graph.errors.shown import shown


class StoredShape(Shape):
    """The data from `encode`, stored like a value of type `Any`."""

    def __init__(self, stored: StoredType[Any], anything: Plan) -> None:
        super().__init__(stored.cls, stored.tag)
        self.stored: StoredType[Any] = stored
        self._anything = anything

    def settle(self, plans: Mapping[str, Plan]) -> None:
        """Does nothing: the data has no declared type."""

    def describe(self, of: Describe) -> str:
        return f"({of(self._anything)})"

    def spell(self, value: Any, room: int, walk: int) -> Any:
        if self.stored.is_proven:
            return self._wire_of(value, room, walk)
        # No shortcuts, so that a part that MessagePack cannot write is found here and not in the final encoding.
        wire = self._wire_of(value, room, EVERYTHING)
        packed = pack(wire)
        try:
            # `decode` gets a copy, because it may keep its argument. When a value is read, its argument is new as well.
            made = self.stored.decode(self._anything.restore(read(memoryview(packed)), SHORTCUTS))
        except Exception as error:
            raise self._refusal(value, f"decode raised {shown(error)} for what encode made") from error
        if type(made) is not type(value):
            raise self._refusal(value, f"decode makes {type(made).__qualname__} of what encode made")
        if pack(self._wire_of(made, room, EVERYTHING)) != packed:
            raise self._refusal(value, "encode makes other data of what decode made")
        if _differ(value, made):
            raise self._refusal(value, "what decode makes of what encode made is not equal to it")
        return wire

    def spell_all(self, values: list[Any], room: int) -> list[Any] | None:
        if not self.stored.is_proven or not room:
            return None
        datas = [self._data_of(value) for value in values]
        return datas if self._anything.is_plain(datas, room - 1) else None

    def build(self, wire: Any, walk: int) -> Any:
        made = self.stored.decode(self._anything.restore(wire, SHORTCUTS))
        if not isinstance(made, self.cls):
            raise self._other_made(type(made))
        return made

    def build_all(self, wires: list[Any]) -> list[Any]:
        # Most data is plain, and one check of all data costs less than a check of each.
        is_plain = self._anything.is_plain(wires, MAX_DEPTH)
        datas = wires if is_plain else [self._anything.restore(wire, SHORTCUTS) for wire in wires]
        made = list(map(self.stored.decode, datas))
        for kind in set(map(type, made)):
            if not issubclass(kind, self.cls):
                raise self._other_made(kind)
        return made

    def _other_made(self, kind: type) -> Mismatch:
        message = f"decode of the StoredType {self.tag!r} made {kind.__qualname__}, not {self.cls.__qualname__}"
        return Mismatch(message)

    def _wire_of(self, value: Any, room: int, walk: int) -> Any:
        data = self._data_of(value)
        if not room:
            raise TooDeep(value)
        return self._anything.lower(data, room - 1, EVERYTHING if walk == EVERYTHING else SHORTCUTS)

    def _data_of(self, value: Any) -> Any:
        try:
            data = self.stored.encode(value)
        except Exception as error:
            raise self._refusal(value, f"encode raised {shown(error)}") from error
        if isinstance(data, self.cls):
            raise self._refusal(value, f"encode returned {type(data).__qualname__} instead of plain data")
        return data

    def _refusal(self, value: Any, why: str) -> Refusal:
        return Refusal(value, f"{why} (its StoredType {self.tag!r})", "decode has to reverse encode")


def _differ(value: Any, made: Any) -> bool:
    """Whether the two instances are unequal. The comparison is ignored if the class compares by identity, or if the
    value is not equal to itself, such as not-a-number."""
    if getattr(type(value), "__eq__", None) is object.__eq__:
        return False
    try:
        return not _is_true(value == made) and _is_true(value == value)
    except Exception:
        # The class cannot compare its instances. The comparison of the data remains.
        return False


def _is_true(answer: Any) -> bool:
    # Arrays and tables compare item by item.
    for _ in range(3):
        if isinstance(answer, bool):
            return answer
        if not hasattr(answer, "all"):
            break
        answer = answer.all()
    return bool(answer)
