"""Frames of streams: their ids, live and replayed, and what a client gets that reconnects after any of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import combinations

import pytest

from durable_graph import Checkpointer, Command, MemorySaver
from durable_graph.runs import App, RunHandle
from durable_graph_http import AgentService, Frame
from durable_graph_http.frames import Wanted
from durable_graph_http.run_streams import Source
from durable_graph_http.streaming import Start
from durable_graph_http.tails import Entry
from tests.http.graphs import STREAMED, input_of
from tests.http.reading import ALL_MODES, Stream, data_of, ids, names, replayed, run_path_of, send

NEW = {"assistant_id": "g", "if_not_exists": "create"}


@asynccontextmanager
async def finished_stream(
    saver: Checkpointer, shape: str, *, modes: tuple[str, ...] = ALL_MODES
) -> AsyncIterator[tuple[AgentService, str, list[Frame]]]:
    """A service, the path of a run that has ended, and its frames as one reader got them live."""
    app = App({"g": STREAMED[shape]()}, saver)
    service = AgentService(app)
    async with service:
        live = await streamed_to_its_end(service, shape, modes)
        yield service, run_path_of(live[0].reply), [frame for stream in live for frame in stream.seen]


async def streamed_to_its_end(service: AgentService, shape: str, modes: tuple[str, ...]) -> list[Stream]:
    """The streams of one run: a question ends one, and its answer begins the next."""
    body = {**NEW, "input": input_of(shape), "stream_mode": modes, "stream_subgraphs": True}
    streams = [Stream(await send(service, "POST", "/threads/t/runs/stream", body))]
    while True:
        await streams[-1].rest()
        status = await service.app.unfinished("t")
        if status is None:
            return streams
        assert status.is_interrupted
        if status.interrupts:
            answer = {**body, "input": None, "command": {"resume": "yes"}}
            reply = await send(service, "POST", "/threads/t/runs/stream", answer)
        else:
            await service.app.resume("t")
            query = {"stream_mode": modes, "stream_subgraphs": "true"}
            path, last = run_path_of(streams[-1].reply), streams[-1].seen[-1].id
            reply = await send(service, "GET", f"{path}/stream", query=query, last_event_id=last)
        streams.append(Stream(reply))


def without_joins(frames: list[Frame]) -> list[Frame]:
    """The frames without those that only say which run a client has joined."""
    return [frame for frame in frames if int(frame.id) % 16 != 13]


@pytest.mark.every_store
@pytest.mark.parametrize("shape", STREAMED)
async def test_live_and_replayed_frames_are_the_same(saver: Checkpointer, shape: str) -> None:
    async with finished_stream(saver, shape) as (service, path, live):
        numbers = ids(live)
        assert numbers == sorted(set(numbers))
        assert numbers[-1] < 1 << 53
        assert await replayed(service, path) == without_joins(live)
        other = AgentService(App({"g": STREAMED[shape]()}, saver), worker=False)
        async with other:
            assert await replayed(other, path) == without_joins(live)


@pytest.mark.parametrize("shape", STREAMED)
async def test_a_reconnect_after_every_frame_gives_exactly_the_rest(shape: str) -> None:
    async with finished_stream(MemorySaver(), shape) as (service, path, live):
        frames = without_joins(live)
        for number, frame in enumerate(frames):
            assert await replayed(service, path, frame.id) == frames[number + 1 :]


@pytest.mark.parametrize("mode", ALL_MODES)
async def test_a_reconnect_with_one_mode_gives_exactly_the_rest(mode: str) -> None:
    async with finished_stream(MemorySaver(), "chat_that_fails_once") as (service, path, _):
        whole = await replayed(service, path)
        frames = await replayed(service, path, modes=(mode,))
        assert set(frames) <= set(whole)
        # After frames that the reader did not ask for, too.
        for between in whole[::3]:
            rest = [frame for frame in frames if int(frame.id) > int(between.id)]
            assert await replayed(service, path, between.id, (mode,)) == rest


@pytest.mark.parametrize("shape", ["nested_question", "chat_with_question", "chat_that_fails_once"])
async def test_every_set_of_modes_begins_at_every_frame(shape: str) -> None:
    async with finished_stream(MemorySaver(), shape) as (service, path, _):
        handle = await service.app.find(path.rpartition("/")[2])
        events = [logged async for logged in handle.events()]
        entries = [Entry(logged, is_start=number == 0) for number, logged in enumerate(events)]
        whole = await replayed(service, path)
        for modes in (set_ for size in range(1, 10) for set_ in combinations(ALL_MODES, size)):
            wanted = Wanted(frozenset(modes), with_subgraphs=True)
            frames = frames_after(service, handle, entries, wanted, 0)
            assert ids(frames) == sorted(set(ids(frames)))
            assert set(frames) <= set(whole)
            for start in (0, 16, *ids(whole)[:: max(len(whole) // 4, 1)], ids(whole)[-1]):
                rest = [frame for frame in frames if int(frame.id) > start]
                assert frames_after(service, handle, entries, wanted, start) == rest


def frames_after(
    service: AgentService, handle: RunHandle, entries: list[Entry], wanted: Wanted, after: int
) -> list[Frame]:
    """What a reader makes of the events that it has to see."""
    source = Source(service, handle, "g", "t", wanted)
    begin = source.first_event(Start(after))
    return [frame for entry in entries if entry.logged.id > begin for frame in source.frames(entry, after)]


@pytest.mark.parametrize("shape", STREAMED)
async def test_a_live_reader_that_is_cut_after_each_frame_gets_every_frame_once(shape: str) -> None:
    app = App({"g": STREAMED[shape]()}, MemorySaver())
    async with AgentService(app) as service:
        body = {**NEW, "input": input_of(shape), "stream_mode": ALL_MODES, "stream_subgraphs": True}
        reply = await send(service, "POST", "/threads/t/runs/stream", body)
        path, seen = run_path_of(reply), list[Frame]()
        stream = Stream(reply)
        async with asyncio.timeout(60):
            while True:
                async for frame in stream.frames:
                    seen.append(frame)
                    break
                else:
                    status = await app.unfinished("t")
                    if status is None:
                        break
                    if status.is_interrupted:
                        await (app.answer("t", "yes") if status.interrupts else app.resume("t"))
                await stream.frames.aclose()
                query = {"stream_mode": ALL_MODES, "stream_subgraphs": "true"}
                after = seen[-1].id
                stream = Stream(await send(service, "GET", f"{path}/stream", query=query, last_event_id=after))
        assert seen == await replayed(service, path)
        assert not service.tails.count


async def test_frames_of_each_mode() -> None:
    async with finished_stream(MemorySaver(), "nested") as (service, path, _):
        values = await replayed(service, path, modes=("values",), nested=False)
        assert names(values) == ["metadata", *["values"] * 4]
        run_id = path.rpartition("/")[2]
        assert data_of(values, "metadata") == [{"run_id": run_id, "attempt": 1}]
        assert data_of(values, "values")[-1] == {"count": 4, "found": [1, 2]}
        updates = await replayed(service, path, modes=("updates",))
        assert {name.partition("|")[2].partition(":")[0] for name in names(updates)} == {"", "inner"}
        assert data_of(updates, "updates")[0] == {"a": {"count": 1}}
        custom = await replayed(service, path, modes=("custom",), nested=False)
        assert data_of(custom, "custom") == [{"progress": number} for number in range(3)]
        tasks = data_of(await replayed(service, path, modes=("tasks",), nested=False), "tasks")
        assert [(each["name"], "result" in each) for each in tasks][:2] == [("a", False), ("a", True)]
        checkpoints = data_of(await replayed(service, path, modes=("checkpoints",), nested=False), "checkpoints")
        assert checkpoints[-1]["next"] == []
        assert checkpoints[-1]["config"]["configurable"]["thread_id"] == "t"
        debug = data_of(await replayed(service, path, modes=("debug",), nested=False), "debug")
        assert {each["type"] for each in debug} == {"checkpoint", "task", "task_result"}
        events = data_of(await replayed(service, path, modes=("events",), nested=False), "events")
        assert events[0]["type"] == "checkpoint_committed"


async def test_messages_arrive_as_chunks_and_as_partial_messages() -> None:
    async with finished_stream(MemorySaver(), "chat") as (service, path, _):
        chunks = data_of(await replayed(service, path, modes=("messages-tuple",)), "messages")
        assert "".join(chunk["content"] for chunk, _ in chunks) == "one two threesix seven"
        assert {about["langgraph_node"] for _, about in chunks} == {"first", "second"}
        assert all(chunk["type"] == "AIMessageChunk" for chunk, _ in chunks)
        frames = await replayed(service, path, modes=("messages",))
        partial = data_of(frames, "messages/partial")
        assert [message["content"] for (message,) in partial][:5] == [
            "one",
            "one ",
            "one two",
            "one two ",
            "one two three",
        ]
        assert {message["type"] for (message,) in partial} == {"ai"}
        complete = data_of(frames, "messages/complete")
        assert [message["content"] for (message,) in complete] == ["one two three", "six seven"]
        about = data_of(frames, "messages/metadata")
        assert [list(each) for each in about] == [[message["id"]] for (message,) in complete]


async def test_a_question_is_the_last_frame_and_its_answer_continues_the_run() -> None:
    app = App({"g": STREAMED["question"]()}, MemorySaver())
    async with AgentService(app) as service:
        body = {**NEW, "input": {"count": 0}, "stream_mode": ["values", "updates"]}
        first = Stream(await send(service, "POST", "/threads/t/runs/stream", body))
        asked = json.loads((await first.rest())[-1].data)["__interrupt__"]
        assert [each["value"] for each in asked] == ["ok?"]
        assert set(asked[0]) == {"value", "id"}
        body = {"assistant_id": "g", "command": {"resume": "yes"}, "stream_mode": ["values", "updates"]}
        second = Stream(await send(service, "POST", "/threads/t/runs/stream", body))
        frames = await second.rest()
        assert run_path_of(second.reply) == run_path_of(first.reply)
        assert frames[0].event == "metadata"
        assert ids(first.seen)[-1] < ids(frames)[0]
        assert {"q": {"answer": "yes"}} in data_of(frames, "updates")
        assert not [each for each in data_of(frames, "values") if "__interrupt__" in each]


async def test_the_error_is_the_last_frame_of_a_failed_run() -> None:
    async with finished_stream(MemorySaver(), "failing") as (service, path, live):
        assert live[-1].event == "error"
        assert json.loads(live[-1].data) == {"error": "ValueError", "message": "no"}
        assert await replayed(service, path, live[-1].id) == []
        joined = await Stream(await send(service, "GET", f"{path}/stream")).rest()
        assert names(joined) == ["metadata", "error"]
        assert joined[-1] == live[-1]


async def test_a_retraction_names_the_frames_that_are_void() -> None:
    async with finished_stream(MemorySaver(), "chat_that_fails_once") as (service, path, _):
        frames = await replayed(service, path, modes=("messages-tuple",))
        (retract,) = [frame for frame in frames if frame.event == "custom"]
        before = json.loads(retract.data)["retract"]["before"]
        void = [frame for frame in frames if frame.event == "messages" and int(frame.id) < before]
        valid = [frame for frame in frames if frame.event == "messages" and int(frame.id) > before]
        assert [len(void), len(valid)] == [3, 3]
        assert int(retract.id) > before
        assert json.loads(retract.data)["retract"]["node"] == "talk"


async def test_updates_of_a_running_thread_are_frames() -> None:
    app = App({"g": STREAMED["question"]()}, MemorySaver())
    async with AgentService(app) as service:
        body = {**NEW, "input": {"count": 0}}
        first = Stream(await send(service, "POST", "/threads/t/runs/stream", body))
        await first.rest()
        await app.update("t", {"count": 40})
        await app.answer("t", "yes")
        frames = await replayed(service, run_path_of(first.reply), first.seen[-1].id, ("values",), nested=False)
        assert data_of(frames, "values")[-1]["count"] == 41
        everything = await replayed(service, run_path_of(first.reply), modes=("values",), nested=False)
        assert everything == [*first.seen, *frames]


async def test_messages_of_a_run_with_a_command_are_frames() -> None:
    app = App({"g": STREAMED["chain"]()}, MemorySaver())
    async with AgentService(app) as service:
        await (await app.start("g", {"count": 0}, thread_id="t")).result(20)
        handle = await app.start("g", Command(goto="b"), thread_id="t", events="all")
        path = f"/threads/t/runs/{handle.run_id}"
        await handle.result(20)
        frames = await replayed(service, path, modes=("updates",), nested=False)
        assert names(frames)[0] == "metadata"
        assert [list(each) for each in data_of(frames, "updates")] == [["b"], ["c"]]


async def test_a_run_without_an_input_begins_with_its_own_frames() -> None:
    app = App({"g": STREAMED["chain"]()}, MemorySaver())
    async with AgentService(app) as service:
        first = await app.start("g", {"count": 0}, thread_id="t", events="all")
        await first.result(20)
        earlier = await first.newest_event_id()
        graph = app.graph("g")
        states = [each async for each in graph.aget_state_history({"configurable": {"thread_id": "t"}})]
        before = next(each for each in states if each.next == ("b",))
        await graph.aupdate_state(before.config, None, as_node="__copy__")
        handle = await app.start("g", None, thread_id="t", events="all")
        await handle.result(20)
        path = f"/threads/t/runs/{handle.run_id}"
        frames = await replayed(service, path)
        assert names(frames).count("metadata") == 1
        assert names(frames)[0] == "metadata"
        for number, frame in enumerate(frames):
            assert await replayed(service, path, frame.id) == frames[number + 1 :]
        assert await replayed(service, path, earlier * 16) == frames
