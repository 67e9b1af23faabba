"""An open saver: its connections, its group commit, and its calls that have not ended."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

from durable_graph_postgres.acceptances import Acceptances
from durable_graph_postgres.database import Database
from durable_graph_postgres.group import GroupCommit

T = TypeVar("T")


class Opened:
    """What is open in the running event loop. `runs` has the connections for acceptances, claims and heartbeats, which
    must not wait for those of `database`; it is the same if the pool is a user's."""

    def __init__(self, database: Database, runs: Database) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.database: Database = database
        self.runs: Database = runs
        self.writes: GroupCommit = GroupCommit(database)
        self.acceptances: Acceptances = Acceptances(runs)
        self._calls: set[asyncio.Task[Any]] = set()

    async def finish(self, call: Coroutine[Any, Any, T]) -> T:
        """The result of the call, which ends even if the caller is cancelled: a connection must be released in a clean
        state."""
        task = self.loop.create_task(call, context=Context())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for the calls that have begun, and close the connections."""
        while self._calls:
            await asyncio.wait(self._calls)
        await self.acceptances.settle()
        await self.writes.settle()
        await self.database.close()
        if self.runs is not self.database:
            await self.runs.close()
