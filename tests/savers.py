"""Savers of each kind, for tests that hold on all of them."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from durable_graph import Checkpointer, MemorySaver
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver

SAVERS = ["memory", "sqlite", "postgres"]


@asynccontextmanager
async def saver_of(kind: str, folder: Path, dsn: str) -> AsyncIterator[Checkpointer]:
    """An open saver that is empty."""
    if kind == "memory":
        async with MemorySaver() as memory:
            yield memory
    elif kind == "sqlite":
        async with SqliteSaver(folder / "runs.db") as sqlite:
            yield sqlite
    else:
        async with schema_of_its_own(dsn) as schema, PostgresSaver(dsn, schema=schema, pool_size=4) as postgres:
            yield postgres


@asynccontextmanager
async def schema_of_its_own(dsn: str) -> AsyncIterator[str]:
    """The name of a schema that is not there yet. It is gone afterwards."""
    schema = f"test {uuid.uuid4().hex[:12]}"
    try:
        yield schema
    finally:
        await dropped(dsn, schema)


async def dropped(dsn: str, schema: str) -> None:
    """Remove a schema and all that is in it."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f'SET client_min_messages = error; DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    finally:
        await connection.close()
