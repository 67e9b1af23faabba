"""Reading annotations: resolving names, removing wrappers, and finding a reducer or a rule in the metadata."""

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NewType, Optional, TypeVar, get_args, get_origin

from durable_graph.channels import Declarable, UpdateRefused, add_messages, can_hold_messages
from durable_graph.codec.hints import (
    QUALIFIERS,
    alias_value,
    any_of,
    declaring_module,
    given_to,
    is_alias,
    placed,
    resolved_hints,
    substitute,
)
from durable_graph.errors import GraphValidationError
from durable_graph.graph.managed import ManagedValue
from durable_graph.graph.stack_frames import defining_scope


@dataclass(frozen=True, slots=True)
class Declaration:
    """A parsed annotation. It has a reducer, a rule, or a managed value's class, or none of these.

    `misfit` says why its callable cannot be a reducer, or why its rule does not fit the type.
    `is_optional`: the reducer was declared for the type without `| None`, so it is never called with None.
    """

    declared: Any
    reducer: Callable[[Any, Any], Any] | None = None
    misfit: str | None = None
    rule: Declarable | None = None
    managed: type[ManagedValue] | None = None
    is_optional: bool = False

    @property
    def says_how(self) -> bool:
        """Whether the annotation has more than a type: it determines how the key gets its value."""
        return (self.reducer or self.misfit or self.rule or self.managed) is not None


def read_annotation(annotation: Any, metadata: tuple[Any, ...] = ()) -> Declaration:
    """The type, and the reducer or rule, of `Annotated[<type>, ..., <reducer or rule>]`, without its wrappers.

    The last callable or rule of the metadata counts; other metadata is ignored. Type aliases and `NewType`s are
    replaced by their types. `Annotated[<type>, <reducer>] | None` declares a key with that reducer as well; a reducer
    at a deeper level is not read, see `hidden_reducer`.
    """
    annotation, metadata = _unwrapped(annotation, metadata)
    candidates = [item for item in metadata if _may_be_meant(item)]
    if candidates:
        return _declaration(annotation, candidates[-1])
    return _optional(annotation) or Declaration(annotation)


def _may_be_meant(item: Any) -> bool:
    """Whether an item of the metadata is a rule, a reducer, or a callable that may be meant as a reducer.

    Marker classes of pydantic are neither: `Json[int]` is `Annotated[int, Json]`.
    """
    is_marker = isinstance(item, type) and hasattr(item, "__get_pydantic_core_schema__")
    return isinstance(item, Declarable) or (callable(item) and not is_marker)


def _optional(annotation: Any) -> Declaration | None:
    """The declaration of `Annotated[<type>, <reducer>] | None`; None for anything else."""
    members = _flat_members(annotation)
    others = [member for member in members if member is not type(None)]
    if len(others) != 1 or len(others) == len(members):
        return None
    inner = read_annotation(others[0])
    if not inner.says_how:
        return None
    if inner.reducer is add_messages:
        # The initial value is an empty list, so the key is never None.
        return inner
    # Not every type supports `|`.
    declared: Any = Optional.__getitem__(inner.declared)
    if inner.rule is not None:
        return _declaration(declared, inner.rule)
    return replace(inner, declared=declared, is_optional=inner.reducer is not None)


def _flat_members(annotation: Any, around: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """The alternatives of a union, including those of unions behind type aliases; the type itself if it is no union.

    `around` has the enclosing aliases: a recursive alias is not expanded again.
    """
    found: list[Any] = []
    for member in union_members(annotation):
        bare, metadata = _unwrapped(member, ())
        is_union = not metadata and member not in around and len(union_members(bare)) > 1
        found.extend(_flat_members(bare, (*around, member)) if is_union else (member,))
    return tuple(found)


def _unwrapped(annotation: Any, metadata: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """The type inside `Annotated`, qualifiers, type aliases and `NewType`s, and all their metadata, outermost last.

    A type alias that cannot be resolved is left unchanged: the codec's error names it.
    """
    seen: list[Any] = []
    while True:
        if hasattr(annotation, "__metadata__"):
            metadata = (*annotation.__metadata__, *metadata)
            annotation = annotation.__origin__
        elif getattr(get_origin(annotation), "_name", None) in QUALIFIERS:
            (annotation,) = get_args(annotation)
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif is_alias(annotation) and annotation not in seen:
            seen.append(annotation)
            try:
                annotation = alias_value(annotation)
            except Exception:
                # An alias's value is the user's expression, which may raise anything.
                return annotation, metadata
        else:
            return annotation, metadata


def hidden_reducer(declared: Any) -> str | None:
    """The name of a reducer or rule inside a type, which never applies it, such as `list[Annotated[str, add]]`."""
    return _hidden_in(get_args(declared), set()) if get_origin(declared) is not Literal else None


def _hidden_in(arguments: Iterable[Any], aliases: set[Any]) -> str | None:
    return next((found for each in arguments if (found := _hidden_at(each, aliases)) is not None), None)


def _hidden_at(argument: Any, aliases: set[Any]) -> str | None:
    if isinstance(argument, list):
        # The parameters of a Callable.
        return _hidden_in(argument, aliases)
    if is_alias(argument):
        # Each alias is expanded once, with any arguments: a recursive alias may have larger arguments at each level.
        alias = get_origin(argument) or argument
        found = _hidden_in(get_args(argument), aliases)
        if found is not None or alias in aliases:
            return found
        aliases.add(alias)
    bare, metadata = _unwrapped(argument, ())
    named = [shown for item in metadata if (shown := _shown_way(item)) is not None]
    if named:
        return named[-1]
    return None if get_origin(bare) is Literal else _hidden_in(get_args(bare), aliases)


def _shown_way(item: Any) -> str | None:
    """The name of a reducer or rule in error texts; None for other metadata.

    Other classes do not count as reducers here, because types may contain markers and validators.
    """
    cls = item if isinstance(item, type) else type(item)
    if issubclass(cls, Declarable | ManagedValue):
        return cls.__name__
    if isinstance(item, type) or not callable(item) or _misfit(item) is not None:
        return None
    return getattr(item, "__name__", repr(item))


def _declaration(declared: Any, how: Any) -> Declaration:
    if isinstance(how, type) and issubclass(how, ManagedValue):
        return Declaration(declared, managed=how)
    if isinstance(how, type) and issubclass(how, Declarable):
        how = how()
    if isinstance(how, Declarable):
        try:
            return Declaration(declared, rule=how.on(declared))
        except UpdateRefused as error:
            return Declaration(declared, misfit=str(error))
    if how is add_messages and not can_hold_messages(declared):
        return Declaration(declared, misfit="add_messages merges a list: declare it as list[<message>]")
    misfit = _misfit(how)
    return Declaration(declared, misfit=misfit) if misfit else Declaration(declared, how)


def _misfit(reducer: Callable[..., Any]) -> str | None:
    if inspect.iscoroutinefunction(reducer):
        shown = getattr(reducer, "__name__", repr(reducer))
        return f"{shown} cannot be a reducer: it is async; do the asynchronous work in a node"
    try:
        signature = inspect.signature(reducer)
    except (ValueError, TypeError):
        # Some builtins, such as `max`, have no signature. They are accepted.
        return None
    try:
        signature.bind(None, None)
    except TypeError:
        shown = getattr(reducer, "__name__", repr(reducer))
        return f"{shown}{signature} cannot be a reducer: a reducer takes two arguments, the value so far and the write"
    return None


def resolve_fields(cls: type) -> dict[str, Any]:
    """The annotations of a class and its bases, with names resolved and type variables replaced.

    Raises `GraphValidationError` naming the field that cannot be resolved.
    """
    try:
        hints = resolved_hints(cls)
    except Exception:
        # An annotation is the user's expression, which may raise anything. Each is evaluated separately, so that the
        # error can name the field.
        scope = scope_of_class(cls)
        hints = {}
        for name, (annotation, module) in _raw_annotations(cls).items():
            try:
                hints[name] = resolve_one(annotation, module, scope)
            except Exception as error:
                raise GraphValidationError.of_schema(
                    cls, f"the type of {name!r} cannot be resolved: {error}"
                ) from error
    return placed(cls, hints, getattr(cls, "__parameters__", ()), unbound=_widest)


def scope_of_class(cls: type) -> dict[str, Any]:
    """The names that annotations of this class may use in addition to its module's."""
    nested = {name: value for name, value in vars(cls).items() if isinstance(value, type)}
    return {**defining_scope(cls), **nested, cls.__name__: cls}


def resolve_one(annotation: Any, module: str, scope: Mapping[str, Any]) -> Any:
    """The annotation with its names resolved in `scope`, then in the module. Raises any error of the evaluation."""
    holder = type("_Holder", (), {"__annotations__": {"it": annotation}, "__module__": module})
    return typing.get_type_hints(holder, localns=dict(scope), include_extras=True)["it"]


def _raw_annotations(cls: type) -> dict[str, tuple[Any, str]]:
    """The unresolved annotations of the class and its bases, each with the module that it was written in."""
    return {
        name: (annotation, declaring_module(annotation, owner))
        for owner in reversed(cls.__mro__)
        for name, annotation in inspect.get_annotations(owner).items()
    }


def bind_type_variables(alias: Any) -> dict[Any, Any]:
    """`{T: int}` for `State[int]` of a `State(Generic[T])`, an empty dict for a class."""
    return given_to(getattr(get_origin(alias), "__parameters__", ()), get_args(alias))


def replace_type_variables(hint: Any, bound: Mapping[Any, Any]) -> Any:
    """The annotation with every type variable replaced: by its argument, else by its bound, else by Any."""
    replaced = substitute(hint, bound)
    variables = _variables_of(replaced)
    return substitute(replaced, given_to(variables, tuple(map(_widest, variables))))


def _variables_of(hint: Any) -> tuple[Any, ...]:
    if isinstance(hint, TypeVar):
        return (hint,)
    inner = getattr(hint, "__parameters__", ())
    # A generic class without arguments also has `__parameters__`.
    return () if isinstance(hint, type) and get_origin(hint) is None else tuple(inner)


def _widest(variable: Any) -> Any:
    bound = getattr(variable, "__bound__", None)
    return any_of(variable) if bound is None else bound


def shown_type(declared: Any) -> str:
    """The name of a type in error texts."""
    return declared.__name__ if isinstance(declared, type) else str(declared)


def union_members(declared: Any) -> tuple[Any, ...]:
    """The alternatives of a union; the type itself if it is no union."""
    return get_args(declared) if get_origin(declared) in (typing.Union, types.UnionType) else (declared,)
