"""Access to a saver's file, and to the statements of its connection."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from durable_graph_sqlite import SqliteSaver

T = TypeVar("T")


async def on_connection(saver: SqliteSaver, function: Callable[[sqlite3.Connection], T]) -> T:
    """The result of a function that runs on the saver's own connection, which has no public access on purpose."""
    connection, _ = await saver._opened()
    return await connection.call(function)


async def traced(saver: SqliteSaver) -> list[str]:
    """A list that collects every statement that the saver runs from now on."""
    statements: list[str] = []
    await on_connection(saver, lambda db: db.set_trace_callback(statements.append))
    return statements


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """A separate connection to the file, which the saver does not know of."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


def count(path: Path, table: str) -> Any:
    """The number of rows of a table."""
    with database(path) as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
