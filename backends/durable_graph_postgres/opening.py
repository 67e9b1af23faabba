"""Opening the tables with a DSN or a pool: they are created, migrated, or refused and left unchanged."""

import asyncio
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import asyncpg

from durable_graph.errors import InvalidOptionError, StoreFormatError
from durable_graph_postgres.admission import check_server, missing_privilege
from durable_graph_postgres.configuration import remedy_of, remedy_of_address
from durable_graph_postgres.database import Database
from durable_graph_postgres.failures import misconfigured
from durable_graph_postgres.links import Links
from durable_graph_postgres.parameters import Parameters
from durable_graph_postgres.retry import Retry
from durable_graph_postgres.session import bound_on_silence
from durable_graph_postgres.statements import FIRST_FORMAT, MIGRATIONS, SCHEMA, quoted, statements_for

# A timeout in seconds: a migration of large tables takes long, and other processes wait for it.
_LONG = 86_400.0

# The catalogs are queried directly, because functions such as `to_regclass` may use the session's cache from before the
# lock.
_HAS_SCHEMA = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)"
_HAS_TABLES = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1 AND c.relname = 'format')
"""


async def open_database(
    given: "Parameters | asyncpg.Pool[asyncpg.Record]", retry: Retry, *, pool_size: int, prepares: bool
) -> Database:
    """Open connections, and bring the tables to the current format. `given` are the parameters of a DSN, or a user's
    pool, which the user closes.

    Raises `StoreFormatError` for tables of another version, `StoreUnavailableError` for a replica,
    `StoreConfigurationError`, and `StoreUnavailableError`.
    """
    sql = statements_for(retry.schema)
    if not isinstance(given, Parameters):
        _check_loop(given)
        await retry.until_there(lambda: _prepare_if_allowed(given, retry))
        return Database(given, sql, retry, None, prepares=False)

    await asyncio.to_thread(_check_files, given, retry.store)
    links = Links(given.sockets)

    async def connect() -> Any:
        # min_size=0, because a pool keeps up its minimum by itself, and logs a traceback each time that the server is
        # unavailable.
        pool = await asyncpg.create_pool(
            given.dsn,
            min_size=0,
            max_size=pool_size,
            connect=links.connect,
            reset=_reset,
            statement_cache_size=100 if prepares else 0,
            # JIT compilation does not pay for these short statements, but the planner may overestimate their cost.
            # Poolers refuse such settings.
            server_settings={"jit": "off"} if prepares and "jit" not in given.settings else {},
            # `timeout` limits connecting, `command_timeout` each statement.
            timeout=min(retry.answer, given.connect_timeout or retry.answer),
            command_timeout=retry.answer,
            **given.driver,
        )
        try:
            await _prepare_if_allowed(pool, retry)
        except BaseException as error:
            pool.terminate()
            if (remedy := remedy_of_address(error)) is not None:
                raise misconfigured(retry.store, error, remedy) from error
            raise
        return pool

    pool = await retry.until_there(connect)
    return Database(pool, sql, retry, links, prepares=prepares)


def _check_files(given: Parameters, store: str) -> None:
    """Raise `StoreConfigurationError` for a file in the DSN that cannot be read. Blocks."""
    for name, path in given.files.items():
        try:
            Path(path).expanduser().open("rb").close()
        except OSError as error:
            raise misconfigured(store, error, f"correct {name} in the DSN") from error


async def _prepare_if_allowed(pool: Any, retry: Retry) -> None:
    try:
        await _prepare(pool, retry.schema, retry)
    except asyncpg.InsufficientPrivilegeError as error:
        if remedy_of(error) is not None:
            raise
        async with pool.acquire(timeout=retry.answer) as connection:
            raise await missing_privilege(connection, retry.store, retry.schema, str(error)) from error


def _check_loop(pool: Any) -> None:
    """Raise `InvalidOptionError` for a pool of another event loop: its connections work only in that loop."""
    # The driver has no public attribute for the loop, and would raise "attached to a different loop" during a call.
    if getattr(pool, "_loop", None) not in (None, asyncio.get_running_loop()):
        allowed = (
            "a pool of the running event loop: create the pool and the saver in the loop that uses them, or pass a DSN"
        )
        raise InvalidOptionError("database", "a pool of another event loop", allowed=allowed)


async def _reset(connection: Any) -> None:
    """Reset only a connection in a transaction. The saver's statements do not change the session, so the pool's usual
    reset would be an unnecessary round trip."""
    if connection.is_in_transaction():
        await connection.reset()


async def _prepare(pool: Any, schema: str, retry: Retry) -> None:
    store = retry.store
    async with pool.acquire(timeout=retry.answer) as connection:
        await check_server(connection, store, retry.answer)
        if await _is_current(connection, schema, store):
            return
        # Another process may have been faster, so the tables are checked again under the lock. A stricter isolation,
        # which may be the database's default, would still use the snapshot from before the lock.
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(bound_on_silence(), timeout=retry.answer)
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _lock_of(schema), timeout=_LONG)
            if await _is_current(connection, schema, store):
                return
            await _migrate(connection, schema, MIGRATIONS)


async def _is_current(connection: Any, schema: str, store: str) -> bool:
    """Whether the tables exist in the current format. Raises `StoreFormatError` for an unsupported format."""
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
