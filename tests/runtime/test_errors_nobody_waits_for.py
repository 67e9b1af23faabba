"""Callers leave while the store is down. The library logs the errors of their calls, and asyncio reports none."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from durable_graph import Checkpointer, Durability, MemorySaver, StoreUnavailableError, task
from durable_graph._runtime.entry import options
from durable_graph._runtime.events import stream
from durable_graph._runtime.request.run import Request
from durable_graph.records import CommitResult, CommitUnit, SaveResult, WritesBatch
from durable_graph.testing.crash import CrashingSaver
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver
from tests.graphs import State, fan_out
from tests.postgres.server import Server, started
from tests.runtime.unheard import no_asyncio_reports

GRACE = 0.05


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "Request", partial(Request, grace=GRACE))
    monkeypatch.setattr(stream, "GRACE", GRACE)


class StalledSaver(CrashingSaver):
    """After `stall`, no write returns before `fail` is called, and then each write raises an error."""

    def __init__(self) -> None:
        super().__init__(MemorySaver())
        self.waits = asyncio.Event()
        self._is_stalled = False
        self._failing = asyncio.Event()

    def stall(self) -> None:
        self._is_stalled = True

    def fail(self) -> None:
        self._failing.set()

    async def commit(self, unit: CommitUnit) -> CommitResult:
        await self._answered()
        return await super().commit(unit)

    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        await self._answered()
        return await super().save_writes(batch)

    async def _answered(self) -> None:
        if self._is_stalled:
            self.waits.set()
            await self._failing.wait()
            raise StoreUnavailableError("the store", "it is down")


Where = Literal["the input", "a finished node", "a superstep", "a call of a task"]


def graph_that_meets(where: Where, saver: StalledSaver) -> Any:
    """A graph during which the store stalls at the write of `where`."""

    @task
    async def called() -> str:
        saver.stall()
        return "called"

    async def first(state: State) -> State:
        if where == "a call of a task":
            return {"log": [await called()]}
        saver.stall()
        return {"log": ["first"]}

    async def second(state: State) -> State:
        if where == "a finished node":
            await asyncio.Event().wait()
        return {"log": ["second"]}

    if where == "the input":
        saver.stall()
    return fan_out(("first", first), ("second", second)).compile(saver)


@pytest.mark.parametrize("where", ["the input", "a finished node", "a superstep", "a call of a task"])
async def test_caller_that_leaves_during_an_outage_leaves_no_unretrieved_error(
    where: Where, durability: Durability, caplog: pytest.LogCaptureFixture
) -> None:
    async with no_asyncio_reports():
        saver = StalledSaver()
        call = asyncio.create_task(graph_that_meets(where, saver).ainvoke({}, thread_id="t", durability=durability))
        await _until(saver.waits, call)

        call.cancel()
        await asyncio.wait({call})
        assert call.cancelled()
        saver.fail()
        del call

    assert "a call that outlived its cancelled run failed" in caplog.text


async def _until(stalled: asyncio.Event, call: "asyncio.Task[Any]") -> None:
    """Wait for a write to the store. With exit durability only the end of the run writes: here, its cancellation."""
    asked = asyncio.create_task(stalled.wait())
    await asyncio.wait({asked, call}, timeout=0.2)
    asked.cancel()
    assert not call.done()


@pytest.mark.parametrize("how", ["leaves the block", "is cancelled", "is cancelled twice", "lets the run go on"])
async def test_reader_that_leaves_during_an_outage_leaves_no_unretrieved_error(
    how: str, durability: Durability
) -> None:
    async with no_asyncio_reports():
        saver = StalledSaver()
        graph = graph_that_meets("a superstep", saver)
        on_disconnect = "continue" if how == "lets the run go on" else "cancel"
        has_left, stays = asyncio.Event(), asyncio.Event()

        async def read() -> None:
            stream = graph.stream({}, thread_id="t", durability=durability, on_disconnect=on_disconnect)
            async with stream as events:
                async for _ in events:
                    break
                has_left.set()
                if how.startswith("is cancelled"):
                    await stays.wait()

        reader = asyncio.create_task(read())
        await has_left.wait()
        if how.startswith("is cancelled"):
            reader.cancel()
        await asyncio.wait({reader}, timeout=2 * GRACE)
        if how == "is cancelled twice":
            reader.cancel()
            await asyncio.wait({reader}, timeout=2 * GRACE)
        saver.fail()
        await asyncio.wait({reader})
        with suppress(asyncio.CancelledError):
            reader.result()
        del reader


async def test_many_callers_that_leave_at_once_leave_no_unretrieved_error(durability: Durability) -> None:
    async with no_asyncio_reports():
        saver = StalledSaver()
        graph = graph_that_meets("a superstep", saver)
        calls = [
            asyncio.create_task(graph.ainvoke({}, thread_id=f"t-{number}", durability=durability))
            for number in range(20)
        ]
        await asyncio.wait(calls, timeout=0.1)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        saver.fail()
        calls.clear()
        del call


# Real stores that are down


async def _leave_during_an_outage(saver: Checkpointer, stop: Callable[[], object], durability: Durability) -> None:
    """Runs whose callers leave after the store has stopped, and one that continues unread. Waits for all callers."""
    stopped = asyncio.Event()

    async def first(state: State) -> State:
        await stopped.wait()
        return {"log": ["first"]}

    async def second(state: State) -> State:
        return {"log": ["second"]}

    graph: Any = fan_out(("first", first), ("second", second)).compile(saver)
    calls = [
        asyncio.create_task(graph.ainvoke({}, thread_id=f"t-{number}", durability=durability)) for number in range(5)
    ]
    async with graph.stream({}, thread_id="unread", durability=durability, on_disconnect="continue") as events:
        async for event in events:
            if type(event).__name__ == "TaskStarted":
                break
    for number in range(5):
        while not (await graph.aget_state(thread_id=f"t-{number}")).next:  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0)
    stop()
    stopped.set()
    await asyncio.wait(calls, timeout=0.1)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)


async def test_a_locked_file_leaves_no_unretrieved_error(tmp_path: Path, durability: Durability) -> None:
    path = tmp_path / "runs.db"
    async with no_asyncio_reports(), SqliteSaver(path, busy_timeout=0.5) as saver:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            await _leave_during_an_outage(saver, lambda: other.execute("BEGIN IMMEDIATE"), durability)
            # Closed while the file is still locked: calls in progress end first.
            await saver.aclose()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started() as opened:
        yield opened


@pytest.mark.parametrize("how", ["stopped", "silent"])
async def test_a_stopped_server_leaves_no_unretrieved_error(server: Server, how: str, durability: Durability) -> None:
    stop, resume = (server.stop, server.start) if how == "stopped" else (server.freeze, server.thaw)
    schema = f"{how} {durability}"
    try:
        async with no_asyncio_reports(), PostgresSaver(server.url, schema=schema, patience=0.5) as saver:
            await _leave_during_an_outage(saver, stop, durability)
            # Closed while the server is still away.
            await saver.aclose()
    finally:
        resume()
