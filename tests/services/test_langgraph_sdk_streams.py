"""LangGraph's client for Python on real servers: streams of runs and threads of both generations, the sync client."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError
from langgraph_sdk.schema import StreamMode, StreamPart

from tests.services.engine.servers import Server
from tests.services.engine.talking import HELLO, QUESTION, TRIP, contents, said

MODES: list[StreamMode] = ["values", "updates", "messages-tuple", "custom"]
WORDS = ["You", " ", "said", " ", "hello", " ", "to", " ", "me"]


async def read(stream: AsyncIterator[Any]) -> list[StreamPart]:
    """All parts of a stream."""
    return [part async for part in stream]


def data_of(parts: list[StreamPart], event: str) -> list[Any]:
    """The data of the parts of a kind."""
    return [part.data for part in parts if part.event == event]


def open_gate(either: Server, name: str) -> None:
    """Let the model go on that waits at the gate."""
    (Path(either.form.folder) / name).touch()


async def thread_of(sdk: LangGraphClient) -> str:
    return (await sdk.threads.create())["thread_id"]


async def words_of(message: Any) -> list[str]:
    """The words of a message. The client has them once it has read further in its stream of messages."""
    return [word async for word in message.text]


# Streams of runs


async def test_a_stream_in_four_modes(sdk: LangGraphClient) -> None:
    thread = await thread_of(sdk)
    created: list[Any] = []
    parts = await read(sdk.runs.stream(thread, "team", input=TRIP, stream_mode=MODES, on_run_created=created.append))

    (run,) = await sdk.runs.list(thread)
    assert (parts[0].event, parts[0].data) == ("metadata", {"run_id": run["run_id"], "attempt": 1})
    assert created == [{"run_id": run["run_id"], "thread_id": thread}]
    assert data_of(parts, "custom") == [{"name": "progress", "looking for": "Lisbon"}]
    nodes = [next(iter(update)) for update in data_of(parts, "updates")]
    assert nodes == ["plan", "find", "find", "write", "__interrupt__"]
    assert [len(contents(values)) for values in data_of(parts, "values")] == [1, 1, 2, 2]
    assert [each["value"] for each in data_of(parts, "values")[-1]["__interrupt__"]] == [QUESTION]
    ids = [int(str(part.id)) for part in parts]
    assert ids == sorted(set(ids))


async def test_a_stream_of_messages(sdk: LangGraphClient) -> None:
    thread = await thread_of(sdk)
    parts = await read(sdk.runs.stream(thread, "chat", input=HELLO, stream_mode="messages-tuple"))
    chunks = data_of(parts, "messages")

    assert [message["content"] for message, _ in chunks] == WORDS
    assert {message["type"] for message, _ in chunks} == {"AIMessageChunk"}
    assert {about["langgraph_node"] for _, about in chunks} == {"say"}
    assert {about["thread_id"] for _, about in chunks} == {thread}

    parts = await read(sdk.runs.stream(thread, "chat", input=HELLO, stream_mode="messages"))
    texts = ["".join(WORDS[: number + 1]) for number in range(len(WORDS))]
    assert [messages[0]["content"] for messages in data_of(parts, "messages/partial")] == texts
    assert [messages[0]["content"] for messages in data_of(parts, "messages/complete")] == [texts[-1]]


@pytest.mark.parametrize("mode", ["values", "updates", "custom", "tasks", "checkpoints", "debug", "events"])
async def test_each_mode(sdk: LangGraphClient, mode: StreamMode) -> None:
    parts = await read(sdk.runs.stream(None, "team", input=TRIP, stream_mode=mode))
    assert {part.event for part in parts} == {"metadata", mode}


async def test_unknown_modes_are_refused(sdk: LangGraphClient) -> None:
    for mode in ("tools", "lifecycle"):
        unknown: Any = mode
        with pytest.raises(UnprocessableEntityError, match=f"no stream mode '{mode}'"):
            await read(sdk.runs.stream(None, "chat", input=HELLO, stream_mode=unknown))


async def test_a_stream_with_nested_graphs(sdk: LangGraphClient) -> None:
    parts = await read(sdk.runs.stream(None, "team", input=TRIP, stream_mode=MODES, stream_subgraphs=True))
    nested = {part.event.partition("|")[2].partition(":")[0] for part in parts if "|" in part.event}
    assert nested == {"write"}
    (words,) = {part.event for part in parts if part.event.startswith("messages|")}
    assert [message["content"] for message, _ in data_of(parts, words)] == WORDS


async def test_a_stream_of_the_second_version(sdk: LangGraphClient) -> None:
    parts = [part async for part in sdk.runs.stream(None, "chat", input=HELLO, stream_mode="values", version="v2")]
    assert [part["type"] for part in parts] == ["metadata", "values", "values"]
    assert contents(parts[-1]["data"])[-1] == "You said hello to me"


async def test_an_answer_is_streamed(sdk: LangGraphClient) -> None:
    thread = await thread_of(sdk)
    first = await read(sdk.runs.stream(thread, "team", input=TRIP, stream_mode="updates"))
    parts = await read(sdk.runs.stream(thread, "team", command={"resume": "yes"}, stream_mode="updates"))

    # What the run did before its question is not repeated.
    assert [next(iter(update)) for update in data_of(parts, "updates")] == ["approve"]
    assert parts[0].data["run_id"] == first[0].data["run_id"]
    assert int(str(parts[0].id)) > int(str(first[-1].id))


async def test_a_failure_is_streamed(sdk: LangGraphClient) -> None:
    parts = await read(sdk.runs.stream(None, "fails", input=HELLO, stream_mode="values"))
    assert parts[-1].event == "error"
    assert parts[-1].data == {"error": "ValueError", "message": "no luck"}


async def test_a_stream_is_continued_after_any_frame(sdk: LangGraphClient) -> None:
    thread = await thread_of(sdk)
    parts = await read(sdk.runs.stream(thread, "team", input=TRIP, stream_mode=MODES, stream_subgraphs=True))
    run = parts[0].data["run_id"]
    options: Any = {"stream_mode": MODES, "params": {"stream_subgraphs": "true"}}

    assert await read(sdk.runs.join_stream(thread, run, last_event_id="-1", **options)) == parts
    for number in range(0, len(parts), 3):
        rest = await read(sdk.runs.join_stream(thread, run, last_event_id=parts[number].id, **options))
        assert rest == parts[number + 1 :]
    with pytest.raises(UnprocessableEntityError, match="Last-Event-ID"):
        await read(sdk.runs.join_stream(thread, run, last_event_id="nothing", **options))
    with pytest.raises(UnprocessableEntityError, match="beyond"):
        await read(sdk.runs.join_stream(thread, run, last_event_id="9" * 15, **options))


async def test_a_run_is_joined_in_the_middle(sdk: LangGraphClient, either: Server) -> None:
    thread = await thread_of(sdk)
    stream = sdk.runs.stream(thread, "chat", input={**HELLO, "gate": f"join-{thread}"}, stream_mode="messages-tuple")
    before = [await anext(stream) for _ in range(4)]
    run: Any = before[0].data["run_id"]

    joined = sdk.runs.join_stream(thread, run, stream_mode="messages-tuple")
    header = await anext(joined)
    open_gate(either, f"join-{thread}")
    after, rest = await read(joined), await read(stream)

    assert (header.event, header.data) == ("metadata", {"run_id": run, "attempt": 1})
    assert after == rest
    assert [message["content"] for message, _ in data_of(after, "messages")] == WORDS[3:]


async def test_a_client_that_leaves_cancels_its_run_if_it_says_so(sdk: LangGraphClient) -> None:
    thread = await thread_of(sdk)
    stream: Any = sdk.runs.stream(thread, "chat", input={**HELLO, "gate": "never"}, on_disconnect="cancel")
    run = (await anext(stream)).data["run_id"]
    await stream.aclose()
    await sdk.runs.join(thread, run)
    assert (await sdk.runs.get(thread, run))["status"] == "interrupted"


async def test_a_stream_of_a_thread(sdk: LangGraphClient) -> None:
    thread = await thread_of(sdk)
    stream = await sdk.threads.join_stream(thread, last_event_id="-1")
    await sdk.runs.create(thread, "team", input=TRIP)
    parts: list[StreamPart] = []
    async for part in stream:
        parts.append(part)
        if part.event == "run_done" and part.data["status"] == "interrupted":
            await sdk.runs.create(thread, "team", command={"resume": "yes"})
        elif part.event == "run_done":
            break
    assert {part.event for part in parts} >= {"metadata", "values", "updates", "run_done"}
    assert contents(data_of(parts, "values")[-1])[-1] == "Booked: yes"

    again = await sdk.threads.join_stream(thread, last_event_id=parts[3].id)
    assert [await anext(again) for _ in range(3)] == parts[4:7]


# The thread streaming protocol


async def test_a_thread_is_started_asks_is_answered_and_ends(sdk: LangGraphClient) -> None:
    async with sdk.threads.stream(assistant_id="team") as thread:
        started = await thread.run.start(input=TRIP, metadata={"origin": "test"})
        values = [each async for each in thread.values]
        assert thread.interrupted
        (asked,) = thread.interrupts
        answered = await thread.run.respond("yes")
        output: Any = await thread.output

    assert values
    assert asked["value"] == QUESTION
    assert contents(output)[-1] == "Booked: yes"
    assert answered["run_id"] == started["run_id"]
    run = await sdk.runs.get(thread.thread_id, started["run_id"])
    assert (run["status"], run["metadata"]) == ("success", {"origin": "test"})


async def test_messages_of_a_thread_arrive_word_by_word(sdk: LangGraphClient) -> None:
    async with sdk.threads.stream(assistant_id="chat") as thread:
        await thread.run.start(input=HELLO)
        reading = [asyncio.create_task(words_of(message)) async for message in thread.messages]
        output: Any = await thread.output
    assert [await task for task in reading] == [WORDS]
    assert contents(output) == ["hello", "You said hello to me"]


async def test_nested_graphs_and_progress_of_a_thread(sdk: LangGraphClient) -> None:
    async with sdk.threads.stream(assistant_id="tour") as thread:
        await thread.run.start(input=TRIP)
        graphs = [graph async for graph in thread.subgraphs]
        messages = [message for graph in graphs async for message in graph.messages]
        words = [await words_of(each) for each in messages]
    # Another client, because one client that opens two kinds of streams at once may wait for its first one for ever.
    async with sdk.threads.stream(thread.thread_id, assistant_id="tour") as again:
        emitted = [each async for each in again.extensions["progress"]]
    assert [(graph.graph_name, graph.status) for graph in graphs] == [("write", "completed")]
    assert words == [WORDS]
    assert [each["payload"]["looking for"] for each in emitted] == ["Lisbon"]


async def test_another_client_continues_a_thread(sdk: LangGraphClient) -> None:
    async with sdk.threads.stream(assistant_id="team") as first:
        await first.run.start(input=TRIP)
        assert [values async for values in first.values]

    async with sdk.threads.stream(first.thread_id, assistant_id="team") as second:
        events = second.events
        async for event in events:
            if event["method"] == "input.requested":
                break
        async with asyncio.timeout(30):
            while not second.interrupts:  # noqa: ASYNC110  # the client has no event for it
                await asyncio.sleep(0.01)
        await second.run.respond("yes", interrupt_id=second.interrupts[0]["interrupt_id"])
        output: Any = await second.output
    assert contents(output)[-1] == "Booked: yes"


async def test_a_thread_fails(sdk: LangGraphClient) -> None:
    async with sdk.threads.stream(assistant_id="fails") as thread:
        await thread.run.start(input=HELLO)
        with pytest.raises(Exception, match="no luck"):
            await thread.output


async def test_the_graph_of_a_thread(sdk: LangGraphClient) -> None:
    async with sdk.threads.stream(assistant_id="team") as thread:
        tree = await thread.agent.get_tree()
    assert {str(node["id"]) for node in tree["nodes"]} >= {"plan", "find", "write", "approve"}


# The sync client


@pytest.fixture
def blocking(either: Server) -> Any:
    """LangGraph's client without asyncio."""
    with get_sync_client(url=either.url) as opened:
        yield opened


def test_the_sync_client_runs_streams_and_answers(blocking: SyncLangGraphClient) -> None:
    thread = blocking.threads.create(metadata={"origin": "sync"})["thread_id"]
    parts = list(blocking.runs.stream(thread, "team", input=TRIP, stream_mode=MODES))
    assert parts[0].event == "metadata"
    run: Any = parts[0].data
    replayed = list(blocking.runs.join_stream(thread, run["run_id"], stream_mode=MODES, last_event_id="-1"))
    assert replayed == parts
    assert blocking.threads.get_state(thread)["next"] == ["approve"]
    assert len(blocking.threads.search(metadata={"origin": "sync"}, ids=[thread])) == 1

    result: Any = blocking.runs.wait(thread, "team", command={"resume": "yes"})
    assert contents(result)[-1] == "Booked: yes"
    assert [each["next"] for each in blocking.threads.get_history(thread, limit=2)] == [[], ["approve"]]
    with pytest.raises(ConflictError):
        blocking.threads.create(thread_id=thread)
    blocking.threads.delete(thread)
    with pytest.raises(NotFoundError):
        blocking.threads.get(thread)


def test_the_sync_client_runs_in_the_background(blocking: SyncLangGraphClient) -> None:
    thread = blocking.threads.create()["thread_id"]
    run = blocking.runs.create(thread, "chat", input=HELLO)["run_id"]
    assert contents(blocking.runs.join(thread, run))[-1] == "You said hello to me"
    stuck = blocking.runs.create(thread, "chat", input={**said("more"), "gate": "never"})["run_id"]
    blocking.runs.cancel(thread, stuck, wait=True)
    assert [each["status"] for each in blocking.runs.list(thread)] == ["interrupted", "success"]
    assert blocking.assistants.get_graph("chat")["nodes"]


def test_the_sync_client_follows_a_thread(blocking: SyncLangGraphClient) -> None:
    with blocking.threads.stream(assistant_id="team") as thread:
        thread.run.start(input=TRIP)
        assert list(thread.values)
        assert [each["value"] for each in thread.interrupts] == [QUESTION]
        thread.run.respond("yes")
        output: Any = thread.output
    assert contents(output)[-1] == "Booked: yes"
