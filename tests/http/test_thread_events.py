"""The thread streaming protocol: events of all runs of a thread, and commands."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from durable_graph import START, Checkpointer, MemorySaver, interrupt
from durable_graph.runs import App
from durable_graph_http import AgentService, Frame
from tests.http.graphs import STREAMED, input_of
from tests.http.reading import Stream, problem, send
from tests.runs.engine.events import State, graph_of

ALL = ["values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom"]
EVENTS = "/threads/t/stream/events"


def event(frame: Frame) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(frame.data)
    return found


def methods(frames: list[Frame]) -> list[str]:
    return [event(frame)["method"] for frame in frames]


def lifecycle(frames: list[Frame]) -> list[tuple[str, list[str]]]:
    found = [event(frame)["params"] for frame in frames if event(frame)["method"] == "lifecycle"]
    return [(each["data"]["event"], each["namespace"]) for each in found]


async def until_phase(stream: Stream, *phases: str) -> str:
    """Read until a phase of the outermost graph."""
    while True:
        found = event(await stream.until("message"))
        data = found["params"]["data"]
        if found["method"] == "lifecycle" and not found["params"]["namespace"] and data["event"] in phases:
            return str(data["event"])


async def commanded(service: AgentService, method: str, **params: Any) -> dict[str, Any]:
    reply = await send(service, "POST", "/threads/t/commands", {"id": 7, "method": method, "params": params})
    assert reply.status == 200, reply.body
    assert isinstance(reply.body, bytes)
    found: dict[str, Any] = json.loads(reply.body)
    assert found["id"] == 7
    return found


@asynccontextmanager
async def finished_thread(saver: Checkpointer, shape: str) -> AsyncIterator[tuple[AgentService, list[Frame]]]:
    """A service with a thread whose two runs have ended, and the events as one reader got them live, who came before
    the thread."""
    app = App({"g": STREAMED[shape]()}, saver)
    async with AgentService(app) as service:
        stream = Stream(await send(service, "POST", EVENTS, {"channels": ALL}))
        for _ in range(2):
            started = await commanded(service, "run.start", assistant_id="g", input=input_of(shape))
            assert started["type"] == "success"
            while await until_phase(stream, "completed", "failed", "interrupted") == "interrupted":
                await answer_all(service, stream)
        await stream.frames.aclose()
        yield service, stream.seen


async def answer_all(service: AgentService, stream: Stream) -> None:
    status = await service.app.unfinished("t")
    assert status is not None
    if not status.interrupts:
        await service.app.resume("t")
        return
    requests = [event(frame)["params"]["data"] for frame in stream.seen if event(frame)["method"] == "input.requested"]
    answered = await commanded(
        service, "input.respond", interrupt_id=requests[-1]["interrupt_id"], response="yes", namespace=[]
    )
    assert answered["type"] == "success"
    assert answered["meta"]["applied_through_seq"] >= event(stream.seen[-1])["seq"]


@pytest.mark.every_store
@pytest.mark.parametrize("shape", STREAMED)
async def test_live_and_replayed_events_are_the_same(saver: Checkpointer, shape: str) -> None:
    async with finished_thread(saver, shape) as (service, live):
        numbers = [event(frame)["seq"] for frame in live]
        assert numbers == sorted(set(numbers))
        assert [int(frame.id) for frame in live] == numbers
        assert len({event(frame)["event_id"] for frame in live}) == len(live)
        again = Stream(await send(service, "POST", EVENTS, {"channels": ALL}))
        for frame in live:
            assert await anext(again.frames) == frame
        await again.frames.aclose()


@pytest.mark.parametrize("shape", ["nested_question", "nested_chat", "chat_that_fails_once", "sends", "failing"])
async def test_a_reconnect_after_every_event_gives_exactly_the_rest(shape: str) -> None:
    async with finished_thread(MemorySaver(), shape) as (service, live):
        for number, frame in enumerate(live[:-1]):
            body = {"channels": ALL, "since": event(frame)["seq"]}
            stream = Stream(await send(service, "POST", EVENTS, body))
            assert [await anext(stream.frames) for _ in live[number + 1 :]] == live[number + 1 :]
            await stream.frames.aclose()


async def test_events_of_a_run_with_a_question() -> None:
    async with finished_thread(MemorySaver(), "nested_question") as (_, live):
        inner = ["inner:2.0"]
        phases = [
            ("running", []),
            ("started", inner),
            ("interrupted", []),
            ("running", []),
            ("completed", inner),
            ("completed", []),
        ]
        assert lifecycle(live)[:6] == phases
        (request, _) = [event(frame)["params"] for frame in live if event(frame)["method"] == "input.requested"]
        assert request["namespace"] == inner
        assert request["data"]["payload"] == request["data"]["value"] == "ok?"
        legs = [
            event(frame)["event_id"].split(":")[1] for frame in live if event(frame)["event_id"].startswith("synth")
        ]
        assert legs[0] == legs[1] != legs[2] == legs[3]
        assert legs[2].partition("~")[0] == legs[0]
        checkpoint = live[methods(live).index("checkpoints")]
        assert event(checkpoint)["params"]["data"] == {"id": "0000000000000001", "step": 0, "source": "input"}
        values = live[live.index(checkpoint) + 1]
        assert event(values)["method"] == "values"
        update = event(live[methods(live).index("updates")])["params"]["data"]
        assert update == {"node": "a", "values": {"count": 1}}
        inside = [event(frame)["params"]["data"] for frame in live if event(frame)["method"] == "tasks"]
        assert "2.0" in [each["id"] for each in inside if each["name"] == "inner"]


async def test_messages_are_blocks_with_deltas() -> None:
    async with finished_thread(MemorySaver(), "chat") as (_, live):
        data = [event(frame)["params"]["data"] for frame in live if event(frame)["method"] == "messages"]
        first = [each for each in data if each.get("message_id", each.get("id")) == data[0]["id"]]
        assert [each["event"] for each in first] == [
            "message-start",
            "content-block-start",
            *["content-block-delta"] * 5,
            "content-block-finish",
            "message-finish",
        ]
        assert "".join(each["delta"]["text"] for each in first if "delta" in each) == "one two three"
        assert first[-2]["content"]["text"] == "one two three"


async def test_calls_of_tools_are_started_and_finished() -> None:
    async with finished_thread(MemorySaver(), "pushed_and_tools") as (_, live):
        tools = [event(frame)["params"]["data"] for frame in live if event(frame)["method"] == "tools"]
        assert [(each["event"], each["tool_call_id"]) for each in tools][:3] == [
            ("tool-started", "c1"),
            ("tool-finished", "c1"),
            ("tool-started", "c2"),
        ]
        assert tools[0]["input"] == {"x": 1}
        assert tools[2]["input"] == {"x": 2}
        assert tools[1]["output"] == "found"


async def test_channels_namespaces_and_depth_choose_the_events() -> None:
    async with finished_thread(MemorySaver(), "nested_question") as (service, live):
        bodies: list[tuple[dict[str, Any], Any]] = [
            ({"channels": ["values"]}, lambda found: found["method"] == "values"),
            ({"channels": ALL, "namespaces": [[]], "depth": 0}, lambda found: not found["params"]["namespace"]),
            ({"channels": ALL, "depth": 0}, lambda found: not found["params"]["namespace"]),
            ({"channels": ALL, "namespaces": [["inner"]]}, lambda found: found["params"]["namespace"]),
            ({"channels": ["input"], "since": 0}, lambda found: found["method"] == "input.requested"),
        ]
        for body, is_wanted in bodies:
            stream = Stream(await send(service, "POST", EVENTS, body))
            wanted = [frame for frame in live if is_wanted(event(frame))]
            assert [await anext(stream.frames) for _ in wanted] == wanted
            await stream.frames.aclose()


async def test_custom_events_have_channels_by_name() -> None:
    async def tell(state: State, runtime: Any) -> State:
        runtime.stream_writer({"name": "news", "text": "a"})
        runtime.stream_writer("plain")
        return {"count": 1}

    app = App({"g": graph_of({"tell": tell}, (START, "tell"))}, MemorySaver())
    async with AgentService(app) as service:
        await commanded(service, "run.start", assistant_id="g", input={"count": 0})
        named = Stream(await send(service, "POST", EVENTS, {"channels": ["custom:news", "lifecycle"]}))
        await until_phase(named, "completed")
        custom = [event(frame)["params"]["data"] for frame in named.seen if event(frame)["method"] == "custom"]
        assert custom == [{"name": "news", "payload": {"name": "news", "text": "a"}}]
        every = Stream(await send(service, "POST", EVENTS, {"channels": ["custom", "lifecycle"]}))
        await until_phase(every, "completed")
        custom = [event(frame)["params"]["data"] for frame in every.seen if event(frame)["method"] == "custom"]
        assert custom == [{"name": "news", "payload": {"name": "news", "text": "a"}}, {"payload": "plain"}]


async def test_an_event_with_very_many_parts_loses_none_at_a_reconnect() -> None:
    def ask_many(number: int) -> Any:
        async def one(state: State) -> State:
            return {"answer": interrupt(number)}

        return one

    inner = graph_of({f"q{n}": ask_many(n) for n in range(100)}, *((START, f"q{n}") for n in range(100)))

    async def call(state: State) -> State:
        await inner.ainvoke({"count": 0})
        return {"count": 1}

    app = App({"g": graph_of({"call": call}, (START, "call"))}, MemorySaver())
    async with AgentService(app) as service:
        stream = Stream(await send(service, "POST", EVENTS, {"channels": ["input", "lifecycle"], "since": 0}))
        await commanded(service, "run.start", assistant_id="g", input={"count": 0})
        await until_phase(stream, "interrupted")
        asked = [event(frame) for frame in stream.seen if event(frame)["method"] == "input.requested"]
        assert sorted(each["params"]["data"]["value"] for each in asked) == list(range(100))
        seqs = [each["seq"] for each in asked]
        assert seqs == sorted(seqs)
        for each in asked[::7]:
            again = Stream(await send(service, "POST", EVENTS, {"channels": ["input"], "since": each["seq"]}))
            seen = {each["event_id"] for each in asked[: asked.index(each) + 1]}
            rest = asked[asked.index(each) + 1 :]
            got: list[dict[str, Any]] = []
            while len(got) < len(rest):
                found = event(await anext(again.frames))
                if found["event_id"] not in seen:
                    got.append(found)
            assert got == rest
            await again.frames.aclose()


async def test_a_watcher_of_the_state_gets_the_run_that_has_not_ended() -> None:
    app = App({"g": STREAMED["question"]()}, MemorySaver())
    async with AgentService(app) as service:
        for _ in range(2):
            await commanded(service, "run.start", assistant_id="g", input={"count": 0})
            content = Stream(await send(service, "POST", EVENTS, {"channels": ALL}))
            watcher = Stream(await send(service, "POST", EVENTS, {"channels": ["lifecycle", "input"]}))
            await until_phase(watcher, "interrupted")
            assert lifecycle(watcher.seen) == [("running", []), ("interrupted", [])]
            status = await app.unfinished("t")
            assert status is not None
            assert event(watcher.seen[0])["event_id"].startswith(f"synth:{status.run_id}:")
            await app.answer("t", "yes")
            await until_phase(watcher, "completed")
            await watcher.frames.aclose()
            await content.frames.aclose()


async def test_a_run_that_is_retried_continues_its_events() -> None:
    fails = [True]

    async def fail(state: State) -> State:
        if fails[0]:
            message = "not now"
            raise ValueError(message)
        return {"count": 7}

    app = App({"g": graph_of({"fail": fail}, (START, "fail"))}, MemorySaver())
    async with AgentService(app) as service:
        stream = Stream(await send(service, "POST", EVENTS, {"channels": ["values", "lifecycle"]}))
        started = await commanded(service, "run.start", assistant_id="g", input={"count": 0})
        await until_phase(stream, "failed")
        assert event(stream.seen[-1])["params"]["data"]["error"] == "ValueError: not now"
        fails[0] = False
        await app.retry(started["result"]["run_id"])
        await until_phase(stream, "completed")
        assert [event(frame)["seq"] for frame in stream.seen] == sorted({event(frame)["seq"] for frame in stream.seen})
        assert event(stream.seen[-2])["params"]["data"] == {"count": 7, "found": []}
        await stream.frames.aclose()


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"channels": ["nothing"]}, "'nothing'"),
        ({"channels": ["custom:"]}, "'custom:'"),
        ({}, "channels"),
        ({"channels": ["values"], "since": -1}, "since"),
        ({"channels": ["values"], "since": "1"}, "since"),
        ({"channels": ["values"], "since": 1 << 40}, "since"),
        ({"channels": ["values"], "depth": -1}, "depth"),
        ({"channels": ["values"], "namespaces": ["a"]}, "namespaces"),
        ({"channels": ["values"], "more": 1}, "more"),
    ],
)
async def test_subscriptions_that_mean_nothing_are_refused(body: dict[str, Any], what: str) -> None:
    app = App({"g": STREAMED["chain"]()}, MemorySaver())
    async with AgentService(app) as service:
        await (await app.start("g", {"count": 0}, thread_id="t", events="all")).result(20)
        status, detail = problem(await send(service, "POST", EVENTS, body))
        assert status == 422
        assert what in detail


async def test_commands_that_mean_nothing_are_refused_with_the_code_of_the_protocol() -> None:
    app = App({"g": STREAMED["question"]()}, MemorySaver())
    async with AgentService(app) as service:
        refused: list[tuple[str, dict[str, Any], str]] = [
            ("state.get", {}, "unknown_command"),
            ("run.start", {}, "invalid_argument"),
            ("run.start", {"assistant_id": "none"}, "invalid_argument"),
            ("run.start", {"assistant_id": "g", "input": 5}, "invalid_argument"),
            ("run.start", {"assistant_id": "g", "more": 1}, "invalid_argument"),
            ("input.respond", {}, "invalid_argument"),
            ("input.respond", {"interrupt_id": 32 * "0", "response": 1}, "no_such_interrupt"),
            ("input.respond", {"interrupt_id": "x", "response": 1, "goto": "a"}, "not_supported"),
        ]
        for method, params, code in refused:
            found = await commanded(service, method, **params)
            assert (found["type"], found["error"]) == ("error", code), found
            assert found["message"]
        reply = await send(service, "POST", "/threads/t/commands", {"method": "run.start"})
        assert problem(reply)[0] == 422


async def test_of_two_answers_one_is_refused_with_the_standing_one() -> None:
    app = App({"g": STREAMED["question"]()}, MemorySaver())
    async with AgentService(app) as service:
        await commanded(service, "run.start", assistant_id="g", input={"count": 0})
        stream = Stream(await send(service, "POST", EVENTS, {"channels": ["input"], "since": 0}))
        asked = event(await stream.until("message"))["params"]["data"]
        answers = [
            commanded(service, "input.respond", interrupt_id=asked["interrupt_id"], response=text) for text in "ab"
        ]
        found = await asyncio.gather(*answers)
        assert sorted(each["type"] for each in found) == ["error", "success"]
        await stream.frames.aclose()


async def test_answers_to_several_questions_in_one_command() -> None:
    async def ask(state: State) -> State:
        return {"answer": str(interrupt("one"))}

    async def ask_too(state: State) -> State:
        return {"count": int(interrupt("two"))}

    app = App({"g": graph_of({"a": ask, "b": ask_too}, (START, "a"), (START, "b"))}, MemorySaver())
    async with AgentService(app) as service:
        stream = Stream(await send(service, "POST", EVENTS, {"channels": ALL}))
        await commanded(service, "run.start", assistant_id="g", input={"count": 0})
        await until_phase(stream, "interrupted")
        asked = [event(frame)["params"]["data"] for frame in stream.seen if event(frame)["method"] == "input.requested"]
        responses = [
            {"interrupt_id": each["interrupt_id"], "response": {"one": "x", "two": 2}[each["value"]], "namespace": []}
            for each in asked
        ]
        assert (await commanded(service, "input.respond", responses=responses))["type"] == "success"
        await until_phase(stream, "completed")
        values = [event(frame)["params"]["data"] for frame in stream.seen if event(frame)["method"] == "values"]
        assert values[-1] == {"answer": "x", "count": 2, "found": []}
        await stream.frames.aclose()
