"""The parameters and the return annotation of nodes and routers, read from their signatures."""

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, Final, Literal, get_args, get_origin

from durable_graph.graph.annotations import read_annotation, resolve_one, union_members
from durable_graph.graph.control import Command, Send
from durable_graph.graph.stack_frames import defining_scope

INJECTABLE: Final = ("runtime", "config", "store", "writer", "previous")
"""The names of the parameters that a node may have in addition to the state."""

ROUTER_INJECTABLE: Final = ("runtime", "config", "store")
TASK_INJECTABLE: Final = ("runtime", "config", "store", "writer")
HANDLER_INJECTABLE: Final = (*INJECTABLE, "error")

_ANNOTATED: Final = {"Runtime": "runtime", "StreamWriter": "writer", "NodeError": "error"}
"""The kind of a parameter that is annotated with one of these classes, with any name."""

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.VAR_POSITIONAL)
_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Signature:
    """How to call a node or a router.

    `injected` maps each further parameter that is provided to its kind. `takes` is the annotation of the first
    parameter, None if it is missing or cannot be resolved; `problem` says why the function cannot be called, as a
    predicate ("takes ...").
    """

    is_async: bool
    injected: Mapping[str, str]
    takes: Any
    problem: str | None


def signature_of(action: Callable[..., Any], injectable: tuple[str, ...] = INJECTABLE) -> Signature:
    """How `action` is called with a state and the `injectable` parameters that it has."""
    function = _function_behind(action)
    is_async = inspect.iscoroutinefunction(function)
    try:
        parameters = tuple(inspect.signature(action).parameters.values())
    except (ValueError, TypeError):
        # Builtins and extension types without a signature are called with the state alone.
        return Signature(is_async, {}, None, None)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return Signature(is_async, {}, None, "is a generator; it has to return its result, not yield it")
    if not parameters or parameters[0].kind not in _POSITIONAL:
        return Signature(is_async, {}, None, "takes no positional parameter; its first one is the state")
    first, *further = parameters
    given = _already_given(action)
    injected = {
        p.name: kind
        for p in further
        if p.kind in _BY_NAME and p.name not in given and (kind := _kind_of(p, function, injectable)) is not None
    }
    unknown = [p.name for p in further if _is_required(p) and p.name not in injected]
    problem = None
    if unknown:
        named = ", ".join(repr(name) for name in unknown)
        allowed = ", ".join(injectable)
        beside = f"allowed beside the state: {allowed}" if allowed else "it gets the state alone"
        problem = f"requires the parameter {named}, which nothing provides; {beside}"
    takes = None if first.kind in _VARIADIC else _resolved(first.annotation, function)
    return Signature(is_async, injected, takes, problem)


def injectable_in(function: Callable[..., Any]) -> dict[str, str]:
    """The provided parameters of a task's function, at any position, and the kind of each."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return {}
    behind, given = _function_behind(function), _already_given(function)
    kinds = {p.name: _kind_of(p, behind, TASK_INJECTABLE) for p in parameters if p.kind in _BY_NAME}
    return {name: kind for name, kind in kinds.items() if kind is not None and name not in given}


def routes_of(path: Callable[..., Any]) -> tuple[Any, ...] | None:
    """The values of the `Literal` in a router's return annotation; None if it may return anything."""
    return _literals(annotation_of(path, "return")) or None


def destinations_of(action: Callable[..., Any]) -> tuple[str, ...]:
    """The destinations in an action's return annotation: `Command[Literal["a", "b"]]`, also in a union or a list."""
    found: list[str] = []
    ahead = [annotation_of(action, "return")]
    while ahead:
        hint = read_annotation(ahead.pop()).declared
        if get_origin(hint) is Command:
            found.extend(name for inner in get_args(hint) for name in get_args(inner) if isinstance(name, str))
        elif get_args(hint):
            ahead.extend(get_args(hint))
    return tuple(dict.fromkeys(found))


def annotation_of(action: Callable[..., Any], name: str | int) -> Any:
    """The annotation of a parameter by position, or of "return"; None if it is missing or cannot be resolved."""
    if isinstance(action, types.BuiltinFunctionType):
        # Functions in C, such as operator.add, have no annotations, and reading their signatures is slow.
        return None
    try:
        signature = inspect.signature(action)
    except (ValueError, TypeError):
        return None
    if isinstance(name, str):
        return _resolved(signature.return_annotation, _function_behind(action))
    parameters = tuple(signature.parameters.values())
    return _resolved(parameters[name].annotation, _function_behind(action)) if name < len(parameters) else None


def name_of(action: Callable[..., Any]) -> str | None:
    """The name of a function; None for a lambda or a partial, which have none."""
    if isinstance(action, functools.partial):
        return None
    name = getattr(action, "__name__", type(action).__name__)
    return name if isinstance(name, str) and name != "<lambda>" else None


def is_method(function: Callable[..., Any]) -> bool:
    """Whether the function is defined in a class, and is called with an instance or the class."""
    around, _, _ = getattr(function, "__qualname__", "").rpartition(".")
    if not inspect.isfunction(function) or not around or around.endswith("<locals>"):
        return False
    return next(iter(inspect.signature(function).parameters), None) in ("self", "cls")


def _literals(returned: Any) -> tuple[Any, ...] | None:
    returned = read_annotation(returned).declared
    if returned is Send:
        # A Send names its node; a path_map does not apply to it.
        return ()
    origin = get_origin(returned)
    if origin is Literal:
        return get_args(returned)
    if origin in (list, tuple, collections.abc.Sequence):
        inner = [argument for argument in get_args(returned) if argument is not Ellipsis]
    elif origin in (typing.Union, types.UnionType):
        inner = list(get_args(returned))
    else:
        return None
    found = [_literals(member) for member in inner]
    if not found or any(values is None for values in found):
        return None
    return tuple(dict.fromkeys(value for values in found for value in values or ()))


def _function_behind(action: Any) -> Any:
    while isinstance(action, functools.partial):
        action = action.func
    if inspect.ismethod(action):
        return action.__func__
    if isinstance(action, type) or inspect.isroutine(action) or inspect.iscoroutinefunction(action):
        return action
    # An instance of a class with __call__.
    return type(action).__call__


def _already_given(action: Any) -> Mapping[str, Any]:
    given: dict[str, Any] = {}
    while isinstance(action, functools.partial):
        given |= action.keywords
        action = action.func
    return given


def _kind_of(parameter: Parameter, function: Any, injectable: tuple[str, ...]) -> str | None:
    annotation = parameter.annotation
    if annotation is not Parameter.empty:
        # `Runtime[Ctx] | None` counts as `Runtime` as well.
        for member in union_members(read_annotation(_resolved(annotation, function)).declared):
            declared = read_annotation(member).declared
            cls = get_origin(declared) or declared
            kind = _ANNOTATED.get(getattr(cls, "__name__", ""))
            if kind in injectable and getattr(cls, "__module__", "").startswith("durable_graph."):
                return kind
    if parameter.name == "store" and "store" in injectable:
        if not _is_required(parameter):
            return "store or default"
        return "store" if _is_never_none(annotation, function) else "store or None"
    return parameter.name if parameter.name in injectable else None


def _is_never_none(annotation: Any, function: Any) -> bool:
    declared = None if annotation is Parameter.empty else read_annotation(_resolved(annotation, function)).declared
    return type(None) not in union_members(declared)


def _is_required(parameter: Parameter) -> bool:
    return parameter.default is Parameter.empty and parameter.kind not in _VARIADIC


def _resolved(annotation: Any, function: Any) -> Any:
    if annotation is Parameter.empty:
        return None
    function = inspect.unwrap(function)
    scope = {**getattr(function, "__globals__", {}), **defining_scope(function)}
    try:
        return resolve_one(annotation, getattr(function, "__module__", ""), scope)
    except Exception:
        # A name may be imported for type checkers only. This is no error: the parameter is treated as one without
        # annotation.
        return None
