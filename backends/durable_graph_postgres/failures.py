"""What PostgreSQL's errors mean for a caller."""

import asyncpg

from durable_graph.errors import (
    CorruptCheckpointError,
    DurableGraphError,
    StoreConfigurationError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from durable_graph_postgres.configuration import remedy_of
from durable_graph_postgres.statements import quoted

FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What the driver raises. `InterfaceError` is what it says of a connection that has gone."""

_PASSING = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
)
# The server's settings may end a transaction that takes its time, and its session as well.
_TIMEOUTS = ("25P03", "25P04")
_LASTING = (
    asyncpg.DiskFullError,
    asyncpg.ConfigurationLimitExceededError,
)


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed by and by: a server that restarts, fails over or has no connection left."""
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate in _TIMEOUTS:
        return True
    return isinstance(error, _PASSING) and not isinstance(error, _LASTING) and remedy_of(error) is None


def translated(store: str, error: BaseException, thread: str | None = None, *, schema: str) -> DurableGraphError:
    """The error that says whose move it is. `thread` is the one whose rows the call was about."""
    why = _said(error)
    remedy = remedy_of(error)
    if remedy is not None:
        return StoreConfigurationError(store, why, remedy=remedy)
    match error:
        case asyncpg.DiskFullError():
            return StoreFullError(store, why)
        case asyncpg.ReadOnlySQLTransactionError():
            return StoreReadOnlyError(store, why)
        case asyncpg.InsufficientPrivilegeError():
            return StoreReadOnlyError(store, f"{why}; have its owner run: {grants_on(schema, 'the role of the DSN')}")
        case asyncpg.IntegrityConstraintViolationError() if thread is not None:
            return CorruptCheckpointError(thread, row=f"a row in {store}", why=why)
        case _:
            return StoreUnavailableError(store, why)


def misconfigured(store: str, error: BaseException, remedy: str) -> StoreConfigurationError:
    """The error for a mistake whose remedy is known."""
    return StoreConfigurationError(store, _said(error), remedy=remedy)


def grants_on(schema: str, role: str) -> str:
    """What a role needs to use the tables of a schema."""
    name = quoted(schema)
    return (
        f"GRANT USAGE ON SCHEMA {name} TO {role}; "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {role}"
    )


def _said(error: BaseException) -> str:
    # What a driver gives up waiting for is an error without a text.
    said = str(error) or ("it does not answer" if isinstance(error, TimeoutError) else type(error).__doc__)
    return f"{said} ({type(error).__name__})"
