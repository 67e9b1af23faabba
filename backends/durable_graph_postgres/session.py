"""A connection for the functions that read and write: it runs statements by name."""

import contextlib
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from durable_graph.checkpointing.columns import Columns
from durable_graph.checkpointing.queries import Query
from durable_graph.checkpointing.transactions import Batch
from durable_graph_postgres.failures import FAILURES
from durable_graph_postgres.statements import PARAMETERS

T = TypeVar("T")

LONGEST_SILENCE = "30s"
"""A process that is suspended during a transaction blocks its thread for all other processes. After this time the
server rolls the transaction back, and the process repeats it if it ever continues."""

BEGIN = "BEGIN; SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
"""Begins a transaction that writes. The statement after one that waited for a lock sees what was committed meanwhile,
whatever the database's default is."""

Connection = Any
"""An `asyncpg.Connection`, or a pool's proxy of one."""


def bound_on_silence() -> str:
    """The statement that makes the server roll back its transaction after LONGEST_SILENCE without a statement."""
    return f"SET LOCAL idle_in_transaction_session_timeout = '{LONGEST_SILENCE}'"


class Session:
    """Runs the statements of one schema on a connection. Each statement may take `answer` seconds."""

    __slots__ = ("answer", "connection", "sql")

    def __init__(self, connection: Connection, sql: Mapping[str, str], answer: float) -> None:
        self.answer: float = answer
        self.connection: Connection = connection
        self.sql: Mapping[str, str] = sql

    async def rows(self, name: str, *sought: object) -> list[Columns]:
        """All rows of a query."""
        found: list[asyncpg.Record] = await self.connection.fetch(self.sql[name], *sought, timeout=self.answer)
        return [tuple(each) for each in found]

    async def run(self, steps: Generator[Query | Batch, Sequence[Columns], T]) -> T:
        """Run the statements of a read or a transaction, and return its result."""
        try:
            asked = next(steps)
            while True:
                try:
                    found = await self._found(asked)
                except Exception as error:
                    asked = steps.throw(error)
                else:
                    asked = steps.send(found)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _found(self, asked: Query | Batch) -> Sequence[Columns]:
        if isinstance(asked, Query):
            return await self.rows(asked.name, *(asked.sought[name] for name in PARAMETERS[asked.name]))
        try:
            if len(asked.rows) == 1:
                await self.connection.execute(self.sql[asked.name], *asked.rows[0], timeout=self.answer)
            elif asked.rows:
                await self.connection.executemany(self.sql[asked.name], asked.rows, timeout=self.answer)
        except asyncpg.DataError as error:
            if not asked.name.startswith("import_"):
                raise
            # A file may hold values that no column of this database can.
            raise ValueError(str(error)) from error
        return ()

    @asynccontextmanager
    async def transaction(self, begin: str) -> AsyncGenerator[None]:
        """A transaction around the block: committed at its end, rolled back if the block raises."""
        # Both statements take one round trip. The limit is no setting of the session, because poolers do not support
        # these, and the pool may be the user's.
        await self.connection.execute(f"{begin}; {bound_on_silence()}", timeout=self.answer)
        try:
            yield
        except BaseException:
            # If the connection is lost, the server rolls back by itself.
            with contextlib.suppress(*FAILURES):
                await self.connection.execute("ROLLBACK", timeout=self.answer)
            raise
        await self.connection.execute("COMMIT", timeout=self.answer)
