"""`RunControl.request_drain`: a run finishes what it is at, stops before its next superstep, and goes on later."""

import asyncio
from typing import Any

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    GraphDrained,
    NothingToResumeError,
    RunControl,
    Runtime,
    StateGraph,
    entrypoint,
    interrupt,
    task,
)
from tests.graphs import THREAD, Nodes, State, questions_of


class Drain:
    """Asks a run to stop, in one of its nodes; others are at work until after that."""

    def __init__(self, calls: Nodes) -> None:
        self.control = RunControl()
        self.node = ("drains", self.drains)
        self._calls = calls
        self._asked = asyncio.Event()

    async def drains(self, state: State) -> State:
        self._calls.note("drains")
        self.control.request_drain("deploy")
        self._asked.set()
        return {"log": ["drains"]}

    async def is_past(self) -> None:
        """Until the run would have stopped long ago, if it did not wait."""
        await self._asked.wait()
        for _ in range(100):
            await asyncio.sleep(0)

    async def slow(self, state: State) -> State:
        """A node that finishes after that."""
        await self.is_past()
        self._calls.note("slow")
        return {"log": ["slow"]}


async def test_it_finishes_its_superstep_and_continues_later(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    drain = Drain(calls)
    builder = calls.chain("a", drain.node, "b")
    graph = builder.add_node("slow", drain.slow).add_edge("a", "slow").compile(saver)

    with pytest.raises(GraphDrained, match="deploy"):
        await graph.ainvoke({"log": []}, THREAD, control=drain.control, durability=durability)
    assert calls.taken() == ["a", "drains", "slow"]
    assert (await graph.aget_state(THREAD)).next == ("b",)

    result = await graph.ainvoke(None, THREAD, durability=durability)
    assert result == {"log": ["a", "drains", "slow", "b"]}
    assert calls.taken() == ["b"]


async def test_a_run_that_has_nothing_left_to_do_ends_as_always(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    drain = Drain(calls)
    graph = calls.chain("a", drain.node).compile(saver)

    result = await graph.ainvoke({"log": []}, THREAD, control=drain.control, durability=durability)

    assert result == {"log": ["a", "drains"]}
    with pytest.raises(NothingToResumeError):
        await graph.ainvoke(None, THREAD)


async def test_one_that_is_asked_before_it_begins_has_its_input_stored(
    saver: Checkpointer, durability: Durability
) -> None:
    calls, control = Nodes(), RunControl()
    graph = calls.chain("a").compile(saver)
    control.request_drain()

    with pytest.raises(GraphDrained, match="shutdown"):
        await graph.ainvoke({"log": ["in"]}, THREAD, control=control, durability=durability)
    assert calls.taken() == []

    assert await graph.ainvoke(None, THREAD, durability=durability) == {"log": ["in", "a"]}


async def test_a_nested_graph_stops_and_what_runs_together_with_it_is_finished(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    drain = Drain(calls)
    inner = calls.chain("x", drain.node, "y").compile()
    builder = StateGraph(State).add_node("inner", inner).add_node("slow", drain.slow)
    builder.add_node("after", calls.noting("after"))
    builder.add_edge(START, "inner").add_edge(START, "slow").add_edge(["inner", "slow"], "after")
    graph = builder.compile(saver)

    with pytest.raises(GraphDrained, match="deploy"):
        await graph.ainvoke({"log": []}, THREAD, control=drain.control, durability=durability)
    assert calls.taken() == ["x", "drains", "slow"]

    result = await graph.ainvoke(None, THREAD, durability=durability)
    assert result == {"log": ["x", "drains", "y", "slow", "after"]}
    assert calls.taken() == ["y", "after"]


async def test_nested_graphs_that_one_node_runs_at_once_all_stop(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    drain = Drain(calls)
    one = calls.chain("a", drain.node, "b").compile()

    other = calls.chain(("slow", drain.slow), "c").compile()

    async def both(state: State) -> State:
        results = await asyncio.gather(one.ainvoke({"log": []}), other.ainvoke({"log": []}))
        return {"log": [mark for result in results for mark in result["log"]]}

    graph = calls.chain(("both", both)).compile(saver)

    with pytest.raises(GraphDrained):
        await graph.ainvoke({"log": []}, THREAD, control=drain.control, durability=durability)
    assert calls.taken() == ["a", "drains", "slow"]

    assert await graph.ainvoke(None, THREAD, durability=durability) == {"log": ["a", "drains", "b", "slow", "c"]}
    assert sorted(calls.taken()) == ["b", "c"]


async def test_a_task_that_runs_together_with_a_nested_graph_is_finished(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    drain = Drain(calls)
    inner = calls.chain("a", drain.node, "b").compile()

    @task
    async def slow() -> str:
        await drain.is_past()
        calls.note("slow")
        return "slow"

    async def both(state: State) -> State:
        result, mark = await asyncio.gather(inner.ainvoke({"log": []}), slow())
        return {"log": [*result["log"], mark]}

    graph = calls.chain(("both", both)).compile(saver)

    with pytest.raises(GraphDrained):
        await graph.ainvoke({"log": []}, THREAD, control=drain.control, durability=durability)
    assert calls.taken() == ["a", "drains", "slow"]

    assert await graph.ainvoke(None, THREAD, durability=durability) == {"log": ["a", "drains", "b", "slow"]}
    assert calls.taken() == ["b"]


async def test_what_is_asked_beside_a_nested_graph_that_stops_is_kept(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    drain = Drain(calls)
    inner = calls.chain(drain.node, "y").compile()
    builder = StateGraph(State).add_node("inner", inner).add_node("ask", calls.asking("ask"))
    graph = builder.add_edge(START, "inner").add_edge(START, "ask").compile(saver)

    with pytest.raises(GraphDrained):
        await graph.ainvoke({"log": []}, THREAD, control=drain.control, durability=durability)
    assert [each.value for each in (await graph.aget_state(THREAD)).interrupts] == ["ask?"]
    assert sorted(calls.taken()) == ["ask", "drains"]

    assert questions_of(await graph.ainvoke(None, THREAD, durability=durability)) == ["ask?"]
    assert calls.taken() == ["y"]
    result = await graph.ainvoke(Command(resume="yes"), THREAD, durability=durability)
    assert result == {"log": ["ask=yes", "drains", "y"]}
    assert calls.taken() == ["ask"]


async def test_a_node_that_fails_together_with_a_nested_graph_that_stops_is_what_is_raised(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    drain = Drain(calls)
    inner = calls.chain(drain.node, "y").compile()
    is_mended = False

    async def fails(state: State) -> State:
        await drain.is_past()
        if not is_mended:
            message = "no"
            raise ValueError(message)
        return {"log": ["mended"]}

    builder = StateGraph(State).add_node("inner", inner).add_node("fails", fails)
    graph = builder.add_edge(START, "inner").add_edge(START, "fails").compile(saver)

    with pytest.raises(ValueError, match="no"):
        await graph.ainvoke({"log": []}, THREAD, control=drain.control, durability=durability)

    is_mended = True
    result = await graph.ainvoke(None, THREAD, durability=durability)
    assert result == {"log": ["mended", "drains", "y"]}
    assert calls.taken() == ["drains", "y"]


async def test_a_node_is_told_and_may_end_early(saver: Checkpointer, durability: Durability) -> None:
    control = RunControl()

    async def works(state: State, runtime: Runtime) -> Command[Any]:
        if runtime.drain_requested:
            return Command(goto="works")
        control.request_drain()
        done = len(state["log"]) + 1
        return Command(update={"log": [f"{done}"]}, goto=() if done == 2 else "works")

    graph = StateGraph(State).add_node("works", works, destinations=("works",)).add_edge(START, "works").compile(saver)

    with pytest.raises(GraphDrained):
        await graph.ainvoke({"log": []}, THREAD, control=control, durability=durability)
    assert await graph.ainvoke(None, THREAD, durability=durability) == {"log": ["1", "2"]}


async def test_an_entrypoint_runs_to_its_end(saver: Checkpointer, durability: Durability) -> None:
    """It is one superstep: what it has begun is finished."""
    calls, control = Nodes(), RunControl()

    @task
    async def work(name: str) -> str:
        calls.note(name)
        control.request_drain()
        return name

    @entrypoint(checkpointer=saver)
    async def program(_: object) -> list[str]:
        return [await work("a"), await work("b")]

    assert await program.ainvoke("go", THREAD, control=control, durability=durability) == ["a", "b"]


async def test_a_question_in_the_last_superstep_is_asked(saver: Checkpointer, durability: Durability) -> None:
    calls, control = Nodes(), RunControl()

    async def ask(state: State) -> State:
        control.request_drain()
        return {"log": [interrupt("ask?")]}

    graph = calls.chain(("ask", ask), "after").compile(saver)

    assert questions_of(await graph.ainvoke({"log": []}, THREAD, control=control, durability=durability)) == ["ask?"]
    result = await graph.ainvoke(Command(resume="yes"), THREAD, durability=durability)
    assert result == {"log": ["yes", "after"]}
