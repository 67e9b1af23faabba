"""Keys are the names of fields. An alias, which names a field in encoded data, is refused with the name to use."""

from typing import Any

import msgspec
import pydantic
import pytest
from pydantic import AliasChoices, AliasPath, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as validated_dataclass

from durable_graph import (
    Checkpointer,
    Command,
    GraphValidationError,
    InvalidStateValueError,
    StateGraph,
    StateKeyError,
)
from tests.errors.kinds import of_kind
from tests.graphs import Inputs, chain_of


class ByField(pydantic.BaseModel):
    user_name: str = Field(default="", alias="userName")


class ByGenerator(pydantic.BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    user_name: str = ""


class ByValidation(pydantic.BaseModel):
    user_name: str = Field(default="", validation_alias=AliasChoices("name", AliasPath("userName", 0)))


class BySerialization(pydantic.BaseModel):
    user_name: str = Field(default="", serialization_alias="userName")


class ByRename(msgspec.Struct, rename="camel"):
    user_name: str = ""


class ByName(msgspec.Struct):
    user_name: str = msgspec.field(default="", name="userName")


@validated_dataclass(config=ConfigDict(populate_by_name=True))
class ByFieldOfDataclass:
    user_name: str = Field(default="", alias="userName")


CLASSES: list[Any] = [ByField, ByFieldOfDataclass, ByGenerator, ByValidation, BySerialization, ByRename, ByName]


@pytest.mark.parametrize("schema", CLASSES)
async def test_an_alias_is_refused_with_the_name_of_its_field_wherever_a_key_is_given(
    saver: Checkpointer, schema: Any
) -> None:
    graph = chain_of(schema, Inputs(), ("a", {"user_name": "amy"})).compile(saver)
    wrong = chain_of(schema, Inputs(), ("a", {"userName": "amy"})).compile(saver)
    await graph.ainvoke({"user_name": "amy"}, thread_id="edited")
    calls = (
        graph.ainvoke({"userName": "amy"}, thread_id="t"),
        graph.ainvoke(Command(update={"userName": "amy"}), thread_id="t"),
        graph.ainvoke({}, thread_id="t", output_keys=["userName"]),
        wrong.ainvoke({}, thread_id="t"),
        graph.aupdate_state({"configurable": {"thread_id": "edited"}}, {"userName": "amy"}, as_node="a"),
    )
    for call in calls:
        with pytest.raises(StateKeyError, check=of_kind("alias"), match=r"an alias; .* use 'user_name'") as caught:
            await call
        assert (caught.value.key, caught.value.alias_of) == ("userName", "user_name")


async def test_an_alias_is_refused_in_a_graph_with_an_input_or_output_schema(saver: Checkpointer) -> None:
    for schemas in ({"input_schema": ByField}, {"output_schema": ByField}):
        builder: StateGraph[Any] = chain_of(ByName, Inputs(), ("a", {"userName": "amy"}), **schemas)
        with pytest.raises(StateKeyError, check=of_kind("alias"), match="use 'user_name'"):
            await builder.compile(saver).ainvoke({}, thread_id="t")


async def test_an_unknown_key_that_is_not_an_alias_is_refused_with_the_known_keys(saver: Checkpointer) -> None:
    graph = chain_of(ByField, Inputs(), ("a", {})).compile(saver)

    with pytest.raises(StateKeyError, check=of_kind("unknown"), match="its keys: user_name") as caught:
        await graph.ainvoke({"username": "amy"}, thread_id="t")

    assert caught.value.alias_of is None


async def test_a_validation_error_names_the_field_and_not_its_alias(saver: Checkpointer) -> None:
    class Strict(pydantic.BaseModel):
        user_names: list[int] = Field(default=[], alias="userNames")

    graph = chain_of(Strict, Inputs(), ("a", {})).compile(saver)

    with pytest.raises(InvalidStateValueError, check=of_kind("model")) as caught:
        await graph.ainvoke({"user_names": [1, "amy"]}, thread_id="t")

    assert [place for place, _ in caught.value.problems] == ["user_names.1"]
    assert caught.value.key == "user_names"


def test_an_alias_that_is_the_name_of_another_field_is_refused() -> None:
    class Crossed(pydantic.BaseModel):
        first: str = Field(default="", alias="second")
        second: str = ""

    with pytest.raises(
        GraphValidationError, check=of_kind("schema"), match="'second' is the alias of 'first' and the name of another"
    ):
        StateGraph(Crossed)


def test_a_dataclass_that_only_takes_aliases_is_refused_with_the_option_to_set() -> None:
    @validated_dataclass
    class OnlyByAlias:
        user_name: str = Field(default="", alias="userName")

    with pytest.raises(
        GraphValidationError,
        check=of_kind("schema"),
        match="'user_name' can only be given by the alias 'userName'; set",
    ):
        StateGraph(OnlyByAlias)
