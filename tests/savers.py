"""Savers of each kind, for tests that hold on all of them."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from durable_graph import Checkpointer, Durability, MemorySaver
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver

SAVERS = ["memory", "sqlite", "postgres"]
DURABILITIES: list[Durability] = ["sync", "async", "exit"]


@asynccontextmanager
async def saver_of(kind: str, folder: Path, dsn: str) -> AsyncIterator[Checkpointer]:
    """An open, empty saver. The schema of a PostgresSaver may have been used by an earlier test."""
    if kind == "memory":
        async with MemorySaver() as memory:
            yield memory
    elif kind == "sqlite":
        async with SqliteSaver(folder / "runs.db") as sqlite:
            yield sqlite
    else:
        async with _emptied_schema(dsn) as schema, PostgresSaver(dsn, schema=schema, pool_size=4) as postgres:
            yield postgres


class _Cleaner:
    """Empties schemas, on one connection for all tests: connecting takes longer than emptying a schema.

    Each test has an event loop of its own, so the connection has one in a thread of its own.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Any = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cleaner of schemas", daemon=True)
        self._thread.start()

    async def empty(self, schema: str) -> bool:
        """Remove all rows of the schema but its format. False if it has no tables."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._empty(schema), self._loop))

    async def _empty(self, schema: str) -> bool:
        if self._connection is None or self._connection.is_closed():
            # If a lock is still held in the schema, the test has left a connection open.
            self._connection = await asyncpg.connect(self._dsn, server_settings={"statement_timeout": "20s"})
        tables = await self._connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
        names = [name for (name,) in tables if name != "format"]
        statements = [f'DELETE FROM "{schema}"."{name}"' for name in names]  # noqa: S608 - both names are ours
        await self._connection.execute("; ".join(statements))
        return bool(names)

    def close(self) -> None:
        """Close the connection, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        if self._connection is not None:
            await self._connection.close(timeout=10)


_emptied: list[str] = []
_cleaners: dict[str, _Cleaner] = {}


@asynccontextmanager
async def _emptied_schema(dsn: str) -> AsyncIterator[str]:
    """The name of a schema without threads. Schemas are reused: creating the tables takes longer than most tests."""
    schema = _emptied.pop() if _emptied else _new_schema()
    yield schema
    cleaner = _cleaners.get(dsn)
    if cleaner is None:
        cleaner = _cleaners[dsn] = _Cleaner(dsn)
    if await cleaner.empty(schema):
        _emptied.append(schema)


def end_cleaning() -> None:
    """Close the connections that empty schemas. The server still runs."""
    while _cleaners:
        _cleaners.popitem()[1].close()


async def drop_emptied(dsn: str) -> None:
    """Remove the schemas that tests have emptied."""
    while _emptied:
        await dropped(dsn, _emptied.pop())


@asynccontextmanager
async def schema_of_its_own(dsn: str) -> AsyncIterator[str]:
    """The name of a schema that does not exist yet. It is dropped afterwards."""
    schema = _new_schema()
    try:
        yield schema
    finally:
        await dropped(dsn, schema)


def _new_schema() -> str:
    return f"test {uuid.uuid4().hex[:12]}"


async def dropped(dsn: str, schema: str) -> None:
    """Remove a schema with its contents."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f'SET client_min_messages = error; DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    finally:
        await connection.close()
