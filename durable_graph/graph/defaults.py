"""The initial values of keys with a reducer: the defaults that their classes declare."""

import hashlib
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from durable_graph.channels import MISSING, Channel, Messages, Topic, UpdateRefused, is_empty
from durable_graph.codec import TypeCodec
from durable_graph.errors import UnstorableValueError
from durable_graph.errors.shown import shown
from durable_graph.graph.codecs import Codecs
from durable_graph.graph.inputs import Inputs
from durable_graph.graph.schema import Schema
from durable_graph.graph.state_kinds import Field

Defaults = Mapping[str, Callable[[], Any]]
"""The function that makes the default, for each channel that has one."""


def defaults_of(state: Schema, inputs: Inputs, channels: Mapping[str, Channel]) -> tuple[Defaults, tuple[str, ...]]:
    """The functions that make the initial values of keys with a reducer and a declared default, and the problems.

    A default counts only in a class that declares the reducer as well. The first default among the classes of the
    state, the inputs and the output is used, and no other class may have a different one. Each default is made once, to
    find its errors.
    """
    found: dict[str, tuple[str, Any]] = {}
    defaults: dict[str, Callable[[], Any]] = {}
    problems: list[str] = []
    schemas = {id(schema): schema for schema in (state, *(schema for _, schema in inputs.owned))}
    for schema in schemas.values():
        for key, field in schema.fields.items():
            if field.default is None or not _is_merged(field):
                continue
            place = f"{schema.name}.{key}"
            make = _maker(key, field.default, channels[key])
            try:
                value = make()
            except Exception as error:
                # A factory is the user's code, and may raise anything.
                why = str(error) if isinstance(error, UpdateRefused) else shown(error)
                problems.append(f"{place}: its default cannot be made: {why[:200]}")
                continue
            if value is None or (is_empty(value) and channels[key].initial() is not MISSING):
                continue
            if key not in found:
                found[key], defaults[key] = (place, value), make
            elif not is_same(value, found[key][1]):
                first = found[key][0]
                problems.append(
                    f"{place} has another default than {first}; declare the same default, or declare it once"
                )
    return defaults, tuple(problems)


def unstorable_defaults(defaults: Defaults, codecs: Codecs) -> tuple[str, ...]:
    """The problems of defaults that their channels cannot store."""
    problems = []
    for key, make in defaults.items():
        if key in codecs.of_channel:
            try:
                codecs.of_channel[key].value.encode(make())
            except UnstorableValueError as error:
                problems.append(f"the default of {key!r}: {error}")
    return tuple(problems)


def converted_defaults(defaults: Defaults, codecs: Codecs) -> Defaults:
    """The defaults, converted to their declared types, such as an int to a float."""
    return {
        key: _converting(make, codecs.of_channel[key].value) if key in codecs.of_channel else make
        for key, make in defaults.items()
    }


def _converting(make: Callable[[], Any], codec: TypeCodec) -> Callable[[], Any]:
    return lambda: codec.convert(make())


def is_same(one: object, other: object) -> bool:
    """Whether two values are of one class and equal. Arrays, which compare item by item, never are."""
    try:
        return type(one) is type(other) and bool(one == other)
    except (TypeError, ValueError):
        return False


def _is_merged(field: Field) -> bool:
    return field.reducer is not None or (isinstance(field.rule, Topic) and field.rule.accumulate)


def _maker(key: str, make: Callable[[], Any], rule: Channel) -> Callable[[], Any]:
    if not isinstance(rule, Messages):
        return make

    def with_ids() -> Any:
        # Derived, never random: a message of a default has the same id each time that the default is made.
        numbers = count()
        return rule.prepare_whole(make(), lambda: _id(f"{key} {next(numbers)}"))

    return with_ids


def _id(of: str) -> str:
    return hashlib.blake2b(of.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
