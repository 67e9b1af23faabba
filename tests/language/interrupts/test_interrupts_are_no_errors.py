"""An interrupt is not an error: user code does not swallow it, policies do not retry it, handlers do not handle it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    MissingCheckpointerError,
    NodeError,
    OutsideOfRunError,
    RetryPolicy,
    StateGraph,
    entrypoint,
    interrupt,
    task,
)
from tests.graphs import Nodes, State, chain, fan_out, interrupt_ids, questions_of

AT_ONCE = RetryPolicy(initial_interval=0, jitter=False)


async def test_except_exception_does_not_swallow_an_interrupt(saver: Checkpointer, durability: Durability) -> None:
    """Reference P18: the node continued as if it had not interrupted."""
    swallowed = False

    async def node(state: State) -> State:
        nonlocal swallowed
        try:
            answer = interrupt("sure?")
        except Exception:
            swallowed = True
            raise
        return {"log": [answer]}

    graph = chain(("node", node)).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t", durability=durability)) == ["sure?"]
    assert not swallowed
    result = await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)
    assert result == {"log": ["yes"]}


async def test_suppressing_exceptions_does_not_swallow_an_interrupt(saver: Checkpointer) -> None:
    """Reference P18."""

    async def node(state: State) -> State:
        answer = "nobody was asked"
        with suppress(Exception):
            answer = interrupt("sure?")
        return {"log": [answer]}

    graph = chain(("node", node)).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t")) == ["sure?"]


async def test_finally_runs_at_an_interrupt_and_again_after_its_answer(saver: Checkpointer) -> None:
    closed = 0

    async def node(state: State) -> State:
        nonlocal closed
        try:
            return {"log": [interrupt("sure?")]}
        finally:
            closed += 1

    graph = chain(("node", node)).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    assert closed == 1
    await graph.ainvoke(Command(resume="yes"), thread_id="t")

    assert closed == 2


async def test_an_interrupt_is_not_retried(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = StateGraph(State)
    builder.add_node("ask", nodes.asking("ask", "sure?"), retry_policy=AT_ONCE)
    builder.add_edge(START, "ask")
    graph = builder.compile(saver)

    await graph.ainvoke({}, thread_id="t")

    assert nodes.calls == {"ask": 1}


async def test_a_retry_after_an_answer_does_not_interrupt_again(saver: Checkpointer, durability: Durability) -> None:
    """Reference P20: the retry raised the answered interrupt again."""
    nodes = Nodes()
    ask = nodes.asking("ask", "delete it?")

    async def node(state: State) -> State:
        written = await ask(state)
        if nodes.calls["ask"] < 4:
            raise ConnectionError
        return written

    builder = StateGraph(State)
    builder.add_node("ask", node, retry_policy=AT_ONCE)
    builder.add_edge(START, "ask")
    graph = builder.compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t", durability=durability))["delete it?"]

    result = await graph.ainvoke(Command(resume={question: "yes"}), thread_id="t", durability=durability)

    assert result == {"log": ["ask:yes"]}
    assert nodes.calls == {"ask": 4}


async def test_a_retry_between_two_interrupts_raises_only_the_second(saver: Checkpointer) -> None:
    """Reference P20."""
    attempts = 0

    async def node(state: State) -> State:
        nonlocal attempts
        attempts += 1
        first = interrupt("first?")
        if attempts == 2:
            raise ConnectionError
        return {"log": [first, interrupt("second?")]}

    builder = StateGraph(State)
    builder.add_node("node", node, retry_policy=AT_ONCE)
    builder.add_edge(START, "node")
    graph = builder.compile(saver)
    await graph.ainvoke({}, thread_id="t")

    assert questions_of(await graph.ainvoke(Command(resume="1"), thread_id="t")) == ["second?"]
    assert await graph.ainvoke(Command(resume="2"), thread_id="t") == {"log": ["1", "2"]}


async def test_an_error_handler_is_not_called_for_an_interrupt(saver: Checkpointer) -> None:
    nodes = Nodes()

    async def handle(state: State, error: NodeError) -> State:
        return {"log": ["handled"]}

    builder = StateGraph(State)
    builder.add_node("ask", nodes.asking("ask", "sure?"), error_handler=handle)
    builder.add_node("beside", nodes.noting("beside"))
    builder.add_edge(START, "ask")
    builder.add_edge(START, "beside")
    graph = builder.compile(saver)

    result = await graph.ainvoke({}, thread_id="t")

    assert (questions_of(result), result["log"]) == (["sure?"], ["beside"])
    assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["ask:yes", "beside"]}


async def test_an_error_handler_may_interrupt(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()

    async def fail(state: State) -> State:
        nodes.calls["fail"] += 1
        message = "broken"
        raise ValueError(message)

    async def handle(state: State, error: NodeError) -> State:
        nodes.calls["handle"] += 1
        return {"log": [interrupt(f"{error.node}: {error.error}. What now?")]}

    builder = StateGraph(State)
    builder.add_node("fail", fail, error_handler=handle)
    builder.add_edge(START, "fail")
    graph = builder.compile(saver)

    result = await graph.ainvoke({}, thread_id="t", durability=durability)
    assert questions_of(result) == ["fail: broken. What now?"]
    result = await graph.ainvoke(Command(resume="leave it"), thread_id="t", durability=durability)

    assert result == {"log": ["leave it"]}
    assert nodes.calls == {"fail": 1, "handle": 2}


async def _in_a_task_group(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_called(call)) for call in calls]
    return [task.result() for task in tasks]


async def _in_an_anyio_group(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    results: dict[int, Any] = {}

    async def call(place: int) -> None:
        results[place] = await calls[place]()

    async with anyio.create_task_group() as group:
        for place in range(len(calls)):
            group.start_soon(call, place)
    return [results[place] for place in range(len(calls))]


async def _called(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


GROUPS = pytest.mark.parametrize("at_once", [_in_a_task_group, _in_an_anyio_group])


@GROUPS
async def test_an_interrupt_in_a_task_group_of_the_node_is_unwrapped(
    saver: Checkpointer, at_once: Callable[..., Awaitable[list[Any]]]
) -> None:
    async def ask() -> Any:
        return interrupt("sure?")

    async def other() -> Any:
        return "other"

    async def node(state: State) -> State:
        return {"log": await at_once(ask, other)}

    graph = chain(("node", node)).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t")) == ["sure?"]
    assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["yes", "other"]}


@GROUPS
async def test_an_interrupt_in_nested_task_groups_is_unwrapped(
    saver: Checkpointer, at_once: Callable[..., Awaitable[list[Any]]]
) -> None:
    async def ask() -> Any:
        return interrupt("sure?")

    async def deeper() -> Any:
        return (await at_once(ask))[0]

    async def node(state: State) -> State:
        return {"log": await at_once(deeper)}

    graph = chain(("node", node)).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t")) == ["sure?"]
    assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["yes"]}


async def test_all_interrupts_of_a_task_group_are_reported(saver: Checkpointer) -> None:
    async def ask(question: str) -> Any:
        return interrupt(question)

    async def node(state: State) -> State:
        return {"log": await _in_a_task_group(lambda: ask("a?"), lambda: ask("b?"))}

    graph = chain(("node", node)).compile(saver)

    result = await graph.ainvoke({}, thread_id="t")
    found = interrupt_ids(result)
    assert questions_of(result) == ["a?", "b?"]
    assert found["a?"] != found["b?"]
    answers = Command(resume={found["a?"]: "A", found["b?"]: "B"})
    assert await graph.ainvoke(answers, thread_id="t") == {"log": ["A", "B"]}


async def test_an_error_in_a_task_group_takes_precedence_over_an_interrupt(saver: Checkpointer) -> None:
    async def ask() -> Any:
        return interrupt("sure?")

    async def fail() -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while it was cancelled")

    async def node(state: State) -> State:
        return {"log": await _in_a_task_group(fail, ask)}

    graph = chain(("node", node)).compile(saver)

    with pytest.raises(ExceptionGroup) as raised:
        await graph.ainvoke({}, thread_id="t")

    assert [str(error) for error in raised.value.exceptions] == ["while it was cancelled"]
    assert (await graph.aget_state(thread_id="t")).next == ("node",)


async def test_the_error_of_a_sibling_is_raised_and_the_interrupt_stays_open(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    failing = True

    async def fail(state: State) -> State:
        nodes.calls["fail"] += 1
        if failing:
            message = "not yet"
            raise ValueError(message)
        return {"log": ["fine"]}

    graph = fan_out(("ask", nodes.asking("ask", "sure?")), ("fail", fail)).compile(saver)
    with pytest.raises(ValueError, match="not yet"):
        await graph.ainvoke({}, thread_id="t", durability=durability)
    failing = False

    snapshot = await graph.aget_state(thread_id="t")
    assert questions_of(snapshot.interrupts) == ["sure?"]
    result = await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)
    assert result == {"log": ["ask:yes", "fine"]}
    assert nodes.calls == {"ask": 2, "fail": 2}


async def test_an_interrupt_without_a_checkpointer_is_an_error() -> None:
    """Reference P17: the run returned an interrupt that nobody could ever answer."""
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile()

    with pytest.raises(MissingCheckpointerError, match=r"interrupt.* needs a checkpointer") as raised:
        await graph.ainvoke({})

    assert any("'ask'" in note for note in raised.value.__notes__)


async def test_an_answer_without_a_checkpointer_is_an_error() -> None:
    """Reference P17."""
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile()

    with pytest.raises(MissingCheckpointerError, match="needs a checkpointer"):
        await graph.ainvoke(Command(resume="yes"))


def test_an_interrupt_outside_of_a_run_is_an_error() -> None:
    with pytest.raises(OutsideOfRunError, match="interrupt"):
        interrupt("anybody there?")


async def test_an_interrupt_after_the_end_of_its_node_is_an_error(saver: Checkpointer) -> None:
    has_ended = asyncio.Event()
    left_behind: list[asyncio.Task[Any]] = []

    async def late() -> Any:
        await has_ended.wait()
        return interrupt("too late?")

    async def node(state: State) -> State:
        left_behind.append(asyncio.create_task(late()))
        return {"log": ["ended"]}

    assert await chain(("node", node)).compile(saver).ainvoke({}, thread_id="t") == {"log": ["ended"]}
    has_ended.set()

    with pytest.raises(OutsideOfRunError, match="interrupt"):
        await left_behind[0]


# Code that catches the exception of an interrupt


async def an_interrupt(number: int) -> Any:
    return interrupt(number)


@task
async def a_call(number: int) -> Any:
    return interrupt(number)


async def a_graph(number: int) -> Any:
    async def node(state: State) -> State:
        return {"log": [interrupt(number)]}

    (answer,) = (await chain(("node", node)).compile(name=f"asks {number}").ainvoke({}))["log"]
    return answer


@pytest.mark.parametrize("ask", [an_interrupt, a_call, a_graph])
async def test_interrupts_that_gather_returns_as_results_are_reported(
    saver: Checkpointer, durability: Durability, ask: Callable[[int], Awaitable[Any]]
) -> None:
    """In LangGraph the node gets the exceptions in place of answers, and the run completes."""

    async def node(state: State) -> State:
        found = await asyncio.gather(ask(1), ask(2), return_exceptions=True)
        return {"log": [f"{each}" for each in found]}

    graph = chain(("node", node)).compile(saver)

    result = await graph.ainvoke({}, thread_id="t", durability=durability)
    assert questions_of(result) == [1, 2]
    id_of = interrupt_ids(result)
    result = await graph.ainvoke(Command(resume={id_of[2]: "b"}), thread_id="t", durability=durability)
    assert questions_of(result) == [1]
    result = await graph.ainvoke(Command(resume={id_of[1]: "a"}), thread_id="t", durability=durability)
    assert result == {"log": ["a", "b"]}


async def test_suppressing_base_exceptions_does_not_swallow_an_interrupt(saver: Checkpointer) -> None:
    async def node(state: State) -> State:
        answer = "none"
        with suppress(BaseException):
            answer = interrupt("sure?")
        return {"log": [answer]}

    graph = chain(("node", node)).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t")) == ["sure?"]
    assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["yes"]}


async def test_suppressing_base_exceptions_in_a_router_does_not_swallow_an_interrupt(saver: Checkpointer) -> None:
    def route(state: State) -> Any:
        with suppress(BaseException):
            return interrupt("where?")
        return "b"

    builder = StateGraph(State).add_node("a", lambda state: {"log": ["a"]}).add_node("b", lambda state: {"log": ["b"]})
    graph = builder.add_edge(START, "a").add_conditional_edges("a", route).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t")) == ["where?"]
    assert await graph.ainvoke(Command(resume="__end__"), thread_id="t") == {"log": ["a"]}


async def test_suppressing_base_exceptions_in_a_task_does_not_swallow_an_interrupt(saver: Checkpointer) -> None:
    @task
    async def careless() -> Any:
        with suppress(BaseException):
            return interrupt("sure?")
        return "none"

    @entrypoint(checkpointer=saver)
    async def flow(given: str) -> Any:
        return await careless()

    assert questions_of(await flow.ainvoke("x", thread_id="t")) == ["sure?"]
    assert await flow.ainvoke(Command(resume="yes"), thread_id="t") == "yes"


async def test_an_interrupt_of_a_failed_attempt_does_not_stop_the_next_attempt(saver: Checkpointer) -> None:
    attempts: list[int] = []

    @task(retry_policy=AT_ONCE)
    async def careless() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            with suppress(BaseException):
                interrupt("sure?")
            raise ConnectionError
        return "done"

    @entrypoint(checkpointer=saver)
    async def flow(given: str) -> str:
        return await careless()

    assert await flow.ainvoke("x", thread_id="t") == "done"
