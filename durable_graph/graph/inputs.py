"""The input of each node and router, and the channels of the state and all inputs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Union

from durable_graph.channels import Channel
from durable_graph.errors import GraphValidationError
from durable_graph.graph.annotations import Declaration, read_annotation, shown_type, union_members
from durable_graph.graph.description import DescribedNode, DescribedRouter, Description
from durable_graph.graph.schema import Schema, channel_of
from durable_graph.graph.state_kinds import Field, kind_of


@dataclass(slots=True)
class Inputs:
    """The input schemas of nodes and routers. `of_router` is keyed by source and name."""

    of_node: dict[str, Schema] = field(default_factory=dict)
    of_router: dict[tuple[str, str], Schema] = field(default_factory=dict)
    own: list[tuple[str, Schema]] = field(default_factory=list)
    """The graph's input and output, if they are not the state, each with its name in error texts."""
    private: list[tuple[str, Schema]] = field(default_factory=list)
    """The input of each node and router, with its name in error texts. A duplicate node is here twice."""
    problems: list[str] = field(default_factory=list)

    @property
    def owned(self) -> list[tuple[str, Schema]]:
        """All schemas of inputs and the output, each with its name in error texts."""
        return [*self.own, *self.private]


def inputs_of(
    description: Description, state: Schema, input_schema: Schema | None = None, output_schema: Schema | None = None
) -> Inputs:
    """The input of every node and router, and the problems of its class.

    `input_schema` and `output_schema` are the graph's, if they are not the state's.
    """
    inputs = Inputs()
    for what, schema in (("input", input_schema), ("output", output_schema)):
        if schema is not None and schema is not state:
            inputs.own.append((f"the graph's {what}", schema))
            inputs.problems.extend(_problems_of_own(what, schema, state))
    for node in description.nodes:
        inputs.of_node[node.name] = _add(inputs, node, state)
    for router in description.routers:
        inputs.of_router[router.source, router.name] = _add(inputs, router, state)
    return inputs


def _problems_of_own(what: str, schema: Schema, state: Schema) -> Iterator[str]:
    if schema.cls is not state.cls:
        for key in schema.managed:
            yield f"the graph's {what}: {schema.name}.{key} is computed for each task and cannot be part of the {what}"
    if schema.is_single != state.is_single:
        one, keys = (schema, state) if schema.is_single else (state, schema)
        yield (
            f"the graph's {what}: {one.name} is one value and {keys.name} has keys; if the state is one value, "
            f"input and output have to be one value"
        )


def _class_of_input(described: DescribedNode | DescribedRouter) -> Any:
    if isinstance(described, DescribedNode) and described.input_schema is not None:
        return described.input_schema
    annotated = read_annotation(described.signature.takes).declared
    # A node annotated with `dict`, with `Any` or not at all receives the state.
    return None if kind_of(annotated) is None else annotated


def _add(inputs: Inputs, described: DescribedNode | DescribedRouter, state: Schema) -> Schema:
    cls = _class_of_input(described)
    schema = state
    if cls is not None and cls is not state.cls:
        try:
            schema = Schema.of(cls)
        except GraphValidationError as error:
            inputs.problems.append(f"the input of {described}: {error}")
        if schema.is_single and not state.is_single:
            inputs.problems.append(f"the input of {described}: {schema.name} is one value and {state.name} has keys")
    inputs.private.append((f"the input of {described}", schema))
    return schema


def channels_of(state: Schema, inputs: Inputs) -> tuple[dict[str, Channel], tuple[str, ...]]:
    """The channels of the state, the inputs and the output, and the disagreements between their declarations.

    An input may omit a key's reducer, may narrow its type to some alternatives of the state's, and may be None by
    default. The input of a node or router may give a key any type, because the argument of a `Send` is not the state's
    value. If only such inputs have a key, with several types, its channel holds values of each type.
    """
    fields = dict(state.fields)
    declared_by = dict.fromkeys(fields, state.name)
    computed_by = dict.fromkeys(state.managed, state.name)
    problems = list(state.misfits)
    for schema in (schema for _, schema in inputs.owned if schema is not state):
        problems.extend(schema.misfits)
        computed_by = {**dict.fromkeys(schema.managed, schema.name), **computed_by}
    for owner, key, declared, name in _fields_of(inputs.own, state):
        known = fields.setdefault(key, declared)
        first = declared_by.setdefault(key, name)
        if not (_has_rule_of(declared, known) and _narrows(declared, known)):
            problems.append(_disagreement(f"{owner}: {name}", first, key, declared, known))
    shared = frozenset(fields)
    for owner, key, declared, name in _fields_of(inputs.private, state):
        known = fields.setdefault(key, declared)
        first = declared_by.setdefault(key, name)
        if not _has_rule_of(declared, known):
            problems.append(_disagreement(f"{owner}: {name}", first, key, declared, known))
        elif key not in shared and not known.declaration.says_how and not _narrows(declared, known):
            # Not every type supports `|`.
            fields[key] = Field(Declaration(Union[known.declared, declared.declared]))  # noqa: UP007
    problems.extend(
        f"{computed_by[key]}.{key} is computed for each task, and {declared_by[key]}.{key} is a channel"
        for key in computed_by
        if key in declared_by
    )
    return {key: channel_of(declared) for key, declared in fields.items()}, tuple(dict.fromkeys(problems))


def _fields_of(owned: list[tuple[str, Schema]], state: Schema) -> Iterator[tuple[str, str, Field, str]]:
    """Each field of each schema except the state's: its owner in error texts, its key, the field, its class's name."""
    for owner, schema in owned:
        if schema is not state:
            yield from ((owner, key, declared, schema.name) for key, declared in schema.fields.items())


def _disagreement(owner: str, first: str, key: str, declared: Field, known: Field) -> str:
    return f"{owner}.{key} does not agree with {first}.{key}: {_shown(declared)} and {_shown(known)}"


def _has_rule_of(one: Field, known: Field) -> bool:
    """Whether the field declares the channel's rule, or no rule."""
    if one.reducer is not None:
        return bool(one.reducer == known.reducer)
    return one.rule is None or channel_of(one) == channel_of(known)


def _narrows(one: Field, known: Field) -> bool:
    """Whether all types of the field are among the channel's."""
    if Any in (one.declared, known.declared):
        return True
    # A default of None stands for a missing value, so the state's type need not allow None.
    allowed = (*union_members(known.declared), *((None, type(None)) if one.omits_none else ()))
    return all(member in allowed for member in union_members(one.declared))


def _shown(shown: Field) -> str:
    declared = shown_type(shown.declared)
    if shown.rule is not None:
        return f"{declared} as {type(shown.rule).__name__}"
    if shown.reducer is None:
        return declared
    return f"{declared} with the reducer {getattr(shown.reducer, '__name__', repr(shown.reducer))}"
