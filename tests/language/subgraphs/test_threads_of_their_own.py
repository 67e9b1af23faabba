"""A node runs a graph in a thread of its own. Where that does not end, the node is told: there is no result yet."""

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


async def test_a_caller_learns_that_the_child_waits_for_an_answer(saver: Checkpointer) -> None:
    child = asking(saver)
    graph = caller(lambda: child.ainvoke({"log": ["in"]}, thread_id="child")).compile(saver)

    with pytest.raises(UnfinishedChildError, match=r"1 question open.*without thread_id.*version='v2'") as told:
        await graph.ainvoke({}, thread_id="parent")

    error = told.value
    assert (error.thread_id, error.node, error.pending) == ("child", "caller", ("ask",))
    assert questions_of(error.interrupts) == ["how many?"]
    assert len(str(error)) <= 400
    assert (await graph.aget_state(thread_id="parent")).status == "failed"
    assert await child.ainvoke(Command(resume=3), thread_id="child") == {"log": ["in", "ask:3"]}


async def test_without_a_thread_of_its_own_the_caller_waits_with_the_child(saver: Checkpointer) -> None:
    child = asking(saver)
    graph = caller(lambda: child.ainvoke({"log": ["in"]})).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="parent")) == ["how many?"]

    assert await graph.ainvoke(Command(resume=3), thread_id="parent") == {"log": ["in", "ask:3"]}


async def test_the_second_version_says_where_the_child_stopped(saver: Checkpointer) -> None:
    child, seen = asking(saver), []

    async def node(state: State) -> State:
        output = await child.ainvoke({"log": ["in"]}, thread_id="child", version="v2")
        seen.append((output.is_stopped, questions_of(output.interrupts)))
        return {"log": ["waits"]}

    graph = chain(("caller", node)).compile(saver)

    assert await graph.ainvoke({}, thread_id="parent") == {"log": ["waits"]}
    assert seen == [(True, ["how many?"])]


async def test_a_breakpoint_of_the_child_is_no_end_either(saver: Checkpointer) -> None:
    nodes = Nodes()
    child = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver, interrupt_before=["b"])
    graph = caller(lambda: child.ainvoke({}, thread_id="child")).compile(saver)

    with pytest.raises(UnfinishedChildError, match="breakpoint") as told:
        await graph.ainvoke({}, thread_id="parent")

    assert (told.value.pending, told.value.interrupts) == (("b",), ())
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


async def test_a_caller_that_keeps_nothing_is_not_advised_to_wait(saver: Checkpointer) -> None:
    child = asking(saver)
    graph = caller(lambda: child.ainvoke({}, thread_id="child")).compile()

    with pytest.raises(UnfinishedChildError) as told:
        await graph.ainvoke({})

    assert "without thread_id" not in str(told.value)


async def test_an_answer_that_a_node_leaves_to_a_childs_run_is_no_result(saver: Checkpointer) -> None:
    beside = Slow()
    child = beside.builder("how many?").compile(saver)
    running = asyncio.create_task(beside.run(child, {}))
    await beside.questions(1)
    graph = caller(lambda: child.ainvoke(Command(resume=3), thread_id="t")).compile(CrashingSaver(saver))

    with pytest.raises(UnfinishedChildError):
        await graph.ainvoke({}, thread_id="parent")

    beside.gate.set()
    assert await running == {"log": ["ask:3", "slow"]}


async def test_a_reader_of_the_childs_events_sees_the_question_and_has_no_output(saver: Checkpointer) -> None:
    child, told = asking(saver), []

    async def node(state: State) -> State:
        async with child.stream({}, thread_id="child") as events:
            told.extend([type(event).__name__ async for event in events])
        return {"log": events.output["log"]}

    graph = chain(("caller", node)).compile(saver)

    with pytest.raises(UnfinishedChildError):
        await graph.ainvoke({}, thread_id="parent")
    assert told[-1] == "RunInterrupted"
