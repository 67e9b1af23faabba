"""LangGraph's own client, on a real server: streams of runs, and the thread streaming protocol."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph_sdk import get_client

from durable_graph import Checkpointer
from durable_graph.runs import App
from durable_graph_http import AgentService
from tests.http.graphs import STREAMED, input_of
from tests.http.server import served

Client = Any


@pytest.fixture
async def client(store: Checkpointer) -> AsyncIterator[Client]:
    shapes = ("chat", "question", "nested_question", "nested_chat", "pushed_and_tools", "failing", "news")
    app = App({shape: STREAMED[shape]() for shape in shapes}, store)
    async with served(AgentService(app)) as url, asyncio.timeout(40), get_client(url=url) as opened:
        yield opened


async def interrupted(thread: Any) -> None:
    """Wait until the client has noticed a question."""
    while not thread.interrupted:  # noqa: ASYNC110  # the client has no event
        await asyncio.sleep(0.01)


async def parts_of(stream: Any) -> list[Any]:
    return [part async for part in stream]


async def test_a_run_is_streamed_in_several_modes_and_joined_later(client: Client) -> None:
    created: list[Any] = []
    modes = ["values", "updates", "messages-tuple", "custom", "tasks", "checkpoints", "debug"]
    parts = await parts_of(
        client.runs.stream(
            "t",
            "chat",
            input=input_of("chat"),
            stream_mode=modes,
            if_not_exists="create",
            on_run_created=created.append,
        )
    )
    events = [part.event for part in parts]
    assert events[0] == "metadata"
    assert {"values", "updates", "messages", "tasks", "checkpoints", "debug"} <= set(events)
    run_id = created[0]["run_id"]
    assert parts[0].data == {"run_id": run_id, "attempt": 1}
    words = "".join(part.data[0]["content"] for part in parts if part.event == "messages")
    assert words == "one two threesix seven"
    for number in range(0, len(parts), 5):
        rest = await parts_of(client.runs.join_stream("t", run_id, stream_mode=modes, last_event_id=parts[number].id))
        assert rest == parts[number + 1 :]
    again = await parts_of(client.runs.join_stream("t", run_id, stream_mode=modes, last_event_id="-1"))
    assert again == parts


async def test_a_question_is_answered_by_a_second_stream(client: Client) -> None:
    stream = client.runs.stream("t", "question", input={"count": 0}, stream_mode="values", if_not_exists="create")
    asked = (await parts_of(stream))[-1].data["__interrupt__"]
    assert [each["value"] for each in asked] == ["ok?"]
    answered = await parts_of(
        client.runs.stream("t", "question", command={"resume": "yes"}, stream_mode=["values", "updates"])
    )
    assert answered[0].event == "metadata"
    assert answered[-1].data["answer"] == "yes"


async def test_an_error_is_a_part_of_the_stream(client: Client) -> None:
    stream = client.runs.stream("t", "failing", input={"count": 0}, if_not_exists="create")
    parts = await parts_of(stream)
    assert parts[-1].event == "error"
    assert parts[-1].data == {"error": "ValueError", "message": "no"}


async def test_a_run_without_a_thread_is_streamed(client: Client) -> None:
    parts = await parts_of(client.runs.stream(None, "news", input={"count": 0}, stream_mode=["custom", "values"]))
    assert [part.data["progress"] for part in parts if part.event == "custom"] == [0, 1, 2, 0, 1, 2]
    assert parts[-1].data == {"count": 2, "found": []}


async def test_the_stream_of_a_thread_is_joined(client: Client) -> None:
    await client.threads.create(thread_id="t")
    joined = await client.threads.join_stream("t", stream_mode=["lifecycle", "state_update"])
    first = asyncio.ensure_future(anext(joined))
    await client.runs.wait("t", "news", input={"count": 0})
    seen = [await first]
    while seen[-1].event != "run_done":
        seen.append(await anext(joined))
    assert seen[-1].data["status"] == "success"
    assert "state_update" in [part.event for part in seen]
    await joined.aclose()


# The thread streaming protocol


async def test_a_thread_is_started_and_its_output_awaited(client: Client) -> None:
    async with client.threads.stream(assistant_id="chat") as thread:
        started = await thread.run.start(input=input_of("chat"))
        assert started["run_id"]
        output = await thread.output
        assert [message["content"] for message in output["messages"]] == ["hi", "one two three", "six seven"]


async def test_messages_of_a_thread_are_put_together_by_the_client(client: Client) -> None:
    async with client.threads.stream(assistant_id="chat") as thread:
        await thread.run.start(input=input_of("chat"))
        messages = [message async for message in thread.messages]
        assert [await message.text for message in messages] == ["one two three", "six seven"]


async def test_a_question_of_a_thread_is_answered(client: Client) -> None:
    async with client.threads.stream(assistant_id="nested_question") as thread:
        await thread.run.start(input={"count": 0})
        await interrupted(thread)
        (asked,) = thread.interrupts
        assert asked["value"] == "ok?"
        assert asked["namespace"] == ["inner:2.0"]
        await thread.run.respond("yes")
        assert (await thread.output)["answer"] == "yes"


async def test_nested_graphs_and_tools_of_a_thread(client: Client) -> None:
    async with client.threads.stream(assistant_id="nested_chat") as thread:
        await thread.run.start(input=input_of("nested_chat"))
        (handle,) = [handle async for handle in thread.subgraphs]
        assert (handle.graph_name, handle.status) == ("inner", "completed")
    async with client.threads.stream(assistant_id="pushed_and_tools") as thread:
        await thread.run.start(input=input_of("pushed_and_tools"))
        calls = [call async for call in thread.tool_calls]
        assert [call.name for call in calls] == ["find", "find"]
        assert await calls[0].output == "found"


async def test_a_failed_run_of_a_thread_is_an_error(client: Client) -> None:
    async with client.threads.stream(assistant_id="failing") as thread:
        await thread.run.start(input={"count": 0})
        with pytest.raises(RuntimeError, match="ValueError: no"):
            await thread.output


async def test_a_stream_is_open_before_its_thread_exists(client: Client) -> None:
    async with client.threads.stream(thread_id="mine", assistant_id="question") as thread:
        events = thread.events
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await thread.run.start(input={"count": 0})
        seen = [await first]
        while seen[-1]["method"] != "input.requested":
            seen.append(await anext(events))
        assert [event["seq"] for event in seen] == sorted({event["seq"] for event in seen})
        await interrupted(thread)
        await thread.run.respond("yes", interrupt_id=seen[-1]["params"]["data"]["interrupt_id"])
        assert (await thread.output)["answer"] == "yes"


async def test_a_client_attaches_to_a_thread_that_waits(client: Client) -> None:
    async with client.threads.stream(thread_id="mine", assistant_id="question") as thread:
        await thread.run.start(input={"count": 0})
        await interrupted(thread)
    async with client.threads.stream(thread_id="mine", assistant_id="question") as thread:
        await interrupted(thread)
        await thread.run.respond("yes")
        assert (await thread.output)["answer"] == "yes"
