"""Stored values above `max_value_bytes` are refused before they are decoded, and readable under a larger limit."""

import operator
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    Send,
    StateGraph,
    ValueTooLargeError,
    interrupt,
    task,
)
from tests.savers import saver_of

LARGE = "x" * 20_000
LIMIT = 10_000


class State(TypedDict, total=False):
    text: str
    log: Annotated[list[str], operator.add]


async def ask(state: Any) -> Any:
    return {"text": interrupt("which?")}


async def whole(state: Any) -> Any:
    return {"text": LARGE}


async def added(state: Any) -> Any:
    return {"log": [LARGE]}


async def asking(state: Any) -> Any:
    return {"text": interrupt(LARGE)}


async def quiet(state: Any) -> Any:
    return {}


def chain(saver: Checkpointer, first: Any) -> CompiledGraph[Any]:
    builder = StateGraph(State).add_node("first", first).add_node("ask", ask)
    return builder.add_edge(START, "first").add_edge("first", "ask").compile(saver)


def beside(saver: Checkpointer, other: Any) -> CompiledGraph[Any]:
    """`other` is recorded as a task's result, while its sibling waits."""
    builder = StateGraph(State).add_node("other", other).add_node("ask", ask)
    return builder.add_edge(START, "other").add_edge(START, "ask").compile(saver)


def sent(saver: Checkpointer) -> CompiledGraph[Any]:
    builder = StateGraph(State).add_node("ask", ask).add_node("first", quiet).add_edge(START, "first")
    return builder.add_conditional_edges("first", lambda _: [Send("ask", LARGE)], ["ask"]).compile(saver)


GRAPHS: dict[str, tuple[Callable[[Checkpointer], CompiledGraph[Any]], str]] = {
    "a value": (lambda saver: chain(saver, whole), "channel 'text'"),
    "an update": (lambda saver: chain(saver, added), "channel 'log'"),
    "a result's value": (lambda saver: beside(saver, whole), "channel 'text'"),
    "a result's update": (lambda saver: beside(saver, added), "channel 'log'"),
    "an interrupt": (lambda saver: beside(saver, asking), "the value of an interrupt"),
    "the argument of a Send": (sent, "the argument of a Send"),
}
NEWEST: Any = {"configurable": {"thread_id": "t"}}


async def history(graph: CompiledGraph[Any]) -> object:
    return [snapshot async for snapshot in graph.aget_state_history(NEWEST)]


CALLS: list[Callable[[CompiledGraph[Any]], Awaitable[object]]] = [
    lambda graph: graph.aget_state(NEWEST),
    history,
    lambda graph: graph.ainvoke(None, NEWEST),
    lambda graph: graph.aupdate_state(NEWEST, {"log": ["by hand"]}),
]


@pytest.mark.parametrize(("compiled", "where"), GRAPHS.values(), ids=GRAPHS)
async def test_stored_values_above_the_limit_are_refused(
    saver: Checkpointer, compiled: Callable[[Checkpointer], CompiledGraph[Any]], where: str
) -> None:
    graph = compiled(saver)
    await graph.ainvoke({}, thread_id="t")
    found = await graph.aget_state(thread_id="t")
    before, saver.max_value_bytes = saver.max_value_bytes, LIMIT

    for call in CALLS:
        with pytest.raises(ValueTooLargeError, match="open the checkpointer with a max_value_bytes") as caught:
            await call(graph)
        assert caught.value.is_stored
        assert caught.value.channel == where
        assert caught.value.size > LIMIT == caught.value.limit
        assert len(str(caught.value)) < 400

    saver.max_value_bytes = before
    assert await graph.aget_state(thread_id="t") == found


async def test_updates_whose_total_is_above_the_limit_are_read(saver: Checkpointer) -> None:
    saver.max_value_bytes = LIMIT

    async def part(number: Any) -> Any:
        return {"log": [f"{number:0{LIMIT // 2}}"]}

    builder = StateGraph(State).add_node("part", part)
    builder.add_conditional_edges(START, lambda _: [Send("part", n) for n in range(8)], ["part"])
    graph = builder.compile(saver)
    result = await graph.ainvoke({}, thread_id="t")

    assert (await graph.aget_state(thread_id="t")).values == result
    assert len(result["log"]) == 8


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_database_does_not_return_a_value_above_the_limit(kind: str, tmp_path: Path, postgres: str) -> None:
    async with saver_of(kind, tmp_path, postgres) as saver:
        await chain(saver, whole).ainvoke({}, thread_id="t")
        saver.max_value_bytes = LIMIT

        with pytest.raises(ValueTooLargeError) as caught:
            await saver.load("t")
        assert caught.value.is_stored
        assert caught.value.size > LIMIT

        saver.max_value_bytes = 1 << 40
        assert await saver.load("t") is not None


# Results of tasks


@task
async def fetch(size: int) -> str:
    return "x" * size


def fetching(saver: Checkpointer) -> CompiledGraph[Any]:
    async def node(state: State) -> Any:
        return {"log": [str(len(await fetch(len(LARGE)))), interrupt("which?")]}

    return StateGraph(State).add_node("node", node).add_edge(START, "node").compile(saver)


async def test_the_result_of_a_task_above_the_limit_is_not_recorded(saver: Checkpointer) -> None:
    saver.max_value_bytes = LIMIT
    with pytest.raises(ValueTooLargeError, match="the result of task 'fetch'") as caught:
        await fetching(saver).ainvoke({}, thread_id="t")
    assert not caught.value.is_stored


async def test_a_recorded_result_above_the_limit_is_not_decoded(saver: Checkpointer) -> None:
    graph = fetching(saver)
    await graph.ainvoke({}, thread_id="t")
    before, saver.max_value_bytes = saver.max_value_bytes, LIMIT

    with pytest.raises(ValueTooLargeError, match="the result of task 'fetch'") as caught:
        await graph.ainvoke(Command(resume="a"), thread_id="t")
    assert caught.value.is_stored

    saver.max_value_bytes = before
    assert await graph.ainvoke(None, thread_id="t") == {"log": [str(len(LARGE)), "a"]}


# Texts of errors


async def failing(state: State) -> Any:
    message = "x" * 5_000_000
    raise ValueError(message)


async def test_the_text_of_an_error_is_stored_up_to_a_limit(saver: Checkpointer) -> None:
    graph = beside(saver, failing)
    with pytest.raises(ValueError, match="xxx"):
        await graph.ainvoke({}, thread_id="t")

    task, _ = sorted((await graph.aget_state(thread_id="t")).tasks, key=lambda task: task.name != "other")

    assert task.error is not None
    assert task.error.startswith("ValueError('xxx")
    assert task.error.endswith("... (5000014 characters)")
    assert len(task.error) < 10_100
