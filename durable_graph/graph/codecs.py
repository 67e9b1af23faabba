"""How everything that a graph stores becomes bytes: one registry of types, one codec for each channel."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from durable_graph.channels import Channel, Messages, RemoveMessage
from durable_graph.codec import Codec, TypeCodec
from durable_graph.errors import InvalidStateSchemaError
from durable_graph.graph.description import DescribedNode, Description
from durable_graph.graph.inputs import Inputs
from durable_graph.graph.schema import Schema
from durable_graph.graph.signatures import annotation_of
from durable_graph.graph.subgraph import Subgraph, subgraphs_in
from durable_graph.graph.topology import ChannelCodec, OpenTypes


@dataclass(frozen=True, slots=True)
class Codecs:
    """`argument` is the codec of what a Send carries."""

    of_channel: Mapping[str, ChannelCodec]
    argument: TypeCodec
    types: OpenTypes


def codecs_of(
    rules: Mapping[str, Channel], named: OpenTypes, types: Iterable[type | tuple[str, type]]
) -> tuple[Codecs | None, tuple[str, ...]]:
    """A codec for each stored channel, and which of them hold what cannot be stored; with a problem there are none.

    `named` are the types that the graph's code names beside its channels': values of type `Any` may be of them.
    """
    given = list(types)
    listed = [*given, *named.tagged]
    if any(isinstance(rule, Messages) for rule in rules.values()):
        # As a write it has to be storable also among messages of type `Any`; its tag leaves the name free.
        listed.append(("durable_graph.RemoveMessage", RemoveMessage))
    try:
        codec = Codec(listed)
    except InvalidStateSchemaError as error:
        return None, (str(error),)
    of_channel: dict[str, ChannelCodec] = {}
    problems: list[str] = []
    for name, rule in rules.items():
        if not rule.is_stored:
            continue
        where = f"channel {name!r}"
        try:
            value = codec.of(rule.declared, where=where)
            of_channel[name] = ChannelCodec(value, codec.of(rule.update_type, where=where))
        except InvalidStateSchemaError as error:
            problems.append(str(error))
    for hint in named.named:
        _register(codec, hint)
    argument = codec.of(Any, where="the argument of a Send")
    if problems:
        return None, tuple(problems)
    declared = (each for rule in rules.values() for each in (rule.declared, rule.update_type))
    tagged = tuple(entry for entry in listed if isinstance(entry, tuple))
    plain = (entry for entry in given if isinstance(entry, type))
    return Codecs(of_channel, argument, OpenTypes(tagged, _once((*plain, *declared, *named.named)))), ()


def types_named_in(description: Description, state: Schema, inputs: Inputs) -> OpenTypes:
    """What a Send may carry and a reducer may be given: the types that nodes and reducers are annotated with.

    And all that the graphs inside this one may store: their questions, answers and results are kept in its threads.
    """
    inner = [graph.topology.types for node in description.nodes for graph in _graphs_of(node)]
    tagged = tuple(entry for types in inner for entry in types.tagged)
    hints = (*_hints(description, state, inputs), *(hint for types in inner for hint in types.named))
    return OpenTypes(tagged, _once(hints))


def _graphs_of(node: DescribedNode) -> tuple[Subgraph, ...]:
    return (node.subgraph,) if node.subgraph is not None else subgraphs_in(node.action)


def _once(hints: Iterable[Any]) -> tuple[Any, ...]:
    # Not every annotation can be hashed.
    return tuple({id(hint): hint for hint in hints}.values())


def _hints(description: Description, state: Schema, inputs: Inputs) -> Iterator[Any]:
    yield from (node.signature.takes for node in description.nodes)
    for schema in (state, *(schema for _, schema in inputs.owned)):
        yield schema.cls
        for field in schema.fields.values():
            if field.reducer is not None:
                yield from (annotation_of(field.reducer, position) for position in (0, 1))


def _register(codec: Codec, hint: Any) -> None:
    try:
        codec.of(hint, where="an annotation")
    except InvalidStateSchemaError:
        # No channel declares it, so perhaps nothing stores it; a value of it is refused when there is one.
        return
