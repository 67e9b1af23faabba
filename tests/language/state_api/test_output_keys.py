"""`output_keys` says what of the state a run gives back."""

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


async def test_a_list_of_keys_gives_back_these(saver: Checkpointer) -> None:
    assert await graph_on(saver).ainvoke({"a": "in"}, THREAD, output_keys=["a", "b"]) == {"a": "in", "b": "written"}


async def test_one_key_gives_back_its_value(saver: Checkpointer) -> None:
    assert await graph_on(saver).ainvoke({"a": "in"}, THREAD, output_keys="b") == "written"


async def test_a_question_is_given_back_beside_them(saver: Checkpointer) -> None:
    """The one key's value has no place for it, so that it comes alone."""
    graph = Nodes().chain("a", "ask?").compile(saver)

    listed = await graph.ainvoke({"log": []}, THREAD, output_keys=["log"])
    single = await graph.ainvoke(None, THREAD, output_keys="log")
    apart: GraphOutput[Any] = await graph.ainvoke(None, THREAD, output_keys="log", version="v2")

    assert (listed["log"], questions_of(listed)) == (["a"], ["ask?"])
    assert (single.keys(), questions_of(single)) == ({"__interrupt__"}, ["ask?"])
    assert (apart.value, [each.value for each in apart.interrupts]) == (["a"], ["ask?"])


async def test_what_is_left_out_is_in_the_state_all_the_same(saver: Checkpointer) -> None:
    graph = graph_on(saver)
    await graph.ainvoke({"a": "in"}, THREAD, output_keys=["a"])

    assert (await graph.aget_state(THREAD)).values == {"a": "in", "b": "written", "c": "too"}


async def test_streams_report_these_keys_only(saver: Checkpointer) -> None:
    graph = graph_on(saver)

    seen = [part async for part in graph.astream({"a": "in"}, THREAD, stream_mode="values", output_keys=["b"])]

    assert seen[-1] == {"b": "written"}


async def test_a_key_that_is_not_there_is_an_error(saver: Checkpointer) -> None:
    with pytest.raises(StateKeyError, check=of_kind("unknown"), match="'d'"):
        await graph_on(saver).ainvoke({"a": "in"}, THREAD, output_keys=["d"])
