"""Readers that are slow, that leave, and that are nodes themselves: no result of a run is lost."""

import asyncio
import operator
from collections import Counter
from typing import Annotated, Any, TypedDict

import anyio
import pytest

from durable_graph import (
    START,
    Checkpointer,
    Durability,
    InvalidOptionError,
    ReaderGap,
    StateGraph,
    StreamWriter,
    TaskFinished,
    ThreadBusyError,
)
from tests.graphs import Nodes, State, chain, node_names, stream_parts


class Counting(TypedDict):
    count: Annotated[int, operator.add]


def counting_to(end: int, calls: Counter[str]) -> StateGraph[Counting]:
    async def step(state: Counting) -> Counting:
        calls["step"] += 1
        return {"count": 1}

    builder = StateGraph(Counting).add_node("step", step).add_edge(START, "step")
    builder.add_conditional_edges("step", lambda state: "step" if state["count"] < end else "__end__")
    return builder


async def wait_until_finished(graph: Any, thread: str) -> None:
    """Wait until no call of this process runs the thread."""
    await graph.ainvoke({"count": 0}, thread_id=thread, if_busy="wait")


# Slow readers


async def test_a_slow_reader_with_gap_misses_events_and_finds_the_results_in_the_store(
    saver: Checkpointer, durability: Durability
) -> None:
    """LangGraph (P30): unread events are buffered without limit."""
    graph = counting_to(300, Counter()).compile(saver)

    async with graph.stream({"count": 0}, thread_id="t", on_slow_reader="gap", durability=durability) as events:
        async for _ in events:
            break
        while events._run is not None and not events._run.done():  # noqa: ASYNC110  # the reader is to be slow
            await asyncio.sleep(0)
        rest = [event async for event in events]

    gaps = [event for event in rest if isinstance(event, ReaderGap)]
    assert sum(gap.dropped for gap in gaps) > 0
    assert len(rest) < 100
    assert events.output == (await graph.aget_state(thread_id="t")).values == {"count": 300}


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"stream_mode": "updates"}, lambda gap: gap),
        ({"stream_mode": ["updates"]}, lambda gap: ("gap", gap)),
        ({"stream_mode": "updates", "subgraphs": True}, lambda gap: ((), gap)),
        ({"stream_mode": ["updates"], "subgraphs": True}, lambda gap: ((), "gap", gap)),
        ({"stream_mode": "updates", "version": "v2"}, lambda gap: {"type": "gap", "ns": (), "data": gap}),
    ],
)
async def test_a_gap_has_the_shape_of_the_other_parts(options: Any, shape: Any) -> None:
    graph = counting_to(200, Counter()).compile()
    seen: list[Any] = []

    async for part in graph.astream({"count": 0}, on_slow_reader="gap", **options):
        seen.append(part)
        if len(seen) == 1:
            for _ in range(20_000):
                await asyncio.sleep(0)

    gap = seen[-1]
    while isinstance(gap, tuple | dict):
        gap = gap["data"] if isinstance(gap, dict) else gap[-1]
    assert isinstance(gap, ReaderGap)
    assert seen[-1] == shape(gap)
    assert gap.dropped + len(seen) - 1 == 200


# Readers that leave


async def test_a_run_with_on_disconnect_continue_finishes_after_its_reader_left(
    saver: Checkpointer, durability: Durability
) -> None:
    """LangGraph (P30): the run of an abandoned stream stops half-way, without an error."""
    calls: Counter[str] = Counter()
    graph = counting_to(100, calls).compile(saver)

    stream = graph.astream({"count": 0}, thread_id="t", on_disconnect="continue", durability=durability)
    async for _ in stream:
        break
    await stream.aclose()

    assert calls["step"] < 100
    with pytest.raises(ThreadBusyError):
        await graph.ainvoke(None, thread_id="t")
    await wait_until_finished(graph, "t")
    history = [each async for each in graph.aget_state_history(thread_id="t") if each.next == ()]
    assert history[-1].values == {"count": 100}


async def test_a_run_with_on_disconnect_cancel_can_be_resumed_after_its_reader_left(
    saver: Checkpointer, durability: Durability
) -> None:
    calls: Counter[str] = Counter()
    graph = counting_to(100, calls).compile(saver)

    async with graph.stream({"count": 0}, thread_id="t", durability=durability) as events:
        async for event in events:
            if isinstance(event, TaskFinished):
                break

    assert await graph.ainvoke(None, thread_id="t") == {"count": 100}
    assert calls["step"] == 100


@pytest.mark.parametrize("on_disconnect", ["cancel", "continue"])
async def test_on_disconnect_determines_whether_a_disconnected_web_client_ends_its_run(
    saver: Checkpointer, on_disconnect: Any
) -> None:
    """A web framework cancels the task that streams the response."""
    calls: Counter[str] = Counter()
    graph = counting_to(100, calls).compile(saver)

    async def respond() -> None:
        async for _ in graph.astream({"count": 0}, thread_id="t", on_disconnect=on_disconnect):
            if calls["step"] >= 3:
                await asyncio.Event().wait()

    response = asyncio.ensure_future(respond())
    while calls["step"] < 3:  # noqa: ASYNC110  # the node sets no event
        await asyncio.sleep(0)
    response.cancel()
    await asyncio.wait({response})

    assert response.cancelled()
    if on_disconnect == "cancel":
        assert 0 < (await graph.aget_state(thread_id="t")).values["count"] < 100
        assert (await graph.ainvoke(None, thread_id="t"))["count"] == 100
    else:
        await wait_until_finished(graph, "t")
        finished = [each async for each in graph.aget_state_history(thread_id="t") if each.next == ()]
        assert finished[-1].values == {"count": 100}


async def test_a_generator_that_is_left_by_break_does_not_cancel_its_caller(saver: Checkpointer) -> None:
    graph = counting_to(100, Counter()).compile(saver)

    async with anyio.create_task_group() as group:
        stream = graph.astream({"count": 0}, thread_id="t")
        async for _ in stream:
            break
        group.start_soon(stream.aclose)

    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


# Nodes that read


async def test_a_node_reads_the_stream_of_a_graph_that_it_calls(saver: Checkpointer) -> None:
    calls = Nodes()
    deep = calls.chain("y").compile()
    inner = calls.chain("x", ("deep", deep)).compile()
    received: list[Any] = []

    async def call(state: State) -> State:
        received.append([part async for part in inner.astream({"log": []})])
        received.append([part async for part in inner.astream({"log": []}, subgraphs=True)])
        return {}

    graph = calls.chain(("call", call)).compile(saver)

    streamed = await stream_parts(graph, {"log": []}, subgraphs=True)

    x, y, both = {"x": {"log": ["x"]}}, {"y": {"log": ["y"]}}, {"deep": {"log": ["x", "y"]}}
    assert received[0] == [x, both]
    # The second call has a number of its own.
    second = node_names(received[1][0][0])
    assert (second[0], second[1].isdigit()) == ("call", True)
    assert [(node_names(ns), part) for ns, part in received[1]] == [
        (second, x),
        ((*second, "deep"), y),
        (second, both),
    ]
    assert [(node_names(ns), part) for ns, part in streamed] == [
        (("call",), x),
        (("call", "deep"), y),
        (("call",), both),
        (second, x),
        ((*second, "deep"), y),
        (second, both),
        ((), {"call": None}),
    ]


async def test_a_node_forwards_the_stream_of_a_nested_graph(saver: Checkpointer) -> None:
    nodes = Nodes()
    inner = chain(("x", nodes.noting("x")), ("y", nodes.noting("y"))).compile()

    async def call(state: State, writer: StreamWriter) -> State:
        async for part in inner.astream({}):
            await writer(part)
        return {"log": ["called"]}

    graph = chain(("call", call)).compile(saver)

    assert await stream_parts(graph, {}, stream_mode=["custom", "updates"]) == [
        ("custom", {"x": {"log": ["x"]}}),
        ("custom", {"y": {"log": ["y"]}}),
        ("updates", {"call": {"log": ["called"]}}),
    ]


async def test_a_node_may_leave_the_stream_of_a_graph_that_it_calls(saver: Checkpointer) -> None:
    nodes = Nodes()
    inner = chain(("x", nodes.noting("x")), ("y", nodes.noting("y")), ("z", nodes.noting("z"))).compile()

    async def call(state: State) -> State:
        async with inner.stream({}) as events:
            async for event in events:
                if isinstance(event, TaskFinished):
                    return {"log": [event.node]}
        return {}

    graph = chain(("call", call), ("after", nodes.noting("after"))).compile(saver)

    assert await graph.ainvoke({}, thread_id="t") == {"log": ["x", "after"]}
    assert nodes.calls["z"] == 0


async def test_on_disconnect_continue_is_refused_for_a_run_inside_a_node(saver: Checkpointer) -> None:
    nodes = Nodes()
    inner = chain(("x", nodes.noting("x"))).compile()

    async def call(state: State) -> None:
        async for _ in inner.astream({}, on_disconnect="continue"):
            pass

    with pytest.raises(InvalidOptionError, match="on_disconnect"):
        await chain(("call", call)).compile(saver).ainvoke({}, thread_id="t")
    assert nodes.calls["x"] == 0
