"""The events of a run while it runs; no reader can make a run lose work."""

import asyncio
import operator
from collections import Counter
from typing import Annotated, Any, TypedDict

import anyio
import pytest

from durable_graph import (
    END,
    START,
    CheckpointCommitted,
    Checkpointer,
    Durability,
    EventStream,
    InvalidOptionError,
    RunResumed,
    StateGraph,
    TaskFailed,
    TaskFinished,
    TaskStarted,
)
from durable_graph._runtime.events.stream import BUFFER


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def fan_out(calls: Counter[str], failing: set[str], gate: asyncio.Event | None = None) -> StateGraph[State]:
    def logging(name: str) -> Any:
        async def node(state: State) -> State | None:
            calls[name] += 1
            if name in failing:
                raise ValueError(name)
            if name == "b" and gate is not None:
                await gate.wait()
            return {"log": [name]} if name != "quiet" else None

        return node

    builder = StateGraph(State)
    for name in ("a", "b", "quiet", "d"):
        builder.add_node(name, logging(name))
    for name in ("a", "b", "quiet"):
        builder.add_edge(START, name)
    builder.add_edge(["a", "b"], "d")
    return builder


async def read(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


async def test_values_are_the_state_after_the_input_and_after_each_superstep(
    saver: Checkpointer, durability: Durability
) -> None:
    graph = fan_out(Counter(), set()).compile(saver)

    chunks = await read(graph.astream({"log": ["in"]}, thread_id="t", stream_mode="values", durability=durability))

    assert chunks == [{"log": ["in"]}, {"log": ["in", "a", "b"]}, {"log": ["in", "a", "b", "d"]}]


async def test_updates_are_the_writes_of_each_node(saver: Checkpointer, durability: Durability) -> None:
    graph = fan_out(Counter(), set()).compile(saver)

    chunks = await read(graph.astream({}, thread_id="t", durability=durability))

    assert sorted(chunks[:3], key=str) == [{"a": {"log": ["a"]}}, {"b": {"log": ["b"]}}, {"quiet": None}]
    assert chunks[3:] == [{"d": {"log": ["d"]}}]


async def test_several_modes_yield_pairs_of_mode_and_data(saver: Checkpointer) -> None:
    graph = fan_out(Counter(), set()).compile(saver)

    chunks = await read(graph.astream({}, thread_id="t", stream_mode=["values", "updates"]))

    assert [mode for mode, _ in chunks] == [*["updates"] * 3, "values", "updates", "values"]


async def test_an_unknown_mode_is_refused_before_anything_runs(saver: Checkpointer) -> None:
    calls: Counter[str] = Counter()
    graph = fan_out(calls, set()).compile(saver)

    modes: list[Any] = ["everything", ["values", "everything"], []]
    for mode in modes:
        with pytest.raises(InvalidOptionError, match="stream_mode"):
            await read(graph.astream({}, thread_id="t", stream_mode=mode))
    assert calls.total() == 0


async def test_typed_events_are_emitted_after_their_facts_are_durable(saver: Checkpointer) -> None:
    graph = fan_out(Counter(), set()).compile(saver)

    async with graph.stream({}, thread_id="t") as events:
        async for event in events:
            snapshot = await graph.aget_state(thread_id="t")
            match event:
                case TaskFinished():
                    recorded = {task.id for task in snapshot.tasks if task.result is not None}
                    is_over = snapshot.metadata is not None and snapshot.metadata["step"] >= event.step
                    assert is_over or event.task_id in recorded
                case CheckpointCommitted():
                    assert snapshot.config["configurable"]["checkpoint_id"] >= (event.checkpoint_id or "")
            assert not event.provisional
        assert events.output == {"log": ["a", "b", "d"]}


async def test_events_of_a_run_with_exit_durability_are_provisional(saver: Checkpointer) -> None:
    graph = fan_out(Counter(), set()).compile(saver)

    async with graph.stream({}, thread_id="t", durability="exit") as events:
        emitted = [event async for event in events]

    finished = [event for event in emitted if isinstance(event, TaskFinished)]
    assert len(finished) == 4
    assert all(event.provisional for event in finished)


async def test_a_failure_is_an_event_and_is_then_raised_at_the_end_of_the_loop(saver: Checkpointer) -> None:
    graph = fan_out(Counter(), {"b"}).compile(saver)
    emitted: list[Any] = []

    with pytest.raises(ValueError, match=r"^b"):  # noqa: PT012  # the loop is what raises
        async with graph.stream({}, thread_id="t") as events:
            async for event in events:
                emitted.append(event)

    failed = [event for event in emitted if isinstance(event, TaskFailed)]
    assert [(event.node, event.error, event.attempt) for event in failed] == [("b", "ValueError('b')", 1)]
    assert isinstance(emitted[0], CheckpointCommitted)
    assert {event.node for event in emitted if isinstance(event, TaskStarted)} == {"a", "b", "quiet"}


async def test_the_events_of_the_start_and_the_end_of_a_task_have_the_same_attempt(saver: Checkpointer) -> None:
    calls: Counter[str] = Counter()

    async def node(state: State) -> State:
        calls["node"] += 1
        if calls["node"] == 1:
            raise ValueError("flaky")
        return {"log": ["node"]}

    def choose(state: State) -> str:
        calls["router"] += 1
        if calls["router"] == 1:
            raise ValueError("flaky")
        return END

    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_conditional_edges("node", choose)
    graph = builder.compile(saver)
    emitted: list[tuple[str, int]] = []

    async def run(given: State | None) -> None:
        async with graph.stream(given, thread_id="t") as events:
            async for event in events:
                if isinstance(event, TaskStarted | TaskFinished | TaskFailed):
                    emitted.append((type(event).__name__, event.attempt))

    with pytest.raises(ValueError, match=r"^flaky"):
        await run({})
    with pytest.raises(ValueError, match=r"^flaky"):
        await run(None)
    await run(None)

    assert emitted[:2] == [("TaskStarted", 1), ("TaskFailed", 1)]
    assert emitted[2:4] == [("TaskStarted", 2), ("TaskFailed", 2)]
    assert emitted[4:] == [("TaskStarted", 2), ("TaskFinished", 2)]


async def test_the_first_event_of_a_resumed_run_has_the_state_from_which_it_continues(saver: Checkpointer) -> None:
    failing = {"b"}
    graph = fan_out(Counter(), failing).compile(saver)
    with pytest.raises(ValueError, match=r"^b"):
        await graph.ainvoke({"log": ["in"]}, thread_id="t")
    failing.clear()

    async with graph.stream(None, thread_id="t") as events:
        emitted = [event async for event in events]

    assert isinstance(emitted[0], RunResumed)
    assert "a" in emitted[0].recorded
    assert emitted[0].next == ("a", "b", "quiet")
    assert emitted[0].values == {"log": ["in"]}


async def test_leaving_the_loop_early_keeps_finished_results_and_does_not_cancel_the_reader(
    saver: Checkpointer,
) -> None:
    """LangGraph (P30): the run stops half-way and nothing says so."""
    calls: Counter[str] = Counter()
    gate = asyncio.Event()
    graph = fan_out(calls, set(), gate).compile(saver)

    async with graph.stream({}, thread_id="t") as events:
        async for event in events:
            if isinstance(event, TaskFinished):
                break

    gate.set()
    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0
    snapshot = await graph.aget_state(thread_id="t")
    done = {task.name for task in snapshot.tasks if task.result is not None}
    assert done
    assert (await graph.ainvoke(None, thread_id="t"))["log"] == ["a", "b", "d"]
    assert all(calls[name] == 1 for name in done)


async def test_leaving_astream_early_cancels_the_run_once_it_is_closed(saver: Checkpointer) -> None:
    gate = asyncio.Event()
    graph = fan_out(Counter(), set(), gate).compile(saver)

    stream = graph.astream({}, thread_id="t", stream_mode="updates")
    async for _ in stream:
        break
    await stream.aclose()
    gate.set()

    assert (await graph.ainvoke(None, thread_id="t"))["log"] == ["a", "b", "d"]


class Counting(TypedDict):
    count: Annotated[int, operator.add]


def counting_to(end: int, calls: Counter[str]) -> StateGraph[Counting]:
    async def step(state: Counting) -> Counting:
        calls["step"] += 1
        return {"count": 1}

    builder = StateGraph(Counting)
    builder.add_node("step", step)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", lambda state: "step" if state["count"] < end else "__end__")
    return builder


async def until_the_buffer_is_full(events: EventStream) -> None:
    while len(events._events) <= BUFFER:  # noqa: ASYNC110  # there is no event for a buffer that is full
        await asyncio.sleep(0)
    for _ in range(1000):
        await asyncio.sleep(0)


async def test_a_slow_reader_delays_the_run_and_the_buffer_stays_bounded(saver: Checkpointer) -> None:
    calls: Counter[str] = Counter()

    async with counting_to(500, calls).compile(saver).stream({"count": 0}, thread_id="t") as events:
        await anext(events)
        await until_the_buffer_is_full(events)
        assert len(events._events) == BUFFER + 1
        assert calls["step"] <= BUFFER
        rest = [event async for event in events]

    assert calls["step"] == 500
    assert sum(isinstance(event, TaskFinished) for event in rest) == 500


async def test_a_run_does_not_wait_for_a_reader_that_left_with_a_full_buffer(
    saver: Checkpointer, durability: Durability
) -> None:
    calls: Counter[str] = Counter()
    graph = counting_to(500, calls).compile(saver)

    async with asyncio.timeout(5):
        async with graph.stream({"count": 0}, thread_id="t", durability=durability) as events:
            await until_the_buffer_is_full(events)

    ran = calls["step"]
    assert (await graph.aget_state(thread_id="t")).values == {"count": ran}
    assert await graph.ainvoke(None, thread_id="t") == {"count": 500}
    assert calls["step"] == 500


async def test_a_reader_whose_scope_is_cancelled_leaves_no_run_behind(saver: Checkpointer) -> None:
    ended = False

    async def slow_to_leave(state: State) -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            ended = True

    builder = StateGraph(State)
    builder.add_node("slow", slow_to_leave)
    builder.add_edge(START, "slow")
    graph = builder.compile(saver)

    with anyio.CancelScope() as scope:
        async with graph.stream({}, thread_id="t") as events:
            async for event in events:
                if isinstance(event, TaskStarted):
                    for _ in range(20):
                        await asyncio.sleep(0)
                    scope.cancel()

    assert ended


async def test_reading_the_output_of_an_unfinished_run_is_an_error(saver: Checkpointer) -> None:
    graph = fan_out(Counter(), set()).compile(saver)

    async with graph.stream({}, thread_id="t") as events:
        with pytest.raises(RuntimeError, match="has not ended"):
            _ = events.output


async def test_a_stream_is_one_run_and_cannot_be_entered_twice(saver: Checkpointer) -> None:
    calls: Counter[str] = Counter()
    stream = fan_out(calls, set()).compile(saver).stream({}, thread_id="t")
    async with stream as events:
        assert [event async for event in events]

    with pytest.raises(RuntimeError, match="has been read"):
        await stream.__aenter__()
    assert calls["a"] == 1
