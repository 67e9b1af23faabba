"""Which classes values may have where the declared type leaves it open, and the tags they are stored under.

A stored tag is looked up here and nowhere else: nothing is imported, and no attribute fetched, by a name in the data.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from durable_graph.codec.plan import Mismatch, Plan, Refusal, mismatch
from durable_graph.codec.wire import TAGGED, Key, key_of


class UnstorableType(Exception):  # noqa: N818 - never leaves this package: Codec makes it an UnstorableTypeError.
    """A declared type whose values could never be stored."""

    def __init__(self, declared: object, why: str, remedy: str) -> None:
        super().__init__(why)
        self.declared = declared
        self.why = why
        self.remedy = remedy
        self.fields: list[str] = []

    def inside(self, field: str) -> None:
        self.fields.append(field)


class Shape(ABC):
    """How the instances of one class are stored, tag aside."""

    flat = False
    """Whether its instances are without parts that could be refused."""

    def __init__(self, cls: type[Any], tag: str) -> None:
        self.cls = cls
        self.tag = tag

    @abstractmethod
    def settle(self, plans: Mapping[str, Plan]) -> None:
        """Give it the plans of its fields, which may mention the class itself."""

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


class Registry:
    """Classes by tag and by class. Filled while types are compiled, before anything is encoded."""

    def __init__(self) -> None:
        self._classes: dict[str, type] = {}
        self._tags: dict[type, str] = {}
        self._shapes: dict[type, Shape] = {}

    def add(self, cls: type, tag: str | None = None) -> str:
        """The tag that the class is written with: the first that it was given, its `__qualname__` if none was."""
        if tag is None:
            if cls in self._tags:
                return self._tags[cls]
            tag = cls.__qualname__
        holder = self._classes.setdefault(tag, cls)
        if holder is not cls:
            raise UnstorableType(
                cls,
                f"the tag {tag!r} already belongs to {holder.__module__}.{holder.__qualname__}",
                f"give one of them a tag of its own: types=[('<another tag>', {cls.__module__}.{cls.__qualname__})]",
            )
        return self._tags.setdefault(cls, tag)

    def put(self, shape: Shape) -> None:
        self._shapes[shape.cls] = shape

    def drop(self, shape: Shape) -> None:
        """Forget a shape that turned out to have no use."""
        if self._shapes.get(shape.cls) is shape:
            del self._shapes[shape.cls]

    def shape_of(self, cls: type) -> Shape | None:
        return self._shapes.get(cls)

    def shape_tagged(self, tag: str) -> Shape:
        cls = self._classes.get(tag)
        if cls is None or cls not in self._shapes:
            message = f"the tag {tag!r} belongs to none of the declared types; list its class in types=[...]"
            raise Mismatch(message)
        return self._shapes[cls]

    def has_subclass_of(self, cls: type) -> bool:
        return any(known is not cls and issubclass(known, cls) for known in self._tags)

    def classes(self) -> tuple[type, ...]:
        return tuple(self._tags)


class ObjectPlan(Plan):
    """Instances of a class, or of a registered subclass of it. Each is stored under the tag of its class.

    `shape` is None for a class that only has subclasses.
    """

    def __init__(self, cls: type[Any], shape: Shape | None, registry: Registry) -> None:
        super().__init__(frozenset({cls}), frozenset() if shape is None else frozenset({shape.tag}))
        self._cls = cls
        self._shape = shape
        self._registry = registry
        self.flat: bool = shape is not None and shape.flat

    def spell(self, value: Any, room: int, walk: int) -> Any:
        kind = type(value)
        shape = self._shape if kind is self._cls else None
        if shape is None:
            shape = self._registry.shape_of(kind)
            if shape is None or not issubclass(kind, self._cls):
                raise self._refusal(value)
        return [TAGGED, shape.tag, shape.spell(value, room, walk)]

    def spell_all(self, values: list[Any], room: int) -> list[Any] | None:
        if self._shape is None or set(map(type, values)) != {self._cls}:
            return None
        wires = self._shape.spell_all(values, room)
        if wires is None:
            return None
        tag = self._shape.tag
        return [[TAGGED, tag, wire] for wire in wires]

    def build_all(self, wires: list[Any]) -> list[Any] | None:
        if self._shape is None or set(map(type, wires)) != {list} or set(map(len, wires)) != {3}:
            return None
        marks, tags, bodies = zip(*wires, strict=True)
        if not all(mark == TAGGED for mark in marks) or any(tag != self._shape.tag for tag in tags):
            return None
        return self._shape.build_all(list(bodies))

    def build(self, wire: Any, walk: int) -> Any:
        key = key_of(wire)
        if type(key) is not str:
            mismatch(wire, self._cls.__qualname__)
        shape = self._registry.shape_tagged(key)
        if shape.cls is self._cls and self._shape is not None:
            return self._shape.build(wire[2], walk)
        if not issubclass(shape.cls, self._cls):
            mismatch(wire, self._cls.__qualname__)
        return shape.build(wire[2], walk)

    def admits(self, kind: type) -> bool:
        return kind is self._cls or (issubclass(kind, self._cls) and self._registry.shape_of(kind) is not None)

    def admits_key(self, key: Key) -> bool:
        return type(key) is str and issubclass(self._registry.shape_tagged(key).cls, self._cls)

    def _refusal(self, value: object) -> Refusal:
        kind, declared = type(value), self._cls.__qualname__
        remedy = f"return {declared}, or declare the type that it has"
        if issubclass(kind, self._cls):
            remedy = f"list the subclass in compile(types=[{kind.__qualname__}]), or return {declared} itself"
        return Refusal(value, f"{declared} is declared, and it would not come back as {kind.__qualname__}", remedy)
