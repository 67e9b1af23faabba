"""Stores that several processes share, and what long forms print."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from durable_graph.runs import App
from tests.crash.conftest import echo
from tests.postgres.server import started
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.processes import Processes
from tests.runs.engine.worker_process import Place, app_at

__all__ = ["echo"]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the runs are: in files, or on a server."""
    if request.param == "sqlite":
        yield ""
    else:
        with started() as database:
            yield database.url


@pytest.fixture
def place(dsn: str, tmp_path: Path) -> Place:
    """The store and the ledger of a test."""
    return Place(tmp_path, dsn)


@pytest.fixture
def processes(place: Place) -> Iterator[Processes]:
    """Starts processes that share the store."""
    with Processes(place) as running:
        yield running


@pytest.fixture
async def app(place: Place) -> AsyncIterator[App]:
    """An app of the test's own process."""
    async with app_at(place) as opened:
        yield opened


@pytest.fixture
def ledger(place: Place) -> Ledger:
    """What the nodes of all processes did."""
    return Ledger(place.folder)
