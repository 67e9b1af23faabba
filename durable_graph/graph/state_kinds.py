"""The kinds of class that can describe a state: what each is asked for its fields, how it is built and read back."""

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
from durable_graph.errors import InvalidStateSchemaError
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
    """One key of a state class.

    `is_required`: an instance cannot be built without it. `omits_none`: its default is None, so that a None in an
    instance may mean "not given". `misfit` says what is wrong with its reducer, if anything is. `aliases` are what else
    its class calls it in encoded forms; the key is the field's name. `default` makes its default, if it has one that is
    a value: None and `UNSET` say that there is none.
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
    """What sets one kind of state class apart from the others."""

    def fields(self, schema: Any) -> dict[str, Field]:
        """Its fields in the order of declaration. Raises `InvalidStateSchemaError`."""
        ...

    def build(self, cls: type, present: dict[str, Any]) -> Any:
        """What a node receives."""
        ...

    def updates(self, instance: Any, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        """What an instance says about the state; None for a kind that has no instances of its own."""
        ...


def kind_of(schema: Any) -> Kind | None:
    """Which kind of state class this is, subscripted or not; None if it is none."""
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
    """What nodes get as their context: a dict becomes an instance of the class that the graph declares, if it has one.

    Raises what the class itself says of a dict that does not fit: a `TypeError`, or pydantic's `ValidationError`.
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
    # Whoever has a model has imported pydantic; for everyone else it stays unimported.
    found: type | None = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return found


def _hints(schema: Any) -> dict[str, Declaration]:
    hints = resolve_fields(get_origin(schema) or schema)
    bound = bind_type_variables(schema)
    return {name: read_annotation(replace_type_variables(hint, bound)) for name, hint in hints.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class TypedDictKind:
    """A node gets a dict. Whether a key is required says nothing here: a state starts empty and fills up."""

    def fields(self, schema: Any) -> dict[str, Field]:
        return {name: Field(declaration) for name, declaration in _hints(schema).items()}

    def build(self, cls: type, present: dict[str, Any]) -> Any:
        return present

    def updates(self, instance: Any, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class DataclassKind:
    """Built by its constructor, so that its `__post_init__` runs."""

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
                raise InvalidStateSchemaError(schema, why)
        return fields

    def _validated(self, declaration: Declaration, info: Any, cls: Any, name: str) -> Field:
        """A field of pydantic's own kind of dataclass, which keeps what it knows of it in its own way."""
        config = cls.__pydantic_config__
        aliases = _aliases_of(info) - {name}
        if aliases and not (config.get("populate_by_name") or config.get("validate_by_name")):
            why = f"its field {name!r} can only be given by the alias {min(aliases)!r}; set populate_by_name=True"
            raise InvalidStateSchemaError(cls, why)
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
                # Set as the dataclass itself does it, which works on a frozen one too.
                object.__setattr__(instance, name, value)
        return instance

    def updates(self, instance: Any, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        return _all_given(instance, fields)


@dataclasses.dataclass(frozen=True, slots=True)
class StructKind:
    """Fields go by the names of their attributes, whatever they are renamed to in an encoded form."""

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
    """Validated by pydantic when a node receives it; fields go by their names, aliases or not."""

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
                # Models are made by names and by aliases, and pydantic would take the one for the other.
                why = f"{min(taken)!r} is the alias of {name!r} and the name of another field; rename one of them"
                raise InvalidStateSchemaError(schema, why)
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
            # As the model itself makes it, other fields aside: they may have no value yet.
            made = model.__pydantic_validator__.validate_assignment(model.model_construct(), name, default)
            return getattr(made, name)

        return validated

    def _complete(self, model: Any) -> None:
        if model.__pydantic_complete__:
            return
        if not model.model_rebuild(raise_errors=False, _types_namespace=scope_of_class(model)):
            # To say which field it is.
            resolve_fields(model)
            raise InvalidStateSchemaError(model, "pydantic could not complete it; call its model_rebuild()")

    def build(self, cls: type, present: Mapping[str, Any]) -> Any:
        model: Any = cls
        if any(info.validation_alias is not None for info in model.model_fields.values()):
            return model.model_validate(present, **self.by_name)
        return model.model_validate(present)

    def validated(self, cls: type, present: Mapping[str, Any]) -> tuple[Any | None, list[tuple[str, str]]]:
        """The model of these values, or what it finds wrong, each with where that is ("" for the model as a whole).

        A key that has no value yet is no fault: a state starts empty and fills up. Then there may be neither.
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
        # pydantic says where by aliases; the keys of the state are fields.
        names = {alias: name for name, info in model.model_fields.items() for alias in _aliases_of(info)}
        return ".".join(str(names.get(part, part) if not place else part) for place, part in enumerate(loc))

    def updates(self, instance: Any, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        given = instance.model_fields_set
        # A default that was changed in place is no field that was set, and would be lost in silence.
        said = (name for name in fields if name in given or self._differs(instance, name))
        # What a model that allows extra fields was given beside them is not dropped: it is no key of the state's.
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
        # Of a factory that never makes the same twice, an id or a time, nothing can be told.
        return bool(model.__dict__[name] != default and default == info.default_factory(*given))


def _has_no_default(info: Any) -> bool:
    return bool(
        info.is_required() or (info.default_factory is None and (info.default is None or info.default is UNSET))
    )


def _maker(default: Any, factory: Any, nothing: Any) -> Callable[[], Any] | None:
    """What makes a field's default; None where it has none, or one that says that there is no value."""
    if factory is not nothing:
        made: Callable[[], Any] = factory
        return made
    if default is nothing or default is None or default is UNSET:
        return None
    return lambda: default


def _aliases_of(info: Any) -> frozenset[str]:
    """What a model calls a field when it is made of a dict, and in what it is dumped as."""
    alias = info.validation_alias
    choices = [*getattr(alias, "choices", (alias,)), info.alias, info.serialization_alias]
    # A path leads from a key to a part of its value.
    keys = [choice.path[0] if hasattr(choice, "path") else choice for choice in choices]
    return frozenset(key for key in keys if isinstance(key, str))


def _all_given(instance: Any, fields: Mapping[str, Field]) -> dict[str, Any]:
    values = {name: getattr(instance, name) for name in fields if hasattr(instance, name)}
    return {name: value for name, value in values.items() if value is not None or not fields[name].omits_none}


@dataclasses.dataclass(frozen=True, slots=True)
class SingleKind:
    """No class with keys but one value, in the channel `key`: it is what a node receives and what it returns."""

    key: str

    def fields(self, schema: Any) -> dict[str, Field]:
        return {self.key: Field(read_annotation(schema))}

    def build(self, cls: type, present: dict[str, Any]) -> Any:
        return present.get(self.key)

    def updates(self, instance: Any, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        return {self.key: instance}


def is_one_value(schema: Any) -> bool:
    """Whether this is the type of a value: a builtin, an alias such as `list[str]`, or any `Annotated[...]`."""
    if schema is Any or get_origin(schema) is typing.Annotated:
        return True
    bare = get_origin(schema) or schema
    if not isinstance(bare, type):
        # A union or a Literal; not an instance of something, nor a name.
        return bare is not schema
    # A class with annotated attributes was meant to have keys; the bases of Structs and models have none to say.
    return not any(inspect.get_annotations(cls) for cls in bare.__mro__) and bare not in (msgspec.Struct, _base_model())


def not_a_state_class(schema: Any) -> InvalidStateSchemaError:
    """The refusal of anything that cannot be a state."""
    return InvalidStateSchemaError(
        schema,
        "a state is a TypedDict, a dataclass, a msgspec.Struct or a pydantic model, given as the class itself, "
        "or the type of one value, such as list[str]",
    )
