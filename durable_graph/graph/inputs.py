"""What each node and router receives, and the channels that the state and those inputs add up to."""

from collections.abc import Iterator
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
    problems: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[str, Schema]]:
        """Each with what messages call its owner."""
        yield from ((f"node {name!r}", schema) for name, schema in self.of_node.items())
        yield from ((f"router {name!r} of {source!r}", schema) for (source, name), schema in self.of_router.items())


def inputs_of(description: Description, state: Schema) -> Inputs:
    """What every node and router receives, and what is wrong with the classes that describe it."""
    inputs = Inputs()
    for node in description.nodes:
        inputs.of_node[node.name] = _schema(_class_of_input(node), f"node {node.name!r}", state, inputs.problems)
    for router in description.routers:
        schema = _schema(_class_of_input(router), str(router), state, inputs.problems)
        inputs.of_router[router.source, router.name] = schema
    return inputs


def _class_of_input(described: DescribedNode | DescribedRouter) -> Any:
    if isinstance(described, DescribedNode) and described.input_schema is not None:
        return described.input_schema
    annotated = read_annotation(described.signature.takes).declared
    # What is annotated as a dict, Any or nothing receives the state.
    return None if kind_of(annotated) is None else annotated


def _schema(cls: Any, owner: str, state: Schema, problems: list[str]) -> Schema:
    if cls is None or cls is state.cls:
        return state
    try:
        return Schema.of(cls)
    except InvalidStateSchemaError as error:
        problems.append(f"the input of {owner}: {error}")
        return state


def channels_of(state: Schema, inputs: Inputs) -> tuple[dict[str, Channel], tuple[str, ...]]:
    """The state's channels and those that only inputs have, and where two of them disagree.

    An input may leave out a key's reducer, and may narrow its type to some alternatives of the state's.
    """
    fields = dict(state.fields)
    declared_by = dict.fromkeys(fields, state.name)
    problems = list(state.misfits)
    for owner, schema in inputs:
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
