"""An open cache of each kind, and a clock for entries that expire."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durable_graph import Cache, InMemoryCache
from durable_graph_sqlite import SqliteCache
from tests.caching.clock import Clock


@pytest.fixture(params=["memory", "sqlite"])
async def cache(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cache]:
    if request.param == "memory":
        yield InMemoryCache()
        return
    async with SqliteCache(tmp_path / "cache.db") as opened:
        yield opened


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)
