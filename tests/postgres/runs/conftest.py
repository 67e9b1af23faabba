"""Savers for the tests of PostgreSQL's store of runs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durable_graph_postgres import PostgresSaver
from tests.postgres.executions import Two, two_savers
from tests.savers import saver_of


@pytest.fixture
async def saver(postgres: str, tmp_path: Path) -> AsyncIterator[PostgresSaver]:
    """An open, empty saver."""
    async with saver_of("postgres", tmp_path, postgres) as opened:
        assert isinstance(opened, PostgresSaver)
        yield opened


@pytest.fixture
async def two(postgres: str) -> AsyncIterator[Two]:
    """Two savers on one schema."""
    async with two_savers(postgres) as savers:
        yield savers
