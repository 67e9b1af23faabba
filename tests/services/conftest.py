"""Servers of both frameworks, and clients."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.services.engine.program import Form
from tests.services.engine.servers import FRAMEWORKS, PATIENCE, Framework, Server, served

STORES = ("sqlite", "postgres")


@pytest.fixture(scope="module", params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Framework:
    """Each framework."""
    found: Framework = request.param
    return found


@pytest.fixture(scope="module")
def server(framework: Framework, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of a module share, with small limits and quick pings."""
    folder = tmp_path_factory.mktemp("served")
    form = Form(folder=str(folder), store=f"sqlite:///{folder}/runs.db", body_seconds=1.0, ping_seconds=0.2)
    with served(framework, form) as running:
        yield running


@pytest.fixture
def form(tmp_path_factory: pytest.TempPathFactory) -> Form:
    """The form of a server of the test's own."""
    folder = tmp_path_factory.mktemp("own")
    return Form(folder=str(folder), store=f"sqlite:///{folder}/runs.db")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client with any number of connections."""
    async with httpx.AsyncClient(timeout=PATIENCE, limits=httpx.Limits(max_connections=None)) as opened:
        yield opened


@pytest.fixture(scope="module", params=[f"{framework}, {store}" for framework in FRAMEWORKS for store in STORES])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of each framework on each store, which the tests of a module share."""
    framework, store = request.param.split(", ")
    folder = tmp_path_factory.mktemp("either")
    with store_of(store, folder, request) as url, served(framework, Form(folder=str(folder), store=url)) as running:
        yield running


@contextmanager
def store_of(store: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty store of this kind."""
    if store == "sqlite":
        yield f"sqlite:///{folder}/runs.db"
        return
    dsn, name = request.getfixturevalue("postgres"), f"service_{uuid.uuid4().hex[:12]}"
    asyncio.run(_execute(dsn, f"CREATE DATABASE {name}"))
    yield urlsplit(dsn)._replace(path=f"/{name}").geturl()
    asyncio.run(_execute(dsn, f"DROP DATABASE {name} WITH (FORCE)"))


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def sdk(either: Server) -> AsyncIterator[LangGraphClient]:
    """LangGraph's client of such a server."""
    async with get_client(url=either.url) as opened:
        yield opened
