"""`checkpointer=False` persists nothing; True needs an outer graph; a graph with its own saver has its own store."""

import asyncio
from typing import Any

import pytest

from durable_graph import (
    Checkpointer,
    Command,
    DurableGraphError,
    MemorySaver,
    MissingCheckpointerError,
)
from tests.graphs import THREAD, Nodes, State, history, questions_of


def calling(inner: Any, saver: Checkpointer | None, calls: Nodes, seen: list[list[str]]) -> Any:
    async def call(state: State) -> State:
        seen.append((await inner.ainvoke({"log": ["in"]}))["log"])
        return {}

    return calls.chain(("call", call)).compile(saver)


async def test_a_graph_with_checkpointer_false_starts_over_and_stores_nothing(saver: Checkpointer) -> None:
    calls, seen = Nodes(), list[list[str]]()
    graph = calling(calls.chain("x").compile(checkpointer=False), saver, calls, seen)

    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)

    assert seen == [["in", "x"], ["in", "x"]]
    (finished, began) = (await history(graph))[:2]
    assert began.tasks[0].state is None
    assert finished.values == {"log": []}


async def test_a_graph_with_checkpointer_false_runs_from_its_start_when_its_node_runs_again(
    saver: Checkpointer,
) -> None:
    calls = Nodes()
    inner = calls.chain("x").compile(checkpointer=False)
    is_failing = True

    async def call(state: State) -> State:
        await inner.ainvoke({"log": []})
        if is_failing:
            raise ConnectionError
        return {}

    graph = calls.chain(("call", call)).compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD)
    is_failing = False
    await graph.ainvoke(None, THREAD)

    assert calls.taken() == ["x", "x"]


async def test_a_graph_with_checkpointer_false_starts_over_after_an_answer(saver: Checkpointer) -> None:
    """The outer task keeps the interrupt. The nested writes before the interrupt are not kept."""
    calls, seen = Nodes(), list[list[str]]()
    graph = calling(calls.chain("x", "ask?").compile(checkpointer=False), saver, calls, seen)

    assert questions_of(await graph.ainvoke({"log": []}, THREAD)) == ["ask?"]
    await graph.ainvoke(Command(resume="yes"), THREAD)

    assert seen == [["in", "x", "ask=yes"]]
    assert calls.taken() == ["x", "ask", "x", "ask"]


async def test_a_graph_with_checkpointer_false_may_have_concurrent_runs(saver: Checkpointer) -> None:
    calls = Nodes()
    inner = calls.chain("x").compile(checkpointer=False)

    async def call(state: State) -> State:
        results = await asyncio.gather(*(inner.ainvoke({"log": [f"{n}"]}) for n in range(3)))
        return {"log": [mark for each in results for mark in each["log"]]}

    graph = calls.chain(("call", call)).compile(saver)

    assert await graph.ainvoke({"log": []}, THREAD) == {"log": ["0", "x", "1", "x", "2", "x"]}


async def test_a_graph_with_checkpointer_false_runs_without_a_thread() -> None:
    graph = Nodes().chain("x").compile(checkpointer=False)

    assert await graph.ainvoke({"log": []}) == {"log": ["x"]}


async def test_a_graph_with_checkpointer_true_needs_an_outer_graph() -> None:
    graph = Nodes().chain("x").compile(checkpointer=True)

    with pytest.raises(MissingCheckpointerError, match="checkpointer=True"):
        await graph.ainvoke({"log": []}, THREAD)


async def test_a_memory_lasts_for_one_call_without_an_outer_checkpointer() -> None:
    calls, seen = Nodes(), list[list[str]]()
    graph = calling(calls.chain("x").compile(checkpointer=True), None, calls, seen)

    for _ in range(2):
        await graph.ainvoke({"log": []})

    assert seen == [["in", "x"], ["in", "x"]]


async def test_a_graph_called_with_its_own_thread_is_not_nested(saver: Checkpointer) -> None:
    calls = Nodes()
    child = calls.chain("x").compile(saver)
    own = {"configurable": {"thread_id": "own"}}

    async def call(state: State) -> State:
        await child.ainvoke({"log": []}, own)
        return {"log": ["called"]}

    parent = calls.chain(("call", call)).compile(saver)
    for turn in (1, 2):
        await parent.ainvoke({"log": []}, THREAD)
        state = await child.aget_state(own)
        assert state.values == {"log": ["x"] * turn}
        assert state.config["configurable"]["checkpoint_ns"] == ""


async def test_a_graph_with_its_own_saver_stores_its_threads_there(saver: Checkpointer) -> None:
    calls = Nodes()
    async with MemorySaver() as its_own:
        child = calls.chain("x").compile(its_own)

        async def call(state: State) -> State:
            await child.ainvoke({"log": []}, thread_id="own")
            return {}

        parent = calls.chain(("call", call)).compile(saver)
        await parent.ainvoke({"log": []}, THREAD)

        assert (await child.aget_state(thread_id="own")).values == {"log": ["x"]}
        assert await history(calls.chain("x").compile(saver), {"configurable": {"thread_id": "own"}}) == []


async def test_nested_graphs_without_a_checkpointer_run_but_cannot_interrupt() -> None:
    calls = Nodes()
    graph = calls.chain("a", ("inner", calls.chain("x").compile())).compile()
    asking = calls.chain(("inner", calls.chain("ask?").compile())).compile()

    assert await graph.ainvoke({"log": []}) == {"log": ["a", "a", "x"]}
    with pytest.raises(MissingCheckpointerError, match="interrupt"):
        await asking.ainvoke({"log": []})


async def test_an_answer_without_a_checkpointer_is_refused() -> None:
    graph = Nodes().chain("a").compile()

    with pytest.raises(DurableGraphError, match="checkpointer"):
        await graph.ainvoke(Command(resume="yes"))


async def test_a_nested_graph_interrupts_and_resumes_after_a_graph_with_checkpointer_false(saver: Checkpointer) -> None:
    calls = Nodes()
    forgets = calls.chain("x").compile(checkpointer=False)
    asks = calls.chain("ask?").compile()

    async def call(state: State) -> State:
        one = await forgets.ainvoke({"log": []})
        two = await asks.ainvoke({"log": one["log"]})
        return {"log": two["log"]}

    graph = calls.chain(("call", call)).compile(saver)
    assert questions_of(await graph.ainvoke({"log": []}, THREAD)) == ["ask?"]

    assert await graph.ainvoke(Command(resume="yes"), THREAD) == {"log": ["x", "ask=yes"]}
    assert calls.taken() == ["x", "ask", "x", "ask"]
