"""A connection, as the functions that read and write see it: statements by name."""

import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from durable_graph.checkpointing.columns import Columns
from durable_graph_postgres.failures import FAILURES

LONGEST_SILENCE = "30s"
"""A process that is suspended in the middle of a transaction keeps its thread from everybody else. After so long the
server undoes the transaction, and the process makes it again if it ever goes on."""

Connection = Any
"""An `asyncpg.Connection`, or one that a pool lent."""


def bound_on_silence() -> str:
    """The statement that has the server undo the transaction it is in when nothing is heard for long."""
    return f"SET LOCAL idle_in_transaction_session_timeout = '{LONGEST_SILENCE}'"


class Session:
    """Runs the statements of one schema on a connection. Each may take `answer` seconds."""

    __slots__ = ("answer", "connection", "sql")

    def __init__(self, connection: Connection, sql: Mapping[str, str], answer: float) -> None:
        self.answer: float = answer
        self.connection: Connection = connection
        self.sql: Mapping[str, str] = sql

    async def rows(self, name: str, *sought: object) -> list[Columns]:
        """All rows of a query."""
        found: list[asyncpg.Record] = await self.connection.fetch(self.sql[name], *sought, timeout=self.answer)
        return [tuple(each) for each in found]

    async def row(self, name: str, *sought: object) -> Columns | None:
        """The row of a query that has one at most."""
        found = await self.rows(name, *sought)
        return found[0] if found else None

    async def run(self, name: str, *values: object) -> None:
        """Run a statement that gives nothing back."""
        await self.connection.execute(self.sql[name], *values, timeout=self.answer)

    async def run_each(self, name: str, rows: Iterable[Columns]) -> None:
        """Run it once for each row, together."""
        given = list(rows)
        if given:
            await self.connection.executemany(self.sql[name], given, timeout=self.answer)

    @asynccontextmanager
    async def transaction(self, begin: str) -> AsyncGenerator[None]:
        """What is run in the block is committed together, or not at all."""
        # In one round trip. Not as a setting of the session: a pooler knows none, and a pool may be somebody else's.
        await self.connection.execute(f"{begin}; {bound_on_silence()}", timeout=self.answer)
        try:
            yield
        except BaseException:
            # Of a connection that has gone, the server undoes it by itself.
            with contextlib.suppress(*FAILURES):
                await self.connection.execute("ROLLBACK", timeout=self.answer)
            raise
        await self.connection.execute("COMMIT", timeout=self.answer)
