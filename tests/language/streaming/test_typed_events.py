"""The typed events that tell of stops and of going on: whose they are, what is asked, and what is kept."""

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


def of(kind: type[Event], told: list[Any]) -> list[Any]:
    return [event for event in told if isinstance(event, kind)]


def kinds(told: list[Any]) -> list[str]:
    return [type(event).__name__ for event in told]


# Stops


async def test_a_question_is_reported_of_its_task_and_then_of_the_run(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("ask", nodes.asking("ask", "sure?"))).compile(saver)

    told = await events_of(graph, {"log": ["in"]}, durability=durability)

    snapshot = await graph.aget_state(thread_id="t")
    asks, stops = told[-2:]
    assert isinstance(asks, TaskInterrupted)
    assert (asks.task_id, asks.node, asks.attempt, asks.step) == (snapshot.tasks[0].id, "ask", 1, 2)
    assert asks.interrupts == snapshot.interrupts
    assert not asks.provisional
    assert isinstance(stops, RunInterrupted)
    assert (stops.thread_id, stops.ns, stops.step, stops.next) == ("t", (), 1, ("ask",))
    assert (stops.interrupts, stops.values) == (snapshot.interrupts, {"log": ["in", "a"]})
    # Whatever the mode is: when a person is told, the answer can be given.
    assert not stops.provisional


async def test_a_run_that_stops_has_all_its_open_questions_and_what_finished_in_parallel(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    builder = fan_out(("x", nodes.asking("x", "x?")), ("done", nodes.noting("done")), ("y", nodes.asking("y", 2)))
    graph = builder.compile(saver)
    told = await events_of(graph, {}, durability=durability)

    (stops,) = of(RunInterrupted, told)
    by_question = {each.value: each.id for each in stops.interrupts}
    assert set(by_question) == {"x?", 2}
    assert (stops.values, set(stops.next)) == ({"log": ["done"]}, {"x", "done", "y"})

    told = await events_of(graph, Command(resume={by_question[2]: "two"}), durability=durability)

    (stops,) = of(RunInterrupted, told)
    assert [each.value for each in stops.interrupts] == ["x?"]
    assert sorted(stops.values["log"]) == ["done", "y:two"]


async def test_a_breakpoint_stops_the_run_without_questions_and_no_task_asks(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver, interrupt_before=["b"])

    told = await events_of(graph, {}, durability=durability)

    assert of(TaskInterrupted, told) == []
    assert isinstance(told[-1], RunInterrupted)
    assert (told[-1].interrupts, told[-1].next, told[-1].values) == ((), ("b",), {"log": ["a"]})


async def test_a_question_inside_is_reported_by_each_graph_around_it(
    saver: Checkpointer, durability: Durability
) -> None:
    inner = chain(("ask", Nodes().asking("ask", "sure?"))).compile()
    graph = chain(("middle", chain(("inner", inner)).compile())).compile(saver)

    told = await events_of(graph, {}, durability=durability)

    (question,) = (await graph.aget_state(thread_id="t")).interrupts
    stops = [event for event in told if isinstance(event, TaskInterrupted | RunInterrupted)]
    assert [(type(each), node_names(each.ns)) for each in stops] == [
        (TaskInterrupted, ("middle", "inner")),
        (RunInterrupted, ("middle", "inner")),
        (TaskInterrupted, ("middle",)),
        (RunInterrupted, ("middle",)),
        (TaskInterrupted, ()),
        (RunInterrupted, ()),
    ]
    assert {each.interrupts for each in stops} == {(question,)}


async def test_an_entrypoint_that_interrupts_is_reported_as_a_graph_is(
    saver: Checkpointer, durability: Durability
) -> None:
    @task
    async def check(word: str) -> str:
        return f"{word}: {interrupt('sure?')}"

    @entrypoint(checkpointer=saver)
    async def flow(word: str) -> str:
        return await check(word)

    told = await events_of(flow, "tea", durability=durability)
    answered = await events_of(flow, Command(resume="yes"), durability=durability)

    (asks,), (stops,) = of(TaskInterrupted, told), of(RunInterrupted, told)
    assert (asks.node, asks.interrupts) == ("flow", stops.interrupts)
    assert [each.value for each in stops.interrupts] == ["sure?"]
    assert [(each.node, each.update) for each in of(TaskFinished, answered)] == [
        ("check", "tea: yes"),
        ("flow", "tea: yes"),
    ]


# Going on


async def test_an_answer_is_reported_as_a_run_that_continues(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = fan_out(("ask", nodes.asking("ask", "sure?")), ("done", nodes.noting("done"))).compile(saver)
    asked = await events_of(graph, {"log": ["in"]}, durability=durability)
    before = await graph.aget_state(thread_id="t")

    resumed, *rest = await events_of(graph, Command(resume="yes"), durability=durability)

    assert isinstance(resumed, RunResumed)
    assert (resumed.thread_id, resumed.ns, resumed.step) == ("t", (), 0)
    assert resumed.checkpoint_id == before.config["configurable"]["checkpoint_id"]
    assert (resumed.values, resumed.recorded, set(resumed.next)) == ({"log": ["in"]}, ("done",), {"ask", "done"})
    # What had finished was told then, and nothing of it is told again.
    assert kinds(rest) == ["TaskStarted", "TaskFinished", "CheckpointCommitted"]
    assert rest[0].task_id == of(TaskInterrupted, asked)[0].task_id


async def test_an_answer_with_an_update_resumes_from_the_checkpoint_of_the_update(
    saver: Checkpointer, durability: Durability
) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t", durability=durability)

    told = await events_of(graph, Command(resume="yes", update={"log": ["more"]}), durability=durability)

    print(told)


async def test_a_nested_graph_that_continues_says_where(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    inner = chain(("a", nodes.noting("a")), ("ask", nodes.asking("ask", "sure?"))).compile()
    graph = chain(("inner", inner)).compile(saver)
    await graph.ainvoke({}, thread_id="t", durability=durability)
    (state,) = [each.state for each in (await graph.aget_state(thread_id="t", subgraphs=True)).tasks]

    told = await events_of(graph, Command(resume="yes"), durability=durability)

    outer, inside = of(RunResumed, told)
    assert (outer.ns, node_names(inside.ns)) == ((), ("inner",))
    assert inside.checkpoint_id == state.config["configurable"]["checkpoint_id"]
    assert (inside.values, inside.next, inside.recorded) == ({"log": ["a"]}, ("ask",), ())
    assert nodes.calls["a"] == 1


async def test_a_breakpoint_that_is_passed_is_reported_as_a_run_that_continues(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver, interrupt_after=["a"])
    await graph.ainvoke({}, thread_id="t", durability=durability)

    told = await events_of(graph, None, durability=durability)

    assert kinds(told) == ["RunResumed", "TaskStarted", "TaskFinished", "CheckpointCommitted"]
    assert (told[0].step, told[0].next, told[0].recorded) == (1, ("b",), ())


async def test_what_runs_again_in_a_fork_is_reported_as_new_and_leaves_the_old_tasks_their_ids(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver)
    first = await events_of(graph, {})
    old = next(each for each in of(CheckpointCommitted, first) if each.next == ("b",))

    told = await events_of(graph, None, checkpoint_id=old.checkpoint_id, durability=durability)

    forked, *_, end = of(CheckpointCommitted, told)
    assert (forked.source, forked.parent_checkpoint_id, forked.next) == ("fork", old.checkpoint_id, ("b",))
    assert forked.tasks[0].id == of(TaskStarted, told)[0].task_id != old.tasks[0].id
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

    told = await events_of(graph, {}, durability=durability)
    told += await events_of(graph, Command(resume="yes"), durability=durability)

    about = [event for event in told if hasattr(event, "task_id")]
    assert len({(each.task_id, each.node, each.step) for each in about}) == 1
    # With "async" an attempt may begin before the failure of the one before it is durable, and told.
    assert [each.attempt for each in of(TaskStarted, about)] == [1, 2, 2]
    ended = [event for event in about if not isinstance(event, TaskStarted | CustomEvent | MessageEvent)]
    assert [(type(each).__name__, each.attempt) for each in ended] == [
        ("TaskFailed", 1),
        ("TaskInterrupted", 2),
        ("TaskFinished", 2),
    ]


async def test_sends_of_one_node_are_distinguished(saver: Checkpointer, durability: Durability) -> None:
    async def work(job: Any) -> State:
        if job == "y":
            raise ValueError(job)
        return {"log": [interrupt("x?") if job == "x" else job]}

    builder = StateGraph(State).add_node("work", work)
    builder.add_conditional_edges(START, lambda _: [Send("work", job) for job in "xyz"], ["work"])
    graph = builder.compile(saver)
    seen: list[Any] = []

    with pytest.raises(ValueError, match=r"^y"):  # noqa: PT012  # the loop is what raises
        async with graph.stream({}, thread_id="t", durability=durability) as events:
            async for event in events:
                seen.append(event)

    started = {each.task_id: each.input for each in of(TaskStarted, seen)}
    assert sorted(started.values()) == ["x", "y", "z"]
    assert [(started[each.task_id], each.will_retry) for each in of(TaskFailed, seen)] == [("y", False)]
    assert {started[each.task_id] for each in of(TaskFinished, seen)} <= {"z"}
    assert of(RunInterrupted, seen) == []


async def test_a_result_from_a_cache_says_so(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = StateGraph(State).add_node("node", nodes.noting("node"), cache_policy=CachePolicy())
    graph = builder.add_edge(START, "node").compile(saver, cache=InMemoryCache())

    finished = [of(TaskFinished, await events_of(graph, {}, thread_id=each)) for each in "tu"]

    assert [[(each.is_cached, each.update) for each in told] for told in finished] == [
        [(False, {"log": ["node"]})],
        [(True, {"log": ["node"]})],
    ]
    assert nodes.calls["node"] == 1


async def test_without_a_checkpointer_events_name_no_thread_and_no_checkpoint() -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a"))).compile()

    told = await events_of(graph, {}, thread_id=None)

    assert kinds(told) == ["CheckpointCommitted", "TaskStarted", "TaskFinished", "CheckpointCommitted"]
    assert {event.thread_id for event in told} == {None}
    assert [each.checkpoint_id for each in of(CheckpointCommitted, told)] == [None, None]
    assert [each.values for each in of(CheckpointCommitted, told)] == [{"log": []}, {"log": ["a"]}]
    times = [event.at for event in told]
    assert times == sorted(times)
