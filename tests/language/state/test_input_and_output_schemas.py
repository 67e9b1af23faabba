"""`input_schema` and `output_schema`: the keys of the input and the keys of the result."""

import operator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pydantic
import pytest

from durable_graph import (
    Checkpointer,
    Durability,
    GraphValidationError,
    InvalidInputError,
    StateKeyError,
    Topic,
)
from tests.errors.kinds import of_kind
from tests.graphs import Inputs, chain_of


class State(TypedDict, total=False):
    question: str
    answer: str
    log: Annotated[list[str], operator.add]


class Question(TypedDict):
    question: str


class Answer(TypedDict, total=False):
    answer: str
    confidence: float


@dataclass
class AsDataclass:
    question: str


class AsModel(pydantic.BaseModel):
    question: str


async def test_the_result_has_the_keys_of_the_output_schema(saver: Checkpointer, durability: Durability) -> None:
    nodes = ("a", {"answer": "42", "log": ["a"]}), ("b", {"confidence": 0.9})
    graph = chain_of(State, Inputs(), *nodes, input_schema=Question, output_schema=Answer).compile(saver)

    result = await graph.ainvoke({"question": "?"}, thread_id="t", durability=durability)

    assert result == {"answer": "42", "confidence": 0.9}


async def test_a_snapshot_has_all_keys_and_not_only_those_of_the_output_schema(saver: Checkpointer) -> None:
    graph = chain_of(State, Inputs(), ("a", {"answer": "42"}), input_schema=Question, output_schema=Answer).compile(
        saver
    )
    await graph.ainvoke({"question": "?"}, thread_id="t")

    assert (await graph.aget_state(thread_id="t")).values == {"question": "?", "answer": "42", "log": []}


@pytest.mark.parametrize("schema", [Question, AsDataclass, AsModel])
async def test_an_input_has_the_keys_of_its_schema_and_no_others(saver: Checkpointer, schema: Any) -> None:
    seen = Inputs()
    graph = chain_of(State, seen, ("a", {}), input_schema=schema).compile(saver)
    instance = {"question": "?"} if schema is Question else schema(question="?")

    await graph.ainvoke(instance, thread_id="t")
    with pytest.raises(
        StateKeyError,
        check=of_kind("unknown"),
        match=f"the input has the key 'answer', which {schema.__name__} does not",
    ):
        await graph.ainvoke({"answer": "42"}, thread_id="t")

    assert seen.of("a") == [{"question": "?", "log": []}]


async def test_an_input_that_is_not_an_instance_is_refused_with_the_name_of_the_schema(saver: Checkpointer) -> None:
    graph = chain_of(State, Inputs(), ("a", {}), input_schema=AsDataclass).compile(saver)

    with pytest.raises(InvalidInputError, match="a dict of AsDataclass's keys, or an instance of it"):
        await graph.ainvoke("?", thread_id="t")


async def test_an_output_class_is_built_from_the_values_of_the_state_and_its_own_defaults(saver: Checkpointer) -> None:
    @dataclass
    class Out:
        answer: str
        confidence: float = 0.5

    graph = chain_of(State, Inputs(), ("a", {"answer": "42"}), output_schema=Out).compile(saver)

    assert (await graph.ainvoke({}, thread_id="t", version="v2")).value == Out("42", 0.5)
    assert await graph.ainvoke({}, thread_id="u") == {"answer": "42"}


async def test_keys_that_only_the_input_schema_has_are_channels_with_the_rules_of_that_schema(
    saver: Checkpointer,
) -> None:
    class Extra(TypedDict, total=False):
        question: str
        hints: Annotated[list[str], Topic(accumulate=True)]

    async def reads(state: Extra) -> dict[str, Any]:
        return {"answer": " ".join(state["hints"]), "hints": "more"}

    builder = chain_of(State, Inputs(), input_schema=Extra)
    builder.add_node("a", reads, input_schema=Extra).add_edge("__start__", "a")
    graph = builder.compile(saver)

    assert (await graph.ainvoke({"hints": ["a", "b"]}, thread_id="t"))["answer"] == "a b"
    assert (await graph.aget_state(thread_id="t")).values["hints"] == ["a", "b", "more"]


@pytest.mark.parametrize("option", ["input_schema", "output_schema"])
def test_schemas_that_declare_different_types_or_rules_for_one_key_are_refused(option: str) -> None:
    what = option.removesuffix("_schema")

    class OtherType(TypedDict):
        question: int

    class OtherRule(TypedDict):
        log: Annotated[list[str], Topic]

    class Fewer(TypedDict):
        log: list[str]

    for own, key in ((OtherType, "question"), (OtherRule, "log")):
        with pytest.raises(
            GraphValidationError, match=rf"the graph's {what}: \w+\.{key} does not agree with State\.{key}"
        ):
            chain_of(State, Inputs(), ("a", {}), **{option: own}).compile()
    assert (
        chain_of(State, Inputs(), ("a", {}), **{option: Fewer}).compile().topology.channels.keys()
        == State.__annotations__.keys()
    )


async def test_keys_that_the_output_schema_does_not_have_are_not_returned(saver: Checkpointer) -> None:
    graph = chain_of(State, Inputs(), ("a", {"answer": "42", "log": ["a"]}), output_schema=Answer).compile(saver)

    shown = await graph.ainvoke({"question": "?"}, thread_id="t")

    assert shown == {"answer": "42"}
