"""The modes "tasks", "checkpoints" and "debug"."""

import operator
from datetime import datetime
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    CheckpointCommitted,
    Checkpointer,
    Command,
    Durability,
    GraphDrained,
    RetryPolicy,
    RunControl,
    RunDrained,
    StateGraph,
    TaskFailed,
    TaskStarted,
    entrypoint,
    task,
)
from tests.graphs import Nodes, State, chain, fan_out, node_names, stream_parts


class Pair(TypedDict, total=False):
    a: str
    b: Annotated[list[str], operator.add]


CONFIG: Any = {"configurable": {"thread_id": "t"}, "metadata": {"who": "me"}, "tags": ["tg"]}


async def parts_of(graph: Any, given: Any, mode: Any, **options: Any) -> list[Any]:
    return [part async for part in graph.astream(given, CONFIG, stream_mode=mode, **options)]


# Tasks


async def test_a_task_is_streamed_when_it_starts_and_when_it_ends(saver: Checkpointer, durability: Durability) -> None:
    builder = StateGraph(State).add_node("a", Nodes().noting("a"), metadata={"m": 1}).add_edge(START, "a")

    start, end = await parts_of(builder.compile(saver), {"log": ["in"]}, "tasks", durability=durability)

    assert start == {
        "id": end["id"],
        "name": "a",
        "input": {"log": ["in"]},
        "triggers": (),
        "metadata": {"who": "me", "m": 1, "tags": ["tg"]},
    }
    assert end == {"id": start["id"], "name": "a", "error": None, "result": {"log": ["a"]}, "interrupts": []}


async def test_the_start_of_a_task_without_metadata_has_no_key_for_it(saver: Checkpointer) -> None:
    start, _ = await stream_parts(chain(("a", Nodes().noting("a"))).compile(saver), {}, stream_mode="tasks")

    assert set(start) == {"id", "name", "input", "triggers"}


async def test_siblings_start_before_any_of_them_ends(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = fan_out(*((name, nodes.noting(name)) for name in "abc")).compile(saver)

    chunks = await stream_parts(graph, {}, stream_mode="tasks")

    assert ["input" in chunk for chunk in chunks] == [True] * 3 + [False] * 3


async def test_a_key_that_a_task_wrote_twice_has_all_its_writes(saver: Checkpointer) -> None:
    async def node(state: State) -> list[Command[Any]]:
        return [Command(update={"log": ["1"]}), Command(update={"log": ["2"]})]

    _, end = await stream_parts(chain(("node", node)).compile(saver), {}, stream_mode="tasks")

    assert end["result"] == {"log": {"$writes": [["1"], ["2"]]}}


async def test_a_failed_task_is_streamed_with_its_error(saver: Checkpointer) -> None:
    async def boom(state: State) -> None:
        raise ValueError("boom")

    graph = chain(("boom", boom)).compile(saver)
    seen: list[Any] = []

    with pytest.raises(ValueError, match="boom"):  # noqa: PT012  # the loop raises
        async for part in graph.astream({}, thread_id="t", stream_mode="tasks"):
            seen.append(part)

    assert [(each["name"], each.get("error"), each.get("result")) for each in seen] == [
        ("boom", None, None),
        ("boom", "ValueError('boom')", {}),
    ]


async def test_a_retried_task_starts_and_ends_once_and_has_typed_events_for_each_attempt(saver: Checkpointer) -> None:
    calls = 0

    async def flaky(state: State) -> State:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ConnectionError
        return {"log": ["ok"]}

    again = RetryPolicy(initial_interval=0.001, jitter=False)
    graph = StateGraph(State).add_node("flaky", flaky, retry_policy=again).add_edge(START, "flaky").compile(saver)

    start, end = await stream_parts(graph, {}, stream_mode="tasks")
    async with graph.stream({}, thread_id="u") as events:
        calls = 0
        typed = [event async for event in events if isinstance(event, TaskStarted | TaskFailed)]

    assert (start["name"], end["result"]) == ("flaky", {"log": ["ok"]})
    assert [(type(each).__name__, each.attempt) for each in typed] == [
        ("TaskStarted", 1),
        ("TaskFailed", 1),
        ("TaskStarted", 2),
        ("TaskFailed", 2),
        ("TaskStarted", 3),
    ]
    begun, first = typed[:2]
    assert isinstance(first, TaskFailed)
    assert first.will_retry
    assert first.retry_at is not None
    assert 0 < first.retry_at - begun.at < 60


async def test_an_interrupted_task_ends_with_its_interrupts(saver: Checkpointer, durability: Durability) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)

    start, end = await parts_of(graph, {}, "tasks", durability=durability)
    (pending,) = (await graph.aget_state(thread_id="t")).interrupts

    assert end == {
        "id": start["id"],
        "name": "ask",
        "error": None,
        "result": {},
        "interrupts": [{"value": "sure?", "id": pending.id}],
    }
    again, done = await parts_of(graph, Command(resume="yes"), "tasks", durability=durability)
    assert (again["id"], done["result"]) == (start["id"], {"log": ["ask:yes"]})


async def test_tasks_of_nested_graphs_are_streamed_with_their_namespace(saver: Checkpointer) -> None:
    nodes = Nodes()
    inner = chain(("x", nodes.noting("x"))).compile()
    graph = chain(("inner", inner)).compile(saver)

    chunks = await stream_parts(graph, {}, stream_mode="tasks", subgraphs=True)

    assert [(node_names(ns), chunk["name"], "input" in chunk) for ns, chunk in chunks] == [
        ((), "inner", True),
        (("inner",), "x", True),
        (("inner",), "x", False),
        ((), "inner", False),
    ]


async def test_an_entrypoint_is_streamed_as_a_task_with_one_result_value(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def double(number: int) -> int:
        return number * 2

    start, end = await stream_parts(double, 21, stream_mode="tasks")

    assert (start["name"], start["input"], end["result"]) == ("double", 21, {"__end__": 42})


async def test_calls_of_tasks_are_streamed_between_the_start_and_the_end_of_their_caller(
    saver: Checkpointer, durability: Durability
) -> None:
    @task
    async def double(number: int) -> int:
        return number * 2

    @entrypoint(checkpointer=saver)
    async def flow(number: int) -> int:
        return await double(number) + 1

    chunks = await parts_of(flow, 21, "tasks", durability=durability)

    assert [(chunk["name"], chunk.get("result")) for chunk in chunks] == [
        ("flow", None),
        ("double", None),
        ("double", {"__return__": 42}),
        ("flow", {"__end__": 43}),
    ]
    assert chunks[1]["metadata"] == {"who": "me", "tags": ["tg"]}
    assert chunks[1]["id"] == chunks[2]["id"] != chunks[0]["id"]


# Checkpoints


async def test_a_streamed_checkpoint_equals_the_snapshot_of_its_config(saver: Checkpointer) -> None:
    """LangGraph streams checkpoints when they are queued: their configs may not be readable yet."""
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver)

    seen = []
    async for part in graph.astream({"log": ["in"]}, CONFIG, stream_mode="checkpoints"):
        seen.append(part)
        kept = await graph.aget_state(part["config"])
        assert (part["values"], part["next"]) == (kept.values, list(kept.next))
        assert (part["config"], part["parent_config"]) == (kept.config, kept.parent_config)
        assert part["metadata"] == kept.metadata
        assert [(task["id"], task["name"]) for task in part["tasks"]] == [(task.id, task.name) for task in kept.tasks]

    assert [part["next"] for part in seen] == [["a"], ["b"], []]
    assert [part["metadata"]["source"] for part in seen] == ["input", "loop", "loop"]
    assert {part["metadata"]["who"] for part in seen} == {"me"}
    assert seen[0]["tasks"][0] == {"id": seen[0]["tasks"][0]["id"], "name": "a", "interrupts": (), "state": None}


async def test_streamed_checkpoints_have_the_same_values_in_every_durability(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver)

    seen = await parts_of(graph, {}, "checkpoints", durability=durability)

    assert [part["values"] for part in seen] == [{"log": []}, {"log": ["a"]}, {"log": ["a", "b"]}]
    # A checkpoint that is not durable yet is marked: its config cannot be read before the run has finished.
    assert [part.get("provisional", False) for part in seen] == [False, *[durability == "exit"] * 2]


async def test_the_task_of_a_nested_graph_has_the_config_of_the_nested_state(saver: Checkpointer) -> None:
    nodes = Nodes()
    inner = chain(("ask", nodes.asking("ask", "?"))).compile()
    graph = chain(("inner", inner)).compile(saver)

    seen = await stream_parts(graph, {}, stream_mode="checkpoints", subgraphs=True)

    (outer, inside) = seen
    assert (outer[0], node_names(inside[0])) == ((), ("inner",))
    place = outer[1]["tasks"][0]["state"]
    assert place == {"configurable": {"thread_id": "t", "checkpoint_ns": inside[0][0]}}
    assert inside[1]["config"]["configurable"]["checkpoint_ns"] == inside[0][0]
    assert [each.value for each in (await graph.aget_state(place)).interrupts] == ["?"]


async def test_checkpoints_have_the_whole_state_and_not_only_the_output_schema(saver: Checkpointer) -> None:
    class Out(TypedDict, total=False):
        b: list[str]

    async def node(state: Pair) -> Pair:
        return {"a": "private"}

    graph = StateGraph(Pair, output_schema=Out).add_node("node", node).add_edge(START, "node").compile(saver)

    *_, last = await stream_parts(graph, {"a": "in"}, stream_mode="checkpoints")

    assert last["values"] == (await graph.aget_state(last["config"])).values == {"a": "private", "b": []}


async def test_no_checkpoints_are_streamed_without_a_checkpointer() -> None:
    graph = chain(("a", Nodes().noting("a"))).compile()

    seen = [part async for part in graph.astream({}, stream_mode=["checkpoints", "updates"])]

    assert seen == [("updates", {"a": {"log": ["a"]}})]


async def test_output_keys_choose_the_values_of_checkpoints(saver: Checkpointer) -> None:
    graph = chain(("a", Nodes().noting("a"))).compile(saver)

    assert [part["values"] for part in await stream_parts(graph, {}, stream_mode="checkpoints", output_keys="log")] == [
        [],
        ["a"],
    ]


async def test_a_fork_is_streamed_as_a_checkpoint_of_its_own(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    old = [each async for each in graph.aget_state_history(thread_id="t")][1].config

    first, last = [part async for part in graph.astream(None, old, stream_mode="checkpoints")]

    assert first["metadata"]["source"] == "fork"
    assert first["parent_config"] == old
    assert last["parent_config"] == first["config"]


# Debug


async def test_debug_has_tasks_and_checkpoints_with_superstep_kind_and_time(saver: Checkpointer) -> None:
    graph = chain(("a", Nodes().noting("a"))).compile(saver)
    modes: Any = ["debug", "tasks", "checkpoints"]

    seen = await parts_of(graph, {}, modes)

    debug = [part for mode, part in seen if mode == "debug"]
    assert [(part["step"], part["type"]) for part in debug] == [
        (0, "checkpoint"),
        (1, "task"),
        (1, "task_result"),
        (1, "checkpoint"),
    ]
    assert [part["payload"] for part in debug] == [part for mode, part in seen if mode != "debug"]
    times = [datetime.fromisoformat(part["timestamp"]) for part in debug]
    assert times == sorted(times)
    assert all(time.tzinfo is not None for time in times)


# Typed events


async def test_the_event_of_a_commit_names_the_changed_keys(saver: Checkpointer) -> None:
    async def node(state: Pair) -> Pair:
        return {"b": ["b"]}

    graph = StateGraph(Pair).add_node("node", node).add_edge(START, "node").compile(saver)

    async with graph.stream({"a": "in"}, thread_id="t") as events:
        commits = [event async for event in events if isinstance(event, CheckpointCommitted)]

    assert [each.changed_keys for each in commits] == [("a",), ("b",)]
    assert commits[-1].writers == ("node",)


async def test_a_drained_run_emits_an_event_before_it_raises(saver: Checkpointer, durability: Durability) -> None:
    control = RunControl()

    async def node(state: State) -> State:
        control.request_drain("deploy")
        return {"log": ["node"]}

    graph = chain(("node", node), ("after", Nodes().noting("after"))).compile(saver)
    seen: list[Any] = []

    with pytest.raises(GraphDrained):  # noqa: PT012  # the loop raises
        async with graph.stream({}, thread_id="t", control=control, durability=durability) as events:
            async for event in events:
                seen.append(event)

    assert isinstance(seen[-1], RunDrained)
    assert (seen[-1].reason, seen[-1].step, seen[-1].thread_id) == ("deploy", 1, "t")
    assert (await graph.aget_state(thread_id="t")).values == {"log": ["node"]}


async def test_a_drained_run_without_a_checkpointer_emits_an_event_as_well() -> None:
    control = RunControl()

    async def node(state: State) -> None:
        control.request_drain()

    graph = chain(("node", node), ("after", Nodes().noting("after"))).compile()
    seen: list[Any] = []

    with pytest.raises(GraphDrained):  # noqa: PT012  # the loop raises
        async with graph.stream({}, control=control) as events:
            async for event in events:
                seen.append(event)

    assert isinstance(seen[-1], RunDrained)
