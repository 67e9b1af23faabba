"""Stores that outlive the processes that die: `process()` opens the store as a new process would."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import asyncpg

from durable_graph import Checkpointer, MemorySaver
from durable_graph_postgres import PostgresSaver
from durable_graph_postgres.statements import quoted
from durable_graph_sqlite import SqliteSaver
from tests.savers import schema_of_its_own

DATABASE = "runs.db"

_TABLES = (
    *("threads", "branches", "checkpoints", "channel_rows", "tasks", "requests", "runs", "messages", "workers"),
    "queues",
)


class CrashStore(Protocol):
    """A store that outlives its processes."""

    def process(self) -> Checkpointer:
        """The store, as a process that has just started sees it."""
        ...

    async def close(self) -> None:
        """Close the store after the test. A process that died closed nothing."""
        ...


class InMemory:
    """A store outside of the processes, like a server."""

    def __init__(self) -> None:
        self._saver = MemorySaver()

    def process(self) -> Checkpointer:
        return self._saver

    async def close(self) -> None:
        await self._saver.aclose()


class OnDisk:
    """A file, with a saver for each process. Savers of dead processes are still open when the next one starts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._savers: list[SqliteSaver] = []

    def process(self) -> Checkpointer:
        self._savers.append(SqliteSaver(self._path))
        return self._savers[-1]

    async def close(self) -> None:
        for saver in self._savers:
            await saver.aclose()


class OnServer:
    """Tables of a server, with a saver for each process that shares no state with savers of dead processes.

    The savers share the connections: the kernel would close those of a dead process.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", schema: str) -> None:
        self._pool = pool
        self._schema = schema
        self._savers: list[PostgresSaver] = []

    def process(self) -> Checkpointer:
        self._savers.append(PostgresSaver(self._pool, schema=self._schema))
        return self._savers[-1]

    async def close(self) -> None:
        for saver in self._savers:
            await saver.aclose()
        # Faster than TRUNCATE for a few rows.
        emptied = (f"DELETE FROM {quoted(self._schema)}.{table}" for table in _TABLES)  # noqa: S608  # of the tests' own
        await self._pool.execute("; ".join(emptied))


@asynccontextmanager
async def on_server(dsn: str) -> AsyncIterator[Callable[[], OnServer]]:
    """A function that makes empty stores, one at a time."""
    async with schema_of_its_own(dsn) as schema, asyncpg.create_pool(dsn, min_size=0, max_size=4) as pool:
        yield lambda: OnServer(pool, schema)


def store_of(folder: Path, dsn: str) -> SqliteSaver | PostgresSaver:
    """The saver that a process opens: on a file, if no DSN is given."""
    if not dsn:
        return SqliteSaver(folder / DATABASE)
    return PostgresSaver(dsn, schema=f"of {blake2b(bytes(folder), digest_size=16).hexdigest()}", pool_size=2)
