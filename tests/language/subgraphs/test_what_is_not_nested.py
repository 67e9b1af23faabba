"""A call inside a node is part of the outer run and refuses options of a separate run, unless it has its own saver."""

from collections.abc import Callable
from typing import Any

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    InvalidOptionError,
    InvalidUpdateError,
    MemorySaver,
    StateGraph,
)
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, Nodes, State, history


def _calling(call: Callable[[], Any]) -> StateGraph[State]:
    async def node(state: State) -> State:
        found = await call()
        return {"log": found["log"]}

    builder = StateGraph(State)
    builder.add_node("call", node)
    builder.add_edge(START, "call")
    return builder


@pytest.fixture
def inner() -> StateGraph[State]:
    """A graph of one node."""
    return Nodes().chain("inner")


async def test_a_nested_graph_cannot_name_another_thread(saver: Checkpointer, inner: StateGraph[State]) -> None:
    graph = inner.compile()
    outer = _calling(lambda: graph.ainvoke({}, thread_id="u")).compile(saver)

    with pytest.raises(
        InvalidOptionError, check=of_kind("contradiction"), match="thread_id is 'u' as keyword and 't' in the config"
    ):
        await outer.ainvoke({}, THREAD)
    assert await saver.load("u") is None


async def test_a_nested_graph_may_name_the_thread_of_its_run(saver: Checkpointer, inner: StateGraph[State]) -> None:
    graph = inner.compile()

    result = await _calling(lambda: graph.ainvoke({}, THREAD)).compile(saver).ainvoke({}, THREAD)

    assert result == {"log": ["inner"]}


async def test_a_nested_graph_cannot_be_called_with_an_answer(saver: Checkpointer, inner: StateGraph[State]) -> None:
    graph = inner.compile()
    outer = _calling(lambda: graph.ainvoke(Command(resume="yes"))).compile(saver)

    with pytest.raises(InvalidUpdateError, match="resume the run that it is a part of"):
        await outer.ainvoke({}, THREAD)


async def test_a_graph_with_its_own_saver_runs_a_separate_thread(saver: Checkpointer, inner: StateGraph[State]) -> None:
    own = MemorySaver()
    graph = inner.compile(own)
    outer = _calling(lambda: graph.ainvoke({"log": ["given"]}, thread_id="u")).compile(saver)

    result = await outer.ainvoke({}, THREAD)

    assert result == {"log": ["given", "inner"]}
    assert (await graph.aget_state(thread_id="u")).values == result
    assert len(await history(outer)) == 2
