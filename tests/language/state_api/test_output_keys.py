"""`output_keys`: the keys of the state that a run returns."""

from typing import Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, GraphOutput, StateGraph, StateKeyError
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, Nodes, questions_of


class State(TypedDict, total=False):
    a: str
    b: str
    c: str


def graph_on(saver: Checkpointer) -> Any:
    async def node(state: State) -> State:
        return {"b": "written", "c": "too"}

    return StateGraph(State).add_node("node", node).add_edge(START, "node").compile(saver)


async def test_a_list_of_keys_returns_a_dict_of_these_keys(saver: Checkpointer) -> None:
    assert await graph_on(saver).ainvoke({"a": "in"}, THREAD, output_keys=["a", "b"]) == {"a": "in", "b": "written"}


async def test_a_single_key_returns_its_value(saver: Checkpointer) -> None:
    assert await graph_on(saver).ainvoke({"a": "in"}, THREAD, output_keys="b") == "written"


async def test_an_interrupt_is_returned_together_with_the_output_keys(saver: Checkpointer) -> None:
    """The value of a single key has no place for an interrupt, so that the interrupt is returned alone."""
    graph = Nodes().chain("a", "ask?").compile(saver)

    listed = await graph.ainvoke({"log": []}, THREAD, output_keys=["log"])
    single = await graph.ainvoke(None, THREAD, output_keys="log")
    apart: GraphOutput[Any] = await graph.ainvoke(None, THREAD, output_keys="log", version="v2")

    assert (listed["log"], questions_of(listed)) == (["a"], ["ask?"])
    assert (single.keys(), questions_of(single)) == ({"__interrupt__"}, ["ask?"])
    assert (apart.value, [each.value for each in apart.interrupts]) == (["a"], ["ask?"])


async def test_keys_that_are_not_returned_are_stored(saver: Checkpointer) -> None:
    graph = graph_on(saver)
    await graph.ainvoke({"a": "in"}, THREAD, output_keys=["a"])

    assert (await graph.aget_state(THREAD)).values == {"a": "in", "b": "written", "c": "too"}


async def test_streamed_values_have_the_output_keys_only(saver: Checkpointer) -> None:
    graph = graph_on(saver)

    seen = [part async for part in graph.astream({"a": "in"}, THREAD, stream_mode="values", output_keys=["b"])]

    assert seen[-1] == {"b": "written"}


async def test_an_unknown_output_key_is_an_error(saver: Checkpointer) -> None:
    with pytest.raises(StateKeyError, check=of_kind("unknown"), match="'d'"):
        await graph_on(saver).ainvoke({"a": "in"}, THREAD, output_keys=["d"])
