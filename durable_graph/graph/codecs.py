"""How everything that a graph stores becomes bytes: one registry of types, one codec for each channel."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_args, get_origin

from durable_graph.channels import Channel
from durable_graph.codec import Codec, TypeCodec
from durable_graph.errors import InvalidStateSchemaError
from durable_graph.graph.annotations import read_annotation
from durable_graph.graph.description import Description
from durable_graph.graph.inputs import Inputs
from durable_graph.graph.signatures import annotation_of
from durable_graph.graph.state_kinds import kind_of
from durable_graph.graph.topology import ChannelCodec


@dataclass(frozen=True, slots=True)
class Codecs:
    """`argument` is the codec of what a Send carries."""

    of_channel: Mapping[str, ChannelCodec]
    argument: TypeCodec


def codecs_of(
    rules: Mapping[str, Channel], named: Iterable[Any], types: Iterable[type | tuple[str, type]]
) -> tuple[Codecs | None, tuple[str, ...]]:
    """A codec for each channel, and which of them hold what cannot be stored; with a problem there are no codecs.

    `named` are the types that the graph's code names beside its channels': values of type `Any` may be of them.
    """
    declared = (rule.declared for rule in rules.values())
    try:
        codec = Codec((*types, *dict.fromkeys(cls for hint in (*declared, *named) for cls in classes_in(hint))))
        argument = codec.of(Any, where="the argument of a Send")
    except InvalidStateSchemaError as error:
        return None, (str(error),)
    of_channel: dict[str, ChannelCodec] = {}
    problems: list[str] = []
    for name, rule in rules.items():
        where = f"channel {name!r}"
        try:
            of_channel[name] = ChannelCodec(
                value=codec.of(rule.declared, where=where), update=codec.of(rule.update_type, where=where)
            )
        except InvalidStateSchemaError as error:
            problems.append(str(error))
    return (None if problems else Codecs(of_channel, argument)), tuple(problems)


def types_named_in(description: Description, inputs: Inputs) -> Iterator[Any]:
    """What a Send may carry or a reducer may be given: the types that nodes and reducers are annotated with."""
    for node in description.nodes:
        yield node.signature.takes
    for _, schema in inputs.owned:
        yield schema.cls
        for field in schema.fields.values():
            if field.reducer is not None:
                yield from (annotation_of(field.reducer, position) for position in (0, 1))


def classes_in(hint: Any) -> Iterator[type]:
    """The user's classes in an annotation whose values are of them: a TypedDict has none, its values are dicts."""
    declared = read_annotation(hint).declared
    if isinstance(declared, type):
        is_enum_or_tuple = issubclass(declared, Enum) or (issubclass(declared, tuple) and hasattr(declared, "_fields"))
        if is_enum_or_tuple or (kind_of(declared) is not None and not issubclass(declared, dict)):
            yield declared
    for inner in (get_origin(declared), *get_args(declared)):
        if inner is not None:
            yield from classes_in(inner)
