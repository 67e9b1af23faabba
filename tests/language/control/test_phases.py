"""A node, its error handler and its routers have tasks, nested graphs and interrupts of their own."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    Durability,
    NodeError,
    RetryPolicy,
    StateGraph,
    UnstorableValueError,
    interrupt,
    task,
)
from tests.graphs import Nodes, State, chain, interrupt_ids, questions_of


class Called:
    """A task that counts its calls."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.note = task(self._note)

    async def _note(self, what: str) -> str:
        self.calls[what] += 1
        return what


async def test_an_error_handler_calls_tasks_of_its_own(saver: Checkpointer, durability: Durability) -> None:
    called = Called()

    async def fail(state: State) -> State:
        await called.note("by the node")
        message = "broken"
        raise ValueError(message)

    async def handle(state: State, error: NodeError) -> State:
        return {"log": [await called.note("by the handler"), interrupt("go on?"), await called.note("and again")]}

    builder = StateGraph(State)
    builder.add_node("fail", fail, error_handler=handle)
    builder.add_edge(START, "fail")
    graph = builder.compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t", durability=durability)) == ["go on?"]
    result = await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)

    assert result == {"log": ["by the handler", "yes", "and again"]}
    assert called.calls == {"by the node": 1, "by the handler": 1, "and again": 1}


async def test_an_error_handler_does_not_get_an_answer_given_to_its_node(saver: Checkpointer) -> None:
    async def fail(state: State) -> State:
        interrupt("what?")
        message = "broken"
        raise ValueError(message)

    async def handle(state: State, error: NodeError) -> State:
        return {"log": [interrupt("what?")]}

    builder = StateGraph(State)
    builder.add_node("fail", fail, error_handler=handle)
    builder.add_edge(START, "fail")
    graph = builder.compile(saver)

    first = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    second = interrupt_ids(await graph.ainvoke(Command(resume="to the node"), thread_id="t"))

    assert first != second
    assert await graph.ainvoke(Command(resume="to the handler"), thread_id="t") == {"log": ["to the handler"]}


async def test_an_error_handler_runs_graphs_of_its_own(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()

    async def broken(state: State) -> State:
        message = "broken"
        raise ValueError(message)

    inner = chain(("first", nodes.noting("first")), ("broken", broken)).compile(name="inner")
    rescue = chain(("rescue", nodes.asking("rescue", "how?"))).compile(name="rescue")

    async def handle(state: State, error: NodeError) -> State:
        return {"log": (await rescue.ainvoke({}))["log"]}

    builder = StateGraph(State)
    builder.add_node("inner", inner, error_handler=handle)
    builder.add_edge(START, "inner")
    graph = builder.compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t", durability=durability)) == ["how?"]
    result = await graph.ainvoke(Command(resume="so"), thread_id="t", durability=durability)

    assert result == {"log": ["rescue:so"]}
    assert nodes.calls == {"first": 1, "rescue": 2}


async def test_routers_call_tasks_of_their_own(saver: Checkpointer, durability: Durability) -> None:
    called = Called()
    failing = True

    async def node(state: State) -> State:
        return {"log": [await called.note("by the node")]}

    async def router(state: State) -> str:
        where = await called.note("b")
        if failing:
            raise ConnectionError
        return where

    builder = chain(("a", node))
    builder.add_node("b", Nodes().noting("b"))
    builder.add_conditional_edges("a", router, ["b", END])
    graph = builder.compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({}, thread_id="t", durability=durability)
    failing = False

    result = await graph.ainvoke(None, thread_id="t", durability=durability)

    assert result == {"log": ["by the node", "b"]}
    assert called.calls == {"by the node": 1, "b": 1}


async def test_a_router_runs_graphs_of_its_own(saver: Checkpointer) -> None:
    nodes = Nodes()
    in_node = chain(("in node", nodes.noting("in node"))).compile(name="in node")
    in_router = chain(("in router", nodes.asking("in router", "where to?"))).compile(name="in router")

    async def node(state: State) -> State:
        return {"log": (await in_node.ainvoke({}))["log"]}

    async def router(state: State) -> str:
        return str((await in_router.ainvoke({}))["log"][0].removeprefix("in router:"))

    builder = chain(("a", node))
    builder.add_node("b", nodes.noting("b"))
    builder.add_conditional_edges("a", router, ["b", END])
    graph = builder.compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t")) == ["where to?"]
    assert await graph.ainvoke(Command(resume="b"), thread_id="t") == {"log": ["in node", "b"]}
    assert nodes.calls == {"in node": 1, "in router": 2, "b": 1}


async def test_an_unstorable_interrupt_of_a_router_is_an_error_and_its_node_does_not_run_again(
    saver: Checkpointer,
) -> None:
    question: Any = object()
    nodes = Nodes()
    builder = chain(("a", nodes.noting("a")))
    builder.add_conditional_edges("a", lambda _: interrupt(question), [END])
    graph = builder.compile(saver)

    with pytest.raises(UnstorableValueError, match="object"):
        await graph.ainvoke({}, thread_id="t")
    question = "where to?"

    assert questions_of(await graph.ainvoke(None, thread_id="t")) == ["where to?"]
    assert nodes.calls == {"a": 1}


async def test_an_attempt_that_fails_in_its_own_task_group_is_retried(saver: Checkpointer) -> None:
    """Before Python 3.13 a failed task group leaves the task that runs it marked as cancelled."""
    attempts = 0

    async def break_off() -> None:
        raise ConnectionError

    async def node(state: State) -> State:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            async with asyncio.TaskGroup() as group:
                group.create_task(break_off())
        return {"log": ["done"]}

    def is_broken_off(error: Exception) -> bool:
        return isinstance(error, ExceptionGroup) and error.subgroup(ConnectionError) is not None

    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=is_broken_off)
    builder = StateGraph(State)
    builder.add_node("node", node, retry_policy=policy)
    builder.add_edge(START, "node")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["done"]}
    assert attempts == 3
