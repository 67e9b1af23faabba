"""Typed events of interrupted and resumed runs: their tasks, their interrupts, and the recorded results."""

from typing import Any

import pytest

from durable_graph import (
    START,
    CachePolicy,
    CheckpointCommitted,
    Checkpointer,
    Command,
    CustomEvent,
    Durability,
    Event,
    InMemoryCache,
    MessageEvent,
    RetryPolicy,
    RunInterrupted,
    RunResumed,
    Send,
    StateGraph,
    StreamWriter,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
    TaskStarted,
    entrypoint,
    interrupt,
    push_message,
    task,
)
from tests.graphs import Nodes, State, chain, fan_out, node_names


async def events_of(graph: Any, given: Any, **options: Any) -> list[Any]:
    """Every event of a run, on the thread "t" unless the options name another."""
    options.setdefault("thread_id", "t")
    async with graph.stream(given, **options) as events:
        return [event async for event in events]


def of(kind: type[Event], emitted: list[Any]) -> list[Any]:
    return [event for event in emitted if isinstance(event, kind)]


def kinds(emitted: list[Any]) -> list[str]:
    return [type(event).__name__ for event in emitted]


# Interrupted runs


async def test_an_interrupt_is_emitted_for_its_task_and_then_for_the_run(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("ask", nodes.asking("ask", "sure?"))).compile(saver)

    emitted = await events_of(graph, {"log": ["in"]}, durability=durability)

    snapshot = await graph.aget_state(thread_id="t")
    asks, stops = emitted[-2:]
    assert isinstance(asks, TaskInterrupted)
    assert (asks.task_id, asks.node, asks.attempt, asks.step) == (snapshot.tasks[0].id, "ask", 1, 2)
    assert asks.interrupts == snapshot.interrupts
    assert not asks.provisional
    assert isinstance(stops, RunInterrupted)
    assert (stops.thread_id, stops.ns, stops.step, stops.next) == ("t", (), 1, ("ask",))
    assert (stops.interrupts, stops.values) == (snapshot.interrupts, {"log": ["in", "a"]})
    # In every durability an interrupt that has been emitted can be answered.
    assert not stops.provisional


async def test_an_interrupted_run_emits_all_pending_interrupts_and_the_values_of_finished_siblings(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    builder = fan_out(("x", nodes.asking("x", "x?")), ("done", nodes.noting("done")), ("y", nodes.asking("y", 2)))
    graph = builder.compile(saver)
    emitted = await events_of(graph, {}, durability=durability)

    (stops,) = of(RunInterrupted, emitted)
    by_value = {each.value: each.id for each in stops.interrupts}
    assert set(by_value) == {"x?", 2}
    assert (stops.values, set(stops.next)) == ({"log": ["done"]}, {"x", "done", "y"})

    emitted = await events_of(graph, Command(resume={by_value[2]: "two"}), durability=durability)

    (stops,) = of(RunInterrupted, emitted)
    assert [each.value for each in stops.interrupts] == ["x?"]
    assert sorted(stops.values["log"]) == ["done", "y:two"]


async def test_a_breakpoint_interrupts_the_run_without_interrupts_of_tasks(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver, interrupt_before=["b"])

    emitted = await events_of(graph, {}, durability=durability)

    assert of(TaskInterrupted, emitted) == []
    assert isinstance(emitted[-1], RunInterrupted)
    assert (emitted[-1].interrupts, emitted[-1].next, emitted[-1].values) == ((), ("b",), {"log": ["a"]})


async def test_a_nested_interrupt_is_emitted_for_each_enclosing_graph(
    saver: Checkpointer, durability: Durability
) -> None:
    inner = chain(("ask", Nodes().asking("ask", "sure?"))).compile()
    graph = chain(("middle", chain(("inner", inner)).compile())).compile(saver)

    emitted = await events_of(graph, {}, durability=durability)

    (pending,) = (await graph.aget_state(thread_id="t")).interrupts
    stops = [event for event in emitted if isinstance(event, TaskInterrupted | RunInterrupted)]
    assert [(type(each), node_names(each.ns)) for each in stops] == [
        (TaskInterrupted, ("middle", "inner")),
        (RunInterrupted, ("middle", "inner")),
        (TaskInterrupted, ("middle",)),
        (RunInterrupted, ("middle",)),
        (TaskInterrupted, ()),
        (RunInterrupted, ()),
    ]
    assert {each.interrupts for each in stops} == {(pending,)}


async def test_an_interrupted_entrypoint_emits_the_events_of_an_interrupted_graph(
    saver: Checkpointer, durability: Durability
) -> None:
    @task
    async def check(word: str) -> str:
        return f"{word}: {interrupt('sure?')}"

    @entrypoint(checkpointer=saver)
    async def flow(word: str) -> str:
        return await check(word)

    emitted = await events_of(flow, "tea", durability=durability)
    answered = await events_of(flow, Command(resume="yes"), durability=durability)

    (asks,), (stops,) = of(TaskInterrupted, emitted), of(RunInterrupted, emitted)
    assert (asks.node, asks.interrupts) == ("flow", stops.interrupts)
    assert [each.value for each in stops.interrupts] == ["sure?"]
    assert [(each.node, each.update) for each in of(TaskFinished, answered)] == [
        ("check", "tea: yes"),
        ("flow", "tea: yes"),
    ]


# Resumed runs


async def test_an_answer_is_emitted_as_a_resumed_run(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = fan_out(("ask", nodes.asking("ask", "sure?")), ("done", nodes.noting("done"))).compile(saver)
    asked = await events_of(graph, {"log": ["in"]}, durability=durability)
    before = await graph.aget_state(thread_id="t")

    resumed, *rest = await events_of(graph, Command(resume="yes"), durability=durability)

    assert isinstance(resumed, RunResumed)
    assert (resumed.thread_id, resumed.ns, resumed.step) == ("t", (), 0)
    assert resumed.checkpoint_id == before.config["configurable"]["checkpoint_id"]
    assert (resumed.values, resumed.recorded, set(resumed.next)) == ({"log": ["in"]}, ("done",), {"ask", "done"})
    # The events of the finished task were emitted by the first run, and are not emitted again.
    assert kinds(rest) == ["TaskStarted", "TaskFinished", "CheckpointCommitted"]
    assert rest[0].task_id == of(TaskInterrupted, asked)[0].task_id


async def test_an_answer_with_an_update_resumes_from_the_checkpoint_of_the_update(
    saver: Checkpointer, durability: Durability
) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t", durability=durability)

    emitted = await events_of(graph, Command(resume="yes", update={"log": ["more"]}), durability=durability)

    (resumed,) = of(RunResumed, emitted)
    assert (resumed.values, resumed.next) == ({"log": ["more"]}, ("ask",))
    history = [each async for each in graph.aget_state_history(thread_id="t")]
    (updated,) = [each for each in history if each.values == {"log": ["more"]}]
    assert resumed.checkpoint_id == updated.config["configurable"]["checkpoint_id"]


async def test_a_resumed_nested_graph_emits_its_namespace_and_its_checkpoint(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    inner = chain(("a", nodes.noting("a")), ("ask", nodes.asking("ask", "sure?"))).compile()
    graph = chain(("inner", inner)).compile(saver)
    await graph.ainvoke({}, thread_id="t", durability=durability)
    (state,) = [each.state for each in (await graph.aget_state(thread_id="t", subgraphs=True)).tasks]

    emitted = await events_of(graph, Command(resume="yes"), durability=durability)

    outer, inside = of(RunResumed, emitted)
    assert (outer.ns, node_names(inside.ns)) == ((), ("inner",))
    assert inside.checkpoint_id == state.config["configurable"]["checkpoint_id"]
    assert (inside.values, inside.next, inside.recorded) == ({"log": ["a"]}, ("ask",), ())
    assert nodes.calls["a"] == 1


async def test_a_resume_from_a_breakpoint_is_emitted_as_a_resumed_run(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver, interrupt_after=["a"])
    await graph.ainvoke({}, thread_id="t", durability=durability)

    emitted = await events_of(graph, None, durability=durability)

    assert kinds(emitted) == ["RunResumed", "TaskStarted", "TaskFinished", "CheckpointCommitted"]
    assert (emitted[0].step, emitted[0].next, emitted[0].recorded) == (1, ("b",), ())


async def test_the_tasks_of_a_fork_are_emitted_with_new_ids(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver)
    first = await events_of(graph, {})
    old = next(each for each in of(CheckpointCommitted, first) if each.next == ("b",))

    emitted = await events_of(graph, None, checkpoint_id=old.checkpoint_id, durability=durability)

    forked, *_, end = of(CheckpointCommitted, emitted)
    assert (forked.source, forked.parent_checkpoint_id, forked.next) == ("fork", old.checkpoint_id, ("b",))
    assert forked.tasks[0].id == of(TaskStarted, emitted)[0].task_id != old.tasks[0].id
    assert (end.values, end.next, end.tasks) == ({"log": ["a", "b"]}, (), ())


# Tasks


async def test_every_event_of_a_task_names_the_same_task_and_its_attempt(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = 0

    async def node(state: State, writer: StreamWriter) -> State:
        nonlocal calls
        calls += 1
        writer(calls)
        push_message(f"at {calls}")
        if calls == 1:
            raise ConnectionError
        return {"log": [interrupt("sure?")]}

    again = RetryPolicy(initial_interval=0.001, jitter=False)
    graph = StateGraph(State).add_node("node", node, retry_policy=again).add_edge(START, "node").compile(saver)

    emitted = await events_of(graph, {}, durability=durability)
    emitted += await events_of(graph, Command(resume="yes"), durability=durability)

    about = [event for event in emitted if hasattr(event, "task_id")]
    assert len({(each.task_id, each.node, each.step) for each in about}) == 1
    # With "async" an attempt may begin before the failure of the previous attempt is durable and emitted.
    assert [each.attempt for each in of(TaskStarted, about)] == [1, 2, 2]
    ended = [event for event in about if not isinstance(event, TaskStarted | CustomEvent | MessageEvent)]
    assert [(type(each).__name__, each.attempt) for each in ended] == [
        ("TaskFailed", 1),
        ("TaskInterrupted", 2),
        ("TaskFinished", 2),
    ]


async def test_events_of_sends_of_one_node_have_different_task_ids(saver: Checkpointer, durability: Durability) -> None:
    async def work(job: Any) -> State:
        if job == "y":
            raise ValueError(job)
        return {"log": [interrupt("x?") if job == "x" else job]}

    builder = StateGraph(State).add_node("work", work)
    builder.add_conditional_edges(START, lambda _: [Send("work", job) for job in "xyz"], ["work"])
    graph = builder.compile(saver)
    seen: list[Any] = []

    with pytest.raises(ValueError, match=r"^y"):  # noqa: PT012  # the loop raises
        async with graph.stream({}, thread_id="t", durability=durability) as events:
            async for event in events:
                seen.append(event)

    started = {each.task_id: each.input for each in of(TaskStarted, seen)}
    assert sorted(started.values()) == ["x", "y", "z"]
    assert [(started[each.task_id], each.will_retry) for each in of(TaskFailed, seen)] == [("y", False)]
    assert {started[each.task_id] for each in of(TaskFinished, seen)} <= {"z"}
    assert of(RunInterrupted, seen) == []


async def test_a_result_from_a_cache_is_emitted_as_cached(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = StateGraph(State).add_node("node", nodes.noting("node"), cache_policy=CachePolicy())
    graph = builder.add_edge(START, "node").compile(saver, cache=InMemoryCache())

    finished = [of(TaskFinished, await events_of(graph, {}, thread_id=each)) for each in "tu"]

    assert [[(each.is_cached, each.update) for each in emitted] for emitted in finished] == [
        [(False, {"log": ["node"]})],
        [(True, {"log": ["node"]})],
    ]
    assert nodes.calls["node"] == 1


async def test_events_without_a_checkpointer_name_neither_thread_nor_checkpoint() -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a"))).compile()

    emitted = await events_of(graph, {}, thread_id=None)

    assert kinds(emitted) == ["CheckpointCommitted", "TaskStarted", "TaskFinished", "CheckpointCommitted"]
    assert {event.thread_id for event in emitted} == {None}
    assert [each.checkpoint_id for each in of(CheckpointCommitted, emitted)] == [None, None]
    assert [each.values for each in of(CheckpointCommitted, emitted)] == [{"log": []}, {"log": ["a"]}]
    times = [event.at for event in emitted]
    assert times == sorted(times)
