"""What each node and router receives, and the channels that the state and those inputs add up to."""

from dataclasses import dataclass, field
from typing import Any

from durable_graph.channels import Channel
from durable_graph.errors import InvalidStateSchemaError
from durable_graph.graph.annotations import read_annotation, union_members
from durable_graph.graph.description import DescribedNode, DescribedRouter, Description
from durable_graph.graph.schema import Schema, channel_of
from durable_graph.graph.state_kinds import Field, kind_of


@dataclass(slots=True)
class Inputs:
    """The schemas of what nodes and routers receive. Routers go by their source and name."""

    of_node: dict[str, Schema] = field(default_factory=dict)
    of_router: dict[tuple[str, str], Schema] = field(default_factory=dict)
    owned: list[tuple[str, Schema]] = field(default_factory=list)
    """All of them, each with what messages call its owner; a name that was given twice is here twice."""
    problems: list[str] = field(default_factory=list)


def inputs_of(description: Description, state: Schema) -> Inputs:
    """What every node and router receives, and what is wrong with the classes that describe it."""
    inputs = Inputs()
    for node in description.nodes:
        inputs.of_node[node.name] = _add(inputs, node, state)
    for router in description.routers:
        inputs.of_router[router.source, router.name] = _add(inputs, router, state)
    return inputs


def _class_of_input(described: DescribedNode | DescribedRouter) -> Any:
    if isinstance(described, DescribedNode) and described.input_schema is not None:
        return described.input_schema
    annotated = read_annotation(described.signature.takes).declared
    # What is annotated as a dict, Any or nothing receives the state.
    return None if kind_of(annotated) is None else annotated


def _add(inputs: Inputs, described: DescribedNode | DescribedRouter, state: Schema) -> Schema:
    cls = _class_of_input(described)
    schema = state
    if cls is not None and cls is not state.cls:
        try:
            schema = Schema.of(cls)
        except InvalidStateSchemaError as error:
            inputs.problems.append(f"the input of {described}: {error}")
    inputs.owned.append((str(described), schema))
    return schema


def channels_of(state: Schema, inputs: Inputs) -> tuple[dict[str, Channel], tuple[str, ...]]:
    """The state's channels and those that only inputs have, and where two of them disagree.

    An input may leave out a key's reducer, and may narrow its type to some alternatives of the state's.
    """
    fields = dict(state.fields)
    declared_by = dict.fromkeys(fields, state.name)
    problems = list(state.misfits)
    for owner, schema in inputs.owned:
        if schema is state:
            continue
        problems.extend(schema.misfits)
        for key, declared in schema.fields.items():
            known = fields.setdefault(key, declared)
            first = declared_by.setdefault(key, schema.name)
            if not _agrees(declared, known):
                problems.append(
                    f"the input of {owner}: {schema.name}.{key} does not agree with {first}.{key}: "
                    f"{_shown(declared)} and {_shown(known)}"
                )
    return {key: channel_of(declared) for key, declared in fields.items()}, tuple(problems)


def _agrees(one: Field, known: Field) -> bool:
    if one.reducer is not None and one.reducer != known.reducer:
        return False
    if Any in (one.declared, known.declared):
        return True
    allowed = union_members(known.declared)
    return all(member in allowed for member in union_members(one.declared))


def _shown(shown: Field) -> str:
    declared = shown.declared.__name__ if isinstance(shown.declared, type) else str(shown.declared)
    if shown.reducer is None:
        return declared
    return f"{declared} with the reducer {getattr(shown.reducer, '__name__', repr(shown.reducer))}"
