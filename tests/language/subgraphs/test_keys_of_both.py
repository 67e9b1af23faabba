"""A graph called by a node and a graph as a node treat keys that only one of the two graphs has in the same way."""

from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, Command, CompiledGraph, RemainingSteps, StateGraph, StateKeyError
from tests.errors.kinds import of_kind


class Outer(TypedDict, total=False):
    question: str
    answer: str
    history: list[str]
    left: RemainingSteps


class Inner(TypedDict, total=False):
    question: str
    answer: str
    draft: str


def answering() -> CompiledGraph[Any]:
    async def answer(state: Inner) -> Inner:
        assert set(state) <= {"question", "answer", "draft"}
        return {"draft": "a draft", "answer": f"about {state['question']}"}

    return StateGraph(Inner).add_node(answer).add_edge(START, "answer").compile()


def around(node: Any) -> StateGraph[Any]:
    return StateGraph(Outer).add_node("node", node).add_edge(START, "node")


inner = answering()


async def hands_over(state: Any) -> Any:
    return await inner.ainvoke(state)


async def hands_over_in_a_command(state: Any) -> Any:
    return Command(update=await inner.ainvoke(state))


async def adds_to_it(state: Any) -> Any:
    return {**await inner.ainvoke({**state, "question": state["question"]}), "answer": "mine"}


@pytest.mark.parametrize("node", [inner, hands_over, hands_over_in_a_command], ids=["node", "call", "command"])
async def test_both_ways_of_nesting_read_and_write_the_same_keys(node: Any, saver: Checkpointer) -> None:
    graph = around(node).compile(saver)

    result = await graph.ainvoke({"question": "tea", "history": ["old"]}, thread_id="t")

    assert result == {"question": "tea", "answer": "about tea", "history": ["old"]}


async def test_a_node_may_return_the_output_of_the_inner_graph_with_changes(saver: Checkpointer) -> None:
    graph = around(adds_to_it).compile(saver)

    result = await graph.ainvoke({"question": "tea", "history": []}, thread_id="t")

    assert result["answer"] == "mine"


async def test_a_resumed_node_may_return_the_same_keys(saver: Checkpointer) -> None:
    failing = True

    async def fails_after_it(state: Any) -> Any:
        result = await inner.ainvoke(state)
        if failing:
            raise ConnectionError
        return result

    graph = around(fails_after_it).compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"question": "tea", "history": []}, thread_id="t")
    failing = False

    assert (await graph.ainvoke(None, thread_id="t"))["answer"] == "about tea"


Calls = Callable[[Any], Awaitable[Any]]


async def gives_an_unknown_key(state: Any) -> Any:
    return await inner.ainvoke({**state, "questoin": "coffee"})


async def returns_an_unknown_key(state: Any) -> Any:
    return {**await inner.ainvoke(state), "anwser": "about coffee"}


async def returns_an_inner_key_without_the_inner_graph(state: Any) -> Any:
    return {"draft": "a draft"}


@pytest.mark.parametrize(
    ("node", "key"),
    [
        (gives_an_unknown_key, "questoin"),
        (returns_an_unknown_key, "anwser"),
        (returns_an_inner_key_without_the_inner_graph, "draft"),
    ],
)
async def test_a_key_that_neither_graph_has_is_an_error(node: Calls, key: str, saver: Checkpointer) -> None:
    graph = around(node).compile(saver)

    with pytest.raises(StateKeyError, check=of_kind("unknown")) as raised:
        await graph.ainvoke({"question": "tea"}, thread_id="t")

    assert raised.value.key == key


async def test_a_graph_that_is_not_nested_accepts_only_its_own_keys() -> None:
    with pytest.raises(StateKeyError, check=of_kind("unknown"), match="'history'"):
        await inner.ainvoke({"question": "tea", "history": []})
