"""A state class as the graph uses it: its keys and their channels, what a node receives, what an instance says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, get_origin

from durable_graph.channels import Accumulated, Channel, LastValue, Reduced, is_stored_as_updates
from durable_graph.errors import InvalidStateSchemaError, MissingStateKeyError
from durable_graph.graph.managed import Place
from durable_graph.graph.state_kinds import Field, Kind, kind_of, not_a_state_class

INTERNAL_PREFIX = "#"
"""What the names of our own channels begin with, and no key of a state does."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A state class, read once. Made by `Schema.of`."""

    cls: Any
    fields: Mapping[str, Field]
    kind: Kind
    required: tuple[str, ...]

    @classmethod
    def of(cls, state: Any) -> Self:
        """The schema of a TypedDict, dataclass, msgspec.Struct or pydantic model, subscripted or not.

        Raises `InvalidStateSchemaError` for anything else, and for a key that cannot be one.
        """
        kind = kind_of(state)
        if kind is None:
            raise not_a_state_class(state)
        fields = kind.fields(state)
        for key in fields:
            if not isinstance(key, str) or key.startswith(INTERNAL_PREFIX) or not key:
                why = (
                    f"{key!r} cannot be a key: keys are strings, not empty, that do not begin with {INTERNAL_PREFIX!r}"
                )
                raise InvalidStateSchemaError(state, why)
        # A parametrised pydantic model is a class of its own; for the other kinds it is an alias of the class.
        built = get_origin(state) or state
        return cls(built, fields, kind, tuple(key for key, field in fields.items() if field.is_required))

    @property
    def is_single(self) -> bool:
        """Whether it is one value, not a class with keys."""
        return self.cls is object

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys in the order of declaration."""
        return tuple(self.fields)

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.cls.__name__)

    @property
    def misfits(self) -> tuple[str, ...]:
        """What is wrong with the reducers of its keys."""
        return tuple(f"{self.name}.{key}: {field.misfit}" for key, field in self.fields.items() if field.misfit)

    def channels(self) -> dict[str, Channel]:
        """One channel for each key."""
        return {key: channel_of(field) for key, field in self.fields.items()}

    def read(self, values: Mapping[str, Any], place: Place | None = None) -> Any:
        """What a node receives: for a TypedDict a new dict of the keys that have a value, otherwise an instance.

        An absent key takes its default. Raises `MissingStateKeyError` if it has none, and what validating raises.
        """
        present = {key: values[key] for key in self.fields if key in values}
        for key in self.required:
            if key not in present:
                raise MissingStateKeyError(key, schema=self.name, known=present)
        return self.kind.build(self.cls, present)

    def updates(self, result: Any) -> dict[str, Any] | None:
        """What an instance of the class writes; None if `result` is not one.

        A pydantic model writes the fields that were set, any other instance every field except those that are None
        by default and in fact. The dict of a TypedDict is no instance.
        """
        # A TypedDict refuses to be asked; its values are plain dicts.
        if issubclass(self.cls, dict) or not isinstance(result, self.cls):
            return None
        return self.kind.updates(result, self.fields)


def channel_of(field: Field) -> Channel:
    """The merge rule that a key declares."""
    if field.reducer is None:
        return LastValue(field.declared)
    if is_stored_as_updates(field.declared, field.reducer):
        return Accumulated(field.declared, field.reducer)
    return Reduced(field.declared, field.reducer)
