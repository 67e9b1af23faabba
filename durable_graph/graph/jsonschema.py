"""JSON schemas of a graph's input, output and context, for clients of the graph.

msgspec makes the schemas, and pydantic those of its own classes; a program with such classes has imported pydantic.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import msgspec

from durable_graph.channels import Channel, Messages
from durable_graph.codec.hints import required_keys, resolved_hints
from durable_graph.graph.annotations import union_members
from durable_graph.graph.schema import Schema
from durable_graph.graph.state_kinds import TypedDictKind

JsonSchema = dict[str, Any]

_OPEN: JsonSchema = {}
"""The schema that accepts any value."""


def jsonschema_of(schema: Schema, title: str, channels: Mapping[str, Channel]) -> JsonSchema:
    """The schema of a state, an input or an output: its keys by name, and the required keys of its class.

    For a pydantic model it is the model's own schema. `channels` determine which library's messages a key holds.
    """
    if schema.is_validated and (own := _of_pydantic(schema.cls, "")) is not None:
        return own
    types = {key: _type_of(field.declared, channels.get(key)) for key, field in schema.fields.items()}
    made, definitions = _made(list(types.items()))
    if schema.is_single:
        return _with_definitions({"title": title, **made[0]}, definitions)
    properties = dict(zip(types, made, strict=True))
    shown: JsonSchema = {"title": title, "type": "object", "properties": properties}
    required = _required(schema)
    return _with_definitions({**shown, "required": required} if required else shown, definitions)


def titled(name: str, what: str) -> str:
    """The title in LangChain's style: `ReviewInput`, `review_input`."""
    return f"{name}{what.title()}" if name[:1].isupper() else f"{name}_{what}"


def _type_of(declared: Any, rule: Channel | None) -> Any:
    if isinstance(rule, Messages) and rule.library is not None and declared in (list, list[Any]):
        return rule.library.declares
    return declared


def _required(schema: Schema) -> list[str]:
    needed: Iterable[str] = schema.required
    if isinstance(schema.kind, TypedDictKind):
        needed = required_keys(schema.cls, resolved_hints(schema.cls))
    return [key for key in schema.fields if key in needed]


def _with_definitions(schema: JsonSchema, definitions: JsonSchema) -> JsonSchema:
    return {**schema, "$defs": definitions} if definitions else schema


def _made(types: Sequence[tuple[str, Any]]) -> tuple[list[JsonSchema], JsonSchema]:
    """A schema for each of the types, and the definitions that the schemas refer to."""
    found: list[JsonSchema | None] = [None] * len(types)
    plain = [number for number, (_, declared) in enumerate(types) if _of_msgspec([declared]) is not None]
    together = _of_msgspec([types[number][1] for number in plain])
    assert together is not None  # noqa: S101  # msgspec knows each type
    definitions = dict(together[1])
    for number, schema in zip(plain, together[0], strict=True):
        found[number] = schema
    for number, (key, declared) in enumerate(types):
        if found[number] is None:
            found[number] = _other(key, declared, definitions)
    return [schema or _OPEN for schema in found], definitions


def _other(key: str, declared: Any, definitions: JsonSchema) -> JsonSchema:
    """The schema of a type that msgspec does not know. Its definitions are added to `definitions`."""
    members = union_members(declared)
    if len(members) > 1:
        parts = [_made([(key, member)]) for member in members]
        if all(schemas[0] != _OPEN and _agree(own, definitions) for schemas, own in parts):
            for _, own in parts:
                definitions.update(own)
            return {"anyOf": [schemas[0] for schemas, _ in parts]}
    for prefix in ("", f"{key}."):
        made = _of_pydantic(declared, prefix)
        if made is None:
            return _OPEN
        own = made.pop("$defs", {})
        if _agree(own, definitions):
            definitions.update(own)
            return made
    return _OPEN


def _agree(some: JsonSchema, others: JsonSchema) -> bool:
    return all(others[name] == schema for name, schema in some.items() if name in others)


def _of_msgspec(types: Sequence[Any]) -> tuple[tuple[JsonSchema, ...], JsonSchema] | None:
    try:
        return msgspec.json.schema_components(types, schema_hook=_of_class, ref_template="#/$defs/{name}")
    except (TypeError, NameError, _PydanticClassError):
        return None


class _PydanticClassError(Exception):
    """pydantic has to make the schema of this class."""


def _of_class(cls: type) -> JsonSchema:
    if hasattr(cls, "__get_pydantic_core_schema__"):
        raise _PydanticClassError
    # Neither library knows the class: its schema has only the name.
    return {"type": "string"} if issubclass(cls, PurePath) else {"title": cls.__name__}


def _of_pydantic(declared: Any, prefix: str) -> JsonSchema | None:
    """pydantic's schema with names in place of aliases, None if pydantic is not imported or cannot make one."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None:
        return None
    try:
        made = pydantic.TypeAdapter(declared).json_schema(by_alias=False, ref_template=f"#/$defs/{prefix}{{model}}")
    except pydantic.PydanticUserError:
        return None
    if "$defs" in made:
        made["$defs"] = {f"{prefix}{name}": schema for name, schema in made["$defs"].items()}
    return dict(made)
