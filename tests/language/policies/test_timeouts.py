"""Nodes that take too long are stopped."""

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
def test_a_node_that_runs_too_long_is_stopped(timeout: Any) -> None:
    with pytest.raises(NodeTimeoutError, match="'slow'") as raised:
        in_no_time(timed(hang, timeout).compile().ainvoke({}))

    assert (raised.value.node, raised.value.kind, raised.value.limit) == ("slow", "run", 2.0)
    assert raised.value.elapsed == pytest.approx(2.0)


async def test_a_thread_whose_node_was_stopped_can_be_resumed(saver: Checkpointer, durability: Durability) -> None:
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


def test_a_node_that_is_quick_enough_is_left_alone() -> None:
    async def quick(state: State) -> State:
        await asyncio.sleep(1.9)
        return {"log": ["quick"]}

    assert in_no_time(timed(quick, 2).compile().ainvoke({})) == {"log": ["quick"]}


def test_a_node_that_gives_no_sign_of_life_is_stopped() -> None:
    with pytest.raises(NodeTimeoutError) as raised:
        in_no_time(timed(hang, TimeoutPolicy(idle_timeout=3)).compile().ainvoke({}))

    assert (raised.value.kind, raised.value.limit) == ("idle", 3.0)


def test_a_heartbeat_starts_the_idle_time_over_and_not_the_run_time() -> None:
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


def test_what_a_node_streams_is_a_sign_of_life() -> None:
    async def telling(state: State, runtime: Runtime[None]) -> State:
        for number in range(10):
            await asyncio.sleep(2)
            runtime.stream_writer(number)
        return {"log": ["told"]}

    assert in_no_time(timed(telling, TimeoutPolicy(idle_timeout=3)).compile().ainvoke({})) == {"log": ["told"]}


def test_what_a_nested_graph_streams_is_a_sign_of_life_of_the_node_that_runs_it() -> None:
    async def telling(state: State, runtime: Runtime[None]) -> State:
        for number in range(10):
            await asyncio.sleep(2)
            runtime.stream_writer(number)
        return {"log": ["told"]}

    inner = chain(("telling", telling)).compile()

    assert in_no_time(timed(inner, TimeoutPolicy(idle_timeout=3)).compile().ainvoke({})) == {"log": ["told"]}


def test_a_heartbeat_of_a_task_is_one_of_the_node_that_called_it() -> None:
    @task
    async def beating() -> str:
        for _ in range(10):
            await asyncio.sleep(2)
            get_runtime().heartbeat()
        return "alive"

    async def node(state: State) -> State:
        return {"log": [await beating()]}

    assert in_no_time(timed(node, TimeoutPolicy(idle_timeout=3)).compile().ainvoke({})) == {"log": ["alive"]}


async def test_a_heartbeat_of_a_plain_function_in_its_thread_counts() -> None:
    @task
    def beating() -> str:
        get_runtime().heartbeat()
        return "alive"

    async def node(state: State) -> State:
        return {"log": [await beating()]}

    assert await timed(node, TimeoutPolicy(idle_timeout=30)).compile().ainvoke({}) == {"log": ["alive"]}


def test_a_heartbeat_that_comes_too_late_changes_nothing() -> None:
    async def late(state: State, runtime: Runtime[None]) -> State:
        try:
            await asyncio.Event().wait()
        finally:
            runtime.heartbeat()
        return {}

    with pytest.raises(NodeTimeoutError):
        in_no_time(timed(late, TimeoutPolicy(idle_timeout=3)).compile().ainvoke({}))


def test_what_a_node_streams_is_none_where_only_heartbeats_are() -> None:
    async def telling(state: State, runtime: Runtime[None]) -> State:
        while True:
            await asyncio.sleep(1)
            runtime.stream_writer("tick")

    policy = TimeoutPolicy(idle_timeout=3, refresh_on="heartbeat")

    with pytest.raises(NodeTimeoutError) as raised:
        in_no_time(timed(telling, policy).compile().ainvoke({}))

    assert raised.value.kind == "idle"
    assert raised.value.elapsed == pytest.approx(3.0)


def test_a_heartbeat_counts_where_only_heartbeats_do() -> None:
    async def beating(state: State, runtime: Runtime[None]) -> State:
        for _ in range(10):
            await asyncio.sleep(2)
            runtime.heartbeat()
        return {"log": ["alive"]}

    policy = TimeoutPolicy(idle_timeout=3, refresh_on="heartbeat")

    assert in_no_time(timed(beating, policy).compile().ainvoke({})) == {"log": ["alive"]}


async def test_a_heartbeat_without_an_idle_timeout_means_nothing(saver: Checkpointer) -> None:
    async def beating(state: State, runtime: Runtime[None]) -> State:
        runtime.heartbeat()
        return {"log": ["alive"]}

    assert await chain(("a", beating)).compile(saver).ainvoke({}, thread_id="t") == {"log": ["alive"]}


def test_a_node_that_catches_its_cancellation_is_too_late_all_the_same() -> None:
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


def test_a_timeout_of_the_nodes_own_is_its_own() -> None:
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


def test_each_attempt_has_the_whole_time_and_a_timeout_is_tried_again() -> None:
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


def test_the_timeout_of_a_send_takes_the_place_of_the_nodes() -> None:
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


async def test_a_question_within_the_time_is_a_question(saver: Checkpointer) -> None:
    async def ask(state: State) -> State:
        return {"log": [interrupt("sure?")]}

    graph = timed(ask, 10).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t")) == ["sure?"]
    assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["yes"]}


def test_a_command_to_the_parent_within_the_time_is_followed() -> None:
    async def leave(state: State) -> Command[Any]:
        await asyncio.sleep(1)
        return Command(graph=Command.PARENT, update={"log": ["left"]})

    inner = timed(leave, 10).compile()
    graph = timed(inner, 10).compile(MemorySaver())

    assert in_no_time(graph.ainvoke({}, thread_id="t")) == {"log": ["left"]}


def test_a_cancellation_from_outside_is_no_timeout() -> None:
    async def cancelled() -> None:
        running = asyncio.create_task(timed(hang, 10).compile().ainvoke({}))
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    in_no_time(cancelled())


def test_a_sibling_is_kept_when_another_is_too_slow() -> None:
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


def test_a_plain_function_cannot_be_stopped_so_a_timeout_for_one_is_refused() -> None:
    def slow(state: State) -> State:
        return {}

    with pytest.raises(GraphValidationError, check=of_kind("graph"), match=r"'slow'.*async"):
        timed(slow, 1).compile()


@pytest.mark.parametrize("seconds", [0, -1, timedelta(0), float("nan")], ids=repr)
def test_a_timeout_has_to_be_some_time(seconds: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        TimeoutPolicy(run_timeout=seconds)
    with pytest.raises(ValueError, match="timeout"):
        TimeoutPolicy(idle_timeout=seconds)
    with pytest.raises(ValueError, match="timeout"):
        timed(hang, seconds)


async def test_a_send_whose_timeout_is_no_time_is_refused(saver: Checkpointer) -> None:
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
