"""Values without parts: numbers, text, bytes, UUIDs, paths, literals. Their wire forms determine their types."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import MemberDescriptorType, NoneType
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType
from msgspec.msgpack import Ext

from durable_graph.codec.limits import MAX_NUMBER_BYTES
from durable_graph.codec.plan import CONVERTING, Describe, Mismatch, Plan, Refusal, WireType, mismatch, refuse
from durable_graph.codec.wire import BIG_INT, BYTEARRAY, DECIMAL, LONE_SURROGATES, PATH, UNSET_, UUID_, Key, joined
from durable_graph.errors.tree import bounded

_LEAST, _MOST = -(2**63), 2**64 - 1

# Decimal() also accepts spaces, underscores and digits of other scripts, which str() never writes.
_DECIMAL = re.compile(rb"-?(\d+(\.\d+)?(E[+-]\d+)?|INFINITY|S?NAN\d*)", re.ASCII)


# Conversions from an instance of a subclass to the class itself. `str(...)` could call a method of the subclass.
_CONVERTED: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: bytes.__bytes__,
}
_LARGEST_FLOAT = int(sys.float_info.max)


class ScalarPlan(Plan):
    """Types of MessagePack, with extensions for the values of int and str that it cannot write.

    A value of another class is converted if that loses nothing: strings and numbers of a subclass, an int to a float.
    A bool is an int, as for a type checker, and is restored as the same bool.
    """

    is_scalar = True
    plain = True

    def __init__(self, name: str, kinds: frozenset[type], native: Any) -> None:
        keys: set[Key] = set(kinds)
        if int in kinds:
            keys.add(BIG_INT)
        if str in kinds:
            keys.add(LONE_SURROGATES)
        if float in kinds:
            keys.add(int)
        super().__init__(kinds, frozenset(keys))
        self._name = name
        self._kind = next((kind for kind in kinds if kind in _CONVERTED), None)
        self.converts: bool = self._kind is not None
        self.direct = kinds
        self.native = native

    def is_plain(self, batch: Iterable[Any], room: int) -> bool:
        return set(map(type, batch)) <= self.kinds

    def spell(self, value: Any, room: int, walk: int) -> Any:
        kind = type(value)
        if kind not in self.kinds:
            if walk != CONVERTING or self._kind is None:
                refuse(value, self._name)
            value = self._converted(value, self._kind)
            kind = type(value)
        if kind is str:
            return spell_str(value)
        return spell_int(value) if kind is int else value

    def _converted(self, value: Any, kind: type) -> Any:
        if isinstance(value, kind):
            _refuse_attributes(value, self._name)
            return _CONVERTED[kind](value)
        if kind is float and isinstance(value, int):
            _refuse_attributes(value, self._name)
            if abs(value) <= _LARGEST_FLOAT and float(value) == value:
                return float(value)
            raise Refusal(value, "no float is equal to it", "declare int, or round it with float(...)")
        return refuse(value, self._name)

    def build(self, wire: Any, walk: int) -> Any:
        kind = type(wire)
        if kind in self.kinds:
            return wire
        if walk == CONVERTING and kind is int and self._kind is float and float(wire) == wire:
            # The value was written when an int was declared.
            return float(wire)
        if kind is Ext and wire.code in self.keys:
            return build_int(bytes(wire.data)) if wire.code == BIG_INT else build_str(bytes(wire.data))
        return mismatch(wire, self._name)

    def wire_type(self, of: WireType) -> Any:
        if self._kind is float:
            # With int, because msgspec rounds an int that it decodes as a float.
            return float | int
        return self.native if self.keys <= self.kinds else joined(self.native, Ext)

    def describe(self, of: Describe) -> str:
        return self._name


def _refuse_attributes(value: Any, name: str) -> None:
    """Raises `Refusal` for attributes that a subclass adds, which would be lost. An enum member has only its value."""
    if isinstance(value, Enum):
        return
    names = set(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        names.update(
            slot for slot, of in vars(kind).items() if type(of) is MemberDescriptorType and hasattr(value, slot)
        )
    if names:
        why = f"it has attributes of its own, which {name} lacks: {', '.join(sorted(names))}"
        raise Refusal(value, bounded(why, 150), f"convert it with {name}(...)")


def _spelled(member: Any) -> str:
    return f"{type(member).__qualname__}:{member.name if isinstance(member, Enum) else repr(member)}"


def spell_str(value: str) -> str | Ext:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return Ext(LONE_SURROGATES, value.encode("utf-8", "surrogatepass"))
    return value


def build_str(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def spell_int(value: int) -> int | Ext:
    if _LEAST <= value <= _MOST:
        return value
    size = value.bit_length() // 8 + 1
    if size > MAX_NUMBER_BYTES:
        raise Refusal(
            value, f"it has {size} bytes, and the limit for an int is {MAX_NUMBER_BYTES}", "store it as bytes"
        )
    return Ext(BIG_INT, value.to_bytes(size, "big", signed=True))


def build_int(data: bytes) -> int:
    if len(data) > MAX_NUMBER_BYTES:
        message = f"an int of {len(data)} bytes"
        raise Mismatch(message)
    return int.from_bytes(data, "big", signed=True)


class LeafPlan(Plan):
    """A class whose values are stored as the bytes of an extension."""

    is_scalar = True
    flat = True
    converts = False

    def __init__(self, kind: type, code: int, write: Callable[[Any], bytes], read: Callable[[bytes], Any]) -> None:
        super().__init__(frozenset({kind}), frozenset({code}))
        self._kind = kind
        self._code = code
        self._write = write
        self._read = read

    def spell(self, value: Any, room: int, walk: int) -> Any:
        if type(value) is not self._kind:
            refuse(value, self._kind.__name__)
        return Ext(self._code, self._write(value))

    def build(self, wire: Any, walk: int) -> Any:
        if type(wire) is not Ext or wire.code != self._code:
            mismatch(wire, self._kind.__name__)
        return self._read(bytes(wire.data))

    def wire_type(self, of: WireType) -> Any:
        return Ext

    def describe(self, of: Describe) -> str:
        # The class of a path depends on the platform.
        return f"leaf {self._code}"


class LiteralPlan(Plan):
    """A `Literal` of strings, numbers, bytes, None, or members of enums (which their own plans write)."""

    def __init__(self, members: Sequence[Any], plan: Plan) -> None:
        super().__init__(frozenset(map(type, members)), plan.keys)
        self._members = frozenset((type(member), member) for member in members)
        self._values = frozenset(members)
        self._plan = plan
        self.plain: bool = plan.plain
        self.is_scalar: bool = not any(isinstance(member, Enum) for member in members)

    def is_plain(self, batch: Iterable[Any], room: int) -> bool:
        values = list(batch)
        if not set(map(type, values)) <= self.kinds:
            return False
        # With a single class, equal values are the same; with several classes, True would be equal to 1.
        if len(self.kinds) == 1:
            return self._values.issuperset(values)
        return self._members.issuperset(zip(map(type, values), values, strict=True))

    def spell(self, value: Any, room: int, walk: int) -> Any:
        if walk == CONVERTING and type(value) not in self.kinds:
            member = self._of_base(value)
            if member is not None:
                return self._plan.spell(member, room, walk)
        if type(value) not in self.kinds or (type(value), value) not in self._members:
            refuse(value, self._shown())
        return self._plan.spell(value, room, walk)

    def _of_base(self, value: Any) -> Any:
        """The member to which an instance of a subclass converts, None if there is none."""
        for kind, convert in _CONVERTED.items():
            if isinstance(value, kind) and not isinstance(value, bool) and kind in self.kinds:
                base = convert(value)
                if (kind, base) not in self._members:
                    return None
                _refuse_attributes(value, kind.__name__)
                return base
        return None

    def build(self, wire: Any, walk: int) -> Any:
        value = self._plan.build(wire, walk)
        if type(value) not in self.kinds or (type(value), value) not in self._members:
            message = f"a value that is not one of {self._shown()}"
            raise Mismatch(message)
        return value

    def wire_type(self, of: WireType) -> Any:
        return of(self._plan)

    def describe(self, of: Describe) -> str:
        return f"literal[{','.join(sorted(_spelled(member) for _, member in self._members))}]"

    def admits_key(self, key: Key) -> bool:
        return self._plan.admits_key(key)

    def _shown(self) -> str:
        return f"Literal[{', '.join(sorted(map(repr, self._values)))}]"


def _write_decimal(value: Decimal) -> bytes:
    # Upper case, because with some decimal contexts str() writes a small e.
    data = str(value).upper().encode()
    if len(data) > MAX_NUMBER_BYTES:
        raise Refusal(value, f"it has {len(data)} digits, and the limit is {MAX_NUMBER_BYTES}", "store it as a str")
    return data


def _read_decimal(data: bytes) -> Decimal:
    if len(data) > MAX_NUMBER_BYTES or not _DECIMAL.fullmatch(data):
        message = f"{data[:40]!r} is no Decimal"
        raise Mismatch(message)
    value = Decimal(data.decode())
    # An exponent beyond the range of Decimal would silently become infinite or zero.
    if _write_decimal(value) != data:
        message = f"{data[:40]!r} is no Decimal as this release writes it"
        raise Mismatch(message)
    return value


def _write_uuid(value: UUID) -> bytes:
    return value.bytes


def _read_uuid(data: bytes) -> UUID:
    return UUID(bytes=data)


def _write_path(value: Path) -> bytes:
    return str(value).encode("utf-8", "surrogatepass")


def _read_path(data: bytes) -> Path:
    text = data.decode("utf-8", "surrogatepass")
    path = Path(text)
    # A path from a platform with another syntax would become a different path.
    if str(path) != text:
        message = f"{data[:40]!r} is no path here"
        raise Mismatch(message)
    return path


def _read_unset(data: bytes) -> UnsetType:
    if data:
        message = f"{data[:40]!r} after UNSET"
        raise Mismatch(message)
    return UNSET


NONE = ScalarPlan("None", frozenset({NoneType}), None.__class__)
BOOL = ScalarPlan("bool", frozenset({bool}), bool)
INT = ScalarPlan("int", frozenset({int, bool}), int | bool)
FLOAT = ScalarPlan("float", frozenset({float}), float)
STR = ScalarPlan("str", frozenset({str}), str)
BYTES = ScalarPlan("bytes", frozenset({bytes}), bytes)

# Path() makes instances of the platform's class, which users declare as Path.
PATHS = LeafPlan(type(Path()), PATH, _write_path, _read_path)

LEAVES: tuple[LeafPlan, ...] = (
    LeafPlan(bytearray, BYTEARRAY, bytes, bytearray),
    LeafPlan(Decimal, DECIMAL, _write_decimal, _read_decimal),
    LeafPlan(UUID, UUID_, _write_uuid, _read_uuid),
    LeafPlan(UnsetType, UNSET_, lambda _: b"", _read_unset),
    PATHS,
)
