"""JSON schemas of the inputs, outputs and contexts of graphs."""

import operator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from durable_graph import START, IsLastStep, MessagesState, StateGraph, Topic, UntrackedValue, entrypoint
from tests.graph import postponed


def graph_of(state: Any, name: str | None = None, messages: Any = "auto", **schemas: Any) -> Any:
    """A graph of one node with this state."""
    builder = StateGraph(state, **schemas).add_node("a", lambda _: {}).add_edge(START, "a")
    return builder.compile(name=name, messages=messages)


class Typed(TypedDict):
    topic: str
    limit: NotRequired[int]
    log: Annotated[list[str], operator.add]


@dataclass
class Data:
    topic: str
    limit: int = 3
    log: Annotated[list[str], operator.add] = field(default_factory=list)


class Packed(msgspec.Struct, rename="camel"):
    topic: str
    log: Annotated[list[str], operator.add]
    limit: int = 3


class Model(pydantic.BaseModel):
    topic: str = pydantic.Field(alias="Topic", description="What it is about.")
    limit: int = 3
    log: Annotated[list[str], operator.add] = []

    model_config = pydantic.ConfigDict(populate_by_name=True)


@pytest.mark.parametrize(
    ("state", "required"), [(Typed, {"topic", "log"}), (Data, {"topic"}), (Packed, {"topic", "log"})]
)
def test_keys_are_shown_by_name_and_required_as_declared(state: Any, required: set[str]) -> None:
    schema = graph_of(state, "review").get_input_jsonschema()

    assert schema == {
        "title": "review_input",
        "type": "object",
        "properties": {
            "topic": {"type": "string"},
            "limit": {"type": "integer"},
            "log": {"type": "array", "items": {"type": "string"}},
        },
        "required": schema["required"],
    }
    assert set(schema["required"]) == required
    assert graph_of(state, "Review").get_output_jsonschema() == {**schema, "title": "ReviewOutput"}


def test_a_pydantic_model_makes_its_own_schema() -> None:
    assert graph_of(Model).get_input_jsonschema() == Model.model_json_schema(by_alias=False)
    assert set(graph_of(Model).get_input_jsonschema()["properties"]) == {"topic", "limit", "log"}


def test_the_schema_of_a_state_of_one_value_is_that_of_the_value() -> None:
    assert graph_of(list[int]).get_input_jsonschema() == {
        "title": "graph_input",
        "type": "array",
        "items": {"type": "integer"},
    }
    assert graph_of(Annotated[int, operator.add]).get_output_jsonschema() == {
        "title": "graph_output",
        "type": "integer",
    }


def test_input_and_output_have_schemas_of_their_own() -> None:
    class Asked(TypedDict):
        topic: str

    graph = graph_of(Typed, input_schema=Asked)

    assert list(graph.get_input_jsonschema()["properties"]) == ["topic"]
    assert list(graph.get_output_jsonschema()["properties"]) == ["topic", "limit", "log"]


def test_string_annotations_determine_the_required_keys() -> None:
    schema = graph_of(postponed.AsTypedDict).get_input_jsonschema()

    assert schema["required"] == ["required"]


def test_managed_keys_are_not_shown() -> None:
    class Computed(TypedDict):
        topic: str
        last: IsLastStep

    assert list(graph_of(Computed).get_input_jsonschema()["properties"]) == ["topic"]


class Inner(msgspec.Struct):
    when: datetime


class Author(pydantic.BaseModel):
    name: str
    inner: "Author | None" = None


class Holder:
    """The namespace of a second class named `Inner`."""

    class Inner(pydantic.BaseModel):
        """A class with the same name as the one above."""

        text: str


Twin = Holder.Inner


def test_nested_classes_of_msgspec_and_pydantic_are_defined_once() -> None:
    class State(TypedDict):
        inner: Inner
        more: list[Inner]
        author: Author
        authors: dict[str, Author] | None
        kind: Literal["a", "b"]

    schema = graph_of(State).get_input_jsonschema()

    assert set(schema["$defs"]) == {"Inner", "Author"}
    assert schema["properties"]["more"] == {"type": "array", "items": {"$ref": "#/$defs/Inner"}}
    assert schema["properties"]["author"]["$ref"] == "#/$defs/Author"
    assert {"type": "null"} in schema["properties"]["authors"]["anyOf"]
    assert schema["properties"]["kind"] == {"enum": ["a", "b"]}


def test_two_classes_of_one_name_are_both_defined() -> None:
    class State(TypedDict):
        one: Inner
        other: list[Twin]

    schema = graph_of(State).get_input_jsonschema()

    assert set(schema["$defs"]) == {"Inner", "other.Inner"}
    assert schema["properties"]["one"] == {"$ref": "#/$defs/Inner"}
    assert schema["properties"]["other"]["items"] == {"$ref": "#/$defs/other.Inner"}
    assert list(schema["$defs"]["other.Inner"]["properties"]) == ["text"]


class Client:
    """A class without a JSON form."""


def test_a_type_without_a_json_form_accepts_any_value() -> None:
    class State(TypedDict):
        client: Annotated[Client, UntrackedValue]
        clients: Annotated[list[Client], UntrackedValue]
        anything: Any
        number: Annotated[complex, UntrackedValue]
        text: str | bytes
        path: Path

    properties = graph_of(State).get_input_jsonschema()["properties"]

    assert properties["anything"] == {}
    assert (properties["client"], properties["number"]) == ({"title": "Client"}, {"title": "complex"})
    assert properties["clients"] == {"type": "array", "items": {"title": "Client"}}
    assert [each["type"] for each in properties["text"]["anyOf"]] == ["string", "string"]
    assert properties["path"] == {"type": "string"}


def test_a_topic_is_shown_as_a_list_of_its_items() -> None:
    class State(TypedDict):
        found: Annotated[list[str], Topic]

    properties = graph_of(State).get_output_jsonschema()["properties"]
    assert properties["found"] == {"type": "array", "items": {"type": "string"}}


def test_messages_that_are_dicts_are_a_list() -> None:
    assert graph_of(MessagesState, messages="dict").get_input_jsonschema()["properties"] == {
        "messages": {"type": "array"}
    }


@pytest.mark.parametrize("context", [Typed, Data, Packed])
def test_the_schema_of_the_context_has_its_keys(context: Any) -> None:
    schema = graph_of(Typed, "review", context_schema=context).get_context_jsonschema()

    assert (schema["title"], schema["properties"]["topic"]) == ("review_context", {"type": "string"})


def test_a_context_that_is_a_model_makes_its_own_schema_and_any_other_class_accepts_any_value() -> None:
    assert graph_of(Typed, context_schema=Model).get_context_jsonschema() == Model.model_json_schema(by_alias=False)
    assert graph_of(Typed, context_schema=Client).get_context_jsonschema() == {"title": "Client"}


def test_without_a_context_there_is_no_schema() -> None:
    assert graph_of(Typed).get_context_jsonschema() is None


def test_the_schemas_of_an_entrypoint_come_from_its_annotations() -> None:
    @entrypoint()
    async def flow(topic: str) -> entrypoint.final[list[int], str]:
        return entrypoint.final(value=[], save=topic)

    @entrypoint()
    async def plain(data: Data) -> Inner | None:
        return None

    @entrypoint()
    async def silent(data):  # type: ignore[no-untyped-def]  # tested without annotations
        return data

    assert flow.get_input_jsonschema() == {"title": "flow_input", "type": "string"}
    assert flow.get_output_jsonschema() == {"title": "flow_output", "type": "array", "items": {"type": "integer"}}
    assert plain.get_input_jsonschema()["$ref"] == "#/$defs/Data"
    assert {"$ref": "#/$defs/Inner"} in plain.get_output_jsonschema()["anyOf"]
    assert (silent.get_input_jsonschema(), silent.get_output_jsonschema()) == (
        {"title": "silent_input"},
        {"title": "silent_output"},
    )


@pytest.mark.parametrize("name", ["get_input_schema", "get_output_schema", "get_config_jsonschema"])
def test_the_error_of_another_schema_attribute_names_the_methods(name: str) -> None:
    with pytest.raises(AttributeError, match=r"`get_input_jsonschema\(\)`"):
        getattr(graph_of(Typed), name)
