"""A store as another process sees it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from durable_graph import Checkpointer
from durable_graph_sqlite import SqliteSaver

Reopen = Callable[[], Awaitable[Checkpointer]]


@pytest.fixture
async def reopen(saver: Checkpointer, tmp_path: Path) -> AsyncIterator[Reopen]:
    """Opens a second saver on the file of a `SqliteSaver`; any other saver is returned itself."""
    async with AsyncExitStack() as opened:

        async def again() -> Checkpointer:
            if not isinstance(saver, SqliteSaver):
                return saver
            return await opened.enter_async_context(SqliteSaver(tmp_path / "runs.db"))

        yield again
