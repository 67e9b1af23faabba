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


# One each for claims and heartbeats, for a sweep, and for the runs that are accepted: these may wait for locks.
_OF_RUNS = 3

_SETTINGS: Mapping[str, str] = {
    # JIT compilation does not pay for these short statements, but the planner may overestimate their cost.
    "jit": "off",
    # Statements find their rows by index. A plan that was made while a table was empty would read it whole afterwards.
    "enable_seqscan": "off",
}
_SETTINGS_OF_RUNS: Mapping[str, str] = {
    **_SETTINGS,
    # Planning a claim or an acceptance takes longer than its execution.
    "plan_cache_mode": "force_generic_plan",
    # A statement that has waited for a lock has to see the newest row.
    "default_transaction_isolation": "read committed",
}
"""Settings of the sessions. Poolers refuse them."""


async def open_databases(
    given: "Parameters | asyncpg.Pool[asyncpg.Record]", retry: Retry, *, pool_size: int, prepares: bool
) -> tuple[Database, Database]:
    """Open connections, and bring the tables to the current format. `given` are the parameters of a DSN, or a user's
    pool, which the user closes. The second one is for acceptances, claims and heartbeats, which must not wait for
    connections that execute nodes; it is the first one if the pool is the user's.

    Raises `StoreFormatError` for tables of another version, `StoreUnavailableError` for a replica,
    `StoreConfigurationError`, and `StoreUnavailableError`.
    """
    sql = statements_for(retry.schema)
    if not isinstance(given, Parameters):
        _check_loop(given)
        await retry.until_there(lambda: _prepare_if_allowed(given, retry))
        database = Database(given, sql, retry, None, prepares=False)
        return database, database

    await asyncio.to_thread(_check_files, given, retry.store)
    links = Links(given.sockets)

    async def connect() -> Any:
        pool = await _pool(given, links, retry, pool_size, _SETTINGS if prepares else {}, prepares=prepares)
        try:
            await _prepare_if_allowed(pool, retry)
        except BaseException as error:
            pool.terminate()
            if (remedy := remedy_of_address(error)) is not None:
                raise misconfigured(retry.store, error, remedy) from error
            raise
        return pool

    pool = await retry.until_there(connect)
    # It connects on first use.
    of_runs = await _pool(given, links, retry, _OF_RUNS, _SETTINGS_OF_RUNS if prepares else {}, prepares=prepares)
    return (
        Database(pool, sql, retry, links, prepares=prepares),
        Database(of_runs, sql, retry, links, prepares=prepares),
    )


async def open_beside(
    given: "Parameters | asyncpg.Pool[asyncpg.Record]", retry: Retry, *, prepares: bool
) -> tuple[Database, Database]:
    """As `open_databases`, also for an event loop that a user's pool does not belong to: with new connections, made as
    the pool makes them."""
    if isinstance(given, Parameters) or _is_of_this_loop(given):
        return await open_databases(given, retry, pool_size=_OF_RUNS, prepares=prepares)
    # The driver has no public attributes for them.
    other: Any = given
    links = Links((), other._connect)
    pool = await asyncpg.create_pool(
        *other._connect_args,
        min_size=0,
        max_size=_OF_RUNS,
        connect=links.connect,
        init=other._init,
        setup=other._setup,
        reset=other._reset,
        connection_class=other._connection_class,
        record_class=other._record_class,
        **other._connect_kwargs,
    )
    database = Database(pool, statements_for(retry.schema), retry, links, prepares=False)
    return database, database


async def _pool(
    given: Parameters, links: Links, retry: Retry, size: int, settings: Mapping[str, str], *, prepares: bool
) -> Any:
    # min_size=0, because a pool keeps up its minimum by itself, and logs a traceback each time that the server is
    # unavailable.
    return await asyncpg.create_pool(
        given.dsn,
        min_size=0,
        max_size=size,
        connect=links.connect,
        reset=_reset,
        statement_cache_size=100 if prepares else 0,
        server_settings={name: value for name, value in settings.items() if name not in given.settings},
        # `timeout` limits connecting, `command_timeout` each statement.
        timeout=min(retry.answer, given.connect_timeout or retry.answer),
        command_timeout=retry.answer,
        **given.driver,
    )


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
    # The driver would raise "attached to a different loop" during a call.
    if not _is_of_this_loop(pool):
        allowed = (
            "a pool of the running event loop: create the pool and the saver in the loop that uses them, or pass a DSN"
        )
        raise InvalidOptionError("database", "a pool of another event loop", allowed=allowed)


def _is_of_this_loop(pool: Any) -> bool:
    # The driver has no public attribute for the loop.
    return getattr(pool, "_loop", None) in (None, asyncio.get_running_loop())


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
