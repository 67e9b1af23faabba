"""The kinds of state class: how the fields of each kind are read, and how instances are built and read."""

import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, get_origin

import msgspec
from msgspec import UNSET

from durable_graph.channels import Declarable
from durable_graph.codec.records import struct_defaults
from durable_graph.errors import GraphValidationError
from durable_graph.graph.annotations import (
    Declaration,
    bind_type_variables,
    read_annotation,
    replace_type_variables,
    resolve_fields,
    scope_of_class,
)
from durable_graph.graph.managed import ManagedValue


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """A key of a state class.

    `is_required`: an instance cannot be built without it. `omits_none`: its default is None, so a None in an instance
    may mean "not given". `misfit` is the problem of its reducer, if there is one. `aliases` are its other names in
    encoded forms; the key is the field's name. `default` makes its default, if that is a value: None and `UNSET` stand
    for a missing value.
    """

    declaration: Declaration
    is_required: bool = False
    omits_none: bool = False
    aliases: frozenset[str] = frozenset()
    default: Callable[[], Any] | None = None

    @property
    def declared(self) -> Any:
        return self.declaration.declared

    @property
    def reducer(self) -> Any:
        return self.declaration.reducer

    @property
    def rule(self) -> Declarable | None:
        return self.declaration.rule

    @property
    def managed(self) -> type[ManagedValue] | None:
        return self.declaration.managed

    @property
    def misfit(self) -> str | None:
        return self.declaration.misfit


class Kind(Protocol):
    """A kind of state class."""

    def fields(self, schema: Any) -> dict[str, Field]:
        """The fields in the order of declaration. Raises `GraphValidationError`."""
        ...

    def build(self, cls: type, present: dict[str, Any]) -> Any:
        """A node's input, made of the keys that have a value."""
        ...

    def updates(self, instance: Any, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        """The writes of an instance; None for a kind without instances."""
        ...


def kind_of(schema: Any) -> Kind | None:
    """The kind of this state class, subscripted or not; None if it is no state class."""
    cls = get_origin(schema) or schema
    if not isinstance(cls, type):
        return None
    if issubclass(cls, dict) and hasattr(cls, "__required_keys__"):
        return TypedDictKind()
    if issubclass(cls, msgspec.Struct) and cls is not msgspec.Struct:
        return StructKind()
    if _is_pydantic(cls):
        return PydanticKind()
    if dataclasses.is_dataclass(cls):
        return DataclassKind()
    return None


def context_of(schema: Any, given: Any) -> Any:
    """The nodes' context: a dict becomes an instance of the graph's context class, if it has one.

    Raises the class's own error for an unsuitable dict: a `TypeError`, or pydantic's `ValidationError`.
    """
    schema = read_annotation(schema).declared
    kind = None if type(given) is not dict else kind_of(schema)
    if kind is None or isinstance(kind, TypedDictKind):
        return given
    return (get_origin(schema) or schema)(**given)


def _is_pydantic(cls: type) -> bool:
    model = _base_model()
    return model is not None and issubclass(cls, model) and cls is not model


def _base_model() -> type | None:
    # A program with models has imported pydantic. For other programs it stays unimported.
    found: type | None = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return found


def _hints(schema: Any) -> dict[str, Declaration]:
    hints = resolve_fields(get_origin(schema) or schema)
    bound = bind_type_variables(schema)
    return {name: read_annotation(replace_type_variables(hint, bound)) for name, hint in hints.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class TypedDictKind:
    """A node gets a dict. Required keys may be missing: a state starts empty."""

    def fields(self, schema: Any) -> dict[str, Field]:
        return {name: Field(declaration) for name, declaration in _hints(schema).items()}

    def build(self, cls: type, present: dict[str, Any]) -> Any:
        return present

    def updates(self, instance: Any, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class DataclassKind:
    """Instances are built by the constructor, so `__post_init__` runs."""

    def fields(self, schema: Any) -> dict[str, Field]:
        cls = get_origin(schema) or schema
        hints = _hints(schema)
        validated: Mapping[str, Any] = getattr(cls, "__pydantic_fields__", {})
        fields = {
            field.name: self._validated(hints[field.name], validated[field.name], cls, field.name)
            if field.name in validated
            else Field(
                hints[field.name],
                is_required=field.init
                and field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING,
                omits_none=field.default is None,
                default=_maker(field.default, field.default_factory, dataclasses.MISSING),
            )
            for field in dataclasses.fields(cls)
        }
        aliases = {alias for field in fields.values() for alias in field.aliases}
        for parameter in inspect.signature(cls).parameters.values():
            if parameter.name not in fields.keys() | aliases and parameter.default is parameter.empty:
                why = f"its constructor requires {parameter.name!r}, which is not a field and so not in the state"
                raise GraphValidationError.of_schema(schema, why)
        return fields

    def _validated(self, declaration: Declaration, info: Any, cls: Any, name: str) -> Field:
        """A field of a pydantic dataclass, which has its own field information."""
        config = cls.__pydantic_config__
        aliases = _aliases_of(info) - {name}
        if aliases and not (config.get("populate_by_name") or config.get("validate_by_name")):
            why = f"its field {name!r} can only be given by the alias {min(aliases)!r}; set populate_by_name=True"
            raise GraphValidationError.of_schema(cls, why)
        return Field(
            declaration,
            is_required=info.is_required(),
            omits_none=info.default is None,
            aliases=aliases,
            default=None if _has_no_default(info) else lambda: info.get_default(call_default_factory=True),
        )

    def build(self, cls: type, present: dict[str, Any]) -> Any:
        fields: Mapping[str, Any] = cls.__dataclass_fields__  # type: ignore[attr-defined]  # a dataclass, see kind_of
        instance = cls(**{name: value for name, value in present.items() if fields[name].init})
        for name, value in present.items():
            if not fields[name].init:
                # As dataclasses do it, which also works for frozen instances.
                object.__setattr__(instance, name, value)
        return instance

    def updates(self, instance: Any, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        return _all_given(instance, fields)


@dataclasses.dataclass(frozen=True, slots=True)
class StructKind:
    """The keys are the names of the attributes, not their names in encoded forms."""

    def fields(self, schema: Any) -> dict[str, Field]:
        cls = get_origin(schema) or schema
        hints = _hints(schema)
        aliases: tuple[str, ...] = cls.__struct_encode_fields__
        return {
            name: Field(
                hints[name],
                is_required=default is msgspec.NODEFAULT and factory is msgspec.NODEFAULT,
                omits_none=default is None,
                aliases=frozenset({alias} - {name}),
                default=_maker(default, factory, msgspec.NODEFAULT),
            )
            for alias, (name, (default, factory)) in zip(aliases, struct_defaults(cls).items(), strict=True)
        }

    def build(self, cls: type, present: dict[str, Any]) -> Any:
        return cls(**present)

    def updates(self, instance: Any, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        return _all_given(instance, fields)


@dataclasses.dataclass(frozen=True, slots=True)
class PydanticKind:
    """pydantic validates a node's input. The keys are the names of the fields, not their aliases."""

    by_name: ClassVar[dict[str, bool]] = {"by_alias": True, "by_name": True}

    def fields(self, schema: Any) -> dict[str, Field]:
        self._complete(schema)
        fields: dict[str, Field] = {}
        for name, info in schema.model_fields.items():
            hint = replace_type_variables(info.annotation, {})
            declaration = read_annotation(hint, tuple(info.metadata))
            fields[name] = Field(
                declaration,
                is_required=info.is_required(),
                omits_none=info.default is None,
                aliases=_aliases_of(info) - {name},
                default=self._default(schema, name),
            )
        for name, field in fields.items():
            taken = field.aliases & fields.keys()
            if taken:
                # Models are built by names and by aliases, and pydantic would confuse the two fields.
                why = f"{min(taken)!r} is the alias of {name!r} and the name of another field; rename one of them"
                raise GraphValidationError.of_schema(schema, why)
        return fields

    def _default(self, model: Any, name: str) -> Callable[[], Any] | None:
        info = model.model_fields[name]
        if _has_no_default(info):
            return None
        is_checked = info.validate_default
        if not (model.model_config.get("validate_default") if is_checked is None else is_checked):
            return lambda: info.get_default(call_default_factory=True)

        def validated() -> Any:
            default = info.get_default(call_default_factory=True)
            # Validated like an assignment, because the other fields may have no value yet.
            made = model.__pydantic_validator__.validate_assignment(model.model_construct(), name, default)
            return getattr(made, name)

        return validated

    def _complete(self, model: Any) -> None:
        if model.__pydantic_complete__:
            return
        if not model.model_rebuild(raise_errors=False, _types_namespace=scope_of_class(model)):
            # Raises an error that names the field.
            resolve_fields(model)
            raise GraphValidationError.of_schema(model, "pydantic could not complete it; call its model_rebuild()")

    def build(self, cls: type, present: Mapping[str, Any]) -> Any:
        model: Any = cls
        if any(info.validation_alias is not None for info in model.model_fields.values()):
            return model.model_validate(present, **self.by_name)
        return model.model_validate(present)

    def validated(self, cls: type, present: Mapping[str, Any]) -> tuple[Any | None, list[tuple[str, str]]]:
        """The model of these values, or its errors as (place, text); the place "" is the whole model.

        Missing keys are no errors, because a state starts empty: then the result may be (None, []).
        """
        pydantic = sys.modules["pydantic"]
        try:
            return self.build(cls, present), []
        except pydantic.ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            return None, [
                (self._place(cls, each["loc"]), each["msg"])
                for each in found
                if each["type"] != "missing" or len(each["loc"]) > 1
            ]

    def _place(self, model: Any, loc: tuple[Any, ...]) -> str:
        # pydantic's errors name aliases; the keys of the state are the names of fields.
        names = {alias: name for name, info in model.model_fields.items() for alias in _aliases_of(info)}
        return ".".join(str(names.get(part, part) if not place else part) for place, part in enumerate(loc))

    def updates(self, instance: Any, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        given = instance.model_fields_set
        # A default that was changed in place is not in `model_fields_set`, and would be lost silently.
        said = (name for name in fields if name in given or self._differs(instance, name))
        # Extra fields of a model that allows them are kept: they are writes to keys that the state does not have.
        names = (*said, *sorted(given - fields.keys()))
        return {name: getattr(instance, name) for name in names}

    def _differs(self, model: Any, name: str) -> bool:
        info = type(model).model_fields[name]
        if name not in model.__dict__ or info.is_required():
            return False
        if info.default_factory is None:
            return bool(model.__dict__[name] != info.default)
        given = (model.__dict__,) if getattr(info, "default_factory_takes_validated_data", False) else ()
        default = info.default_factory(*given)
        # A factory that makes another value each time, such as an id or a time, cannot show a difference.
        return bool(model.__dict__[name] != default and default == info.default_factory(*given))


def _has_no_default(info: Any) -> bool:
    return bool(
        info.is_required() or (info.default_factory is None and (info.default is None or info.default is UNSET))
    )


def _maker(default: Any, factory: Any, nothing: Any) -> Callable[[], Any] | None:
    """The function that makes a field's default; None if it has none, or if it stands for a missing value."""
    if factory is not nothing:
        made: Callable[[], Any] = factory
        return made
    if default is nothing or default is None or default is UNSET:
        return None
    return lambda: default


def _aliases_of(info: Any) -> frozenset[str]:
    """The names of a field in the input and in the output of a model."""
    alias = info.validation_alias
    choices = [*getattr(alias, "choices", (alias,)), info.alias, info.serialization_alias]
    # An `AliasPath` begins with a key.
    keys = [choice.path[0] if hasattr(choice, "path") else choice for choice in choices]
    return frozenset(key for key in keys if isinstance(key, str))


def _all_given(instance: Any, fields: Mapping[str, Field]) -> dict[str, Any]:
    values = {name: getattr(instance, name) for name in fields if hasattr(instance, name)}
    return {name: value for name, value in values.items() if value is not None or not fields[name].omits_none}


@dataclasses.dataclass(frozen=True, slots=True)
class SingleKind:
    """A state of one value, in the channel `key`, which nodes receive and return."""

    key: str

    def fields(self, schema: Any) -> dict[str, Field]:
        return {self.key: Field(read_annotation(schema))}

    def build(self, cls: type, present: dict[str, Any]) -> Any:
        return present.get(self.key)

    def updates(self, instance: Any, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        return {self.key: instance}


def is_one_value(schema: Any) -> bool:
    """Whether this is the type of one value: a builtin, an alias such as `list[str]`, or any `Annotated[...]`."""
    if schema is Any or get_origin(schema) is typing.Annotated:
        return True
    bare = get_origin(schema) or schema
    if not isinstance(bare, type):
        # True for a union or a Literal, False for an instance or a name.
        return bare is not schema
    # A class with annotated attributes is meant to have keys. `Struct` and `BaseModel` themselves are no value types.
    return not any(inspect.get_annotations(cls) for cls in bare.__mro__) and bare not in (msgspec.Struct, _base_model())


def not_a_state_class(schema: Any) -> GraphValidationError:
    """The error for a type that cannot be a state."""
    return GraphValidationError.of_schema(
        schema,
        "a state is a TypedDict, a dataclass, a msgspec.Struct or a pydantic model, given as the class itself, "
        "or the type of one value, such as list[str]",
    )
