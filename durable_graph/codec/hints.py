"""The types of a class's fields, with the type parameters of generic classes replaced by their arguments."""

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack, get_args, get_origin, get_type_hints

Arguments = Mapping[Any, Any]

# By name, because `ReadOnly` is in typing since Python 3.13, and before that in typing_extensions.
QUALIFIERS: Final = frozenset({"Required", "NotRequired", "ReadOnly", "Final"})
"""The wrappers of a type that qualify its key."""


def any_of(parameter: Any) -> Any:
    """The argument for a type parameter without one."""
    return Unpack[tuple[Any, ...]] if isinstance(parameter, TypeVarTuple) else Any


def field_types(cls: type, arguments: tuple[Any, ...], known: Mapping[str, type]) -> dict[str, Any]:
    """The annotated types of a class and its bases, by name. A parameter without argument is `Any`.

    `known` are classes by name, for annotations that mention a class defined inside a function.
    Raises `NameError` for an unknown name.
    """
    parameters = getattr(cls, "__parameters__", ())
    return placed(cls, _hints(cls, known), arguments or tuple(map(any_of, parameters)))


def placed(
    cls: type, hints: Mapping[str, Any], arguments: tuple[Any, ...], unbound: Callable[[Any], Any] = any_of
) -> dict[str, Any]:
    """The resolved annotations of a class and its bases, with each class's type parameters replaced.

    `arguments` are the arguments of `cls` itself. `unbound` returns the argument for a base's parameter without one.
    """
    bound = _bound_by_field(cls, arguments, unbound)
    return {name: substitute(hints[name], bound[name]) for name in bound if name in hints}


def _bound_by_field(cls: Any, arguments: tuple[Any, ...], unbound: Callable[[Any], Any]) -> dict[str, Arguments]:
    """The arguments of the type parameters in each field's annotation. They belong to the class that declares it."""
    if "__total__" in vars(cls):
        return _bound_by_key(cls, arguments, unbound)
    bound = _bindings(cls, arguments, unbound)
    owners = [base for base in reversed(cls.__mro__) if base is not object]
    return {name: bound.get(base, {}) for base in owners for name in inspect.get_annotations(base)}


def _bound_by_key(cls: Any, arguments: tuple[Any, ...], unbound: Callable[[Any], Any]) -> dict[str, Arguments]:
    # A TypedDict has its bases' annotations in its own, and not the bases. On Python 3.11 `__orig_bases__` has only
    # bases with arguments.
    own = given_to(getattr(cls, "__parameters__", ()), arguments)
    found: dict[str, Arguments] = dict.fromkeys(cls.__annotations__, own)
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base) or base
        if isinstance(origin, type) and "__total__" in vars(origin):
            given = _arguments_of(base, own, unbound)
            inherited = _bound_by_key(origin, given, unbound)
            kept = {name for name, raw in origin.__annotations__.items() if cls.__annotations__.get(name) is raw}
            found.update({name: bound for name, bound in inherited.items() if name in kept})
    return found


def _arguments_of(base: Any, own: Arguments, unbound: Callable[[Any], Any]) -> tuple[Any, ...]:
    given: list[Any] = []
    for argument in get_args(base):
        parameters = getattr(argument, "__parameters__", ())
        if is_unpacked(argument) and parameters and isinstance(parameters[0], TypeVarTuple):
            given.extend(own.get(parameters[0], (argument,)))
        else:
            given.append(substitute(argument, own))
    return tuple(given) or tuple(map(unbound, getattr(base, "__parameters__", ())))


def _hints(cls: type, known: Mapping[str, type]) -> dict[str, Any]:
    try:
        return resolved_hints(cls)
    except NameError:
        modules = [vars(sys.modules.get(base.__module__, object)) for base in cls.__mro__]
        elsewhere = {name: found for name, found in known.items() if not any(name in names for names in modules)}
        own = {base.__name__: base for base in reversed(cls.__mro__)}
        return resolved_hints(cls, {**elsewhere, **own})


def resolved_hints(cls: type, scope: dict[str, Any] | None = None) -> dict[str, Any]:
    """As `typing.get_type_hints`, but names in inherited annotations of a TypedDict are resolved in the base's module.

    Python looks up these names first in the module of the subclass, and then in the module of the base.
    """
    if "__total__" not in vars(cls):
        return get_type_hints(cls, localns=scope, include_extras=True)
    by_module: dict[str, dict[str, Any]] = {}
    for name, declared in cls.__annotations__.items():
        by_module.setdefault(declaring_module(declared, cls), {})[name] = declared
    hints: dict[str, Any] = {}
    for module, annotations in by_module.items():
        holder = type("Holder", (), {"__annotations__": annotations, "__module__": module})
        hints.update(get_type_hints(holder, localns=scope, include_extras=True))
    return {name: hints[name] for name in cls.__annotations__}


def declaring_module(annotation: Any, owner: type) -> str:
    """The module in which an annotation of the class was written. A TypedDict also has annotations of its bases."""
    return getattr(annotation, "__forward_module__", None) or owner.__module__


def required_keys(cls: Any, types: Mapping[str, Any]) -> frozenset[str]:
    """The required keys of a TypedDict. `types` are its annotations with names resolved.

    Python computes `__required_keys__` while annotations may still be strings, in which it sees no `Required` and no
    `NotRequired`: for such a key it uses only the `total` of the declaring class. A key that is in both sets was
    declared again by a class with the other `total`, and the last class counts.
    """
    required: frozenset[str] = cls.__required_keys__
    optional: frozenset[str] = cls.__optional_keys__
    found = set()
    for name, declared in types.items():
        says = _says_required(declared)
        if says is None:
            says = cls.__total__ if name in required and name in optional else name in required
        if says:
            found.add(name)
    return frozenset(found)


def _says_required(declared: Any) -> bool | None:
    """Whether a type's qualifiers require the key; None if neither is among them. They may be inside `Annotated`."""
    while True:
        name = getattr(get_origin(declared), "_name", None)
        if name in ("Required", "NotRequired"):
            return bool(name == "Required")
        if hasattr(declared, "__metadata__"):
            declared = declared.__origin__
        elif name == "ReadOnly":
            (declared,) = get_args(declared)
        else:
            return None


def is_alias(declared: Any) -> bool:
    """Whether the type is an alias (`type Log = ...`, or `TypeAliasType` of typing or typing_extensions), subscripted
    or not. An alias made by plain assignment is the type itself."""
    return type(get_origin(declared) or declared).__name__ == "TypeAliasType"


def alias_value(declared: Any) -> Any:
    """The value of a type alias, with its arguments inserted and its quoted names resolved.

    Raises any error of the evaluation, such as `NameError`.
    """
    alias = get_origin(declared) or declared
    holder = type("Holder", (), {"__annotations__": {"value": alias.__value__}, "__module__": alias.__module__})
    value = get_type_hints(holder, include_extras=True)["value"]
    parameters = getattr(alias, "__type_params__", ())
    return substitute(value, given_to(parameters, get_args(declared)))


def substitute(declared: Any, arguments: Arguments) -> Any:
    """The type with its parameters replaced."""
    if isinstance(declared, TypeVar):
        return arguments.get(declared, declared)
    parameters = getattr(declared, "__parameters__", ())
    if isinstance(declared, type) or not any(parameter in arguments for parameter in parameters):
        # A generic class without arguments also has `__parameters__`.
        return declared
    origin = get_origin(declared)
    if getattr(origin, "_name", None) in QUALIFIERS:
        # Qualifiers do not support substitution themselves.
        return origin[substitute(get_args(declared)[0], arguments)]
    given: list[Any] = []
    for parameter in parameters:
        if isinstance(parameter, TypeVarTuple):
            given.extend(arguments.get(parameter, (Unpack[parameter],)))
        else:
            given.append(arguments.get(parameter, parameter))
    return declared[tuple(given)]


def given_to(parameters: tuple[Any, ...], arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """The argument of each type parameter. A `TypeVarTuple` gets a tuple of the arguments that the others leave."""
    many = next((place for place, each in enumerate(parameters) if isinstance(each, TypeVarTuple)), None)
    if many is None:
        return dict(zip(parameters, arguments, strict=False))
    end = len(arguments) - (len(parameters) - many - 1)
    # If the arguments are the class's own parameters, the `TypeVarTuple` stays unpacked.
    taken = tuple(Unpack[each] if isinstance(each, TypeVarTuple) else each for each in arguments[many:end])
    ends = (*parameters[:many], *parameters[many + 1 :]), (*arguments[:many], *arguments[end:])
    return {**dict(zip(*ends, strict=False)), parameters[many]: taken}


def is_unpacked(argument: Any) -> bool:
    """Whether the argument is `*Ts` or `*tuple[...]`, in any spelling."""
    return bool(getattr(argument, "__unpacked__", False)) or get_origin(argument) is Unpack


def _bindings(cls: type, arguments: tuple[Any, ...], unbound: Callable[[Any], Any]) -> dict[type, Arguments]:
    bound: dict[type, Arguments] = {cls: given_to(getattr(cls, "__parameters__", ()), arguments)}
    generic = getattr(cls, "__orig_bases__", ()) if "__orig_bases__" in vars(cls) else ()
    covered = {get_origin(base) or base for base in generic}
    for base in (*generic, *(base for base in cls.__bases__ if base not in covered)):
        origin = get_origin(base) or base
        if isinstance(origin, type) and origin.__module__ != "typing" and origin is not object:
            bound.update(_bindings(origin, _arguments_of(base, bound[cls], unbound), unbound))
    return bound
