"""A nested graph that gets a name, or another one, finds what was recorded under the earlier name (`formerly`)."""

from typing import Any

import pytest

from durable_graph import START, Checkpointer, Command, ReplayMismatchError, StateGraph, interrupt
from tests.language.trails import THREAD, Trail

NAMES = [
    ({"name": "before"}, {"name": "now", "formerly": ["before"]}),
    ({"name": "before"}, {"name": "now", "formerly": ["older", "before"]}),
    ({}, {"name": "now"}),
]


def asking(calls: list[str], **options: Any) -> Any:
    """A graph of a node that is counted, and one that asks."""

    async def work(state: Trail) -> Trail:
        calls.append("work")
        return {"value": ["worked"]}

    async def ask(state: Trail) -> Trail:
        return {"value": [interrupt("sure?")]}

    described = StateGraph(Trail).add_node("work", work).add_node("ask", ask)
    return described.add_edge(START, "work").add_edge("work", "ask").compile(**options)


def around(inner: Any, saver: Checkpointer, *, is_node: bool) -> Any:
    async def call(state: Trail) -> Trail:
        return {"value": (await inner.ainvoke({"value": ["given"]}))["value"]}

    described = StateGraph(Trail).add_node("call", inner if is_node else call).add_edge(START, "call")
    return described.compile(saver)


@pytest.mark.parametrize(("before", "now"), NAMES, ids=["renamed", "renamed twice", "named"])
@pytest.mark.parametrize("is_node", [False, True], ids=["called", "node"])
async def test_a_run_goes_on_under_the_new_name(
    saver: Checkpointer, before: dict[str, Any], now: dict[str, Any], is_node: bool
) -> None:
    calls: list[str] = []
    await around(asking(calls, **before), saver, is_node=is_node).ainvoke({"value": []}, THREAD)

    renamed = around(asking(calls, **now), saver, is_node=is_node)
    nested = (await renamed.aget_state(THREAD, subgraphs=True)).tasks[0].state
    result = await renamed.ainvoke(Command(resume="yes"), THREAD)

    assert nested.values["value"][-1] == "worked"
    assert result["value"][-2:] == ["worked", "yes"]
    assert calls == ["work"]


@pytest.mark.parametrize("is_node", [False, True], ids=["called", "node"])
async def test_another_name_without_formerly_is_another_graph(saver: Checkpointer, is_node: bool) -> None:
    calls: list[str] = []
    await around(asking(calls, name="before"), saver, is_node=is_node).ainvoke({"value": []}, THREAD)

    with pytest.raises(ReplayMismatchError):
        await around(asking(calls, name="now"), saver, is_node=is_node).ainvoke(Command(resume="yes"), THREAD)

    assert calls == ["work"]


@pytest.mark.parametrize(("before", "now"), NAMES, ids=["renamed", "renamed twice", "named"])
async def test_a_memory_is_remembered_under_the_new_name(
    saver: Checkpointer, before: dict[str, Any], now: dict[str, Any]
) -> None:
    def remembering(**options: Any) -> Any:
        described = StateGraph(Trail).add_node("note", lambda state: {"value": [f"turn {len(state['value'])}"]})
        return described.add_edge(START, "note").compile(checkpointer=True, **options)

    first = await around(remembering(**before), saver, is_node=False).ainvoke({"value": []}, THREAD)
    second = await around(remembering(**now), saver, is_node=False).ainvoke({"value": []}, THREAD)

    assert first["value"] == ["given", "turn 1"]
    assert second["value"][2:] == ["given", "turn 1", "given", "turn 3"]
