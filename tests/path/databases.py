"""The load of a database during an await: statements, round trips, rows, and bytes of its log."""

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncpg

from durable_graph_sqlite import SqliteSaver
from tests.path.counting import Counts
from tests.postgres.proxy import Proxy
from tests.sqlite.inside import on_connection, traced


class SqliteMeter:
    """Counts of one open file. Its log is never written back, so that the log only grows."""

    def __init__(self, saver: SqliteSaver, log: Path, statements: list[str]) -> None:
        self._saver = saver
        self._log = log
        self._statements = statements

    @classmethod
    async def of(cls, saver: SqliteSaver) -> "SqliteMeter":
        await on_connection(saver, lambda db: db.execute("PRAGMA wal_autocheckpoint = 0").fetchall())
        await on_connection(saver, lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        _, _, path = await on_connection(saver, lambda db: db.execute("PRAGMA database_list").fetchone())
        return cls(saver, Path(f"{path}-wal"), await traced(saver))

    async def read(self) -> Counts:
        """The counts since the file was opened."""
        rows = await on_connection(self._saver, lambda db: db.total_changes)
        size = self._log.stat().st_size
        return Counts({"statements": len(self._statements), "rows": rows, "WAL bytes": size})


class PostgresMeter:
    """Counts of a schema that is reached through a proxy. `administrator` is a direct connection."""

    def __init__(self, proxy: Proxy, administrator: "asyncpg.Connection[Any]", schema: str) -> None:
        self._proxy = proxy
        self._administrator = administrator
        self._schema = schema

    async def read(self) -> Counts:
        """The counts so far, once no other connection is left: each connection reports its rows when it ends."""
        others = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        while await self._administrator.fetchval(others):
            pass
        rows = await self._administrator.fetchval(
            "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE schemaname = $1", self._schema
        )
        size = await self._administrator.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return Counts(
            {
                "statements": self._proxy.executions,
                "round trips": len(self._proxy.trips),
                "rows": int(rows or 0),
                "WAL bytes": int(size),
            }
        )


async def added(read: Callable[[], Awaitable[Counts]], work: Coroutine[Any, Any, Any]) -> Counts:
    """The counts that the work adds."""
    before = await read()
    await work
    after = await read()
    return Counts({name: after[name] - before[name] for name in after})
