"""Dataclasses, msgspec Structs and named tuples: a map of their fields.

A dataclass is restored without its `__init__` and `__post_init__`, which may compute or change fields: the restored
value has the stored fields. A named tuple is restored without its `__new__`. Only its class can make a Struct, so its
`__post_init__` does run, and a value of which it would change a field is refused when written. A stored field that the
class no longer has is an error; a field that was added to the class gets its default.
"""

import dataclasses
import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from operator import itemgetter
from typing import Any

from msgspec import NODEFAULT, Struct, structs
from msgspec import field as struct_field

from durable_graph.codec.plan import (
    GENERIC_ALIAS,
    KEEP_OUT,
    SHORTCUTS,
    Describe,
    Mismatch,
    Plan,
    Refusal,
    TooDeep,
    WireType,
    mismatch,
)
from durable_graph.codec.registry import Shape
from durable_graph.codec.wire import MAX_DEPTH, map_of


def left_by_python(cls: type) -> frozenset[str]:
    """The attributes that Python itself adds to an instance, which are no part of its value.

    They are the results of cached properties, and the alias by which the instance was made: `Result[int](1)`.
    """
    return GENERIC_ALIAS | {
        name for base in cls.__mro__ for name, found in vars(base).items() if isinstance(found, cached_property)
    }


class FieldsShape(Shape):
    """A class with named fields, stored as a map from field to value."""

    def __init__(self, cls: type[Any], tag: str) -> None:
        super().__init__(cls, tag)
        self._plans: dict[str, Plan] = {}
        self._defaults: dict[str, Callable[[], Any]] = {}
        self._columns: list[Callable[[Any], Any]] = []
        self._computed = left_by_python(cls)

    def settle(self, plans: Mapping[str, Plan]) -> None:
        """Set the plans of the fields, which may mention the class itself."""
        self._plans.update(plans)
        # Other plans may refuse a part, and may mention the class itself: their instances are handled one by one.
        if all(plan.plain or plan.flat for plan in plans.values()):
            self._columns = [itemgetter(name) for name in plans]

    @abstractmethod
    def make(self, values: dict[str, Any]) -> Any:
        """An instance with these fields."""

    def spell(self, value: Any, room: int, walk: int) -> Any:
        extra = getattr(value, "__dict__", {}).keys() - self._plans.keys() - self._computed
        if extra:
            raise Refusal(value, f"it has attributes that are not fields: {', '.join(sorted(extra))}", KEEP_OUT)
        return self.spell_fields(value, room, walk)

    def instance_dicts(self, values: list[Any]) -> list[dict[str, Any]] | None:
        """The fields of many instances, each as a dict in declared order; None if an instance has a special form."""
        return None

    def spell_all(self, values: list[Any], room: int) -> list[Any] | None:
        # Field by field instead of instance by instance: the loops run in C.
        if not room or not self._columns:
            return None
        dicts = self.instance_dicts(values)
        if dicts is None or set(map(tuple, dicts)) != {tuple(self._plans)}:
            return None
        columns: list[list[Any]] = []
        spelled = False
        for get, plan in zip(self._columns, self._plans.values(), strict=True):
            column = list(map(get, dicts))
            if not plan.plain or not plan.is_plain(column, room - 1):
                if not plan.flat:
                    return None
                column = [plan.lower(value, room - 1, SHORTCUTS) for value in column]
                spelled = True
            columns.append(column)
        if not spelled:
            return dicts
        return [dict(zip(self._plans, row, strict=True)) for row in zip(*columns, strict=True)]

    def build_all(self, wires: list[Any]) -> list[Any] | None:
        names = tuple(self._plans)
        if not self._columns or set(map(type, wires)) != {dict} or set(map(tuple, wires)) != {names}:
            return None
        columns: list[list[Any]] = []
        built = False
        for get, plan in zip(self._columns, self._plans.values(), strict=True):
            column = list(map(get, wires))
            if not plan.plain or not plan.is_plain(column, MAX_DEPTH):
                column = [plan.restore(item, SHORTCUTS) for item in column]
                built = True
            columns.append(column)
        if built:
            # New dicts, because the next member of a union gets the same wire forms if this is the wrong member.
            return [self.make(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
        return [self.make(wire) for wire in wires]

    def spell_fields(self, value: Any, room: int, walk: int) -> dict[str, Any]:
        if not room:
            raise TooDeep(value)
        wire = {}
        name = ""
        try:
            for name, plan in self._plans.items():
                wire[name] = plan.lower(getattr(value, name), room - 1, walk)
        except Refusal as refusal:
            refusal.inside(f".{name}", value)
            raise
        except AttributeError as error:
            raise Refusal(value, f"its field {name!r} was never set", "set every field") from error
        return wire

    def wire_type(self, of: WireType) -> Any:
        return map_of(*map(of, self._plans.values()))

    def describe(self, of: Describe) -> str:
        fields = (
            f"{name}{'?' if name in self._defaults else ''}:{of(self._plans[name])}" for name in sorted(self._plans)
        )
        return f"({','.join(fields)})"

    def is_current(self, wire: Any) -> bool:
        return type(wire) is dict and wire.keys() == self._plans.keys()

    def build(self, wire: Any, walk: int) -> Any:
        return self.make(self.build_fields(wire, walk))

    def build_fields(self, wire: Any, walk: int) -> dict[str, Any]:
        if type(wire) is not dict:
            mismatch(wire, self.cls.__qualname__)
        plans = self._plans
        if wire.keys() != plans.keys():
            return self._build_changed(wire, walk)
        return {name: plans[name].restore(item, walk) for name, item in wire.items()}

    def _build_changed(self, wire: dict[str, Any], walk: int) -> dict[str, Any]:
        unknown = wire.keys() - self._plans.keys()
        missing = self._plans.keys() - wire.keys() - self._defaults.keys()
        if unknown or missing:
            which = sorted(map(str, unknown or missing))
            problem = "has no field" if unknown else "needs a value for the field"
            message = f"{self.cls.__qualname__} {problem} {which[0]!r}"
            raise Mismatch(message)
        return {
            name: plan.restore(wire[name], walk) if name in wire else self._defaults[name]()
            for name, plan in self._plans.items()
        }


class DataclassShape(FieldsShape):
    """A dataclass, with slots or without, frozen or not."""

    def __init__(self, cls: type[Any], tag: str) -> None:
        super().__init__(cls, tag)
        fields = dataclasses.fields(cls)
        # A pydantic dataclass has an object of pydantic in place of a default.
        validated: Mapping[str, Any] = getattr(cls, "__pydantic_fields__", {})
        for field in fields:
            info = validated.get(field.name)
            if info is not None:
                if not info.is_required():
                    self._defaults[field.name] = partial(info.get_default, call_default_factory=True)
            elif field.default_factory is not dataclasses.MISSING:
                self._defaults[field.name] = field.default_factory
            elif field.default is not dataclasses.MISSING:
                self._defaults[field.name] = _constant(field.default)
        # Fields with a descriptor (a slot, a property) are not in the instance's __dict__.
        self._has_descriptors = any(
            inspect.isdatadescriptor(inspect.getattr_static(cls, field.name, None)) for field in fields
        )

    def make(self, values: dict[str, Any]) -> Any:
        made = object.__new__(self.cls)
        if self._has_descriptors:
            for name, value in values.items():
                object.__setattr__(made, name, value)
        else:
            object.__setattr__(made, "__dict__", values)
        return made

    def instance_dicts(self, values: list[Any]) -> list[dict[str, Any]] | None:
        return None if self._has_descriptors else list(map(vars, values))


class _WithFactory(Struct):
    made: Any = struct_field(default_factory=object)


_FACTORY = type(_WithFactory.__struct_defaults__[0])
"""The class with which msgspec marks a default factory."""


def struct_defaults(cls: type[Struct]) -> dict[str, tuple[Any, Any]]:
    """The default and the default factory of each field of a Struct, `NODEFAULT` for a missing one.

    `msgspec.structs.fields` also resolves the annotations, and fails for local names of a function.
    """
    # `__struct_defaults__` belongs to the last fields; a keyword-only field among them may have `NODEFAULT`.
    without = (NODEFAULT,) * (len(cls.__struct_fields__) - len(cls.__struct_defaults__))
    defaults = (*without, *cls.__struct_defaults__)
    return {
        name: (NODEFAULT, default.factory) if isinstance(default, _FACTORY) else (default, NODEFAULT)
        for name, default in zip(cls.__struct_fields__, defaults, strict=True)
    }


class StructShape(FieldsShape):
    """A msgspec Struct. Its own encoding options are ignored: they are for the user's messages."""

    def __init__(self, cls: type[Struct], tag: str) -> None:
        super().__init__(cls, tag)
        for name, (default, factory) in struct_defaults(cls).items():
            if factory is not NODEFAULT:
                self._defaults[name] = factory
            elif default is not NODEFAULT:
                self._defaults[name] = _constant(default)
        self._computes = hasattr(cls, "__post_init__")

    def spell(self, value: Any, room: int, walk: int) -> Any:
        wire = super().spell(value, room, walk)
        if self._computes:
            changed = self._changed({name: getattr(value, name) for name in self._plans})
            if changed:
                raise Refusal(
                    value,
                    f"{self.cls.__qualname__}.__post_init__ would change its field {changed!r} when it comes back",
                    "__post_init__ must not change a valid value",
                )
        return wire

    def instance_dicts(self, values: list[Any]) -> list[dict[str, Any]] | None:
        return None if self._computes or hasattr(values[0], "__dict__") else list(map(structs.asdict, values))

    def make(self, values: dict[str, Any]) -> Any:
        made = self.cls(**values)
        if self._computes and any(getattr(made, name) is not value for name, value in values.items()):
            changed = self._changed(values)
            if changed:
                message = f"{self.cls.__qualname__}.__post_init__ changed the field {changed!r}"
                raise Mismatch(message)
        return made

    def _changed(self, values: dict[str, Any]) -> str | None:
        made = self.cls(**values)
        for name, value in values.items():
            now = getattr(made, name)
            if now is not value and (type(now) is not type(value) or now != value):
                return name
        return None


class NamedTupleShape(FieldsShape):
    """A named tuple, stored by the names of its fields, because positions change when fields are moved."""

    def __init__(self, cls: type[Any], tag: str) -> None:
        super().__init__(cls, tag)
        self._defaults = {name: _constant(value) for name, value in cls._field_defaults.items()}

    def make(self, values: dict[str, Any]) -> Any:
        return tuple.__new__(self.cls, [values[name] for name in self._plans])

    def instance_dicts(self, values: list[Any]) -> list[dict[str, Any]] | None:
        names = tuple(self._plans)
        if any(len(value) != len(names) or getattr(value, "__dict__", None) for value in values):
            return None
        return [dict(zip(names, value, strict=True)) for value in values]


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value
