"""Runs that tests accept and claim on PostgreSQL, and the writes of those who execute them."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.digests import origin_of
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.records import Committed, CommitUnit, Saved, WritesBatch
from durable_graph.run_records import (
    Claim,
    NewRun,
    NewWorker,
    RunRow,
    RunState,
    RunUpdate,
)
from durable_graph.testing.rows import Writer
from durable_graph_postgres import PostgresSaver
from tests.postgres.proxy import Proxy, proxied
from tests.postgres.trips import named
from tests.savers import schema_of_its_own

SECOND = 1_000_000

Two = tuple[PostgresSaver, PostgresSaver]


def new_run(thread: str, **given: Any) -> NewRun:
    incarnation = drawn_incarnation()
    fields: dict[str, Any] = {"graph": "g", "queue": "q", "input": b"in", "input_digest": b"digest", "options": b""}
    fields |= {"incarnation": incarnation, "origin": origin_of(thread, incarnation)}
    return NewRun(thread=thread, epoch=drawn_incarnation(), token=os.urandom(16), **fields | given)


async def claimed(saver: PostgresSaver, worker: int, thread: str = "t") -> tuple[Claim, Writer]:
    """The worker's only claim, and the execution that writes to the run's thread."""
    await saver.runs.register(NewWorker(worker, 10 * SECOND, f"worker {worker}"))
    (claim,) = await saver.runs.claim(worker, ["q"], 10)
    assert claim.thread == thread
    return claim, await writer_of(saver, thread)


async def writer_of(saver: PostgresSaver, thread: str) -> Writer:
    found = await saver.load(thread)
    assert found is not None
    writer = Writer(found.thread)
    writer.base = found.base
    return writer


def with_run(write: Any, state: RunState, seq: int, **given: Any) -> Any:
    return msgspec.structs.replace(write, run=RunUpdate(seq, state, **given))


async def schema_of(saver: PostgresSaver) -> str:
    return (await saver._opening.get()).database.retry.schema


async def found(saver: PostgresSaver, seq: int, thread: str = "t") -> RunRow:
    row = await saver.runs.find_run(thread, seq)
    assert row is not None
    return row


async def states(saver: PostgresSaver, thread: str = "t") -> list[RunState]:
    return [run.state for run in await saver.runs.list_runs(thread=thread)]


@asynccontextmanager
async def two_savers(dsn: str) -> AsyncIterator[Two]:
    """Two savers on the same tables, as of two processes."""
    async with (
        schema_of_its_own(dsn) as schema,
        PostgresSaver(dsn, schema=schema) as first,
        PostgresSaver(dsn, schema=schema) as second,
    ):
        yield first, second


@asynccontextmanager
async def proxied_saver(dsn: str) -> AsyncIterator[tuple[PostgresSaver, Proxy, Callable[[], list[str]]]]:
    """A saver behind a proxy, and a function that names the statements since `proxy.expect`."""
    async with (
        schema_of_its_own(dsn) as schema,
        proxied(dsn) as proxy,
        PostgresSaver(proxy.url, schema=schema, pool_size=2) as saver,
    ):
        yield saver, proxy, lambda: named(proxy.trips, schema)


async def written(saver: PostgresSaver, writer: Writer, write: CommitUnit | WritesBatch) -> None:
    """Make a write that succeeds, and move the writer on."""
    if isinstance(write, CommitUnit):
        answer = await saver.commit(write)
        assert isinstance(answer, Committed), answer
        writer.applied(write, answer.base)
        return
    saved = await saver.save_writes(write)
    assert isinstance(saved, Saved), saved
    writer.thread, writer.base = msgspec.structs.replace(writer.thread, wseq=saved.wseq), saved.base


class Locking:
    """Locks rows on a connection of its own."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", schema: str) -> None:
        self._connection = connection
        self._schema = schema

    async def __call__(self, table: str, thread: str) -> None:
        await self._connection.execute(
            f'SELECT 1 FROM "{self._schema}".{table} WHERE thread_key = $1 FOR NO KEY UPDATE',  # noqa: S608  # names of its own
            key_of(thread),
        )

    async def damage(self, thread: str) -> None:
        """Change a column of the thread's row, and leave the row's digest as it is."""
        statement = f'UPDATE "{self._schema}".threads SET head = head + 1 WHERE thread_key = $1'  # noqa: S608  # as above
        await self._connection.execute(statement, key_of(thread))

    async def until_waiting(self, sessions: int) -> None:
        """Return when so many sessions wait for a lock."""
        waiting = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
        async with asyncio.timeout(30):
            while await self._connection.fetchval(waiting) != sessions:  # noqa: ASYNC110  # the server has no event to wait for
                await asyncio.sleep(0)


@asynccontextmanager
async def locking(dsn: str, schema: str) -> AsyncIterator[Locking]:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            yield Locking(connection, schema)
    finally:
        await connection.close()
