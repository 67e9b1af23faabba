"""The input class of a `Send` target, a node, a router or an error handler may declare its own type for a key."""

import dataclasses
import operator
from typing import Annotated, Any, TypedDict

import msgspec
import pydantic
import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    GraphValidationError,
    LastValue,
    NodeError,
    Send,
    StateGraph,
    UnstorableValueError,
    interrupt,
)
from tests.errors.kinds import of_kind
from tests.language.state.conftest import Reopen


class State(TypedDict, total=False):
    query: Annotated[list[str], operator.add]
    found: Annotated[list[str], operator.add]


class AsTypedDict(TypedDict):
    query: str


@dataclasses.dataclass
class AsDataclass:
    query: str


class AsStruct(msgspec.Struct):
    query: str


class AsModel(pydantic.BaseModel):
    query: str


def text_of(one: Any) -> str:
    return str(one["query"] if isinstance(one, dict) else one.query)


def searching(cls: Any) -> StateGraph[Any]:
    """A graph whose node `plan` sends two queries to the node `search`, which interrupts before it returns."""

    async def search(one: Any) -> dict[str, Any]:
        return {"found": [interrupt(text_of(one))]}

    search.__annotations__["one"] = cls
    builder = StateGraph(State).add_node("plan", lambda state: {"query": ["a", "b"]}).add_node("search", search)
    return builder.add_edge(START, "plan").add_conditional_edges(
        "plan", lambda state: [Send("search", cls(query=each)) for each in state["query"]], ["search"]
    )


@pytest.mark.parametrize("cls", [AsTypedDict, AsDataclass, AsStruct, AsModel])
async def test_a_send_target_may_declare_its_own_type_for_a_key_also_in_another_process(
    saver: Checkpointer, reopen: Reopen, cls: Any
) -> None:
    asked = await searching(cls).compile(saver).ainvoke({}, thread_id="t")
    answers = {question.id: question.value.upper() for question in asked["__interrupt__"]}
    result = await searching(cls).compile(await reopen()).ainvoke(Command(resume=answers), thread_id="t")

    assert result == {"query": ["a", "b"], "found": ["A", "B"]}


async def test_a_node_a_router_and_an_error_handler_may_declare_their_own_types_for_a_key(saver: Checkpointer) -> None:
    class Wide(TypedDict):
        query: object

    class Narrow(TypedDict):
        query: str

    seen: list[Any] = []

    async def node(given: Wide) -> dict[str, Any]:
        seen.append(("node", given["query"]))
        raise ValueError

    async def handler(given: Narrow, error: NodeError) -> dict[str, Any]:
        seen.append(("handler", given["query"]))
        return {"query": ["handled"]}

    def router(given: Wide) -> str:
        seen.append(("router", given["query"]))
        return "node"

    builder: StateGraph[Any] = StateGraph(State).add_node("node", node, error_handler=handler, input_schema=Wide)
    builder.add_conditional_edges(START, router, ["node"])

    assert (await builder.compile(saver).ainvoke({"query": ["a"]}, thread_id="t"))["query"] == ["a", "handled"]
    assert seen == [("router", ["a"]), ("node", ["a"]), ("handler", ["a"])]


class Item(TypedDict):
    item: str


class Number(TypedDict):
    item: int


async def test_a_key_that_only_input_classes_declare_takes_values_of_all_their_types(saver: Checkpointer) -> None:
    async def text(given: Item) -> dict[str, Any]:
        return {"item": given["item"] + "!"}

    async def number(given: Number) -> dict[str, Any]:
        return {"found": [str(given["item"] + 1)]}

    async def wrong(given: Number) -> dict[str, Any]:
        return {"item": 1.5}

    builder: StateGraph[Any] = StateGraph(State)
    builder.add_node("text", text).add_node("number", number).add_node("wrong", wrong)
    builder.add_conditional_edges(START, lambda state: [Send("text", {"item": "a"}), Send("number", {"item": 1})])
    graph = builder.compile(saver)

    assert graph.topology.channels["item"] == LastValue(str | int)
    assert (await graph.ainvoke({}, thread_id="t"))["found"] == ["2"]
    assert (await graph.aget_state(thread_id="t")).values == {"query": [], "found": ["2"]}
    broken = builder.add_edge("number", "wrong").compile(saver)
    with pytest.raises(UnstorableValueError, match="channel 'item'"):
        await broken.ainvoke({}, thread_id="other")


def test_an_input_class_that_declares_another_reducer_for_a_key_is_refused() -> None:
    class Merged(TypedDict):
        query: Annotated[str, operator.concat]

    async def node(given: Merged) -> None:
        """Write nothing."""

    with pytest.raises(
        GraphValidationError, check=of_kind("graph"), match=r"Merged\.query does not agree with State\.query"
    ):
        StateGraph(State).add_node("node", node, input_schema=Merged).add_edge(START, "node").compile()
