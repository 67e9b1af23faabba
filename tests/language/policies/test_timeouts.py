"""A node that exceeds its timeout is stopped."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    GraphValidationError,
    MemorySaver,
    NodeTimeoutError,
    RetryPolicy,
    Runtime,
    Send,
    StateGraph,
    TimeoutPolicy,
    get_runtime,
    interrupt,
    task,
)
from tests.errors.kinds import of_kind
from tests.graphs import State, chain, questions_of
from tests.language.policies.clock import in_no_time, now


def timed(node: Any, timeout: Any, **options: Any) -> StateGraph[State]:
    builder = StateGraph(State)
    builder.add_node("slow", node, timeout=timeout, **options)
    builder.add_edge(START, "slow")
    return builder


async def hang(state: State) -> State:
    await asyncio.Event().wait()
    return {"log": ["never"]}


@pytest.mark.parametrize("timeout", [2, 2.0, timedelta(seconds=2), TimeoutPolicy(run_timeout=2)], ids=repr)
def test_a_node_that_exceeds_its_run_timeout_is_stopped(timeout: Any) -> None:
    with pytest.raises(NodeTimeoutError, match="'slow'") as raised:
        in_no_time(timed(hang, timeout).compile().ainvoke({}))

    assert (raised.value.node, raised.value.kind, raised.value.limit) == ("slow", "run", 2.0)
    assert raised.value.elapsed == pytest.approx(2.0)


async def test_a_thread_can_be_resumed_after_a_node_timed_out(saver: Checkpointer, durability: Durability) -> None:
    hanging = True

    async def slow(state: State) -> State:
        if hanging:
            await asyncio.Event().wait()
        return {"log": ["slow"]}

    graph = timed(slow, 0.02).compile(saver)
    with pytest.raises(NodeTimeoutError):
        await graph.ainvoke({}, thread_id="t", durability=durability)
    assert (await graph.aget_state(thread_id="t")).next == ("slow",)
    hanging = False

    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["slow"]}


def test_a_node_within_its_timeout_is_not_stopped() -> None:
    async def quick(state: State) -> State:
        await asyncio.sleep(1.9)
        return {"log": ["quick"]}

    assert in_no_time(timed(quick, 2).compile().ainvoke({})) == {"log": ["quick"]}


def test_a_node_that_exceeds_its_idle_timeout_is_stopped() -> None:
    with pytest.raises(NodeTimeoutError) as raised:
        in_no_time(timed(hang, TimeoutPolicy(idle_timeout=3)).compile().ainvoke({}))

    assert (raised.value.kind, raised.value.limit) == ("idle", 3.0)


def test_a_heartbeat_restarts_the_idle_timeout_and_not_the_run_timeout() -> None:
    beats = 0

    async def beating(state: State, runtime: Runtime[None]) -> State:
        nonlocal beats
        while True:
            await asyncio.sleep(2)
            runtime.heartbeat()
            beats += 1

    with pytest.raises(NodeTimeoutError) as raised:
        in_no_time(timed(beating, TimeoutPolicy(idle_timeout=3, run_timeout=100)).compile().ainvoke({}))

    assert (raised.value.kind, raised.value.limit) == ("run", 100.0)
    assert beats == 49


def test_a_streamed_value_restarts_the_idle_timeout() -> None:
    async def streaming(state: State, runtime: Runtime[None]) -> State:
        for number in range(10):
            await asyncio.sleep(2)
            runtime.stream_writer(number)
        return {"log": ["streamed"]}

    assert in_no_time(timed(streaming, TimeoutPolicy(idle_timeout=3)).compile().ainvoke({})) == {"log": ["streamed"]}


def test_a_value_streamed_by_a_nested_graph_restarts_the_idle_timeout_of_the_calling_node() -> None:
    async def streaming(state: State, runtime: Runtime[None]) -> State:
        for number in range(10):
            await asyncio.sleep(2)
            runtime.stream_writer(number)
        return {"log": ["streamed"]}

    inner = chain(("streaming", streaming)).compile()

    assert in_no_time(timed(inner, TimeoutPolicy(idle_timeout=3)).compile().ainvoke({})) == {"log": ["streamed"]}


def test_a_heartbeat_of_a_task_restarts_the_idle_timeout_of_the_calling_node() -> None:
    @task
    async def beating() -> str:
        for _ in range(10):
            await asyncio.sleep(2)
            get_runtime().heartbeat()
        return "alive"

    async def node(state: State) -> State:
        return {"log": [await beating()]}

    assert in_no_time(timed(node, TimeoutPolicy(idle_timeout=3)).compile().ainvoke({})) == {"log": ["alive"]}


async def test_a_plain_function_may_send_a_heartbeat_from_its_thread() -> None:
    @task
    def beating() -> str:
        get_runtime().heartbeat()
        return "alive"

    async def node(state: State) -> State:
        return {"log": [await beating()]}

    assert await timed(node, TimeoutPolicy(idle_timeout=30)).compile().ainvoke({}) == {"log": ["alive"]}


def test_a_heartbeat_after_the_timeout_has_no_effect() -> None:
    async def late(state: State, runtime: Runtime[None]) -> State:
        try:
            await asyncio.Event().wait()
        finally:
            runtime.heartbeat()
        return {}

    with pytest.raises(NodeTimeoutError):
        in_no_time(timed(late, TimeoutPolicy(idle_timeout=3)).compile().ainvoke({}))


def test_a_streamed_value_does_not_restart_the_idle_timeout_with_refresh_on_heartbeat() -> None:
    async def streaming(state: State, runtime: Runtime[None]) -> State:
        while True:
            await asyncio.sleep(1)
            runtime.stream_writer("tick")

    policy = TimeoutPolicy(idle_timeout=3, refresh_on="heartbeat")

    with pytest.raises(NodeTimeoutError) as raised:
        in_no_time(timed(streaming, policy).compile().ainvoke({}))

    assert raised.value.kind == "idle"
    assert raised.value.elapsed == pytest.approx(3.0)


def test_a_heartbeat_restarts_the_idle_timeout_with_refresh_on_heartbeat() -> None:
    async def beating(state: State, runtime: Runtime[None]) -> State:
        for _ in range(10):
            await asyncio.sleep(2)
            runtime.heartbeat()
        return {"log": ["alive"]}

    policy = TimeoutPolicy(idle_timeout=3, refresh_on="heartbeat")

    assert in_no_time(timed(beating, policy).compile().ainvoke({})) == {"log": ["alive"]}


async def test_a_heartbeat_without_an_idle_timeout_has_no_effect(saver: Checkpointer) -> None:
    async def beating(state: State, runtime: Runtime[None]) -> State:
        runtime.heartbeat()
        return {"log": ["alive"]}

    assert await chain(("a", beating)).compile(saver).ainvoke({}, thread_id="t") == {"log": ["alive"]}


def test_a_node_that_catches_its_cancellation_still_times_out() -> None:
    async def stubborn(state: State) -> State:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return {"log": ["late"]}

    async def run() -> Any:
        graph = timed(stubborn, 1).compile(MemorySaver())
        with pytest.raises(NodeTimeoutError):
            await graph.ainvoke({}, thread_id="t")
        return await graph.aget_state(thread_id="t")

    assert in_no_time(run()).values == {"log": []}


def test_a_timeout_error_that_a_node_raises_is_not_a_node_timeout_error() -> None:
    calls = 0

    async def impatient(state: State) -> State:
        nonlocal calls
        calls += 1
        message = "my own"
        raise TimeoutError(message)

    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=NodeTimeoutError)

    with pytest.raises(TimeoutError, match="my own") as raised:
        in_no_time(timed(impatient, 10, retry_policy=policy).compile().ainvoke({}))

    assert not isinstance(raised.value, NodeTimeoutError)
    assert calls == 1


def test_a_timeout_is_retried_and_each_attempt_has_the_full_time() -> None:
    began: list[float] = []

    async def slow(state: State) -> State:
        began.append(now())
        if len(began) < 3:
            await asyncio.Event().wait()
        await asyncio.sleep(9)
        return {"log": ["slow"]}

    policy = RetryPolicy(initial_interval=0, jitter=False)

    assert in_no_time(timed(slow, 10, retry_policy=policy).compile().ainvoke({})) == {"log": ["slow"]}
    assert began == [pytest.approx(each) for each in (0, 10, 20)]


def test_the_timeout_of_a_send_overrides_that_of_its_node() -> None:
    began: list[float] = []

    async def work(job: Any) -> State:
        began.append(now())
        await asyncio.sleep(5)
        return {"log": [job]}

    def compiled(node_timeout: float, send_timeout: float) -> Any:
        builder = StateGraph(State)
        builder.add_node("work", work, timeout=node_timeout)
        builder.add_conditional_edges(START, lambda _: [Send("work", "x", timeout=send_timeout)], ["work"])
        return builder.compile(MemorySaver())

    assert in_no_time(compiled(1, 10).ainvoke({}, thread_id="t")) == {"log": ["x"]}
    with pytest.raises(NodeTimeoutError) as raised:
        in_no_time(compiled(10, 1).ainvoke({}, thread_id="t"))
    assert (raised.value.node, raised.value.limit) == ("work", 1.0)


async def test_the_timeout_of_a_send_survives_a_restart(saver: Checkpointer) -> None:
    async def work(job: Any) -> State:
        await asyncio.Event().wait()
        return {}

    builder = StateGraph(State)
    builder.add_node("work", work)
    sends = [Send("work", "x", timeout=TimeoutPolicy(idle_timeout=0.02))]
    builder.add_conditional_edges(START, lambda _: sends, ["work"])
    await builder.compile(saver, interrupt_before=["work"]).ainvoke({}, thread_id="t")

    with pytest.raises(NodeTimeoutError) as raised:
        await builder.compile(saver).ainvoke(None, thread_id="t")

    assert (raised.value.kind, raised.value.limit) == ("idle", 0.02)


async def test_an_interrupt_within_the_timeout_is_returned(saver: Checkpointer) -> None:
    async def ask(state: State) -> State:
        return {"log": [interrupt("sure?")]}

    graph = timed(ask, 10).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t")) == ["sure?"]
    assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["yes"]}


def test_a_parent_command_within_the_timeout_is_followed() -> None:
    async def leave(state: State) -> Command[Any]:
        await asyncio.sleep(1)
        return Command(graph=Command.PARENT, update={"log": ["left"]})

    inner = timed(leave, 10).compile()
    graph = timed(inner, 10).compile(MemorySaver())

    assert in_no_time(graph.ainvoke({}, thread_id="t")) == {"log": ["left"]}


def test_a_cancellation_of_the_run_is_not_a_timeout() -> None:
    async def cancelled() -> None:
        running = asyncio.create_task(timed(hang, 10).compile().ainvoke({}))
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    in_no_time(cancelled())


def test_the_result_of_a_sibling_is_kept_when_a_node_times_out() -> None:
    async def quick(state: State) -> State:
        return {"log": ["quick"]}

    builder = timed(hang, 1)
    builder.add_node("quick", quick)
    builder.add_edge(START, "quick")

    async def run() -> Any:
        graph = builder.compile(MemorySaver())
        with pytest.raises(NodeTimeoutError):
            await graph.ainvoke({}, thread_id="t")
        return await graph.aget_state(thread_id="t")

    snapshot = in_no_time(run())
    assert (snapshot.values, snapshot.next) == ({"log": ["quick"]}, ("slow",))


def test_a_timeout_of_a_plain_function_is_refused() -> None:
    def slow(state: State) -> State:
        return {}

    with pytest.raises(GraphValidationError, check=of_kind("graph"), match=r"'slow'.*async"):
        timed(slow, 1).compile()


@pytest.mark.parametrize("seconds", [0, -1, timedelta(0), float("nan")], ids=repr)
def test_an_invalid_timeout_is_refused(seconds: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        TimeoutPolicy(run_timeout=seconds)
    with pytest.raises(ValueError, match="timeout"):
        TimeoutPolicy(idle_timeout=seconds)
    with pytest.raises(ValueError, match="timeout"):
        timed(hang, seconds)


async def test_a_send_with_an_invalid_timeout_is_refused(saver: Checkpointer) -> None:
    async def work(job: Any) -> State:
        return {}

    def compiled() -> Any:
        builder = StateGraph(State)
        builder.add_node("work", work)
        builder.add_conditional_edges(START, lambda _: [Send("work", "x", timeout=0)], ["work"])
        return builder.compile(saver)

    with pytest.raises(ValueError, match="timeout"):
        await compiled().ainvoke({}, thread_id="t")


async def test_a_send_with_a_timeout_to_a_plain_function_is_refused(saver: Checkpointer) -> None:
    def work(job: Any) -> State:
        return {}

    builder = StateGraph(State)
    builder.add_node("work", work)
    builder.add_conditional_edges(START, lambda _: [Send("work", "x", timeout=1)], ["work"])

    with pytest.raises(ValueError, match="plain function"):
        await builder.compile(saver).ainvoke({}, thread_id="t")
