"""Joining streams: where they begin, requests that are refused, clients that leave, the end of the service."""

import asyncio
import json
from typing import Any

import pytest

from durable_graph import START, Checkpointer, Interrupt, MemorySaver, sleep
from durable_graph.runs import App
from durable_graph_http import AgentService, Operation, Tenant
from durable_graph_http.frames import shown_interrupt
from tests.http.graphs import STREAMED
from tests.http.reading import Stream, data_of, ids, names, problem, replayed, run_path_of, send
from tests.runs.engine.events import Gate, State, gated_fan, graph_of, tell

NEW = {"assistant_id": "g", "if_not_exists": "create", "input": {"count": 0}}


def gated(gate: Gate) -> Any:
    return graph_of({"a": tell, "gate": gate.__call__, "z": tell}, (START, "a"), ("a", "gate"), ("gate", "z"))


async def test_a_join_without_an_id_gets_what_comes_after_it() -> None:
    gate = Gate()
    app = App({"g": gated(gate)}, MemorySaver())
    async with AgentService(app) as service:
        first = Stream(await send(service, "POST", "/threads/t/runs/stream", {**NEW, "stream_mode": ["updates"]}))
        await first.until("updates")
        joined = Stream(
            await send(service, "GET", f"{run_path_of(first.reply)}/stream", query={"stream_mode": "updates"})
        )
        assert (await joined.until("metadata")).id > first.seen[-1].id
        gate.open()
        await joined.rest()
        assert [list(each) for each in data_of(joined.seen, "updates")] == [["gate"], ["z"]]
        assert (await first.rest())[-2:] == joined.seen[-2:]
        # The first frame says where the client has joined: it may reconnect there.
        path = run_path_of(first.reply)
        assert await replayed(service, path, joined.seen[0].id, ("updates",)) == joined.seen[1:]


async def test_a_join_of_a_finished_run_has_its_end() -> None:
    app = App({"g": STREAMED["chain"]()}, MemorySaver())
    async with AgentService(app) as service:
        first = Stream(await send(service, "POST", "/threads/t/runs/stream", NEW))
        await first.rest()
        joined = Stream(await send(service, "GET", f"{run_path_of(first.reply)}/stream"))
        assert names(await joined.rest()) == ["metadata"]


@pytest.mark.parametrize("given", ["x", "-2", "1.5", "+1", "1e3", "0x10", "²", "9" * 17, "--1"])
async def test_an_id_that_is_none_is_refused(given: str) -> None:
    app = App({"g": STREAMED["chain"]()}, MemorySaver())
    async with AgentService(app) as service:
        stream = Stream(await send(service, "POST", "/threads/t/runs/stream", NEW))
        await stream.rest()
        path = run_path_of(stream.reply)
        for place in (f"{path}/stream", f"{path}/events", "/threads/t/stream"):
            status, detail = problem(await send(service, "GET", place, last_event_id=given))
            assert status == 422
            assert "Last-Event-ID" in detail


async def test_an_id_beyond_the_head_is_refused_and_one_of_an_earlier_run_is_not() -> None:
    app = App({"g": STREAMED["chain"]()}, MemorySaver())
    async with AgentService(app) as service:
        first = Stream(await send(service, "POST", "/threads/t/runs/stream", NEW))
        await first.rest()
        path = run_path_of(first.reply)
        for place in (f"{path}/stream", f"{path}/events", "/threads/t/stream"):
            assert problem(await send(service, "GET", place, last_event_id=str((1 << 53) - 1)))[0] == 422
        second = Stream(await send(service, "POST", "/threads/t/runs/stream", NEW))
        await second.rest()
        after = await replayed(service, run_path_of(second.reply), first.seen[-1].id, ("values",), nested=False)
        assert after == second.seen


async def test_unknown_modes_runs_and_threads_are_refused() -> None:
    app = App({"g": STREAMED["chain"]()}, MemorySaver())
    async with AgentService(app) as service:
        stream = Stream(await send(service, "POST", "/threads/t/runs/stream", NEW))
        await stream.rest()
        run_id = run_path_of(stream.reply).rpartition("/")[2]
        status, detail = problem(await send(service, "POST", "/threads/t/runs/stream", {**NEW, "stream_mode": "all"}))
        assert status == 422
        assert "'all'" in detail
        for text in ("all", '["values", "all"]', "[1]", "[", "values,all"):
            query = {"stream_mode": text}
            path = f"/threads/t/runs/{run_id}/stream"
            assert problem(await send(service, "GET", path, query=query))[0] == 422
        assert problem(await send(service, "GET", f"/threads/other/runs/{run_id}/stream"))[0] == 404
        assert problem(await send(service, "GET", f"/threads/other/runs/{run_id}/events"))[0] == 404
        assert problem(await send(service, "GET", "/threads/t/runs/no-run/stream"))[0] in (404, 422)
        assert problem(await send(service, "GET", "/threads/t/stream", query={"stream_mode": "values"}))[0] == 422
        assert len(await app.runs(thread_id="t")) == 1


@pytest.mark.parametrize("text", ["values,updates", '["values","updates"]', ("values", "updates")])
async def test_modes_are_repeated_listed_or_separated_by_commas(text: object) -> None:
    app = App({"g": STREAMED["chain"]()}, MemorySaver())
    async with AgentService(app) as service:
        stream = Stream(await send(service, "POST", "/threads/t/runs/stream", NEW))
        await stream.rest()
        path = f"{run_path_of(stream.reply)}/stream"
        frames = await Stream(await send(service, "GET", path, query={"stream_mode": text}, last_event_id="-1")).rest()
        assert set(names(frames)) == {"metadata", "values", "updates"}


async def test_the_location_of_a_stream_has_its_modes() -> None:
    app = App({"g": STREAMED["nested"]()}, MemorySaver())
    async with AgentService(app) as service:
        body = {**NEW, "stream_mode": ["updates", "custom"], "stream_subgraphs": True}
        stream = Stream(await send(service, "POST", "/threads/a%2Fb/runs/stream", body))
        await stream.rest()
        path, _, query = stream.reply.headers["Location"].partition("?")
        assert path.startswith("/threads/a%2Fb/runs/")
        assert stream.reply.headers["Content-Location"] == path.removesuffix("/stream")
        pairs = [tuple(pair.split("=")) for pair in query.split("&")]
        again = {"stream_mode": [value for name, value in pairs if name == "stream_mode"], "stream_subgraphs": "true"}
        assert await Stream(await send(service, "GET", path, query=again, last_event_id="-1")).rest() == stream.seen


async def test_typed_events_of_a_run_are_json() -> None:
    app = App({"g": STREAMED["question"]()}, MemorySaver())
    async with AgentService(app) as service:
        stream = Stream(await send(service, "POST", "/threads/t/runs/stream", NEW))
        await stream.rest()
        events = Stream(await send(service, "GET", f"{run_path_of(stream.reply)}/events"))
        interrupted = json.loads((await events.until("run_interrupted")).data)
        assert [each["value"] for each in interrupted["interrupts"]] == ["ok?"]
        await app.answer("t", "yes")
        frames = await events.rest()
        handle = await app.find(run_path_of(stream.reply).rpartition("/")[2])
        assert ids(frames) == [logged.id async for logged in handle.events()]
        assert [json.loads(frame.data)["type"] for frame in frames] == names(frames)
        half = frames[len(frames) // 2]
        path = f"{run_path_of(stream.reply)}/events"
        rest = await Stream(await send(service, "GET", path, last_event_id=half.id)).rest()
        assert rest == frames[len(frames) // 2 + 1 :]


async def test_a_sleeping_run_keeps_its_stream_open_and_shows_no_interrupt() -> None:
    async def nap(state: State) -> State:
        await sleep(0.2)
        return {"count": 5}

    app = App({"g": graph_of({"nap": nap}, (START, "nap"))}, MemorySaver())
    async with AgentService(app) as service:
        modes = ["values", "updates", "tasks", "debug"]
        stream = Stream(await send(service, "POST", "/threads/t/runs/stream", {**NEW, "stream_mode": modes}))
        frames = await stream.rest()
        assert data_of(frames, "values")[-1]["count"] == 5
        assert "__interrupt__" not in "".join(frame.data for frame in frames)
        assert len(data_of(frames, "tasks")) == 2


async def test_a_stateless_run_is_streamed_and_its_thread_deleted() -> None:
    app = App({"g": STREAMED["chain"]()}, MemorySaver())
    async with AgentService(app) as service:
        body = {"assistant_id": "g", "input": {"count": 0}}
        stream = Stream(await send(service, "POST", "/runs/stream", body))
        frames = await stream.rest()
        assert data_of(frames, "values")[-1] == {"count": 3, "found": []}
        assert not await app.runs()
        kept = Stream(await send(service, "POST", "/runs/stream", {**body, "on_completion": "keep"}))
        await kept.rest()
        assert len(await app.runs()) == 1
        assert kept.reply.headers["Content-Location"].startswith("/runs/")


async def test_tenants_see_their_own_names_of_threads() -> None:
    def authorize(operation: Operation) -> Tenant:
        return Tenant("ann")

    app = App({"g": STREAMED["nested_chat"]()}, MemorySaver())
    async with AgentService(app, authorize=authorize) as service:
        body = {"assistant_id": "g", "if_not_exists": "create", "input": {"messages": []}}
        stream = Stream(await send(service, "POST", "/threads/t/runs/stream", body))
        await stream.rest()
        assert (await app.runs())[0].thread_id == "ann/t"
        path = run_path_of(stream.reply)
        assert path.startswith("/threads/t/runs/")
        frames = await replayed(service, path)
        typed = await Stream(await send(service, "GET", f"{path}/events")).rest()
        whole = Stream(await send(service, "POST", "/threads/t/stream/events", {"channels": ["messages", "tasks"]}))
        await whole.until("message")
        for frame in (*frames, *typed, *whole.seen):
            assert "ann/t" not in frame.data
        assert '"thread_id":"t"' in "".join(frame.data for frame in frames)


# Threads


async def test_the_stream_of_a_thread_has_the_frames_of_its_runs() -> None:
    app = App({"g": STREAMED["chain"]()}, MemorySaver())
    async with AgentService(app) as service:
        thread = Stream(await send(service, "GET", "/threads/t/stream"))
        lifecycle = Stream(await send(service, "GET", "/threads/t/stream", query={"stream_mode": "lifecycle"}))
        runs = []
        for _ in range(2):
            run = Stream(await send(service, "POST", "/threads/t/runs/stream", {**NEW, "stream_mode": ["values"]}))
            await run.rest()
            runs.append(run)
            await thread.until("run_done")
            await lifecycle.until("run_done")
        of_runs = [frame for run in runs for frame in run.seen]
        assert [frame for frame in thread.seen if frame.event in ("metadata", "values")] == of_runs
        assert names(lifecycle.seen) == ["metadata", "run_done"] * 2
        assert {each["status"] for each in data_of(lifecycle.seen, "run_done")} == {"success"}
        assert ids(thread.seen) == sorted(set(ids(thread.seen)))
        again = Stream(await send(service, "GET", "/threads/t/stream", last_event_id="-1"))
        for frame in thread.seen:
            assert await anext(again.frames) == frame
        later = Stream(await send(service, "GET", "/threads/t/stream", last_event_id=thread.seen[3].id))
        for frame in thread.seen[4:]:
            assert await anext(later.frames) == frame
        updates = Stream(
            await send(service, "GET", "/threads/t/stream", query={"stream_mode": "state_update"}, last_event_id="-1")
        )
        update = json.loads((await updates.until("state_update")).data)
        assert update["values"] == {"count": 0, "found": []}
        for stream in (thread, lifecycle, again, later, updates):
            await stream.frames.aclose()


async def test_runs_of_a_graph_that_the_service_does_not_have_are_refused() -> None:
    gate = Gate()
    every = App({"g": gated(gate), "other": STREAMED["chain"]()}, saver := MemorySaver())
    async with every.worker():
        run = await every.start("g", {"count": 0}, thread_id="t")
        async with AgentService(App({"other": STREAMED["chain"]()}, saver), worker=False) as service:
            for end in ("stream", "events", "join"):
                refused = await send(service, "GET", f"/threads/t/runs/{run.run_id}/{end}")
                assert problem(refused) == (409, "The run belongs to the graph 'g', which this service does not have")
            assert (await send(service, "POST", "/threads/t/runs/stream", {"assistant_id": "other"})).status == 409
            # The stream of the thread waits for a run that it can show.
            stream = Stream(await send(service, "GET", "/threads/t/stream"))
            reading = asyncio.create_task(stream.rest())
            await asyncio.wait([reading], timeout=0.3)
            assert not reading.done()
            gate.open()
            await run.result(20)
            service.drain()
            assert not await reading


# The end of readers, and of the service


async def test_a_client_that_leaves_cancels_the_run_only_if_it_asked_for_that() -> None:
    for body, query, state in (
        ({"on_disconnect": "cancel"}, {}, "cancelled"),
        ({}, {"cancel_on_disconnect": "true"}, "cancelled"),
        ({}, {}, "done"),
    ):
        gate = Gate()
        app = App({"g": gated_fan(gate)}, MemorySaver())
        async with AgentService(app) as service:
            first = Stream(await send(service, "POST", "/threads/t/runs/stream", {**NEW, **body}))
            await first.until("values")
            path = run_path_of(first.reply)
            joined = Stream(await send(service, "GET", f"{path}/stream", query=query))
            await joined.until("metadata")
            await first.leave()
            await joined.leave()
            handle = await app.find(path.rpartition("/")[2])
            if state == "cancelled":
                await handle.stopped(20)
            gate.open()
            assert (await handle.stopped(20)).state == state


@pytest.mark.every_store
async def test_streams_end_when_the_service_stops_and_no_run_is_cancelled(saver: Checkpointer) -> None:
    gate = Gate()
    app = App({"g": gated_fan(gate)}, saver)
    async with AgentService(app) as service:
        body = {**NEW, "on_disconnect": "cancel"}
        streams = [Stream(await send(service, "POST", "/threads/t/runs/stream", body))]
        path = run_path_of(streams[0].reply)
        streams.append(Stream(await send(service, "GET", f"{path}/stream")))
        streams.append(Stream(await send(service, "GET", f"{path}/events")))
        streams.append(Stream(await send(service, "GET", "/threads/t/stream")))
        streams.append(Stream(await send(service, "POST", "/threads/t/stream/events", {"channels": ["values"]})))
        streams.append(Stream(await send(service, "POST", "/threads/new/stream/events", {"channels": ["values"]})))
        reading = [asyncio.create_task(stream.rest()) for stream in streams]
        while not service.tails.count:  # noqa: ASYNC110  # the tails have no event
            await asyncio.sleep(0.01)
        service.drain()
        async with asyncio.timeout(5):
            await asyncio.gather(*reading)
        assert (await (await app.find(path.rpartition("/")[2])).status()).state == "running"
        late = Stream(await send(service, "GET", f"{path}/stream", last_event_id="-1"))
        assert await late.rest() == []
        gate.open()


def test_interrupts_are_shown_with_their_value_and_id() -> None:
    assert shown_interrupt(Interrupt("ok?", "1")) == {"value": "ok?", "id": "1"}
    assert shown_interrupt(Interrupt("ok?", "1", key="k")) == {"value": "ok?", "id": "1", "key": "k"}
