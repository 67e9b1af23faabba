"""Valid and invalid results of a node."""

import operator
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, TypedDict

import msgspec
import pydantic
import pytest

from durable_graph import Checkpointer, Command, InvalidNodeResultError, StateGraph, StateKeyError
from tests.errors.kinds import of_kind
from tests.graphs import Inputs, chain_of
from tests.language.state.conftest import Reopen


@dataclass
class Given:
    topic: str | None = None


@dataclass
class Out:
    log: list[str] | None = None


class Private(pydantic.BaseModel):
    draft: str = ""


@dataclass
class State:
    topic: str | None = None
    log: Annotated[list[str], operator.add] = field(default_factory=list)


def graph(saver: Checkpointer, result: Any) -> Any:
    async def node(state: Private) -> Any:
        return result

    builder: StateGraph[Any] = StateGraph(State, input_schema=Given, output_schema=Out)
    builder.add_node("a", node, input_schema=Private).add_edge("__start__", "a")
    return builder.compile(saver)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, {}),
        ({}, {}),
        ({"topic": "a"}, {"topic": "a"}),
        ([("topic", "a"), ("log", ["x"]), ("log", ["y"])], {"topic": "a", "log": ["x", "y"]}),
        ((("topic", "a"),), {"topic": "a"}),
        ([{"log": ["x"]}, {"log": ["y"]}], {"log": ["x", "y"]}),
        ([{"log": ["x"]}, Command(update=[("log", ["y"])])], {"log": ["x", "y"]}),
        (State("a", ["x"]), {"topic": "a", "log": ["x"]}),
        (Given("a"), {"topic": "a"}),
        (Out(["x"]), {"log": ["x"]}),
        (Private(draft="d"), {"draft": "d"}),
        (Command(update=State("a")), {"topic": "a"}),
        (Command(update=Private(draft="d")), {"draft": "d"}),
        (Command(update=[]), {}),
        (Command(), {}),
    ],
)
async def test_an_update_in_each_valid_form_is_written(
    saver: Checkpointer, result: Any, expected: dict[str, Any]
) -> None:
    compiled = graph(saver, result)
    await compiled.ainvoke({"topic": "in"}, thread_id="t")

    stored = await saver.load("t")

    assert stored is not None
    written = {row.channel for row in stored.values if row.no > 1} - {"log"} | ({"log"} if "log" in expected else set())
    assert written == expected.keys()
    values = {"topic": "in", "log": [], **expected}
    values.pop("draft", None)
    assert (await compiled.aget_state(thread_id="t")).values == values


@pytest.mark.parametrize("result", [[], "text", 3, ("topic", "a"), [("topic",)], [("topic", "a", "b")], [1], [(1, 2)]])
async def test_a_result_in_any_other_form_is_refused_with_the_valid_forms(saver: Checkpointer, result: Any) -> None:
    with pytest.raises(InvalidNodeResultError, check=of_kind("update"), match=r"\(key, value\) pairs, or None"):
        await graph(saver, result).ainvoke({"topic": "in"}, thread_id="t")


@pytest.mark.parametrize(
    "result", [{"topc": "a"}, [("topc", "a")], Command(update={"topc": "a"}), Command(update=[("topc", "a")])]
)
async def test_an_unknown_key_is_refused_with_the_known_keys(saver: Checkpointer, result: Any) -> None:
    """Reference P21."""
    with pytest.raises(StateKeyError, check=of_kind("unknown"), match=r"'topc'.*its keys: draft, log, topic") as raised:
        await graph(saver, result).ainvoke({"topic": "in"}, thread_id="t")

    assert raised.value.key == "topc"


class Mood(Enum):
    GOOD = "good"


class Item(pydantic.BaseModel):
    mood: Mood


class Page(msgspec.Struct):
    items: list[Item]


@dataclass
class Book:
    pages: dict[str, Page]
    mood: Mood


class Nested(TypedDict, total=False):
    book: Book
    anything: Any
    books: Annotated[list[Book], operator.add]


async def test_nested_values_round_trip_with_their_types(saver: Checkpointer, reopen: Reopen) -> None:
    """Reference P24."""
    book = Book({"one": Page(items=[Item(mood=Mood.GOOD)])}, Mood.GOOD)
    written = {"book": book, "anything": {"deep": [book, Mood.GOOD]}, "books": [book]}
    builder = chain_of(Nested, Inputs(), ("a", written))
    await builder.compile(saver).ainvoke({}, thread_id="t")

    values = (await builder.compile(await reopen()).aget_state(thread_id="t")).values

    assert values == written
    again = values["anything"]["deep"][0]
    assert (type(again), type(again.pages["one"]), type(again.pages["one"].items[0])) == (Book, Page, Item)
    assert again.pages["one"].items[0].mood is again.mood is Mood.GOOD


@dataclass
class Reminder:
    text: str = ""
    due: int | None = None
    log: Annotated[list[str], operator.add] | None = None


class StructReminder(msgspec.Struct):
    text: str = ""
    due: int | None = None
    log: Annotated[list[str], operator.add] | None = None


@pytest.mark.parametrize("state", [Reminder, StructReminder])
@pytest.mark.parametrize("from_the_input", [False, True])
async def test_an_instance_replaces_a_value_with_none(state: Any, from_the_input: bool, saver: Checkpointer) -> None:
    """A None that is the default of its key is written only if the key has a value."""

    def postpone(given: Any) -> Any:
        return None if from_the_input else state(text=given.text)

    compiled = chain_of(state, Inputs(), ("postpone", postpone)).compile(saver)

    config: Any = {"configurable": {"thread_id": "t"}}
    result = await compiled.ainvoke({"text": "tea", "due": 3, "log": ["a"]}, config)
    if from_the_input:
        assert result == {"text": "tea", "due": 3, "log": ["a"]}
        result = await compiled.ainvoke(state(text="tea"), config)
    assert result == {"text": "tea", "due": None, "log": ["a"]}
    other: Any = {"configurable": {"thread_id": "other"}}
    assert await compiled.ainvoke(state(text="tea"), other) == {"text": "tea"}
