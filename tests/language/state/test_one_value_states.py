"""A state that is a single value: nodes receive and return this value, and so does a run."""

import operator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    Durability,
    GraphValidationError,
    Overwrite,
    Send,
    StateGraph,
    add_messages,
    interrupt,
)
from tests.errors.kinds import of_kind
from tests.graphs import Inputs, OnceError, chain_of, fails_once, fan_out_of
from tests.language.state.conftest import Reopen

Log: Any = Annotated[list[str], operator.add]
CONFIG = {"configurable": {"thread_id": "t"}}


@dataclass
class Draft:
    text: str


@pytest.mark.parametrize(
    ("schema", "given", "result", "expected"),
    [
        (int, 1, lambda value: value + 1, 2),
        (str, "a", lambda value: value + "b", "ab"),
        (list, [1], lambda value: [*value, 2], [1, 2]),
        (dict[str, int], {"a": 1}, lambda value: {**value, "b": 2}, {"a": 1, "b": 2}),
        (int | None, 3, lambda value: value * 2, 6),
        (Any, ("a", 1), lambda value: value[::-1], (1, "a")),
        (Annotated[Draft, "as a whole", lambda old, new: new], Draft("a"), Draft("b"), Draft("b")),
        (Log, ["a"], ["b"], ["a", "b"]),
        (Log, ["a"], Overwrite(["b"]), ["b"]),
        (Annotated[list[dict[str, str]], add_messages], {"id": "a"}, {"id": "b"}, [{"id": "a"}, {"id": "b"}]),
    ],
)
async def test_a_node_receives_the_value_and_returns_it(
    saver: Checkpointer, reopen: Reopen, durability: Durability, schema: Any, given: Any, result: Any, expected: Any
) -> None:
    graph = chain_of(schema, Inputs(), ("a", result))

    assert await graph.compile(saver).ainvoke(given, thread_id="t", durability=durability) == expected
    assert (await graph.compile(await reopen()).aget_state(CONFIG)).values == expected


async def test_a_node_that_returns_none_writes_nothing(saver: Checkpointer) -> None:
    assert await chain_of(Log, Inputs(), ("a", None)).compile(saver).ainvoke(["in"], thread_id="t") == ["in"]


async def test_the_writes_of_one_superstep_are_merged(saver: Checkpointer, durability: Durability) -> None:
    seen = Inputs()
    graph = fan_out_of(Log, seen, ("a", ["a"]), ("b", ["b"]), then=("end", ["end"])).compile(saver)

    result = await graph.ainvoke(["in"], thread_id="t", durability=durability)

    assert (result, seen.of("end")) == (["in", "a", "b", "end"], [["in", "a", "b"]])


async def test_a_single_value_state_is_restored_in_another_process(
    saver: Checkpointer, reopen: Reopen, durability: Durability
) -> None:
    graph = chain_of(Log, Inputs(), ("a", ["a"]), ("b", fails_once(["b"])))
    with pytest.raises(OnceError):
        await graph.compile(saver).ainvoke(["in"], thread_id="t", durability=durability)

    assert await graph.compile(await reopen()).ainvoke(None, thread_id="t") == ["in", "a", "b"]


async def test_a_graph_with_a_single_value_state_is_interrupted_and_resumed(saver: Checkpointer) -> None:
    graph = chain_of(Log, Inputs(), ("a", lambda _: [interrupt("?")])).compile(saver)

    asked = await graph.ainvoke(["in"], thread_id="t")
    answered = await graph.ainvoke(Command(resume="yes"), thread_id="t")

    assert [each.value for each in asked["__interrupt__"]] == ["?"]
    assert answered == ["in", "yes"]


async def test_routers_sends_commands_and_edits_use_the_single_value(saver: Checkpointer) -> None:
    async def work(item: str) -> list[str]:
        return [item.upper()]

    async def ends(state: Any) -> Command[Any]:
        return Command(update=["end"], goto=END)

    builder: StateGraph[Any] = StateGraph(Log)
    builder.add_node("work", work).add_node("ends", ends)
    builder.add_conditional_edges(START, lambda value: [Send("work", item) for item in value], ["work"])
    builder.add_edge("work", "ends")
    graph = builder.compile(saver)

    assert await graph.ainvoke(["a", "b"], thread_id="t") == ["a", "b", "A", "B", "end"]
    await graph.aupdate_state(CONFIG, ["edited"], as_node="ends")
    assert (await graph.aget_state(CONFIG)).values[-1] == "edited"
    assert await graph.ainvoke(Command(update=["in"], goto="ends"), thread_id="t") == [
        "a", "b", "A", "B", "end", "edited", "in", "end",
    ]  # fmt: skip


async def test_the_value_is_streamed(saver: Checkpointer) -> None:
    graph = chain_of(Log, Inputs(), ("a", ["a"])).compile(saver)

    assert [part async for part in graph.astream(["in"], thread_id="t", stream_mode="values")] == [["in"], ["in", "a"]]


async def test_a_graph_with_a_single_value_state_is_a_node_of_another(saver: Checkpointer) -> None:
    inner = chain_of(dict, Inputs(), ("a", lambda value: {**value, "inner": 1})).compile()
    outer: StateGraph[Any] = StateGraph(dict)
    outer.add_node("sub", inner).add_edge(START, "sub")

    assert await outer.compile(saver).ainvoke({"in": 0}, thread_id="t") == {"in": 0, "inner": 1}


async def test_the_input_schema_of_a_node_may_have_keys(saver: Checkpointer) -> None:
    """A node with such an input schema gets the keys of a Send."""

    class Item(TypedDict):
        name: str

    async def work(item: Item) -> list[str]:
        return [item["name"]]

    builder: StateGraph[Any] = StateGraph(Log)
    builder.add_node("work", work, input_schema=Item)
    builder.add_conditional_edges(START, lambda value: [Send("work", {"name": "sent"})], ["work"])

    assert await builder.compile(saver).ainvoke([], thread_id="t") == ["sent"]


class Keys(TypedDict):
    topic: str


@pytest.mark.parametrize(("state", "own"), [(Log, Keys), (Keys, Log)])
@pytest.mark.parametrize("option", ["input_schema", "output_schema"])
def test_a_single_value_and_keys_cannot_be_mixed_in_state_input_and_output(state: Any, own: Any, option: str) -> None:
    with pytest.raises(GraphValidationError, check=of_kind("graph"), match=r"is one value and Keys has keys"):
        chain_of(state, Inputs(), ("a", None), **{option: own}).compile()


def test_a_state_class_that_cannot_be_stored_is_refused_at_compile_time() -> None:
    class Handle:
        """A class whose instances cannot be stored."""

    with pytest.raises(
        GraphValidationError, check=of_kind("graph"), match=r"channel '__root__': .*Handle cannot be stored"
    ):
        chain_of(Handle, Inputs(), ("a", None)).compile()
