"""`RunControl.request_drain`: a run finishes its superstep, stops before the next one, and continues on resume."""

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
    """Requests the drain of a run in one of its nodes, while other nodes run until after the request."""

    def __init__(self, calls: Nodes) -> None:
        self.control = RunControl()
        self.node = ("drains", self.drains)
        self._calls = calls
        self._requested = asyncio.Event()

    async def drains(self, state: State) -> State:
        self._calls.note("drains")
        self.control.request_drain("deploy")
        self._requested.set()
        return {"log": ["drains"]}

    async def wait_past_request(self) -> None:
        """Wait until a run that does not finish its superstep would have stopped."""
        await self._requested.wait()
        for _ in range(100):
            await asyncio.sleep(0)

    async def slow(self, state: State) -> State:
        """A node that finishes after the request."""
        await self.wait_past_request()
        self._calls.note("slow")
        return {"log": ["slow"]}


async def test_a_drained_run_finishes_its_superstep_and_continues_on_resume(
    saver: Checkpointer, durability: Durability
) -> None:
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


async def test_a_drain_in_the_last_superstep_lets_the_run_finish(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    drain = Drain(calls)
    graph = calls.chain("a", drain.node).compile(saver)

    result = await graph.ainvoke({"log": []}, THREAD, control=drain.control, durability=durability)

    assert result == {"log": ["a", "drains"]}
    with pytest.raises(NothingToResumeError):
        await graph.ainvoke(None, THREAD)


async def test_a_drain_before_the_first_superstep_stores_the_input(saver: Checkpointer, durability: Durability) -> None:
    calls, control = Nodes(), RunControl()
    graph = calls.chain("a").compile(saver)
    control.request_drain()

    with pytest.raises(GraphDrained, match="shutdown"):
        await graph.ainvoke({"log": ["in"]}, THREAD, control=control, durability=durability)
    assert calls.taken() == []

    assert await graph.ainvoke(None, THREAD, durability=durability) == {"log": ["in", "a"]}


async def test_a_nested_graph_stops_and_its_sibling_node_finishes(saver: Checkpointer, durability: Durability) -> None:
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


async def test_concurrent_nested_graphs_of_one_node_all_stop(saver: Checkpointer, durability: Durability) -> None:
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


async def test_a_task_concurrent_with_a_drained_nested_graph_finishes(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    drain = Drain(calls)
    inner = calls.chain("a", drain.node, "b").compile()

    @task
    async def slow() -> str:
        await drain.wait_past_request()
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


async def test_an_interrupt_of_a_sibling_of_a_drained_nested_graph_is_kept(
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


async def test_the_error_of_a_sibling_of_a_drained_nested_graph_is_raised(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    drain = Drain(calls)
    inner = calls.chain(drain.node, "y").compile()
    is_mended = False

    async def fails(state: State) -> State:
        await drain.wait_past_request()
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


async def test_a_node_can_read_drain_requested_and_return_early(saver: Checkpointer, durability: Durability) -> None:
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


async def test_an_entrypoint_runs_to_completion_despite_a_drain(saver: Checkpointer, durability: Durability) -> None:
    """An entrypoint is one superstep, which a drain lets finish."""
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


async def test_an_interrupt_in_the_drained_superstep_is_returned(saver: Checkpointer, durability: Durability) -> None:
    calls, control = Nodes(), RunControl()

    async def ask(state: State) -> State:
        control.request_drain()
        return {"log": [interrupt("ask?")]}

    graph = calls.chain(("ask", ask), "after").compile(saver)

    assert questions_of(await graph.ainvoke({"log": []}, THREAD, control=control, durability=durability)) == ["ask?"]
    result = await graph.ainvoke(Command(resume="yes"), THREAD, durability=durability)
    assert result == {"log": ["yes", "after"]}
