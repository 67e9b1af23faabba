"""One follower for the readers of a run: what readers share, readers that stall or come late, stores that fail."""

import asyncio
from collections import Counter
from contextlib import aclosing
from typing import Any

import pytest

from durable_graph import START, Checkpointer, MemorySaver, Runtime, interrupt
from durable_graph.errors import StoreUnavailableError
from durable_graph.runs import App, RunHandle
from durable_graph_http import AgentService
from durable_graph_http import tails as tails_module
from durable_graph_http.tails import Entry, Stop, Tails
from tests.http.reading import Stream, replayed, run_path_of, send
from tests.runs.engine.events import Gate, Graph, State, graph_of

NEW = {"assistant_id": "g", "if_not_exists": "create", "input": {"count": 0}, "stream_mode": ["custom"]}


def telling(gate: Gate, number: int) -> Graph:
    """A node that waits at the gate and then writes so many custom events."""

    async def tell(state: State, runtime: Runtime[Any]) -> State:
        await gate(state)
        for place in range(number):
            runtime.stream_writer({"place": place})
            if place % 50 == 0:
                await asyncio.sleep(0)
        return {"count": 1}

    return graph_of({"tell": tell}, (START, "tell"))


async def waiting_readers(tails: Tails, handle: RunHandle, number: int) -> None:
    """Wait until so many readers wait for the run."""
    async with asyncio.timeout(20):
        while (tail := tails.find(handle)) is None or len(tail.places) < number:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.005)


@pytest.mark.every_store
async def test_readers_of_a_run_share_one_follower(saver: Checkpointer, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begun = Gate(), Counter[str]()
    batches = RunHandle.event_batches

    def counted(self: RunHandle, **options: Any) -> Any:
        begun[asyncio.current_task().get_name()[:4]] += 1  # type: ignore[union-attr]
        return batches(self, **options)

    app = App({"g": telling(gate, 10)}, saver)
    async with AgentService(app) as service:
        monkeypatch.setattr(RunHandle, "event_batches", counted)
        first = Stream(await send(service, "POST", "/threads/t/runs/stream", NEW))
        path = run_path_of(first.reply)
        query = {"stream_mode": "custom"}
        streams = [first] + [
            Stream(await send(service, "GET", f"{path}/stream", query=query, last_event_id="-1")) for _ in range(20)
        ]
        reading = [asyncio.create_task(stream.rest()) for stream in streams]
        handle = await app.find(path.rpartition("/")[2])
        await waiting_readers(service.tails, handle, 21)
        assert service.tails.count == 1
        assert begun["tail"] == 1
        gate.open()
        found = await asyncio.gather(*reading)
        assert begun["tail"] == 1
        assert len(found[0]) == 11
        assert all(frames == found[0] for frames in found)
        assert service.tails.count == 0


async def test_readers_that_stall_hold_no_events_and_delay_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    app = App({"g": telling(gate, 2000)}, MemorySaver())
    async with AgentService(app) as service:
        first = Stream(await send(service, "POST", "/threads/t/runs/stream", NEW))
        path = run_path_of(first.reply)
        handle = await app.find(path.rpartition("/")[2])
        stalled = []
        query = {"stream_mode": "custom"}
        for _ in range(10):
            stream = Stream(await send(service, "GET", f"{path}/stream", query=query, last_event_id="-1"))
            await stream.until("metadata")
            stalled.append(stream)
        reading = asyncio.create_task(first.rest())
        await waiting_readers(service.tails, handle, 1)
        most = 0
        trim = tails_module.Tail._trim

        def watched(self: tails_module.Tail) -> None:
            nonlocal most
            trim(self)
            most = max(most, self.end - self.first)

        monkeypatch.setattr(tails_module.Tail, "_trim", watched)
        gate.open()
        frames = await reading
        assert len(frames) == 2001
        assert 0 < most <= tails_module.RING
        # A reader that goes on later reads from the store what it has missed.
        for stream in stalled:
            assert await stream.rest() == frames
        assert service.tails.count == 0


async def test_readers_from_the_start_and_from_now_on_share_a_follower(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begun = Gate(), 0
    batches = RunHandle.event_batches

    def counted(self: RunHandle, **options: Any) -> Any:
        nonlocal begun
        begun += 1
        return batches(self, **options)

    app = App({"g": telling(gate, 1)}, MemorySaver())
    async with AgentService(app) as service:
        first = Stream(await send(service, "POST", "/threads/t/runs/stream", NEW))
        path = run_path_of(first.reply)
        await first.until("metadata")
        handle = await app.find(path.rpartition("/")[2])
        # Its place is not that of an event.
        joined = Stream(await send(service, "GET", f"{path}/stream", query={"stream_mode": "custom"}))
        monkeypatch.setattr(RunHandle, "event_batches", counted)
        joining = asyncio.create_task(joined.rest())
        await waiting_readers(service.tails, handle, 1)
        reading = asyncio.create_task(first.rest())
        await waiting_readers(service.tails, handle, 2)
        assert begun <= 3
        gate.open()
        assert (await reading)[-1:] == (await joining)[-1:]


async def test_events_with_much_data_are_kept_only_for_quick_readers() -> None:
    gates = [Gate() for _ in range(12)]
    nodes: dict[str, Any] = {}
    for number, gate in enumerate(gates):

        async def tell(state: State, runtime: Runtime[Any], gate: Gate = gate) -> State:
            await gate(state)
            runtime.stream_writer("x" * (tails_module.RING_SIZE // 3))
            return {"count": 1}

        nodes[f"n{number}"] = tell
    edges = [(f"n{number}", f"n{number + 1}") for number in range(11)]
    app = App({"g": graph_of(nodes, (START, "n0"), *edges)}, MemorySaver())
    async with AgentService(app) as service:
        quick = Stream(await send(service, "POST", "/threads/t/runs/stream", NEW))
        path = run_path_of(quick.reply)
        handle = await app.find(path.rpartition("/")[2])
        await quick.until("metadata")
        query = {"stream_mode": "custom"}
        stalled = Stream(await send(service, "GET", f"{path}/stream", query=query))
        await stalled.until("metadata")
        waits = asyncio.create_task(anext(stalled.frames))
        reading = asyncio.create_task(quick.rest())
        await waiting_readers(service.tails, handle, 2)
        gates[0].open()
        stalled.seen.append(await waits)
        for gate in gates[1:]:
            gate.open()
            tail = service.tails.find(handle)
            assert tail is not None
            async with asyncio.timeout(20):
                seen = len(quick.seen)
                while len(quick.seen) == seen:  # noqa: ASYNC110  # the reader has no event
                    await asyncio.sleep(0.001)
            kept = sum(tail.entry(number).size for number in range(tail.first, tail.end - 1))
            # The newest event was not encoded yet when the tail was trimmed.
            assert kept <= tails_module.RING_SIZE + tails_module.RING_SIZE // 2
        frames = await reading
        assert (await stalled.rest())[1:] == frames[1:]


async def test_a_reader_falls_behind_its_tail_and_catches_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails_module, "RING", 4)
    gates = [Gate(), Gate(), Gate()]
    nodes: dict[str, Any] = {}
    for number, gate in enumerate(gates):

        async def tell(state: State, runtime: Runtime[Any], gate: Gate = gate) -> State:
            await gate(state)
            for place in range(30):
                runtime.stream_writer(place)
            return {"count": 1}

        nodes[f"n{number}"] = tell
    app = App({"g": graph_of(nodes, (START, "n0"), ("n0", "n1"), ("n1", "n2"))}, MemorySaver())
    async with AgentService(app) as service:
        quick = Stream(await send(service, "POST", "/threads/t/runs/stream", NEW))
        path = run_path_of(quick.reply)
        handle = await app.find(path.rpartition("/")[2])
        slow = Stream(await send(service, "GET", f"{path}/stream", query={"stream_mode": "custom"}, last_event_id="-1"))
        reading = asyncio.create_task(quick.rest())
        await waiting_readers(service.tails, handle, 1)
        for gate in gates:
            # It reads a few frames while the run goes on, and stalls again.
            for _ in range(7):
                slow.seen.append(await anext(slow.frames)) if gate is not gates[0] else None
            gate.open()
        frames = await reading
        assert await slow.rest() == frames
        assert frames == await replayed(service, path, modes=("custom",), nested=False)


async def test_a_store_that_is_unavailable_for_a_while_ends_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails_module, "_RETRY_AFTER", 0.001)
    gate, failing = Gate(), [True, True, False, True, False, False]
    batches = RunHandle.event_batches

    async def cut(self: RunHandle, *, after: int | None = None) -> Any:
        fails = failing.pop(0) if failing else False
        async with aclosing(batches(self, after=after)) as found:
            async for batch in found:
                yield batch
                if fails:
                    raise StoreUnavailableError("sqlite", "the store restarts")

    app = App({"g": telling(gate, 100)}, MemorySaver())
    async with AgentService(app) as service:
        monkeypatch.setattr(RunHandle, "event_batches", cut)
        stream = Stream(await send(service, "POST", "/threads/t/runs/stream", NEW))
        reading = asyncio.create_task(stream.rest())
        gate.open()
        frames = await reading
        assert len(frames) == 101
        assert frames == await replayed(service, run_path_of(stream.reply), modes=("custom",), nested=False)


async def test_an_error_of_the_tail_is_raised_by_its_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    app = App({"g": telling(gate, 1)}, MemorySaver())
    async with AgentService(app) as service:
        handle = await app.start("g", {"count": 0}, events="all")
        readers = [asyncio.create_task(all_steps(service.tails, handle)) for _ in range(3)]
        await waiting_readers(service.tails, handle, 3)

        async def broken(self: RunHandle) -> Any:
            message = "broken"
            raise ValueError(message)

        monkeypatch.setattr(RunHandle, "status", broken)
        gate.open()
        found = await asyncio.gather(*readers, return_exceptions=True)
        assert [type(each) for each in found] == [ValueError] * 3
        assert service.tails.count == 0


async def all_steps(tails: Tails, handle: RunHandle, **options: Any) -> list[Entry | Stop]:
    async with aclosing(tails.follow(handle, **options)) as steps:
        return [step async for step in steps]


async def test_a_reader_of_a_deleted_run_ends() -> None:
    app = App({"g": telling(Gate(), 1)}, MemorySaver())
    async with AgentService(app) as service:
        handle = await app.start("g", {"count": 0}, events="all")
        reader = asyncio.create_task(all_steps(service.tails, handle))
        await waiting_readers(service.tails, handle, 1)
        await handle.cancel(wait=True)
        steps = await reader
        assert isinstance(steps[-1], Stop)
        await app.graph("g").adelete_thread(handle.thread_id)
        assert await all_steps(service.tails, handle) == []


async def test_a_reader_after_an_answer_waits_although_the_tail_has_not_seen_the_answer() -> None:
    gate = Gate()

    async def ask(state: State) -> State:
        answer = interrupt("ok?")
        await gate(state)
        return {"answer": answer}

    app = App({"g": graph_of({"ask": ask}, (START, "ask"))}, MemorySaver())
    async with AgentService(app) as service:
        handle = await app.start("g", {"count": 0}, events="all")
        # It stays, so its tail knows that the run waits.
        keeper = asyncio.create_task(all_steps(service.tails, handle, stops_when_interrupted=False))
        await waiting_readers(service.tails, handle, 1)
        await handle.stopped(20)
        async with asyncio.timeout(20):
            while (tail := service.tails.find(handle)) is None or tail.stop is None:  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.005)
        newest = await handle.newest_event_id()
        await app.answer(handle.thread_id, "yes")
        reader = asyncio.create_task(all_steps(service.tails, handle, after=newest))
        await waiting_readers(service.tails, handle, 2)
        gate.open()
        steps = await reader
        stop = steps[-1]
        assert isinstance(stop, Stop)
        assert stop.status.state == "done"
        assert len(steps) > 1
        assert (await keeper)[-1] == stop
