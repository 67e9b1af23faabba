"""Rules for every test: the library never blocks the event loop, and generated examples are the same everywhere."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

from durable_graph import Checkpointer, Durability
from durable_graph._runtime.request.callbacks import callbacks_in_use
from durable_graph.app.installed_types import stored_type_of
from durable_graph.channels.libraries import installed_library
from durable_graph.graph.runnables import as_function
from tests.postgres.server import started
from tests.savers import DURABILITIES, SAVERS, drop_emptied, saver_of
from tests.selection import FORMS, selected

# Every graph of every test is checked for nodes that change their input in place.
os.environ.setdefault("DURABLE_GRAPH_DEBUG", "1")

# A failed run is caused by a change, never by chance: the examples are the same on every machine. `make crash` and
# HYPOTHESIS_PROFILE=explore look for new examples.

settings.register_profile("everywhere", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, derandomize=False, print_blob=True, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "everywhere"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--forms", choices=FORMS, default="usual", help="which forms run: tests/selection.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = selected(items, config.getoption("--forms"))
    config.hook.pytest_deselected(items=[*set(items) - set(kept)])
    items[:] = kept


@pytest.fixture(scope="session", autouse=True)
def langchain_is_loaded() -> None:
    """Load LangChain before the tests. The first graph of a process that may hold LangChain's messages imports them,
    and the first look-up of the stored types of installed packages takes time as well."""
    installed_library()
    callbacks_in_use()
    as_function(str)
    stored_type_of(Path)


@pytest.fixture(scope="session", autouse=True)
def nothing_blocks_the_event_loop() -> Iterator[None]:
    """A blocking call in a running event loop raises, if the library is anywhere in its stack.

    Blocking calls in the body of a test are allowed, and so are those of the conformance suite, which damages files
    between two calls. A node that blocks raises, because the library calls it.
    """
    with blockbuster_ctx(
        ["durable_graph", "durable_graph_sqlite", "durable_graph_postgres"],
        excluded_modules=["durable_graph.testing.conformance"],
    ) as noticed:
        # The driver looks for a password and certificates in the user's files when it connects.
        for function in noticed.functions.values():
            function.can_block_in("asyncpg/connect_utils.py", "_parse_connect_dsn_and_args")
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The DSN of a PostgreSQL to test on: `DURABLE_GRAPH_TEST_POSTGRES`, or a server started here."""
    if given := os.environ.get("DURABLE_GRAPH_TEST_POSTGRES"):
        yield given
        asyncio.run(drop_emptied(given))
    else:
        with started() as server:
            yield server.url


@pytest.fixture(params=DURABILITIES)
def durability(request: pytest.FixtureRequest) -> Durability:
    """Each durability mode."""
    mode: Durability = request.param
    return mode


@pytest.fixture(params=SAVERS)
async def saver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Checkpointer]:
    """An open saver of each kind. A graph must behave the same on each."""
    dsn = request.getfixturevalue("postgres") if request.param == "postgres" else ""
    async with saver_of(request.param, tmp_path, dsn) as opened:
        yield opened
