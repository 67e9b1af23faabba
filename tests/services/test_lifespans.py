"""The lifespan of a router, and several routers of one process."""

import asyncio
import logging
import signal
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from durable_graph.errors import CheckpointerMisuseError, InvalidOptionError
from durable_graph.runs import App
from durable_graph_aiohttp import agent_routes
from durable_graph_fastapi import agent_router
from durable_graph_fastapi.signals import calling_at_shutdown
from tests.services.engine.program import Form, graphs


@pytest.fixture
def app(form: Form) -> App:
    """An app with a file of its own."""
    return App(graphs(), store=form.store)


def workers(client: TestClient, prefix: str) -> int:
    """The number of workers that the store has now."""
    found: int = client.get(f"{prefix}/stats").json()["workers"]
    return found


def test_a_lifespan_may_begin_again(app: App) -> None:
    web = FastAPI()
    web.include_router(agent_router(app), prefix="/agent")

    for _ in range(2):
        with TestClient(web) as client:
            assert workers(client, "/agent") == 1


def test_two_routers_share_an_app(app: App, caplog: pytest.LogCaptureFixture) -> None:
    web = FastAPI()
    web.include_router(agent_router(app), prefix="/first")
    web.include_router(agent_router(app, worker=False), prefix="/second")

    with caplog.at_level(logging.WARNING), TestClient(web) as client:
        assert [workers(client, prefix) for prefix in ("/first", "/second")] == [1, 1]

    # The first router's worker, which ends last, has released its runs.
    assert not [record for record in caplog.records if record.name.startswith("durable_graph")]


async def test_the_last_block_of_an_app_closes_its_store(app: App) -> None:
    async with app:
        async with app:
            await app.stats()
        await app.stats()
    with pytest.raises(CheckpointerMisuseError):
        await app.stats()


@pytest.mark.parametrize("worker", [None, 1, "yes", {"size": 3}, ["grace"]])
@pytest.mark.parametrize("build", [agent_router, agent_routes])
def test_odd_workers_are_refused(app: App, build: Any, worker: object) -> None:
    with pytest.raises(InvalidOptionError, match="worker"):
        build(app, worker=worker)


@pytest.mark.parametrize("build", [agent_router, agent_routes])
def test_what_is_no_app_is_refused(build: Any) -> None:
    with pytest.raises(InvalidOptionError, match="an App"):
        build(FastAPI())


class Server:
    """A server with a signal handler, as uvicorn has."""

    should_exit = False

    def handle_exit(self, number: int, frame: object) -> None:
        self.should_exit = True


async def test_the_handler_of_the_server_is_called_and_restored() -> None:
    server, calls = Server(), list[str]()
    before = signal.signal(signal.SIGTERM, server.handle_exit)
    try:
        with calling_at_shutdown(lambda: calls.append("outer")), calling_at_shutdown(lambda: calls.append("inner")):
            # sse-starlette looks for the server here.
            assert getattr(signal.getsignal(signal.SIGTERM), "__self__", None) is server
            signal.raise_signal(signal.SIGTERM)
            assert server.should_exit
            # The calls are made in the event loop.
            assert not calls
            await asyncio.sleep(0)
        assert signal.getsignal(signal.SIGTERM) == server.handle_exit
    finally:
        signal.signal(signal.SIGTERM, before)
    assert calls == ["inner", "outer"]


async def test_a_process_without_a_handler_keeps_none() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with calling_at_shutdown(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
