"""A nested graph that gets a first or another name finds the records of its earlier name (`formerly`)."""

from typing import Any

import pytest

from durable_graph import START, Checkpointer, Command, ReplayMismatchError, StateGraph, interrupt
from tests.graphs import THREAD, State

NAMES = [
    ({"name": "before"}, {"name": "now", "formerly": ["before"]}),
    ({"name": "before"}, {"name": "now", "formerly": ["older", "before"]}),
    ({}, {"name": "now"}),
]


def asking(calls: list[str], **options: Any) -> Any:
    """A graph of a node whose calls are counted and a node that interrupts."""

    async def work(state: State) -> State:
        calls.append("work")
        return {"log": ["worked"]}

    async def ask(state: State) -> State:
        return {"log": [interrupt("sure?")]}

    described = StateGraph(State).add_node("work", work).add_node("ask", ask)
    return described.add_edge(START, "work").add_edge("work", "ask").compile(**options)


def around(inner: Any, saver: Checkpointer, *, is_node: bool) -> Any:
    async def call(state: State) -> State:
        return {"log": (await inner.ainvoke({"log": ["given"]}))["log"]}

    described = StateGraph(State).add_node("call", inner if is_node else call).add_edge(START, "call")
    return described.compile(saver)


@pytest.mark.parametrize(("before", "now"), NAMES, ids=["renamed", "renamed twice", "named"])
@pytest.mark.parametrize("is_node", [False, True], ids=["called", "node"])
async def test_a_run_continues_under_the_new_name(
    saver: Checkpointer, before: dict[str, Any], now: dict[str, Any], is_node: bool
) -> None:
    calls: list[str] = []
    await around(asking(calls, **before), saver, is_node=is_node).ainvoke({"log": []}, THREAD)

    renamed = around(asking(calls, **now), saver, is_node=is_node)
    nested = (await renamed.aget_state(THREAD, subgraphs=True)).tasks[0].state
    result = await renamed.ainvoke(Command(resume="yes"), THREAD)

    assert nested.values["log"][-1] == "worked"
    assert result["log"][-2:] == ["worked", "yes"]
    assert calls == ["work"]


@pytest.mark.parametrize("is_node", [False, True], ids=["called", "node"])
async def test_a_renamed_graph_without_formerly_is_a_mismatch(saver: Checkpointer, is_node: bool) -> None:
    calls: list[str] = []
    await around(asking(calls, name="before"), saver, is_node=is_node).ainvoke({"log": []}, THREAD)

    with pytest.raises(ReplayMismatchError):
        await around(asking(calls, name="now"), saver, is_node=is_node).ainvoke(Command(resume="yes"), THREAD)

    assert calls == ["work"]


@pytest.mark.parametrize(("before", "now"), NAMES, ids=["renamed", "renamed twice", "named"])
async def test_a_memory_is_found_under_the_new_name(
    saver: Checkpointer, before: dict[str, Any], now: dict[str, Any]
) -> None:
    def remembering(**options: Any) -> Any:
        described = StateGraph(State).add_node("note", lambda state: {"log": [f"turn {len(state['log'])}"]})
        return described.add_edge(START, "note").compile(checkpointer=True, **options)

    first = await around(remembering(**before), saver, is_node=False).ainvoke({"log": []}, THREAD)
    second = await around(remembering(**now), saver, is_node=False).ainvoke({"log": []}, THREAD)

    assert first["log"] == ["given", "turn 1"]
    assert second["log"][2:] == ["given", "turn 1", "given", "turn 3"]
