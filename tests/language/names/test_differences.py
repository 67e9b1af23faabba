"""Undocumented behaviour of LangGraph, which is the same here or has a row in the migration guide."""

import warnings
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Durability,
    InMemorySaver,
    MemorySaver,
    ReducerError,
    RetryPolicy,
    Runtime,
    Send,
    StateGraph,
    entrypoint,
    task,
)
from tests.graphs import THREAD, Nodes, State, history


async def test_the_error_of_a_task_in_a_snapshot_is_its_repr(saver: Checkpointer) -> None:
    async def fails(state: State) -> State:
        message = "reset by peer"
        raise ConnectionError(message)

    graph = StateGraph(State).add_node("a", fails).add_edge(START, "a").compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD)

    (failed,) = (await graph.aget_state(THREAD)).tasks
    assert failed.error == "ConnectionError('reset by peer')"


async def test_a_conditional_entry_point_is_next_until_its_router_has_chosen(saver: Checkpointer) -> None:
    builder = StateGraph(State).add_node("a", lambda _: {"log": ["a"]})
    graph = builder.add_conditional_edges(START, lambda _: "a", ["a"]).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    assert [(each.metadata["step"], each.next) for each in await history(graph) if each.metadata] == [
        (2, ()),
        (1, ("a",)),
        (0, ("__start__",)),
    ]


async def test_the_error_of_a_reducer_is_also_an_instance_of_the_class_of_its_exception(saver: Checkpointer) -> None:
    def refuses(left: int, right: int) -> int:
        message = "too much"
        raise ValueError(message)

    class State(TypedDict, total=False):
        n: Annotated[int, refuses]

    graph = StateGraph(State).add_node("a", lambda _: {"n": 1}).add_edge(START, "a").compile(saver)
    with pytest.raises(ValueError, match="too much") as raised:
        await graph.ainvoke({}, THREAD)

    assert isinstance(raised.value, ReducerError)


async def test_nodes_come_before_sends_and_writes_are_merged_in_this_order(saver: Checkpointer) -> None:
    def noting(name: str) -> Any:
        return lambda given: {"log": [name if isinstance(given, dict) else f"{name}{given}"]}

    builder = StateGraph(State)
    for name in ("a", "b", "c"):
        builder.add_node(name, noting(name))
    builder.add_edge(START, "a").add_edge("a", "c")
    builder.add_conditional_edges("a", lambda _: [Send("b", 1), Send("b", 2)], ["b"])
    graph = builder.compile(saver)

    assert await graph.ainvoke({"log": []}, THREAD) == {"log": ["a", "c", "b1", "b2"]}
    assert [each.next for each in await history(graph)] == [(), ("c", "b", "b"), ("a",)]
    assert [task.name for task in (await history(graph))[1].tasks] == ["c", "b", "b"]


async def test_durability_exit_keeps_the_last_checkpoint_of_a_nested_run(
    saver: Checkpointer, durability: Durability
) -> None:
    inner = Nodes().chain("x", "y").compile()
    graph = StateGraph(State).add_node("inner", inner).add_edge(START, "inner").compile(saver)
    await graph.ainvoke({"log": []}, THREAD, durability=durability)

    nested = (await history(graph))[-1].tasks[0].state
    kept = [each.next async for each in graph.aget_state_history(nested)]
    assert kept == ([()] if durability == "exit" else [(), ("y",), ("x",)])


# Names and options


async def test_both_names_of_the_memory_saver_are_one_class() -> None:
    assert InMemorySaver is MemorySaver
    graph = Nodes().chain("a").compile(InMemorySaver())
    assert await graph.ainvoke({"log": []}, THREAD) == {"log": ["a"]}


async def test_server_info_is_none(saver: Checkpointer) -> None:
    seen: list[Any] = []

    async def node(state: State, runtime: Runtime) -> State:
        seen.append(runtime.server_info)
        return {}

    await StateGraph(State).add_node("a", node).add_edge(START, "a").compile(saver).ainvoke({"log": []}, THREAD)

    assert seen == [None]


async def test_the_deprecated_retry_option_works_for_tasks_and_entrypoints(saver: Checkpointer) -> None:
    calls = {"task": 0, "flow": 0}
    policy = RetryPolicy(max_attempts=2, initial_interval=0.001, jitter=False, retry_on=ValueError)
    as_task: Any = task
    as_flow: Any = entrypoint

    def fail_once(name: str) -> None:
        calls[name] += 1
        if calls[name] == 1:
            raise ValueError(name)

    async def work() -> str:
        fail_once("task")
        return "done"

    async def start(_: object) -> Any:
        result = await called()
        fail_once("flow")
        return result

    with pytest.warns(DeprecationWarning, match="retry= is deprecated, use retry_policy="):
        called = as_task(retry=policy)(work)
    with pytest.warns(DeprecationWarning, match="retry= is deprecated, use retry_policy="):
        flow = as_flow(checkpointer=saver, retry=policy)(start)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await flow.ainvoke("go", thread_id="t") == "done"
    assert calls == {"task": 2, "flow": 2}
