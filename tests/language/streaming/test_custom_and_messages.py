"""Events that nodes emit themselves: the modes "custom" and "messages"."""

import asyncio
import threading
from typing import Any

import anyio
import pytest

from durable_graph import (
    START,
    Checkpointer,
    CustomEvent,
    Durability,
    MessageEvent,
    OutsideOfRunError,
    Runtime,
    StateGraph,
    StreamOverflowError,
    StreamWriter,
    TimeoutPolicy,
    entrypoint,
    get_stream_writer,
    push_message,
    task,
)
from tests.graphs import State, chain, node_names, stream_parts

# Custom


async def test_a_node_emits_by_a_parameter_a_function_or_its_runtime(
    saver: Checkpointer, durability: Durability
) -> None:
    async def by_parameter(state: State, writer: StreamWriter) -> None:
        writer({"by": "parameter"})

    async def by_function(state: State) -> None:
        get_stream_writer()("by function")

    async def by_runtime(state: State, runtime: Runtime[None]) -> None:
        await runtime.stream_writer(["by runtime"])

    graph = chain(("a", by_parameter), ("b", by_function), ("c", by_runtime)).compile(saver)

    assert await stream_parts(graph, {}, stream_mode="custom", durability=durability) == [
        {"by": "parameter"},
        "by function",
        ["by runtime"],
    ]


async def test_an_event_is_received_while_the_node_that_emitted_it_runs(saver: Checkpointer) -> None:
    was_received = asyncio.Event()

    async def node(state: State, writer: StreamWriter) -> None:
        writer(1)
        await was_received.wait()
        writer(2)

    seen = []
    async with asyncio.timeout(20):
        async for part in chain(("node", node)).compile(saver).astream({}, thread_id="t", stream_mode="custom"):
            seen.append(part)
            was_received.set()

    assert seen == [1, 2]


async def test_a_plain_function_emits_from_its_thread(saver: Checkpointer) -> None:
    threads = set()

    def node(state: State, writer: StreamWriter) -> State:
        threads.add(threading.get_ident())
        for number in range(500):
            writer(number)
        return {"log": ["done"]}

    graph = chain(("node", node)).compile(saver)

    assert await stream_parts(graph, {}, stream_mode=["custom", "updates"]) == [
        *(("custom", number) for number in range(500)),
        ("updates", {"node": {"log": ["done"]}}),
    ]
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("in_thread", [asyncio.to_thread, anyio.to_thread.run_sync])
async def test_a_thread_that_a_node_started_emits_as_well(saver: Checkpointer, in_thread: Any) -> None:
    def emit() -> None:
        get_stream_writer()("from a thread")

    async def node(state: State) -> None:
        await in_thread(emit)

    builder = StateGraph(State).add_node("node", node, timeout=TimeoutPolicy(idle_timeout=60)).add_edge(START, "node")

    assert await stream_parts(builder.compile(saver), {}, stream_mode="custom") == ["from a thread"]


async def test_a_router_and_an_error_handler_emit_as_well(saver: Checkpointer) -> None:
    async def failing(state: State) -> None:
        raise ValueError("no")

    async def handle(state: State, writer: StreamWriter) -> None:
        writer("handled")

    def choose(state: State) -> str:
        get_stream_writer()("chosen")
        return "__end__"

    async def calm(state: State) -> None:
        return None

    builder = StateGraph(State).add_node("failing", failing, error_handler=handle).add_node("calm", calm)
    builder.add_edge(START, "failing").add_edge(START, "calm").add_conditional_edges("calm", choose, ["__end__"])

    assert sorted(await stream_parts(builder.compile(saver), {}, stream_mode="custom")) == ["chosen", "handled"]


async def test_an_entrypoint_and_the_task_that_it_calls_emit(saver: Checkpointer) -> None:
    @task
    async def work(number: int) -> int:
        get_stream_writer()(f"at {number}")
        return number

    @entrypoint(checkpointer=saver)
    async def flow(number: int, writer: StreamWriter) -> int:
        writer("begun")
        return await work(number)

    assert await stream_parts(flow, 7, stream_mode="custom") == ["begun", "at 7"]


async def test_a_typed_event_names_the_task_and_the_node_that_emitted_it(saver: Checkpointer) -> None:
    async def node(state: State, writer: StreamWriter, runtime: Runtime[None]) -> None:
        writer(runtime.execution_info.task_id)

    graph = chain(("node", node)).compile(saver)

    async with graph.stream({}, thread_id="t") as events:
        (emitted,) = [event async for event in events if isinstance(event, CustomEvent)]

    assert emitted.data == emitted.task_id
    assert (emitted.thread_id, emitted.ns, emitted.step, emitted.node) == ("t", (), 1, "node")


async def test_a_flood_of_requested_events_fails_the_node_and_the_error_names_the_remedy(saver: Checkpointer) -> None:
    """LangGraph (P30): 100,000 unread events of a node are buffered without limit."""

    async def node(state: State, writer: StreamWriter) -> None:
        for number in range(100_000):
            writer(number)

    graph = chain(("node", node)).compile(saver)

    with pytest.raises(StreamOverflowError, match=r"await writer\(data\)"):
        await stream_parts(graph, {}, stream_mode="custom")
    (left,) = (await graph.aget_state(thread_id="t")).tasks
    assert left.error is not None
    assert "StreamOverflowError" in left.error


async def test_a_flood_of_unrequested_events_is_no_error(saver: Checkpointer) -> None:
    async def node(state: State, writer: StreamWriter) -> State:
        for number in range(20_000):
            writer(number)
        return {"log": ["done"]}

    graph = chain(("node", node)).compile(saver)

    assert await stream_parts(graph, {}, stream_mode="updates") == [{"node": {"log": ["done"]}}]
    assert await graph.ainvoke({}, thread_id="u") == {"log": ["done"]}


async def test_a_flood_of_awaited_events_is_received_completely(saver: Checkpointer) -> None:
    async def node(state: State, writer: StreamWriter) -> None:
        for number in range(20_000):
            await writer(number)

    graph = chain(("node", node)).compile(saver)

    assert await stream_parts(graph, {}, stream_mode="custom") == list(range(20_000))


async def test_a_writer_outside_of_a_run_is_an_error() -> None:
    with pytest.raises(OutsideOfRunError):
        get_stream_writer()
    with pytest.raises(OutsideOfRunError):
        push_message("hello")


# Messages


async def test_a_pushed_message_has_the_metadata_of_its_call_and_its_node(
    saver: Checkpointer, durability: Durability
) -> None:
    async def node(state: State) -> None:
        await push_message({"content": "he"}, metadata={"model": "small"})
        push_message({"content": "llo"})

    builder = StateGraph(State).add_node("node", node, metadata={"of": "node"}).add_edge(START, "node")
    graph = builder.compile(saver)
    config = {"configurable": {"thread_id": "t"}, "metadata": {"who": "me"}, "tags": ["mine"]}

    emitted = [part async for part in graph.astream({}, config, stream_mode="messages", durability=durability)]

    common = {"who": "me", "of": "node", "langgraph_step": 1, "langgraph_node": "node", "tags": ["mine"]}
    assert [message for message, _ in emitted] == [{"content": "he"}, {"content": "llo"}]
    assert [{key: value for key, value in found.items() if key in (*common, "model")} for _, found in emitted] == [
        {**common, "model": "small"},
        common,
    ]
    assert emitted[0][1]["langgraph_checkpoint_ns"].startswith("node:")


async def test_a_message_tagged_nostream_is_not_streamed(saver: Checkpointer) -> None:
    async def loud(state: State) -> None:
        push_message("seen")
        push_message("hidden", metadata={"tags": ["nostream"]})

    async def quiet(state: State) -> None:
        push_message("hidden as well")

    builder = StateGraph(State).add_node("loud", loud).add_node("quiet", quiet, metadata={"tags": ["nostream"]})
    graph = builder.add_edge(START, "loud").add_edge("loud", "quiet").compile(saver)
    config = {"configurable": {"thread_id": "u"}, "tags": ["nostream"]}

    assert [message for message, _ in await stream_parts(graph, {}, stream_mode="messages")] == ["seen"]
    assert [part async for part in graph.astream({}, config, stream_mode="messages")] == []


async def test_a_message_tagged_nostream_is_emitted_as_a_typed_event(saver: Checkpointer) -> None:
    async def node(state: State) -> None:
        push_message("hidden", metadata={"tags": ["nostream"]})

    graph = chain(("node", node)).compile(saver)

    async with graph.stream({}, thread_id="t") as events:
        emitted = [event.message async for event in events if isinstance(event, MessageEvent)]

    assert emitted == ["hidden"]


async def test_messages_of_nested_graphs_are_received_with_and_without_subgraphs(saver: Checkpointer) -> None:
    async def node(state: State) -> None:
        push_message("from inside")
        get_stream_writer()("custom")

    inner = chain(("node", node)).compile()
    graph = chain(("inner", inner)).compile(saver)
    both: list[Any] = ["messages", "custom"]

    without = await stream_parts(graph, {}, stream_mode=both)
    within = await stream_parts(graph, {}, thread_id="u", stream_mode=both, subgraphs=True)

    assert [(mode, payload[0]) for mode, payload in without] == [("messages", "from inside")]
    assert [(node_names(ns), mode, payload if mode == "custom" else payload[0]) for ns, mode, payload in within] == [
        (("inner",), "messages", "from inside"),
        (("inner",), "custom", "custom"),
    ]


async def test_a_graph_that_never_emits_a_requested_message_warns_once(
    saver: Checkpointer, caplog: pytest.LogCaptureFixture
) -> None:
    """LangGraph streams the messages of LangChain's models by itself."""

    async def node(state: State) -> None:
        return None

    graph = chain(("a", node)).compile(saver, name="chat")

    for mode in ("messages", ["messages", "updates"], "messages"):
        await stream_parts(graph, {}, stream_mode=mode)

    warnings = [record.message for record in caplog.records if "push_message()" in record.message]
    assert warnings == [
        (
            "stream_mode='messages' of 'chat' told nothing: no node called a chat model of LangChain's, returned a "
            "message of LangChain's, or called push_message()"
        )
    ]


async def test_a_graph_that_emits_a_message_or_whose_messages_are_not_requested_does_not_warn(
    saver: Checkpointer, caplog: pytest.LogCaptureFixture
) -> None:
    async def node(state: State) -> None:
        push_message("hi")

    graph = chain(("a", node)).compile(saver)

    await stream_parts(graph, {}, stream_mode="messages")
    await stream_parts(graph, {}, stream_mode="updates")

    assert "push_message" not in caplog.text
