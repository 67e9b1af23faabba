"""`checkpointer=False` keeps nothing; True needs a graph around it; a saver of its own is a store of its own."""

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
from tests.language.trails import THREAD, Calls, Trail, history, questions


def calling(inner: Any, saver: Checkpointer | None, calls: Calls, seen: list[list[str]]) -> Any:
    async def call(state: Trail) -> Trail:
        seen.append((await inner.ainvoke({"value": ["in"]}))["value"])
        return {}

    return calls.chain(("call", call)).compile(saver)


async def test_it_starts_anew_and_leaves_nothing_in_the_store(saver: Checkpointer) -> None:
    calls, seen = Calls(), list[list[str]]()
    graph = calling(calls.chain("x").compile(checkpointer=False), saver, calls, seen)

    for _ in range(2):
        await graph.ainvoke({"value": []}, THREAD)

    assert seen == [["in", "x"], ["in", "x"]]
    (finished, began) = (await history(graph))[:2]
    assert began.tasks[0].state is None
    assert finished.values == {"value": []}


async def test_it_runs_again_from_its_start_when_its_node_does(saver: Checkpointer) -> None:
    calls = Calls()
    inner = calls.chain("x").compile(checkpointer=False)
    is_failing = True

    async def call(state: Trail) -> Trail:
        await inner.ainvoke({"value": []})
        if is_failing:
            raise ConnectionError
        return {}

    graph = calls.chain(("call", call)).compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"value": []}, THREAD)
    is_failing = False
    await graph.ainvoke(None, THREAD)

    assert calls.taken() == ["x", "x"]


async def test_a_question_inside_it_is_answered_and_it_begins_anew(saver: Checkpointer) -> None:
    """The question is kept by the task that it is nested in; what it had done before it is not."""
    calls, seen = Calls(), list[list[str]]()
    graph = calling(calls.chain("x", "ask?").compile(checkpointer=False), saver, calls, seen)

    assert questions(await graph.ainvoke({"value": []}, THREAD)) == ["ask?"]
    await graph.ainvoke(Command(resume="yes"), THREAD)

    assert seen == [["in", "x", "ask=yes"]]
    assert calls.taken() == ["x", "ask", "x", "ask"]


async def test_it_may_be_at_work_any_number_of_times_at_once(saver: Checkpointer) -> None:
    calls = Calls()
    inner = calls.chain("x").compile(checkpointer=False)

    async def call(state: Trail) -> Trail:
        results = await asyncio.gather(*(inner.ainvoke({"value": [f"{n}"]}) for n in range(3)))
        return {"value": [mark for each in results for mark in each["value"]]}

    graph = calls.chain(("call", call)).compile(saver)

    assert await graph.ainvoke({"value": []}, THREAD) == {"value": ["0", "x", "1", "x", "2", "x"]}


async def test_on_its_own_it_runs_without_a_thread() -> None:
    graph = Calls().chain("x").compile(checkpointer=False)

    assert await graph.ainvoke({"value": []}) == {"value": ["x"]}


async def test_memory_per_thread_needs_a_graph_around_it() -> None:
    graph = Calls().chain("x").compile(checkpointer=True)

    with pytest.raises(MissingCheckpointerError, match="checkpointer=True"):
        await graph.ainvoke({"value": []}, THREAD)


async def test_without_a_store_around_it_memory_lasts_as_long_as_a_call() -> None:
    calls, seen = Calls(), list[list[str]]()
    graph = calling(calls.chain("x").compile(checkpointer=True), None, calls, seen)

    for _ in range(2):
        await graph.ainvoke({"value": []})

    assert seen == [["in", "x"], ["in", "x"]]


async def test_a_graph_called_with_a_thread_of_its_own_is_no_nested_graph(saver: Checkpointer) -> None:
    calls = Calls()
    child = calls.chain("x").compile(saver)
    own = {"configurable": {"thread_id": "own"}}

    async def call(state: Trail) -> Trail:
        await child.ainvoke({"value": []}, own)
        return {"value": ["called"]}

    parent = calls.chain(("call", call)).compile(saver)
    for turn in (1, 2):
        await parent.ainvoke({"value": []}, THREAD)
        state = await child.aget_state(own)
        assert state.values == {"value": ["x"] * turn}
        assert state.config["configurable"]["checkpoint_ns"] == ""


async def test_a_graph_with_a_saver_of_its_own_keeps_its_threads_there(saver: Checkpointer) -> None:
    calls = Calls()
    async with MemorySaver() as its_own:
        child = calls.chain("x").compile(its_own)

        async def call(state: Trail) -> Trail:
            await child.ainvoke({"value": []}, thread_id="own")
            return {}

        parent = calls.chain(("call", call)).compile(saver)
        await parent.ainvoke({"value": []}, THREAD)

        assert (await child.aget_state(thread_id="own")).values == {"value": ["x"]}
        assert await history(calls.chain("x").compile(saver), {"configurable": {"thread_id": "own"}}) == []


async def test_without_any_store_nested_graphs_run_and_cannot_ask() -> None:
    calls = Calls()
    graph = calls.chain("a", ("inner", calls.chain("x").compile())).compile()
    asking = calls.chain(("inner", calls.chain("ask?").compile())).compile()

    assert await graph.ainvoke({"value": []}) == {"value": ["a", "a", "x"]}
    with pytest.raises(MissingCheckpointerError, match="interrupt"):
        await asking.ainvoke({"value": []})


async def test_an_answer_without_a_store_is_refused() -> None:
    graph = Calls().chain("a").compile()

    with pytest.raises(DurableGraphError, match="checkpointer"):
        await graph.ainvoke(Command(resume="yes"))


async def test_beside_it_another_nested_graph_asks_and_goes_on(saver: Checkpointer) -> None:
    calls = Calls()
    forgets = calls.chain("x").compile(checkpointer=False)
    asks = calls.chain("ask?").compile()

    async def call(state: Trail) -> Trail:
        one = await forgets.ainvoke({"value": []})
        two = await asks.ainvoke({"value": one["value"]})
        return {"value": two["value"]}

    graph = calls.chain(("call", call)).compile(saver)
    assert questions(await graph.ainvoke({"value": []}, THREAD)) == ["ask?"]

    assert await graph.ainvoke(Command(resume="yes"), THREAD) == {"value": ["x", "ask=yes"]}
    assert calls.taken() == ["x", "ask", "x", "ask"]
