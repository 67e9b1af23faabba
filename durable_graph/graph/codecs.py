"""The codecs of a graph: one registry of types, one codec for each channel."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from durable_graph.channels import Channel, Messages, RemoveMessage
from durable_graph.codec import Codec, FindStored, Listed, StoredType, TypeCodec, Upcast
from durable_graph.codec.stored_type import is_tag
from durable_graph.errors import GraphValidationError, InvalidOptionError
from durable_graph.graph.description import DescribedNode, Description
from durable_graph.graph.inputs import Inputs
from durable_graph.graph.schema import INTERNAL_PREFIX, Schema
from durable_graph.graph.signatures import annotation_of
from durable_graph.graph.subgraph import Subgraph, subgraphs_in
from durable_graph.graph.topology import ChannelCodec, OpenTypes

REMOVAL: Final = ("durable_graph.RemoveMessage", RemoveMessage)


@dataclass(frozen=True, slots=True)
class Codecs:
    """`argument` is the codec of a Send's argument."""

    of_channel: Mapping[str, ChannelCodec]
    argument: TypeCodec
    types: OpenTypes


@dataclass(frozen=True, slots=True)
class Storing:
    """The options of `compile` about storing: `types`, `upcasts`, and a look-up for types of installed packages."""

    types: tuple[Listed, ...]
    upcasts: Mapping[str | type, Any]
    find: FindStored | None

    @classmethod
    def of(
        cls,
        types: Iterable[Listed],
        upcasts: Mapping[Any, Any] | None,
        find: FindStored | None,
        *,
        has_channels: bool = True,
    ) -> Self:
        """Raises `InvalidOptionError` for an invalid entry."""
        if not isinstance(types, Iterable):
            raise InvalidOptionError("types", types, allowed="a list of classes, (tag, class) pairs and StoredTypes")
        checked = tuple(types)
        for entry in checked:
            is_pair = isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str)
            if isinstance(entry, tuple) and not (is_pair and is_tag(entry[0])):
                allowed = "pairs of a tag and a class; a tag is a str of 1 to 255 bytes, and not of durable_graph"
                raise InvalidOptionError("types", entry, allowed=allowed)
        return cls(checked, _checked(upcasts, has_channels=has_channels), find)

    def open_types(self, named: Iterable[Any]) -> OpenTypes:
        """The types that an outer graph has to be able to store. `named` are those that this graph's code names."""
        tagged = tuple(entry for entry in self.types if isinstance(entry, tuple))
        stored = tuple(entry for entry in self.types if isinstance(entry, StoredType))
        classes = (entry for entry in self.types if isinstance(entry, type))
        return OpenTypes(tagged, _once((*classes, *named)), stored, tuple(self.of_classes(OpenTypes()).items()))

    def codec(self, named: Iterable[Any]) -> Codec:
        """The codec of a graph without declared channels. Its values may be of the types that its annotations name.

        Raises `GraphValidationError`.
        """
        codec = Codec(self.types, upcasts=self.of_classes(OpenTypes()), find=self.find)
        for hint in named:
            # An annotation that cannot be stored is skipped: `types` may have the class.
            _register(codec, hint)
        problems = unknown_upcasts(codec, self, ())
        if problems:
            raise GraphValidationError("; ".join(problems))
        return codec

    def of_classes(self, inner: OpenTypes) -> dict[type, Upcast]:
        """The upcasts of classes, including those of subgraphs."""
        own = {key: upcast for key, upcast in self.upcasts.items() if isinstance(key, type)}
        return {**dict(inner.upcasts), **own}


def codecs_of(
    rules: Mapping[str, Channel], named: OpenTypes, storing: Storing
) -> tuple[Codecs | None, tuple[str, ...]]:
    """A codec for each stored channel, and the problems. With any problem the codecs are None.

    `named` are types that the graph's code names in addition to its channels'; values of type `Any` may be of them.
    """
    listed = [*storing.types, *named.tagged, *named.stored]
    if any(isinstance(rule, Messages) for rule in rules.values()):
        # A removal is a write, which has to be storable also in a list of type `Any`. The tag keeps the class's
        # qualified name free.
        listed.append(REMOVAL)
    upcasts = storing.of_classes(named)
    try:
        codec = Codec(listed, upcasts=upcasts, find=storing.find)
    except GraphValidationError as error:
        return None, (str(error),)
    of_channel, problems = _of_channels(codec, rules, storing)
    for hint in named.named:
        _register(codec, hint)
    argument = codec.of(Any, where="the argument of a Send")
    problems += unknown_upcasts(codec, storing, of_channel)
    if problems:
        return None, tuple(problems)
    declared = (each for rule in rules.values() for each in (rule.declared, rule.update_type))
    tagged = tuple(entry for entry in listed if isinstance(entry, tuple))
    plain = (entry for entry in storing.types if isinstance(entry, type))
    stored = tuple(entry for entry in listed if isinstance(entry, StoredType))
    types = OpenTypes(tagged, _once((*plain, *declared, *named.named)), stored, tuple(upcasts.items()))
    return Codecs(of_channel, argument, types), ()


def _of_channels(
    codec: Codec, rules: Mapping[str, Channel], storing: Storing
) -> tuple[dict[str, ChannelCodec], list[str]]:
    of_channel: dict[str, ChannelCodec] = {}
    problems: list[str] = []
    for name, rule in rules.items():
        if not rule.is_stored:
            continue
        where = f"channel {name!r}"
        # Users do not declare the type of an internal channel.
        is_stamped = not name.startswith(INTERNAL_PREFIX)
        upcasts = storing.upcasts.get(name)
        try:
            value = codec.of(rule.declared, where=where, is_stamped=is_stamped, upcasts=upcasts)
            update = codec.of(rule.update_type, where=where, is_stamped=is_stamped, upcasts=upcasts)
        except GraphValidationError as error:
            problems.append(str(error))
        else:
            of_channel[name] = ChannelCodec(value, update)
            if value.upcasts_itself:
                problems.append(f"upcasts: {name!r} has one for values of the type that it is declared as today")
    return of_channel, problems


def unknown_upcasts(codec: Codec, storing: Storing, channels: Iterable[str]) -> list[str]:
    """The problems of upcasts for unknown channels and classes."""
    known = [name for name in channels if not name.startswith(INTERNAL_PREFIX)]
    problems = []
    for key in storing.upcasts:
        if isinstance(key, type) and not codec.has(key):
            problems.append(f"upcasts: no declared type names the class {key.__qualname__}, or its instances are dicts")
        elif isinstance(key, str) and key not in known:
            problems.append(f"upcasts: {key!r} is no stored channel; there are: {', '.join(sorted(known)) or '(none)'}")
    return problems


def _checked(upcasts: Mapping[Any, Any] | None, *, has_channels: bool) -> dict[str | type, Any]:
    allowed = "a dict from channels and classes to functions, or from a channel to a dict of older types to functions"
    if upcasts is None:
        return {}
    if not isinstance(upcasts, Mapping):
        raise InvalidOptionError("upcasts", upcasts, allowed=allowed)
    for key, upcast in upcasts.items():
        functions = upcast.values() if isinstance(upcast, Mapping) and isinstance(key, str) else (upcast,)
        if not isinstance(key, str | type) or not all(map(callable, functions)):
            raise InvalidOptionError("upcasts", {key: upcast}, allowed=allowed)
        if isinstance(key, str) and not has_channels:
            raise InvalidOptionError("upcasts", key, allowed="classes: an entrypoint has no channels")
    return dict(upcasts)


def types_named_in(description: Description, state: Schema, inputs: Inputs) -> OpenTypes:
    """The types of a Send's argument and of reducers' arguments, from the annotations of nodes and reducers.

    The types of subgraphs are included: the outer graph's threads hold their questions, answers and results.
    """
    inner = [graph.topology.types for node in description.nodes for graph in _graphs_of(node)]
    tagged = tuple(entry for types in inner for entry in types.tagged)
    hints = (*_hints(description, state, inputs), *(hint for types in inner for hint in types.named))
    stored = tuple(entry for types in inner for entry in types.stored)
    upcasts = tuple(entry for types in inner for entry in types.upcasts)
    return OpenTypes(tagged, _once(hints), stored, upcasts)


def _graphs_of(node: DescribedNode) -> tuple[Subgraph, ...]:
    return (node.subgraph,) if node.subgraph is not None else subgraphs_in(node.action)


def _once(hints: Iterable[Any]) -> tuple[Any, ...]:
    # By identity, because not every annotation is hashable.
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
    except GraphValidationError:
        # No channel declares the type, so it may never be stored. Writing a value of it raises an error.
        return
