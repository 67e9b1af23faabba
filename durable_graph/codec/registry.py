"""The classes that values of open types may have, and the tags under which they are stored.

Stored tags are looked up only here: no module is imported and no attribute read by a name in the data.
"""

import reprlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec.msgpack import Ext

from durable_graph.codec.plan import KEEP_OUT, SHORTCUTS, Describe, Mismatch, Plan, Refusal, WireType, mismatch
from durable_graph.codec.stored_type import StoredType
from durable_graph.codec.wire import TAGGED, Key, fixed_array_of, joined, key_of
from durable_graph.records import NO_TEXT, is_text

Upcast = Callable[[Any], Any]
"""A function from a stored value, without the classes of its parts, to a value of the current type."""

FindStored = Callable[[type], StoredType[Any] | None]
"""A function from a class to the `StoredType` of an installed package."""


HEAP_TYPE: Final = 1 << 9
"""The flag of classes that Python code made."""


class UnstorableType(Exception):  # noqa: N818 - never leaves this package: Codec makes it an GraphValidationError.
    """A declared type whose values can never be stored."""

    def __init__(self, declared: object, why: str, remedy: str) -> None:
        super().__init__(why)
        self.declared = declared
        self.why = why
        self.remedy = remedy
        self.fields: list[str] = []

    def inside(self, field: str) -> None:
        self.fields.append(field)


class Shape(ABC):
    """How the instances of one class are stored, without the tag."""

    flat = False
    """Whether the instances have no parts that could be refused."""
    stored: StoredType[Any] | None = None
    """The `StoredType` of the class, if it has one."""

    def __init__(self, cls: type[Any], tag: str) -> None:
        self.cls = cls
        self.tag = tag

    @abstractmethod
    def settle(self, plans: Mapping[str, Plan]) -> None:
        """Set the plans of the fields, which may mention the class itself."""

    @abstractmethod
    def spell(self, value: Any, room: int, walk: int) -> Any:
        """The wire form of an instance of exactly this class."""

    def spell_all(self, values: list[Any], room: int) -> list[Any] | None:
        """As `Plan.spell_all`, for instances of exactly this class."""
        return None

    def build_all(self, wires: list[Any]) -> list[Any] | None:
        """As `Plan.build_all`, for instances of exactly this class."""
        return None

    @abstractmethod
    def build(self, wire: Any, walk: int) -> Any:
        """An instance of exactly this class."""

    def is_current(self, wire: Any) -> bool:
        """Whether the instance was stored with the current fields of the class."""
        return True

    def wire_type(self, of: WireType) -> Any:
        """As `Plan.wire_type`, without the tag."""
        return Any

    @abstractmethod
    def describe(self, of: Describe) -> str:
        """As `Plan.describe`, without the tag."""


class Registry:
    """Shapes by tag and by class. Filled while types are compiled, before any value is encoded."""

    def __init__(self) -> None:
        self._classes: dict[str, type] = {}
        self._tags: dict[type, str] = {}
        self._shapes: dict[type, Shape] = {}
        self._of_subclasses: dict[type, Shape] = {}

    def add(self, cls: type, tag: str | None = None) -> str:
        """Register a class, and return the tag with which it is written: its first tag, by default `__qualname__`."""
        if tag is None:
            if cls in self._tags:
                return self._tags[cls]
            tag = cls.__qualname__
        if not is_text(tag):
            raise UnstorableType(cls, f"its tag {tag!r} {NO_TEXT.removeprefix('it ')}", "give it a tag of plain text")
        holder = self._classes.setdefault(tag, cls)
        if holder is not cls:
            raise UnstorableType(
                cls,
                f"the tag {tag!r} already belongs to {holder.__module__}.{holder.__qualname__}",
                f"give one of them a tag of its own: types=[('<another tag>', {cls.__name__})]",
            )
        return self._tags.setdefault(cls, tag)

    def put(self, shape: Shape) -> None:
        self._shapes[shape.cls] = shape

    def put_stored(self, shape: Shape) -> None:
        """Register a shape for its class and for all subclasses without a shape of their own."""
        self._shapes[shape.cls] = self._of_subclasses[shape.cls] = shape

    def stored_of(self, cls: type) -> Shape | None:
        """The shape of the class's `StoredType`, or of that of the first base with one; None if there is none."""
        if not self._of_subclasses:
            return None
        return next((self._of_subclasses[base] for base in cls.__mro__ if base in self._of_subclasses), None)

    def drop(self, shape: Shape) -> None:
        """Remove a shape whose fields could not be compiled."""
        if self._shapes.get(shape.cls) is shape:
            del self._shapes[shape.cls]

    def shape_of(self, cls: type) -> Shape | None:
        return self._shapes.get(cls) or self.stored_of(cls)

    def shape_tagged(self, tag: str) -> Shape:
        cls = self._classes.get(tag)
        if cls is None or cls not in self._shapes:
            shown = repr(tag) if len(tag) <= 60 else reprlib.repr(tag)
            message = (
                f"the tag {shown} belongs to none of the declared types; "
                f"list its class in types=[...], if it was renamed as (tag, class)"
            )
            raise Mismatch(message)
        return self._shapes[cls]

    def shapes_below(self, cls: type) -> list[Shape]:
        """The shapes of the registered subclasses of a class."""
        return [shape for known, shape in self._shapes.items() if known is not cls and issubclass(known, cls)]

    def has_subclass_of(self, cls: type) -> bool:
        return any(known is not cls and issubclass(known, cls) for known in self._tags)

    def listed(self) -> tuple[tuple[str, type] | StoredType[Any], ...]:
        """Each class with a shape, with the tag that is written, or its `StoredType`."""
        tagged = ((tag, cls) for cls, tag in self._tags.items() if cls in self._shapes)
        return tuple(self._shapes[cls].stored or (tag, cls) for tag, cls in tagged)

    def classes(self) -> tuple[type, ...]:
        return tuple(self._tags)


def storing_remedy(cls: type) -> str:
    """The remedy for a class of a kind that is not stored."""
    if cls is object:
        return KEEP_OUT
    stored = f"list StoredType({cls.__qualname__}, <tag>, <encode>, <decode>) in types=[...]"
    is_of_python = cls.__module__.partition(".")[0] in sys.stdlib_module_names or not cls.__flags__ & HEAP_TYPE
    if is_of_python:
        return stored
    return f"{stored}, or make it a dataclass, msgspec.Struct, NamedTuple, Enum, TypedDict or pydantic model"


def has_kind(cls: type) -> bool:
    """Whether classes of this kind are stored: a dataclass, Struct, model, named tuple or enum."""
    return not set(dir(cls)).isdisjoint(
        {"__dataclass_fields__", "__struct_fields__", "__pydantic_fields__", "_fields", "__members__"}
    )


class ObjectPlan(Plan):
    """Instances of a class, or of a registered subclass of it. Each is stored under the tag of its class.

    `shape` is None for a class that only has subclasses.
    """

    def __init__(self, cls: type[Any], shape: Shape | None, registry: Registry) -> None:
        super().__init__(frozenset({cls}), frozenset() if shape is None else frozenset({shape.tag}))
        self._cls = cls
        self._shape = shape
        # The `StoredType` of a base may make instances of other subclasses of the base.
        self._is_narrower = shape is not None and shape.cls is not cls
        self._registry = registry
        self.flat: bool = shape is not None and shape.flat

    def spell(self, value: Any, room: int, walk: int) -> Any:
        shape = self._shape_of(type(value))
        if shape is None:
            raise self._refusal(value)
        return [TAGGED, shape.tag, shape.spell(value, room, walk)]

    def spell_all(self, values: list[Any], room: int) -> list[Any] | None:
        spelled: dict[type, Iterator[Any]] = {}
        for kind in set(map(type, values)):
            shape = self._shape_of(kind)
            wires = None if shape is None else shape.spell_all([each for each in values if type(each) is kind], room)
            if shape is None or wires is None:
                return None
            spelled[kind] = iter([[TAGGED, shape.tag, wire] for wire in wires])
        return [next(spelled[type(value)]) for value in values]

    def build_all(self, wires: list[Any]) -> list[Any] | None:
        if self._is_narrower or not set(map(type, wires)) <= {list, tuple} or set(map(len, wires)) != {3}:
            return None
        marks, tags, bodies = zip(*wires, strict=True)
        if not all(mark == TAGGED for mark in marks) or set(map(type, tags)) != {str}:
            return None
        kinds = set(tags)
        if self._shape is not None and kinds == {self._shape.tag}:
            return self._shape.build_all(list(bodies))
        return self._build_each_kind(tags, bodies, kinds)

    def _build_each_kind(self, tags: Sequence[str], bodies: Sequence[Any], kinds: set[str]) -> list[Any] | None:
        """Instances of several classes. The instances of each class are built together."""
        shapes = {tag: self._registry.shape_tagged(tag) for tag in kinds}
        if not all(issubclass(shape.cls, self._cls) for shape in shapes.values()):
            return None
        made: dict[str, Iterator[Any]] = {}
        for tag, shape in shapes.items():
            own = [body for body, other in zip(bodies, tags, strict=True) if other == tag]
            built = shape.build_all(own)
            # Build no instance a second time: the first build may have changed its wire form.
            made[tag] = iter([shape.build(body, SHORTCUTS) for body in own] if built is None else built)
        return [next(made[tag]) for tag in tags]

    def _shape_of(self, kind: type) -> Shape | None:
        if kind is self._cls and self._shape is not None:
            return self._shape
        return self._registry.shape_of(kind) if issubclass(kind, self._cls) else None

    def shapes(self) -> list[Shape]:
        """The shapes of the class and of its registered subclasses."""
        own = [] if self._shape is None or self._is_narrower else [self._shape]
        return [*own, *self._registry.shapes_below(self._cls)]

    def build(self, wire: Any, walk: int) -> Any:
        key = key_of(wire)
        if type(key) is not str:
            mismatch(wire, self._cls.__qualname__)
        shape = self._registry.shape_tagged(key)
        if self._shape is not None and shape.cls is self._shape.cls:
            made = self._shape.build(wire[2], walk)
        elif issubclass(shape.cls, self._cls):
            made = shape.build(wire[2], walk)
        else:
            mismatch(wire, self._cls.__qualname__)
        if self._is_narrower and not isinstance(made, self._cls):
            message = f"{type(made).__qualname__} where {self._cls.__qualname__} is declared"
            raise Mismatch(message)
        return made

    def wire_type(self, of: WireType) -> Any:
        own = [] if self._shape is None else [self._shape]
        shapes = [*own, *self._registry.shapes_below(self._cls)]
        return fixed_array_of(Ext, str, joined(*(shape.wire_type(of) for shape in shapes))) if shapes else Any

    def describe(self, of: Describe) -> str:
        if self._shape is None:
            return f"subclass of {self._cls.__qualname__}"
        return f"{self._shape.tag}{self._shape.describe(of)}"

    def admits(self, kind: type) -> bool:
        return kind is self._cls or (issubclass(kind, self._cls) and self._registry.shape_of(kind) is not None)

    def admits_key(self, key: Key) -> bool:
        if type(key) is not str:
            return False
        cls = self._registry.shape_tagged(key).cls
        return issubclass(cls, self._cls) or (self._shape is not None and self._shape.cls is cls)

    def _refusal(self, value: object) -> Refusal:
        kind, declared = type(value), self._cls.__qualname__
        remedy = f"return {declared}, or declare the type that it has"
        if issubclass(kind, self._cls):
            remedy = f"list the subclass in compile(types=[{kind.__qualname__}]), or return {declared} itself"
        elif kind.__qualname__ == declared:
            remedy = "create it with the declared class: a reloaded module has a new class"
        return Refusal(
            value, f"{declared} is declared, and it would not come back as {_told_apart(kind, declared)}", remedy
        )


def _told_apart(kind: type, declared: str) -> str:
    return kind.__qualname__ if kind.__qualname__ != declared else f"another class {kind.__module__}.{declared}"
