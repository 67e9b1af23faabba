"""`set_node_defaults`: policies for every node that has none of its own."""

import asyncio
from typing import Any

import pytest

from durable_graph import (
    START,
    CachePolicy,
    Checkpointer,
    Durability,
    InMemoryCache,
    NodeError,
    NodeTimeoutError,
    RetryPolicy,
    StateGraph,
    TimeoutPolicy,
)
from tests.graphs import Nodes, State, chain
from tests.language.policies.clock import in_no_time, now


def times(attempts: int) -> RetryPolicy:
    return RetryPolicy(initial_interval=0, jitter=False, max_attempts=attempts, retry_on=ValueError)


class Flaky:
    """A node that fails a number of times and then returns."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    async def __call__(self, state: State) -> State:
        self.calls += 1
        if self.calls <= self.failures:
            message = f"number {self.calls}"
            raise ValueError(message)
        return {"log": ["fine"]}


async def handle(state: State, error: NodeError) -> State:
    return {"log": [f"{error.node} handled"]}


async def test_the_default_retry_policy_applies_to_every_node(saver: Checkpointer) -> None:
    builder = StateGraph(State).set_node_defaults(retry_policy=times(3))
    builder.add_node("flaky", Flaky(2))
    builder.add_edge(START, "flaky")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["fine"]}


async def test_a_retry_policy_of_a_node_overrides_the_default(saver: Checkpointer) -> None:
    builder = StateGraph(State).set_node_defaults(retry_policy=times(1))
    builder.add_node("flaky", Flaky(1), retry_policy=times(3))
    builder.add_edge(START, "flaky")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["fine"]}


async def test_the_default_handler_handles_every_node(saver: Checkpointer) -> None:
    builder = StateGraph(State).set_node_defaults(error_handler=handle)
    for name in "ab":
        builder.add_node(name, Flaky(9))
        builder.add_edge(START, name)

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["a handled", "b handled"]}


async def test_an_error_handler_of_a_node_overrides_the_default(saver: Checkpointer) -> None:
    async def own(state: State, error: NodeError) -> State:
        return {"log": ["its own"]}

    builder = StateGraph(State).set_node_defaults(error_handler=handle)
    builder.add_node("a", Flaky(9), error_handler=own)
    builder.add_node("b", Flaky(9))
    builder.add_edge(START, "a")
    builder.add_edge(START, "b")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["its own", "b handled"]}


@pytest.mark.parametrize("is_own", [False, True])
async def test_a_failure_of_a_handler_is_not_handled_by_the_default_handler(saver: Checkpointer, is_own: bool) -> None:
    async def broken(state: State, error: NodeError) -> State:
        message = "the handler"
        raise RuntimeError(message)

    builder = StateGraph(State)
    builder.set_node_defaults(error_handler=handle if is_own else broken)
    options: dict[str, Any] = {"error_handler": broken} if is_own else {}
    builder.add_node("a", Flaky(9), **options)
    builder.add_edge(START, "a")

    with pytest.raises(RuntimeError, match="the handler"):
        await builder.compile(saver).ainvoke({}, thread_id="t")


class FlakyHandler:
    """An error handler that fails a number of times and then returns."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.errors: list[str] = []

    async def __call__(self, state: State, error: NodeError) -> State:
        self.errors.append(str(error.error))
        if len(self.errors) <= self.failures:
            message = f"handler {len(self.errors)}"
            raise ValueError(message)
        return {"log": ["handled"]}


async def test_a_handler_is_retried_by_the_default_policy_with_the_error_of_its_node(
    saver: Checkpointer, durability: Durability
) -> None:
    handler, flaky = FlakyHandler(2), Flaky(9)
    builder = StateGraph(State).set_node_defaults(retry_policy=times(3))
    builder.add_node("a", flaky, error_handler=handler, retry_policy=times(1))
    builder.add_edge(START, "a")

    result = await builder.compile(saver).ainvoke({}, thread_id="t", durability=durability)

    assert result == {"log": ["handled"]}
    assert handler.errors == ["number 1"] * 3
    assert flaky.calls == 1


async def test_a_handler_is_not_retried_by_the_policy_of_its_node(saver: Checkpointer) -> None:
    handler = FlakyHandler(1)
    builder = StateGraph(State)
    builder.add_node("a", Flaky(9), error_handler=handler, retry_policy=times(3))
    builder.add_edge(START, "a")

    with pytest.raises(ValueError, match="handler 1"):
        await builder.compile(saver).ainvoke({}, thread_id="t")
    assert handler.errors == ["number 3"]


async def test_a_handler_that_used_up_its_attempts_has_all_of_them_again_on_resume(
    saver: Checkpointer, durability: Durability
) -> None:
    handler, flaky = FlakyHandler(3), Flaky(9)
    builder = StateGraph(State).set_node_defaults(retry_policy=times(2))
    builder.add_node("a", flaky, error_handler=handler)
    builder.add_edge(START, "a")
    graph = builder.compile(saver)

    with pytest.raises(ValueError, match="handler 2"):
        await graph.ainvoke({}, thread_id="t", durability=durability)
    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["handled"]}
    assert (flaky.calls, len(handler.errors)) == (2, 4)


def test_a_handler_is_retried_at_the_intervals_of_the_default_policy() -> None:
    started: list[float] = []

    async def slow(state: State, error: NodeError) -> State:
        started.append(now())
        if len(started) < 3:
            message = "not yet"
            raise ValueError(message)
        return {"log": ["handled"]}

    policy = RetryPolicy(initial_interval=10, jitter=False, retry_on=ValueError)
    builder = StateGraph(State).set_node_defaults(retry_policy=policy)
    builder.add_node("a", Flaky(9), error_handler=slow, retry_policy=times(1))
    builder.add_edge(START, "a")

    assert in_no_time(builder.compile().ainvoke({})) == {"log": ["handled"]}
    assert [round(at - started[0]) for at in started] == [0, 10, 30]


def test_a_handler_has_the_default_timeout_and_not_that_of_its_node() -> None:
    async def hang(state: State, error: NodeError) -> State:
        return await _hang(state)

    async def rest(state: State, error: NodeError) -> State:
        await asyncio.sleep(4)
        return {"log": ["rested"]}

    builder = StateGraph(State).set_node_defaults(timeout=5)
    builder.add_node("a", Flaky(9), error_handler=rest, timeout=1)
    builder.add_node("b", Flaky(9), error_handler=hang, timeout=1)
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")

    assert in_no_time(builder.compile().ainvoke({})) == {"log": ["rested"]}
    builder.add_edge(START, "b")
    with pytest.raises(NodeTimeoutError) as raised:
        in_no_time(builder.compile().ainvoke({}))
    assert (raised.value.node, raised.value.limit) == ("b", 5.0)


async def test_attempts_are_used_up_before_the_default_handler_is_called(saver: Checkpointer) -> None:
    flaky = Flaky(9)
    seen: list[str] = []

    async def note(state: State, error: NodeError) -> State:
        seen.append(str(error.error))
        return {}

    builder = StateGraph(State).set_node_defaults(retry_policy=times(2), error_handler=note)
    builder.add_node("flaky", flaky)
    builder.add_edge(START, "flaky")
    await builder.compile(saver).ainvoke({}, thread_id="t")

    assert (flaky.calls, seen) == (2, ["number 2"])


async def test_defaults_apply_to_nodes_that_were_added_before_they_were_set(saver: Checkpointer) -> None:
    builder = StateGraph(State)
    builder.add_node("a", Flaky(9))
    builder.add_edge(START, "a")
    builder.set_node_defaults(error_handler=handle)

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["a handled"]}


async def test_a_graph_with_a_default_handler_can_be_compiled_twice(saver: Checkpointer) -> None:
    """Reference P28: the second compilation was an error."""
    builder = StateGraph(State).set_node_defaults(error_handler=handle)
    builder.add_node("a", Flaky(9))
    builder.add_edge(START, "a")
    builder.compile()

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["a handled"]}


async def test_a_default_handler_gets_the_config(saver: Checkpointer) -> None:
    threads: list[str] = []

    async def look(state: State, error: NodeError, config: dict[str, Any]) -> State:
        threads.append(config["configurable"]["thread_id"])
        return {}

    builder = StateGraph(State).set_node_defaults(error_handler=look)
    builder.add_node("a", Flaky(9))
    builder.add_edge(START, "a")
    await builder.compile(saver).ainvoke({}, {"configurable": {"thread_id": "t"}})

    assert threads == ["t"]


async def _hang(state: State) -> State:
    await asyncio.Event().wait()
    return {}


def test_the_default_timeout_applies_to_every_node() -> None:
    builder = StateGraph(State).set_node_defaults(timeout=TimeoutPolicy(run_timeout=5))
    builder.add_node("slow", _hang)
    builder.add_edge(START, "slow")

    with pytest.raises(NodeTimeoutError) as raised:
        in_no_time(builder.compile().ainvoke({}))

    assert (raised.value.node, raised.value.limit) == ("slow", 5.0)


def test_a_timeout_of_a_node_overrides_the_default() -> None:
    async def slow(state: State) -> State:
        await asyncio.sleep(4)
        return {"log": ["slow"]}

    builder = StateGraph(State).set_node_defaults(timeout=1)
    builder.add_node("slow", slow, timeout=TimeoutPolicy(run_timeout=5))
    builder.add_edge(START, "slow")

    assert in_no_time(builder.compile().ainvoke({})) == {"log": ["slow"]}


async def test_the_default_cache_policy_applies_to_every_node(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = chain(("a", nodes.noting("a")), ("b", nodes.noting("b")))
    builder.set_node_defaults(cache_policy=CachePolicy())
    graph = builder.compile(saver, cache=InMemoryCache())

    results = [await graph.ainvoke({"log": ["in"]}, thread_id=thread) for thread in ("1", "2")]

    assert results[0] == results[1] == {"log": ["in", "a", "b"]}
    assert nodes.calls == {"a": 1, "b": 1}


async def test_a_nested_graph_does_not_inherit_the_defaults(saver: Checkpointer) -> None:
    flaky = Flaky(1)
    inner = chain(("flaky", flaky)).compile()
    builder = StateGraph(State).set_node_defaults(retry_policy=times(1), error_handler=handle)
    builder.add_node("inner", inner)
    builder.add_edge(START, "inner")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["inner handled"]}
    assert flaky.calls == 1
