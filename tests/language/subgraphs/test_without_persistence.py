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
from tests.graphs import THREAD, Nodes, State, history, questions_of


def calling(inner: Any, saver: Checkpointer | None, calls: Nodes, seen: list[list[str]]) -> Any:
    async def call(state: State) -> State:
        seen.append((await inner.ainvoke({"log": ["in"]}))["log"])
        return {}

    return calls.chain(("call", call)).compile(saver)


async def test_it_starts_again_and_leaves_nothing_in_the_store(saver: Checkpointer) -> None:
    calls, seen = Nodes(), list[list[str]]()
    graph = calling(calls.chain("x").compile(checkpointer=False), saver, calls, seen)

    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)

    assert seen == [["in", "x"], ["in", "x"]]
    (finished, began) = (await history(graph))[:2]
    assert began.tasks[0].state is None
    assert finished.values == {"log": []}


async def test_it_runs_again_from_its_start_when_its_node_does(saver: Checkpointer) -> None:
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


async def test_a_question_inside_it_is_answered_and_it_starts_again(saver: Checkpointer) -> None:
    """The question is kept by the task that it is nested in; what it had done before it is not."""
    calls, seen = Nodes(), list[list[str]]()
    graph = calling(calls.chain("x", "ask?").compile(checkpointer=False), saver, calls, seen)

    assert questions_of(await graph.ainvoke({"log": []}, THREAD)) == ["ask?"]
    await graph.ainvoke(Command(resume="yes"), THREAD)

    assert seen == [["in", "x", "ask=yes"]]
    assert calls.taken() == ["x", "ask", "x", "ask"]


async def test_it_may_be_running_any_number_of_times_at_once(saver: Checkpointer) -> None:
    calls = Nodes()
    inner = calls.chain("x").compile(checkpointer=False)

    async def call(state: State) -> State:
        results = await asyncio.gather(*(inner.ainvoke({"log": [f"{n}"]}) for n in range(3)))
        return {"log": [mark for each in results for mark in each["log"]]}

    graph = calls.chain(("call", call)).compile(saver)

    assert await graph.ainvoke({"log": []}, THREAD) == {"log": ["0", "x", "1", "x", "2", "x"]}


async def test_on_its_own_it_runs_without_a_thread() -> None:
    graph = Nodes().chain("x").compile(checkpointer=False)

    assert await graph.ainvoke({"log": []}) == {"log": ["x"]}


async def test_memory_per_thread_needs_a_graph_around_it() -> None:
    graph = Nodes().chain("x").compile(checkpointer=True)

    with pytest.raises(MissingCheckpointerError, match="checkpointer=True"):
        await graph.ainvoke({"log": []}, THREAD)


async def test_without_a_store_around_it_memory_lasts_as_long_as_a_call() -> None:
    calls, seen = Nodes(), list[list[str]]()
    graph = calling(calls.chain("x").compile(checkpointer=True), None, calls, seen)

    for _ in range(2):
        await graph.ainvoke({"log": []})

    assert seen == [["in", "x"], ["in", "x"]]


async def test_a_graph_called_with_a_thread_of_its_own_is_no_nested_graph(saver: Checkpointer) -> None:
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


async def test_a_graph_with_a_saver_of_its_own_keeps_its_threads_there(saver: Checkpointer) -> None:
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


async def test_without_any_store_nested_graphs_run_and_cannot_ask() -> None:
    calls = Nodes()
    graph = calls.chain("a", ("inner", calls.chain("x").compile())).compile()
    asking = calls.chain(("inner", calls.chain("ask?").compile())).compile()

    assert await graph.ainvoke({"log": []}) == {"log": ["a", "a", "x"]}
    with pytest.raises(MissingCheckpointerError, match="interrupt"):
        await asking.ainvoke({"log": []})


async def test_an_answer_without_a_store_is_refused() -> None:
    graph = Nodes().chain("a").compile()

    with pytest.raises(DurableGraphError, match="checkpointer"):
        await graph.ainvoke(Command(resume="yes"))


async def test_beside_it_another_nested_graph_asks_and_goes_on(saver: Checkpointer) -> None:
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
