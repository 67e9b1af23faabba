"""What another process would see of a store."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from durable_graph import Checkpointer
from durable_graph_sqlite import SqliteSaver

Reopen = Callable[[], Awaitable[Checkpointer]]


@pytest.fixture
async def reopen(saver: Checkpointer, tmp_path: Path) -> AsyncIterator[Reopen]:
    """A fresh saver on what `saver` stored; in memory there is only the one."""
    async with AsyncExitStack() as opened:

        async def again() -> Checkpointer:
            if not isinstance(saver, SqliteSaver):
                return saver
            return await opened.enter_async_context(SqliteSaver(tmp_path / "runs.db"))

        yield again
