"""From a DSN or a pool to tables of ours: they are created, migrated, or refused and left as they are."""

import asyncio
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import asyncpg

from durable_graph.errors import InvalidOptionError, StoreFormatError, StoreReadOnlyError
from durable_graph_postgres.database import Database
from durable_graph_postgres.failures import is_of_address, translated
from durable_graph_postgres.links import Links
from durable_graph_postgres.patience import Patience
from durable_graph_postgres.session import bound_on_silence
from durable_graph_postgres.statements import FIRST_FORMAT, MIGRATIONS, SCHEMA, quoted, statements_for

# Tables that are migrated may be large, and whoever comes meanwhile waits for it.
_LONG = 86_400.0

# Of the tables, as they are under the lock: functions such as `to_regclass` may go by what the session saw before it.
_HAS_SCHEMA = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)"
_HAS_TABLES = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1 AND c.relname = 'format')
"""


async def open_database(given: Any, schema: str, patience: Patience, *, pool_size: int, prepares: bool) -> Database:
    """Connections, and the tables at the current format. `given` is a DSN, or a pool that stays its owner's.

    Raises `StoreFormatError` for tables of another version, `StoreReadOnlyError` for a replica, and
    `StoreUnavailableError`.
    """
    if not isinstance(given, str):
        _check_loop(given)
        await patience.until_there(lambda: _prepare(given, schema, patience))
        return Database(given, statements_for(schema), patience, None)

    links = Links()

    async def connect() -> Any:
        # No floor: the pool would watch over one by itself, and log a traceback each time that it met no server.
        pool = await asyncpg.create_pool(
            given,
            min_size=0,
            max_size=pool_size,
            connect=links.connect,
            reset=_reset,
            statement_cache_size=100 if prepares else 0,
            # The statements are short, however long the planner thinks that they are. A pooler knows no such settings.
            server_settings={"jit": "off"} if prepares else {},
            # To connect, and for each statement.
            timeout=patience.answer,
            command_timeout=patience.answer,
        )
        try:
            await _prepare(pool, schema, patience)
        except BaseException as error:
            pool.terminate()
            if is_of_address(error):
                raise translated(patience.store, error) from error
            raise
        return pool

    pool = await patience.until_there(connect)
    return Database(pool, statements_for(schema), patience, links)


def _check_loop(pool: Any) -> None:
    """Raise `InvalidOptionError` for a pool of another event loop: its connections work in that one only."""
    # The driver has no public name for it, and says "attached to a different loop" in the middle of a call.
    if getattr(pool, "_loop", None) not in (None, asyncio.get_running_loop()):
        allowed = (
            "a pool of the running event loop: make the pool and the saver in the loop that uses them, or give a DSN"
        )
        raise InvalidOptionError("database", "a pool of another event loop", allowed=allowed)


async def _reset(connection: Any) -> None:
    """Nothing that is run here leaves a trace in the session: the usual reset would be a round trip for nothing."""
    if connection.is_in_transaction():
        await connection.reset()


async def _prepare(pool: Any, schema: str, patience: Patience) -> None:
    store = patience.store
    async with pool.acquire(timeout=patience.answer) as connection:
        if await connection.fetchval("SELECT pg_is_in_recovery()"):
            raise StoreReadOnlyError(store, "it is a read replica; give the DSN of the primary")
        if await _is_current(connection, schema, store):
            return
        # Another process may have been faster: only what is seen under the lock counts. A stricter isolation, which may
        # be the database's default, would go on seeing what was there before it.
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(bound_on_silence(), timeout=patience.answer)
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _lock_of(schema), timeout=_LONG)
            if await _is_current(connection, schema, store):
                return
            await _migrate(connection, schema, MIGRATIONS)


async def _is_current(connection: Any, schema: str, store: str) -> bool:
    """Whether the tables are there, at this version's format. Raises `StoreFormatError` for one that is not read."""
    found = await _format_of(connection, schema)
    supported = max(MIGRATIONS, default=FIRST_FORMAT)
    if found is not None and not FIRST_FORMAT <= found <= supported:
        raise StoreFormatError(store, found=found, supported=supported, oldest=FIRST_FORMAT)
    return found == supported


async def _format_of(connection: Any, schema: str) -> int | None:
    if not await connection.fetchval(_HAS_TABLES, schema):
        return None
    found: int = await connection.fetchval(f"SELECT version FROM {quoted(schema)}.format")  # noqa: S608  # it is quoted
    return found


async def _migrate(connection: Any, schema: str, migrations: Mapping[int, str]) -> None:
    found = await _format_of(connection, schema)
    current = max(migrations, default=FIRST_FORMAT)
    name = quoted(schema)
    if found is None:
        if not await connection.fetchval(_HAS_SCHEMA, schema):
            await connection.execute(f"CREATE SCHEMA {name}")
        steps = [SCHEMA]
    else:
        steps = [migrations[step] for step in range(found + 1, current + 1)]
    for step in steps:
        await connection.execute(step.replace("{schema}", name), timeout=_LONG)
    await connection.execute(f"UPDATE {name}.format SET version = {current}")  # noqa: S608  # a number, and it is quoted


def _lock_of(schema: str) -> int:
    digest = blake2b(f"durable_graph {schema}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
