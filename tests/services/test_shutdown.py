"""SIGTERM with open streams, on real servers. A server that waits for them fails the test by its patience."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from durable_graph.runs import App
from tests.services.engine.clients import Cut, Seen, ask_later, connected, noted, read, until
from tests.services.engine.program import Form, graphs
from tests.services.engine.servers import Framework, Server, notes, served

READERS, WAITING = 90, 10


@pytest.fixture(params=["fastapi", "fastapi-3", "aiohttp"])
def own(request: pytest.FixtureRequest, form: Form) -> Iterator[Server]:
    """A server of the test's own."""
    with served(request.param, form) as running:
        yield running


async def test_a_server_with_a_hundred_readers_stops(own: Server, client: httpx.AsyncClient) -> None:
    url, folder = own.url, own.form.folder
    seen: list[list[Seen]] = [[] for _ in range(READERS)]
    async with asyncio.TaskGroup() as group:
        # Each has had a frame, and waits for the next one.
        reading = [
            group.create_task(read(client, f"{url}/test/numbers/r{number}?seconds=3600", seen[number]))
            for number in range(READERS)
        ]
        waiting = [group.create_task(ask_later(client, f"{url}/test/later/w{number}")) for number in range(WAITING)]
        await until(lambda: all(seen) and len(notes(folder)) >= READERS + WAITING, "open streams")
        code = await asyncio.to_thread(own.stop)

    assert code in (0, -signal.SIGTERM)
    # The client of a stream reconnects. The blanks of a body that is not complete are not taken for one.
    assert {task.result() for task in reading} == {Cut(is_proper=True)}
    assert {task.result() for task in waiting} == {Cut(is_proper=False)}
    lines = notes(folder)
    assert sum(line.startswith("closed") for line in lines) == READERS + WAITING
    # The service has ended the streams, and no client has left.
    assert not any(line.startswith("left") for line in lines)


async def test_a_client_that_does_not_read_holds_up_no_shutdown(
    framework: Framework, form: Form, client: httpx.AsyncClient
) -> None:
    # uvicorn lets no application disconnect a client, so it needs this option of its own.
    with served(framework, form, stopping_seconds=2) as own:
        async with connected(own.port) as (_, writer), asyncio.TaskGroup() as group:
            writer.write(b"GET /agent/test/numbers/stalled?seconds=0&size=1000000 HTTP/1.1\r\nHost: h\r\n\r\n")
            await noted(form.folder, "opened stalled")
            seen: list[Seen] = []
            reading = group.create_task(read(client, f"{own.url}/test/numbers/quick?seconds=3600", seen))
            await until(lambda: bool(seen), "a frame")
            await asyncio.to_thread(own.stop)

    assert reading.result().is_proper
    assert "closed stalled" in notes(form.folder)


async def test_streams_of_the_applications_own_routes_end_as_well(form: Form, client: httpx.AsyncClient) -> None:
    with served("fastapi", form) as own:
        async with client.stream("GET", f"{own.root}/own/stream") as response:
            await anext(response.aiter_raw())
            await asyncio.to_thread(own.stop)


@pytest.fixture
def app(form: Form) -> App:
    """An app of the test's own process, with the store of the servers."""
    return App(graphs(), store=form.store)


async def test_a_run_goes_on_in_another_process(own: Server, app: App) -> None:
    form = own.form
    async with app:
        handle = await app.start("gated", {"ticks": 1}, thread_id="t")
        await noted(form.folder, "began gate of t")
        await asyncio.to_thread(own.stop)
        status = await handle.status()
        assert (status.state, status.crashes) == ("ready", 0)

        (Path(form.folder) / "gate").touch()
        with served("aiohttp", form):
            result = await handle.result(timeout=60)

    assert result["log"] == ["before", "gate", "after"]
    # Recorded results are not executed again.
    assert sorted(line for line in notes(form.folder) if line.startswith("ran")) == [
        "ran after of t",
        "ran before of t",
        "ran gate of t",
    ]
