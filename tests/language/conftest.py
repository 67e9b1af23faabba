"""Savers and durability modes: every part of the language has to mean the same on each."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durable_graph import Checkpointer, MemorySaver
from durable_graph._runtime.run import Durability
from durable_graph_sqlite import SqliteSaver


@pytest.fixture(params=["memory", "sqlite"])
async def saver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Checkpointer]:
    """An open saver of each kind."""
    chosen: Checkpointer = MemorySaver() if request.param == "memory" else SqliteSaver(tmp_path / "runs.db")
    async with chosen:
        yield chosen


@pytest.fixture(params=["sync", "async", "exit"])
def durability(request: pytest.FixtureRequest) -> Durability:
    """Each durability mode."""
    mode: Durability = request.param
    return mode
