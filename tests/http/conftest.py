"""Services without a server, on each store that needs none."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durable_graph import Checkpointer
from durable_graph_http import AgentService
from tests.http.programs import Gates, app_of
from tests.savers import saver_of


@pytest.fixture
def gates() -> Gates:
    return Gates()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Checkpointer]:
    """The store of a service."""
    async with saver_of(request.param, tmp_path, "") as opened:
        yield opened


@pytest.fixture
async def service(store: Checkpointer, gates: Gates) -> AsyncIterator[AgentService]:
    """A service with a worker."""
    async with AgentService(app_of(store, gates)) as running:
        yield running
        gates.open.set()
