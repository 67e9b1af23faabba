"""Savers of each kind, for tests that hold on all of them."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

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


_emptied: list[str] = []


@asynccontextmanager
async def _emptied_schema(dsn: str) -> AsyncIterator[str]:
    """The name of a schema without threads. Schemas are reused: creating the tables takes longer than most tests."""
    schema = _emptied.pop() if _emptied else _new_schema()
    yield schema
    # If a lock is still held in the schema, the test has left a connection open.
    connection = await asyncpg.connect(dsn, server_settings={"statement_timeout": "20s"})
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
        names = [name for (name,) in tables if name != "format"]
        if names:
            statements = [f'DELETE FROM "{schema}"."{name}"' for name in names]  # noqa: S608 - both names are ours
            await connection.execute("; ".join(statements))
            _emptied.append(schema)
    finally:
        await connection.close()


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
