"""The schema of a state class: its keys and their channels, a node's input, and the updates of an instance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, get_origin

from durable_graph.channels import (
    Accumulated,
    Channel,
    FormattedMessages,
    LastValue,
    Messages,
    Reduced,
    add_messages,
    is_stored_as_updates,
    selected,
)
from durable_graph.errors import GraphValidationError, StateKeyError
from durable_graph.graph.annotations import hidden_reducer, read_annotation, shown_type, union_members
from durable_graph.graph.managed import NOWHERE, ManagedValue, Place
from durable_graph.graph.state_kinds import (
    Field,
    Kind,
    PydanticKind,
    SingleKind,
    TypedDictKind,
    is_one_value,
    kind_of,
    not_a_state_class,
)
from durable_graph.records import NO_TEXT, is_text

INTERNAL_PREFIX = "#"
"""The prefix of internal channels' names. No key of a state begins with it."""

ROOT = "__root__"
"""The channel of a state that is one value."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A parsed state class. Made by `Schema.of` or `Schema.single`.

    `fields` are the keys that are channels; `managed` has the keys that are computed for each task. `is_single`: the
    state is one value, not a class with keys. `is_validated`: the class validates its values, as a pydantic model does.
    `is_plain`: what `read` gives is a dict of the keys that have a value, and nothing else.
    """

    cls: Any
    fields: Mapping[str, Field]
    kind: Kind
    required: tuple[str, ...]
    managed: Mapping[str, type[ManagedValue]] = field(default_factory=dict)
    is_single: bool = field(init=False, repr=False)
    is_validated: bool = field(init=False, repr=False)
    is_plain: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_single", self.cls is object)
        object.__setattr__(self, "is_validated", isinstance(self.kind, PydanticKind))
        is_plain = isinstance(self.kind, TypedDictKind) and not self.managed and not self.required
        object.__setattr__(self, "is_plain", is_plain)

    @classmethod
    def of(cls, state: Any) -> Self:
        """The schema of a TypedDict, dataclass, msgspec.Struct or pydantic model, subscripted or not; or of one value.

        Raises `GraphValidationError` for anything else, and for an invalid key.
        """
        declaration = read_annotation(state)
        if declaration.says_how:
            return cls.single(state, ROOT)
        # `Annotated` without a reducer and type aliases do not change the class.
        state = declaration.declared
        kind = kind_of(state)
        if kind is None:
            if not is_one_value(state):
                raise not_a_state_class(state)
            return cls.single(state, ROOT)
        fields = kind.fields(state)
        for key in fields:
            if not isinstance(key, str) or key.startswith(INTERNAL_PREFIX) or not key:
                why = (
                    f"{key!r} cannot be a key: keys are strings, not empty, that do not begin with {INTERNAL_PREFIX!r}"
                )
                raise GraphValidationError.of_schema(state, why)
            if not is_text(key):
                raise GraphValidationError.of_schema(state, f"{key!r} cannot be a key: {NO_TEXT}")
        # A parametrised pydantic model is a separate class; for the other kinds it is an alias of the class.
        built = get_origin(state) or state
        return cls(
            built,
            {key: each for key, each in fields.items() if each.managed is None},
            kind,
            tuple(key for key, each in fields.items() if each.is_required),
            {key: each.managed for key, each in fields.items() if each.managed is not None},
        )

    @classmethod
    def single(cls, annotation: Any, key: str) -> Self:
        """The schema of one value of the annotated type, in the channel `key`."""
        kind = SingleKind(key)
        return cls(object, kind.fields(annotation), kind, ())

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys in the order of declaration."""
        return tuple(self.fields)

    @property
    def name(self) -> str:
        """The name in error texts."""
        if isinstance(self.kind, SingleKind):
            return shown_type(self.fields[self.kind.key].declared)
        return str(self.cls.__name__)

    @property
    def misfits(self) -> tuple[str, ...]:
        """The problems of the keys' reducers."""
        found = ((key, field.misfit or _hidden_misfit(field.declared)) for key, field in self.fields.items())
        return tuple(f"{self.name}.{key}: {misfit}" for key, misfit in found if misfit)

    def channels(self) -> dict[str, Channel]:
        """One channel for each key."""
        return {key: channel_of(field) for key, field in self.fields.items()}

    def read(self, values: Mapping[str, Any], place: Place | None = None) -> Any:
        """A node's input: for a TypedDict a new dict of the keys that have a value, otherwise an instance.

        A missing key gets its default. Raises `StateKeyError` if it has none, and the errors of validation.
        `place` is the place of the task; without it, only required managed keys are set, with `NOWHERE`.
        """
        present = selected(values, self.fields)
        for key, managed in self.managed.items():
            if place is not None or key in self.required:
                present[key] = managed.at(place or NOWHERE)
        for key in self.required:
            if key not in present:
                raise StateKeyError.of_missing(key, schema=self.name, known=present)
        return self.kind.build(self.cls, present)

    def field_called(self, alias: object) -> str | None:
        """The field with this alias in encoded forms; None if there is none."""
        return next((name for name, field in self.fields.items() if alias in field.aliases), None)

    def updates(self, result: Any) -> dict[str, Any] | None:
        """The writes of an instance of the class; None if `result` is no instance.

        A pydantic model writes the fields that were set. Any other instance writes every field, except fields that are
        None and have None as their default. The dict of a TypedDict is no instance.
        """
        # A TypedDict raises an error for `isinstance`; its values are plain dicts.
        if issubclass(self.cls, dict) or not isinstance(result, self.cls):
            return None
        updates = self.kind.updates(result, self.fields)
        if updates is None or not self.managed:
            return updates
        # An instance must have the managed keys, so their values are no writes.
        return {key: value for key, value in updates.items() if key not in self.managed}

    def validated(self, values: Mapping[str, Any]) -> tuple[Any | None, list[tuple[str, str]]]:
        """The values as an instance of a pydantic model, or its errors as (place, text).

        Missing keys are no errors: then the result may be (None, []), as it is for all other kinds of class.
        """
        if not isinstance(self.kind, PydanticKind):
            return None, []
        present = selected(values, self.fields)
        present |= {key: managed.at(NOWHERE) for key, managed in self.managed.items()}
        return self.kind.validated(self.cls, present)


def _hidden_misfit(declared: Any) -> str | None:
    hidden = hidden_reducer(declared)
    if hidden is None:
        return None
    return (
        f"{hidden} is declared for a part of the type, where nothing would apply it; "
        f"declare it for the whole type: Annotated[<type>, {hidden}]"
    )


def channel_of(field: Field) -> Channel:
    """The merge rule that a key declares."""
    if field.rule is not None:
        return field.rule
    if field.reducer is None:
        return LastValue(field.declared)
    if field.reducer is add_messages:
        return Messages(field.declared)
    if isinstance(field.reducer, FormattedMessages):
        return Messages(field.declared, format=field.reducer.format)
    is_optional = field.declaration.is_optional
    merged = next(each for each in union_members(field.declared) if each is not type(None)) if is_optional else None
    if is_stored_as_updates(merged or field.declared, field.reducer):
        return Accumulated(field.declared, field.reducer, is_optional)
    return Reduced(field.declared, field.reducer, is_optional)
