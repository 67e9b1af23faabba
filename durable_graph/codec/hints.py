"""What a class says about the types of its fields, with the arguments of generic classes put in their place."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

Arguments = Mapping[Any, Any]


def field_types(cls: type, arguments: tuple[Any, ...], known: Mapping[str, type]) -> dict[str, Any]:
    """The annotated types of a class and its bases, by name. A parameter without argument is `Any`.

    `known` are classes by name, for annotations that mention a class defined inside a function.
    Raises `NameError` for a name that is nowhere.
    """
    bound = _bindings(cls, arguments)
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base is object:
            continue
        own = inspect.get_annotations(base)
        if own:
            hints = _hints(base, known)
            found.update({name: substitute(hints[name], bound.get(base, {})) for name in own if name in hints})
    return found


def _hints(cls: type, known: Mapping[str, type]) -> dict[str, Any]:
    try:
        return get_type_hints(cls, include_extras=True)
    except NameError:
        return get_type_hints(cls, localns={**known, cls.__name__: cls}, include_extras=True)


def is_alias(declared: Any) -> bool:
    """Whether it is a type alias (`type Log = ...`, or `TypeAliasType` of typing or typing_extensions), subscripted
    or not. An alias made by plain assignment is the type itself."""
    return type(get_origin(declared) or declared).__name__ == "TypeAliasType"


def alias_value(declared: Any) -> Any:
    """What a type alias stands for, with its arguments put in and the names resolved that it has in quotes.

    Raises what evaluating the alias raises, such as `NameError`.
    """
    alias = get_origin(declared) or declared
    holder = type("Holder", (), {"__annotations__": {"value": alias.__value__}, "__module__": alias.__module__})
    value = get_type_hints(holder, include_extras=True)["value"]
    parameters = getattr(alias, "__type_params__", ())
    return substitute(value, dict(zip(parameters, get_args(declared), strict=False)))


def substitute(declared: Any, arguments: Arguments) -> Any:
    """The type with its parameters replaced."""
    if isinstance(declared, TypeVar):
        return arguments.get(declared, declared)
    parameters = getattr(declared, "__parameters__", ())
    if not parameters or isinstance(declared, type):
        return declared
    return declared[tuple(arguments.get(parameter, parameter) for parameter in parameters)]


def _bindings(cls: type, arguments: tuple[Any, ...]) -> dict[type, Arguments]:
    parameters = getattr(cls, "__parameters__", ())
    given = arguments or (Any,) * len(parameters)
    bound: dict[type, Arguments] = {cls: dict(zip(parameters, given, strict=True))}
    generic = getattr(cls, "__orig_bases__", ()) if "__orig_bases__" in vars(cls) else ()
    covered = {get_origin(base) or base for base in generic}
    for base in (*generic, *(base for base in cls.__bases__ if base not in covered)):
        origin = get_origin(base) or base
        if isinstance(origin, type) and origin.__module__ != "typing" and origin is not object:
            given = tuple(substitute(argument, bound[cls]) for argument in get_args(base))
            bound.update(_bindings(origin, given))
    return bound
