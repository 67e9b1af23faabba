"""Servers of both frameworks."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.services.engine.program import Form
from tests.services.engine.servers import FRAMEWORKS, PATIENCE, Framework, Server, served


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
