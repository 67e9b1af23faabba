"""A connection, as the functions that read and write see it: statements by name."""

from collections.abc import Iterable, Mapping
from typing import Any

import asyncpg

from durable_graph.checkpointing.columns import Columns

Connection = Any
"""An `asyncpg.Connection`, or one that a pool lent."""


class Session:
    """Runs the statements of one schema on a connection."""

    __slots__ = ("connection", "sql")

    def __init__(self, connection: Connection, sql: Mapping[str, str]) -> None:
        self.connection: Connection = connection
        self.sql: Mapping[str, str] = sql

    async def rows(self, name: str, *sought: object) -> list[Columns]:
        """All rows of a query."""
        found: list[asyncpg.Record] = await self.connection.fetch(self.sql[name], *sought)
        return [tuple(each) for each in found]

    async def row(self, name: str, *sought: object) -> Columns | None:
        """The row of a query that has one at most."""
        found = await self.rows(name, *sought)
        return found[0] if found else None

    async def run(self, name: str, *values: object) -> None:
        """Run a statement that gives nothing back."""
        await self.connection.execute(self.sql[name], *values)

    async def run_each(self, name: str, rows: Iterable[Columns]) -> None:
        """Run it once for each row, together."""
        given = list(rows)
        if given:
            await self.connection.executemany(self.sql[name], given)
