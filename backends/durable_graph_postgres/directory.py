"""`PostgresSaver.directory`: the saver's threads, with and without checkpoints, and their metadata."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from durable_graph.checkpointing import directory_transactions
from durable_graph.checkpointing.directory import (
    CreatedThread,
    DeletedThread,
    NewThread,
    SortKey,
    ThreadEntry,
    ThreadQuery,
)
from durable_graph.checkpointing.directory_rules import check_page
from durable_graph.checkpointing.queries import Steps
from durable_graph.checkpointing.rules import check_limit
from durable_graph_postgres.identifiers import check_query, check_thread
from durable_graph_postgres.opened import Opened

T = TypeVar("T")


class PostgresDirectory:
    """The directory of the threads in a schema. See `ThreadDirectory`."""

    def __init__(self, opened: Callable[[], Awaitable[Opened]]) -> None:
        self._opened = opened

    async def create(self, new: NewThread) -> CreatedThread:
        """See `ThreadDirectory.create`."""
        check_thread(new.thread)
        at, opened = _now(), await self._opened()
        created: CreatedThread = await opened.writes.begin(new.thread, lambda: directory_transactions.create(new, at))
        return created

    async def find(self, thread: str) -> ThreadEntry | None:
        """See `ThreadDirectory.find`."""
        check_thread(thread)
        return await self._read(lambda: directory_transactions.find(thread))

    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        """See `ThreadDirectory.update`."""
        check_thread(thread)
        at, opened = _now(), await self._opened()
        entry: ThreadEntry | None = await opened.writes.begin(
            thread, lambda: directory_transactions.update(thread, metadata, at)
        )
        return entry

    async def delete(self, thread: str) -> DeletedThread:
        """See `ThreadDirectory.delete`."""
        check_thread(thread)
        at, opened = _now(), await self._opened()
        deleted: DeletedThread = await opened.writes.begin(thread, lambda: directory_transactions.delete(thread, at))
        return deleted

    async def search(
        self, query: ThreadQuery, *, sort_by: SortKey, descending: bool, limit: int, offset: int
    ) -> list[ThreadEntry]:
        """See `ThreadDirectory.search`."""
        check_limit(limit)
        check_page(limit, offset)
        check_query(query)
        sought = directory_transactions.parameters_of(query)
        return await self._read(
            lambda: directory_transactions.search(sought, sort_by, limit, offset, descending=descending)
        )

    async def count(self, query: ThreadQuery) -> int:
        """See `ThreadDirectory.count`."""
        check_query(query)
        sought = directory_transactions.parameters_of(query)
        return await self._read(lambda: directory_transactions.count(sought))

    async def _read(self, begun: Callable[[], Steps[T]]) -> T:
        opened = await self._opened()
        return await opened.finish(opened.database.read(lambda db: db.run(begun()), statements=1))


def _now() -> int:
    return time.time_ns() // 1000
