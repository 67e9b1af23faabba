"""A node runs a graph in a separate thread. If that run does not finish, the node gets an error and no result."""

import asyncio
from typing import Any

import pytest

from durable_graph import (
    Checkpointer,
    Command,
    CompiledGraph,
    GraphDrained,
    RunControl,
    StateGraph,
    UnfinishedChildError,
)
from durable_graph.testing import CrashingSaver
from tests.graphs import Nodes, State, chain, questions_of
from tests.language.interrupts.test_answers_beside_a_run import Slow


def asking(saver: Checkpointer) -> CompiledGraph[State]:
    return chain(("ask", Nodes().asking("ask", "how many?"))).compile(saver)


def caller(call: Any) -> StateGraph[State]:
    async def node(state: State) -> State:
        result = await call()
        return {"log": result["log"]}

    return chain(("caller", node))


async def test_an_interrupt_of_the_child_is_an_error_of_its_caller(saver: Checkpointer) -> None:
    child = asking(saver)
    graph = caller(lambda: child.ainvoke({"log": ["in"]}, thread_id="child")).compile(saver)

    with pytest.raises(UnfinishedChildError, match=r"1 question open.*without thread_id.*version='v2'") as raised:
        await graph.ainvoke({}, thread_id="parent")

    error = raised.value
    assert (error.thread_id, error.node, error.pending) == ("child", "caller", ("ask",))
    assert questions_of(error.interrupts) == ["how many?"]
    assert len(str(error)) <= 400
    assert (await graph.aget_state(thread_id="parent")).status == "failed"
    assert await child.ainvoke(Command(resume=3), thread_id="child") == {"log": ["in", "ask:3"]}


async def test_a_caller_interrupts_with_a_child_that_has_no_separate_thread(saver: Checkpointer) -> None:
    child = asking(saver)
    graph = caller(lambda: child.ainvoke({"log": ["in"]})).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="parent")) == ["how many?"]

    assert await graph.ainvoke(Command(resume=3), thread_id="parent") == {"log": ["in", "ask:3"]}


async def test_the_v2_output_of_an_interrupted_child_has_its_interrupts(saver: Checkpointer) -> None:
    child, seen = asking(saver), []

    async def node(state: State) -> State:
        output = await child.ainvoke({"log": ["in"]}, thread_id="child", version="v2")
        seen.append((output.is_stopped, questions_of(output.interrupts)))
        return {"log": ["waits"]}

    graph = chain(("caller", node)).compile(saver)

    assert await graph.ainvoke({}, thread_id="parent") == {"log": ["waits"]}
    assert seen == [(True, ["how many?"])]


async def test_a_breakpoint_of_the_child_is_an_error_of_its_caller(saver: Checkpointer) -> None:
    nodes = Nodes()
    child = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver, interrupt_before=["b"])
    graph = caller(lambda: child.ainvoke({}, thread_id="child")).compile(saver)

    with pytest.raises(UnfinishedChildError, match="breakpoint") as raised:
        await graph.ainvoke({}, thread_id="parent")

    assert (raised.value.pending, raised.value.interrupts) == (("b",), ())
    output = await child.ainvoke(None, thread_id="child", version="v2")
    assert (output.value, output.is_stopped) == ({"log": ["a", "b"]}, False)


async def test_a_drained_child_is_an_error_of_its_caller(saver: Checkpointer) -> None:
    control = RunControl()
    control.request_drain("deployment")
    child = chain(("a", Nodes().noting("a"))).compile(saver)
    graph = caller(lambda: child.ainvoke({}, thread_id="child", control=control)).compile(saver)

    with pytest.raises(GraphDrained, match="deployment"):
        await graph.ainvoke({}, thread_id="parent")

    assert await child.ainvoke(None, thread_id="child") == {"log": ["a"]}


async def test_the_error_of_a_caller_without_a_checkpointer_does_not_advise_a_nested_call(saver: Checkpointer) -> None:
    child = asking(saver)
    graph = caller(lambda: child.ainvoke({}, thread_id="child")).compile()

    with pytest.raises(UnfinishedChildError) as raised:
        await graph.ainvoke({})

    assert "without thread_id" not in str(raised.value)


async def test_an_answer_recorded_for_the_current_run_of_a_child_is_an_error_of_the_caller(saver: Checkpointer) -> None:
    beside = Slow()
    child = beside.builder("how many?").compile(saver)
    running = asyncio.create_task(beside.run(child, {}))
    await beside.open_interrupts(1)
    graph = caller(lambda: child.ainvoke(Command(resume=3), thread_id="t")).compile(CrashingSaver(saver))

    with pytest.raises(UnfinishedChildError):
        await graph.ainvoke({}, thread_id="parent")

    beside.gate.set()
    assert await running == {"log": ["ask:3", "slow"]}


async def test_the_event_stream_of_an_interrupted_child_ends_with_the_interrupt_and_has_no_output(
    saver: Checkpointer,
) -> None:
    child, seen = asking(saver), []

    async def node(state: State) -> State:
        async with child.stream({}, thread_id="child") as events:
            seen.extend([type(event).__name__ async for event in events])
        return {"log": events.output["log"]}

    graph = chain(("caller", node)).compile(saver)

    with pytest.raises(UnfinishedChildError):
        await graph.ainvoke({}, thread_id="parent")
    assert seen[-1] == "RunInterrupted"
