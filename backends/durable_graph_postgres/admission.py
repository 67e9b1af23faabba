"""Requirements on the server and the role, and the errors with which operators can meet them."""

from typing import Any

from durable_graph.errors import StoreConfigurationError, StoreUnavailableError
from durable_graph_postgres.failures import grants_on
from durable_graph_postgres.statements import quoted

_OLDEST = 15
"""The oldest version of PostgreSQL that the statements are written for."""

# A database in SQL_ASCII stores and returns any bytes unchanged.
_ENCODINGS = ("UTF8", "SQL_ASCII")

_SERVER = "SELECT pg_is_in_recovery(), current_setting('server_encoding'), current_setting('server_version_num')::int"

_ROLE = """
SELECT current_user, current_database(), n.oid IS NOT NULL,
       EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'format')
  FROM (VALUES (1)) AS one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $1
"""


async def check_server(connection: Any, store: str, answer: float) -> None:
    """Raises `StoreUnavailableError` for a replica, `StoreConfigurationError` for a server that cannot store threads.

    `answer` is the limit for the server's answer in seconds: a user's pool may have no limit of its own.
    """
    is_replica, encoding, version = await connection.fetchrow(_SERVER, timeout=answer)
    if is_replica:
        raise StoreUnavailableError(store, "it is a read replica; give the DSN of the primary", kind="read_only")
    if version // 10_000 < _OLDEST:
        why = f"it is PostgreSQL {version // 10_000}"
        raise StoreConfigurationError(store, why, remedy=f"use PostgreSQL {_OLDEST} or newer")
    if encoding not in _ENCODINGS:
        why = f"the database's encoding is {encoding}, which cannot store most characters"
        remedy = "create another: CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8'"
        raise StoreConfigurationError(store, why, remedy=remedy)


async def missing_privilege(connection: Any, store: str, schema: str, why: str) -> StoreConfigurationError:
    """The error for a role that cannot open or create the tables, with the statement that grants the privilege."""
    role, database, has_schema, has_tables = await connection.fetchrow(_ROLE, schema)
    if "must be owner" in why:
        remedy = "open the saver once as the owner of the tables, to migrate them"
    elif not has_schema:
        remedy = f"have its owner run: GRANT CREATE ON DATABASE {quoted(database)} TO {quoted(role)}"
    elif not has_tables:
        remedy = f"have its owner run: GRANT USAGE, CREATE ON SCHEMA {quoted(schema)} TO {quoted(role)}"
    else:
        remedy = f"have its owner run: {grants_on(schema, quoted(role))}"
    return StoreConfigurationError(store, why, remedy=remedy)
