"""Looking at a saver's file and at what its connection does."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from durable_graph_sqlite import SqliteSaver

T = TypeVar("T")


async def on_connection(saver: SqliteSaver, function: Callable[[sqlite3.Connection], T]) -> T:
    """What a function of the saver's own connection returns: there is no public way to it, nor need there be."""
    connection, _ = await saver._opened()
    return await connection.call(function)


async def traced(saver: SqliteSaver) -> list[str]:
    """A list to which every statement is added that the saver runs from now on."""
    statements: list[str] = []
    await on_connection(saver, lambda db: db.set_trace_callback(statements.append))
    return statements


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, opened behind the saver's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


def count(path: Path, table: str) -> Any:
    """How many rows a table has."""
    with database(path) as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
