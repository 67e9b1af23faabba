"""The shape of a user's class, and the types of its fields."""

import dataclasses
from collections import abc
from collections.abc import Callable, Mapping
from enum import Enum, Flag
from typing import Any

import msgspec

from durable_graph.codec.enums import EnumShape, FlagShape
from durable_graph.codec.hints import field_types, substitute
from durable_graph.codec.models import ModelShape, is_model, remedy_for
from durable_graph.codec.plan import KEEP_OUT, Plan
from durable_graph.codec.records import DataclassShape, NamedTupleShape, StructShape
from durable_graph.codec.registry import HEAP_TYPE, Registry, Shape, UnstorableType, storing_remedy

FieldTypes = Callable[[tuple[Any, ...], Mapping[str, type]], dict[str, Any]]
"""A function from the arguments of a generic class and the known classes by name to the types of its fields."""

_CODE = frozenset({type, abc.Callable, abc.Iterator, abc.AsyncIterator, abc.Awaitable, abc.AsyncGenerator})


def shape_for(cls: Any, registry: Registry, anything: Plan) -> tuple[Shape, FieldTypes] | None:
    """The empty shape of a class and the function for its fields' types; None if classes of its kind are not stored."""
    if issubclass(cls, Enum):
        kind = FlagShape if issubclass(cls, Flag) else EnumShape
        return kind(cls, registry.add(cls)), _no_fields
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return NamedTupleShape(cls, registry.add(cls)), _of_names(cls, cls._fields)
    if cls is not msgspec.Struct and issubclass(cls, msgspec.Struct):
        return StructShape(cls, registry.add(cls)), _of_names(cls, cls.__struct_fields__)
    if static_base(cls) is not None:
        return None
    if "__dataclass_fields__" in dir(cls):
        names = tuple(field.name for field in dataclasses.fields(cls))
        return DataclassShape(cls, registry.add(cls)), _of_names(cls, names)
    if is_model(cls):
        return ModelShape(cls, registry.add(cls), anything), _of_model(cls)
    return None


def static_base(cls: type) -> type | None:
    """The builtin base class, other than object, whose contents an instance has in addition to its attributes."""
    for base in cls.__mro__:
        if base is not object and not base.__flags__ & HEAP_TYPE:
            return base
    return None


def is_typed_dict(cls: type) -> bool:
    # typing.is_typeddict does not recognise TypedDicts of typing_extensions, which pydantic requires.
    return issubclass(cls, dict) and hasattr(cls, "__total__") and hasattr(cls, "__required_keys__")


def typed_dict_fields(cls: type, arguments: tuple[Any, ...], known: Mapping[str, type]) -> dict[str, Any]:
    return _resolved(cls, arguments, known)


def _no_fields(arguments: tuple[Any, ...], known: Mapping[str, type]) -> dict[str, Any]:
    return {}


def _of_names(cls: type, names: tuple[str, ...]) -> FieldTypes:
    def fields(arguments: tuple[Any, ...], known: Mapping[str, type]) -> dict[str, Any]:
        types = _resolved(cls, arguments, known)
        return {name: types.get(name, Any) for name in names}

    return fields


def _resolved(cls: type, arguments: tuple[Any, ...], known: Mapping[str, type]) -> dict[str, Any]:
    try:
        return field_types(cls, arguments, known)
    except NameError as error:
        raise UnstorableType(
            cls, f"its annotations mention {error.name!r}, which cannot be found", "define it in the class's module"
        ) from error
    except RecursionError:
        # The codec raises an error about the whole type.
        raise
    except Exception as error:
        # An annotation is the user's expression, which may raise anything.
        raise UnstorableType(cls, f"its annotations cannot be resolved: {error}", "correct them") from error


def _of_model(cls: Any) -> FieldTypes:
    def fields(arguments: tuple[Any, ...], known: Mapping[str, type]) -> dict[str, Any]:
        if not getattr(cls, "__pydantic_complete__", False):
            raise UnstorableType(
                cls, "some of its annotations are not resolved", f"call {cls.__name__}.model_rebuild()"
            )
        parameters = cls.__pydantic_generic_metadata__["parameters"]
        open_types = dict.fromkeys(parameters, Any)
        return {name: substitute(field.annotation, open_types) for name, field in cls.__pydantic_fields__.items()}

    return fields


def unstorable_class(cls: type) -> UnstorableType:
    """The error for a class without a shape, with the reason and the remedy."""
    if cls in _CODE or issubclass(cls, abc.Iterator | abc.Awaitable | abc.Callable):
        return UnstorableType(cls, "they are callables, iterators or awaitables, not data", KEEP_OUT)
    remedy = remedy_for(cls)
    if remedy is not None:
        return UnstorableType(cls, "they are objects of pydantic's own", remedy)
    base = static_base(cls)
    if base is not None and base is not cls:
        name = base.__name__
        why = f"what they hold as a {name} would be lost"
        return UnstorableType(cls, why, f"hold the {name} in a field, or {storing_remedy(cls)}")
    return UnstorableType(cls, "the library does not know how to store them", storing_remedy(cls))
