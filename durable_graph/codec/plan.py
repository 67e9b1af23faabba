"""Plans: how values of one declared type are converted to wire form and restored."""

import re
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

from durable_graph.codec.wire import MAX_DEPTH, Key, key_of
from durable_graph.errors.tree import bounded

# The values of `walk` in this package: which parts of a value are visited one by one.
SHORTCUTS: Final = 0  # plain parts are recognised as a whole and left unchanged
REGION: Final = 1  # this part is not plain: its inner parts are not checked again
EVERYTHING: Final = 2  # MessagePack could not write a plain part: all parts are visited
CONVERTING: Final = 3  # as EVERYTHING, and a scalar of another class is converted if that loses nothing

NOTHING: Final[frozenset[type]] = frozenset()

GENERIC_ALIAS: Final = frozenset({"__orig_class__"})
"""The attribute that an instance gets when it is made through a parametrised class, such as `Result[int](1)`."""

KEEP_OUT = "keep it out of the state, or store what it can be rebuilt from"


class Refusal(Exception):  # noqa: N818 - never leaves this package: TypeCodec makes it an UnstorableValueError.
    """A value that could not be restored. The path grows while the error passes the containers around the value."""

    def __init__(self, value: object, why: str, remedy: str) -> None:
        super().__init__(why)
        self.type_name: str = type(value).__qualname__
        self.why = why
        self.remedy = remedy
        self.steps: list[str] = []
        self.around: list[object] = []

    def inside(self, step: str, container: object) -> None:
        self.steps.append(step)
        self.around.append(container)

    @property
    def path(self) -> str:
        return "".join(reversed(self.steps))

    def cycle(self) -> tuple[str, object] | None:
        """The path to the first container that contains itself, and the container; None if there is none."""
        seen: set[int] = set()
        path = ""
        for step, container in zip(reversed(self.steps), reversed(self.around), strict=True):
            if id(container) in seen:
                return path, container
            seen.add(id(container))
            path += step
        return None


class TooDeep(Refusal):
    """The value nests deeper than MAX_DEPTH, perhaps because it contains itself."""

    def __init__(self, value: object) -> None:
        super().__init__(value, f"values may nest {MAX_DEPTH} levels deep", "flatten it")


class Mismatch(Exception):  # noqa: N818 - never leaves this package: TypeCodec makes it a DecodeError.
    """A wire form that is no value of the declared type."""


Describe = Callable[["Plan"], str]
WireType = Callable[["Plan"], Any]


class Plan(ABC):
    """How values of one declared type are stored.

    With a *plain* plan, the wire form of a value for which `is_plain` is true is the value itself: it is not copied.
    """

    kinds: frozenset[type]
    """The exact classes of the plan's values."""

    keys: frozenset[Key]
    """The possible beginnings of the values' wire forms."""

    is_scalar = False
    """Whether the wire forms determine their type for any declared type."""

    plain = False

    direct: frozenset[type] = NOTHING
    """Classes whose values are their own wire form, except those that MessagePack cannot write (see EVERYTHING)."""

    flat = False
    """Whether the values have no parts that could be refused."""

    converts = True
    """Whether a part of the values could be converted, because it is a number or string."""

    native: Any = None
    """The type with which msgspec decodes the same wire form with equally strict checks, if there is one."""

    native_if_flat: Any = None
    """As `native`, for values whose open parts are scalars; msgspec refuses the others."""

    def __init__(self, kinds: frozenset[type], keys: frozenset[Key]) -> None:
        self.kinds = kinds
        self.keys = keys

    def is_plain(self, batch: Iterable[Any], room: int) -> bool:
        """Whether all of these values are their own wire form. Checks one level at a time, so that loops run in C."""
        return False

    def spell_all(self, values: list[Any], room: int) -> list[Any] | None:
        """The wire forms of many values, made faster than one by one; None if this is not possible."""
        return None

    def build_all(self, wires: list[Any]) -> list[Any] | None:
        """The values of many wire forms, made faster than one by one; None if this is not possible."""
        return None

    @abstractmethod
    def spell(self, value: Any, room: int, walk: int) -> Any:
        """The wire form of `value`, which may nest `room` more levels. Raises `Refusal`."""

    @abstractmethod
    def build(self, wire: Any, walk: int) -> Any:
        """The value of a wire form. Raises `Mismatch`, or any error of the user's classes."""

    def wire_type(self, of: WireType) -> Any:
        """A type for msgspec that accepts the wire forms of all values and few others; `of` returns that of a part."""
        return Any

    @abstractmethod
    def describe(self, of: Describe) -> str:
        """The canonical text of the type, for fingerprints; `of` returns the text of an inner type."""

    def lower(self, value: Any, room: int, walk: int) -> Any:
        """`spell`, with the shortcut for plain values."""
        if walk or not self.plain:
            return self.spell(value, room, walk)
        if self.is_plain((value,), room):
            return value
        return self.spell(value, room, REGION)

    def restore(self, wire: Any, walk: int) -> Any:
        """`build`, with the shortcut for plain values."""
        if walk or not self.plain:
            return self.build(wire, walk)
        if self.is_plain((wire,), MAX_DEPTH):
            return wire
        return self.build(wire, REGION)

    def admits(self, kind: type) -> bool:
        """Whether values of this class may be stored here."""
        return kind in self.kinds

    def admits_key(self, key: Key) -> bool:
        return key in self.keys


class Deferred(Plan):
    """Stands for the plan of a recursive type inside itself, until that plan is made."""

    def __init__(self, kinds: frozenset[type] = frozenset(), keys: frozenset[Key] = frozenset()) -> None:
        super().__init__(kinds, keys)
        self._target: Plan | None = None

    def settle(self, target: Plan) -> None:
        self._target = target

    @property
    def target(self) -> Plan:
        if self._target is None:
            message = "a type that only mentions itself"
            raise TypeError(message)
        return self._target

    def spell(self, value: Any, room: int, walk: int) -> Any:
        return self.target.spell(value, room, walk)

    def build(self, wire: Any, walk: int) -> Any:
        return self.target.build(wire, walk)

    def wire_type(self, of: WireType) -> Any:
        return self.target.wire_type(of)

    def describe(self, of: Describe) -> str:
        return self.target.describe(of)

    def admits(self, kind: type) -> bool:
        return self.target.admits(kind)

    def admits_key(self, key: Key) -> bool:
        return self.target.admits_key(key)


def mismatch(wire: object, expected: str) -> NoReturn:
    key = key_of(wire)
    match key:
        case type():
            found = "None" if wire is None else f"a value of type {key.__name__}"
        case str():
            found = f"a value with the tag {reprlib.repr(key)}"
        case int():
            found = f"an extension with the code {key}"
        case _:
            found = f"an envelope marked {key!r}"
    message = f"{found} where {expected} is declared"
    raise Mismatch(message)


def is_code(value: object) -> bool:
    return callable(value) or hasattr(type(value), "__next__") or hasattr(type(value), "__await__")


def refuse(value: object, expected: str, takes: type | None = None) -> NoReturn:
    """Raise the `Refusal` for a value of another class than declared. `takes` is the class of the accepted values, if
    the name of the type does not show it."""
    kind = type(value)
    closest = closest_builtin(kind)
    if closest is None and is_code(value):
        raise Refusal(value, "it is a callable, an iterator or an awaitable, not data", KEEP_OUT)
    declared_names = set(re.findall(r"\w+", expected))
    # Another class may have the same name: numpy's bool, or a class of a module that was loaded twice.
    name = f"{kind.__module__}.{kind.__qualname__}" if kind.__qualname__ in declared_names else kind.__qualname__
    remedy = "return a value of the declared type, or declare the type that it has"
    if closest is not None and (closest is takes or closest.__name__ in declared_names):
        remedy = f"convert it with {CONVERTERS[closest]}, or declare the type that it has"
    raise Refusal(value, f"{bounded(expected, 100)} is declared, and it would not come back as {name}", remedy)


def closest_builtin(kind: type) -> type | None:
    """The builtin class that a class extends, of text, a number or a container; None if there is none."""
    return next((base for base in kind.__mro__[1:] if base in CONVERTERS), None)


CONVERTERS: dict[type, str] = {
    kind: f"{kind.__name__}(...)"
    for kind in (bool, int, float, str, bytes, bytearray, list, tuple, set, frozenset, dict)
}
