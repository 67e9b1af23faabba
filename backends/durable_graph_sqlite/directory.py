"""`SqliteSaver.directory`: the saver's threads, with and without checkpoints, and their metadata."""

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

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
from durable_graph.checkpointing.transactions import Wanted
from durable_graph_sqlite.connection import Connection
from durable_graph_sqlite.failures import told_in_ours
from durable_graph_sqlite.statements import run

T = TypeVar("T")


class SqliteDirectory:
    """The directory of the threads in a file. See `ThreadDirectory`."""

    def __init__(
        self,
        path: Path,
        opened: Callable[[], Awaitable[Connection]],
        write: Callable[[str, Wanted], Awaitable[Any]],
    ) -> None:
        self._path = path
        self._opened = opened
        self._write = write

    async def create(self, new: NewThread) -> CreatedThread:
        """See `ThreadDirectory.create`."""
        at = _now()
        created: CreatedThread = await self._write(new.thread, lambda: directory_transactions.create(new, at))
        return created

    async def find(self, thread: str) -> ThreadEntry | None:
        """See `ThreadDirectory.find`."""
        return await self._read(lambda: directory_transactions.find(thread), thread)

    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        """See `ThreadDirectory.update`."""
        at = _now()
        entry: ThreadEntry | None = await self._write(
            thread, lambda: directory_transactions.update(thread, metadata, at)
        )
        return entry

    async def delete(self, thread: str) -> DeletedThread:
        """See `ThreadDirectory.delete`."""
        at = _now()
        deleted: DeletedThread = await self._write(thread, lambda: directory_transactions.delete(thread, at))
        return deleted

    async def search(
        self, query: ThreadQuery, *, sort_by: SortKey, descending: bool, limit: int, offset: int
    ) -> list[ThreadEntry]:
        """See `ThreadDirectory.search`."""
        check_limit(limit)
        check_page(limit, offset)
        sought = _sought(query)
        return await self._read(
            lambda: directory_transactions.search(sought, sort_by, limit, offset, descending=descending), None
        )

    async def count(self, query: ThreadQuery) -> int:
        """See `ThreadDirectory.count`."""
        sought = _sought(query)
        return await self._read(lambda: directory_transactions.count(sought), None)

    async def _read(self, begun: Callable[[], Steps[T]], thread: str | None) -> T:
        connection = await self._opened()
        with told_in_ours(str(self._path), thread):
            return await connection.read(lambda db: run(db, begun()), thread)


def _sought(query: ThreadQuery) -> dict[str, Any]:
    """The parameters of a search. Lists are JSON, which cannot hold bytes."""
    sought = directory_transactions.parameters_of(query)
    keys = sought["keys"]
    return {
        **sought,
        "keys": None if keys is None else json.dumps(keys),
        "entries": json.dumps([entry.hex().upper() for entry in sought["entries"]]),
    }


def _now() -> int:
    return time.time_ns() // 1000
