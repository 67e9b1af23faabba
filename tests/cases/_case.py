"""Shared parts of the cases: a store of each kind, and the result of a case.

Each case is a program: `python -m tests.cases.a1_nested_results sqlite`. PostgreSQL is used if
`DURABLE_GRAPH_TEST_POSTGRES` is a DSN whose role may create schemas; each run drops its own schema. If an error is the
right result, the case names its class: any other error is wrong.

Exit code 0: right. 1: wrong. 77: the case does not apply to this store, or a module that it needs is not installed.
"""

import asyncio
import os
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

SKIPPED = 77
POSTGRES = os.environ.get("DURABLE_GRAPH_TEST_POSTGRES", "")
KINDS = ("memory", "sqlite", "postgres")


class Store:
    """One store. `saver()` makes another saver on it, as another process would (in memory there is only one)."""

    def __init__(self, kind: str, folder: str) -> None:
        self.kind = kind
        self.path = Path(folder) / "runs.db"
        self.schema = "case_" + uuid.uuid4().hex[:12]
        self._memory: Any = None

    def saver(self, **options: Any) -> Any:
        if self.kind == "sqlite":
            from durable_graph_sqlite import SqliteSaver

            return SqliteSaver(self.path, **options)
        if self.kind == "postgres":
            from durable_graph_postgres import PostgresSaver

            return PostgresSaver(POSTGRES, schema=self.schema, **options)
        from durable_graph import MemorySaver

        self._memory = self._memory or MemorySaver(**options)
        return self._memory

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Run a statement on the SQLite file, without the library."""
        with sqlite3.connect(self.path) as db:
            found = db.execute(statement, values).fetchall()
        db.close()
        return found

    async def thread_ids(self) -> list[str | None]:
        """The ids in the rows of threads, including the rows that deletions left."""
        if self.kind == "memory":
            return [stored.row.thread or None for stored in self._memory._threads.values()]
        if self.kind == "sqlite":
            return [thread for (thread,) in self.sql("SELECT thread_id FROM threads")]
        import asyncpg

        db = await asyncpg.connect(POSTGRES)
        found = await db.fetch(f'SELECT thread_id FROM "{self.schema}".threads')
        await db.close()
        return [thread for (thread,) in found]

    def flip(self, table: str, where: str) -> None:
        """Flip a bit of the first BLOB column of the rows of a table."""
        column = next(name for _, name, type_, *_ in self.sql(f"PRAGMA table_info({table})") if type_ == "BLOB")
        (value,) = self.sql(f"SELECT {column} FROM {table} WHERE {where}")[0]
        self.sql(f"UPDATE {table} SET {column} = ? WHERE {where}", bytes([value[0] ^ 1]) + value[1:])

    async def drop(self) -> None:
        if self.kind == "postgres":
            import asyncpg

            db = await asyncpg.connect(POSTGRES)
            await db.execute(f'DROP SCHEMA IF EXISTS "{self.schema}" CASCADE')
            await db.close()


Result = tuple[Any, Any, bool]
"""The expected result, the actual result, and whether it is right."""


def run(
    case: Callable[[Store], Awaitable[Result]], kinds: tuple[str, ...] = KINDS, needs: tuple[str, ...] = ()
) -> None:
    kind = sys.argv[1] if len(sys.argv) > 1 else next(k for k in KINDS if k in kinds)
    skip(kind not in kinds, f"not about {kind}")
    skip(kind == "postgres" and not POSTGRES, "DURABLE_GRAPH_TEST_POSTGRES is not set")
    for module in needs:
        try:
            __import__(module)
        except ImportError:
            skip(True, f"{module} is not installed")
    expected, actual, is_right = asyncio.run(_run(case, kind))
    print("expected:", expected)
    print("actual:  ", str(actual)[:1500])
    sys.exit(0 if is_right else 1)


def skip(condition: bool, why: str) -> None:
    if condition:
        print("skipped:", why)
        sys.exit(SKIPPED)


async def _run(case: Callable[[Store], Awaitable[Result]], kind: str) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(kind, folder)
        try:
            return await asyncio.wait_for(case(store), 90)
        finally:
            await store.drop()


async def outcome(call: Awaitable[Any]) -> Any:
    """The result of a call, or the error that it raises."""
    try:
        return await call
    except Exception as error:
        return error


def shown(value: Any, length: int = 200) -> str:
    text = f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else repr(value)
    return text if len(text) <= length else text[:length] + f"... ({len(text)} characters)"


def one_node(schema: Any, node: Callable[..., Any], name: str = "node") -> Any:
    """A builder of a graph of one node."""
    from durable_graph import START, StateGraph

    return StateGraph(schema).add_node(name, node).add_edge(START, name)
