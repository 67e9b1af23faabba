"""Translating PostgreSQL's errors to the library's."""

import asyncpg

from durable_graph.errors import (
    CorruptCheckpointError,
    DurableGraphError,
    StoreConfigurationError,
    StoreUnavailableError,
)
from durable_graph_postgres.configuration import remedy_of
from durable_graph_postgres.statements import quoted

FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The errors of the driver. It raises `InterfaceError` for a lost connection."""

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
# Settings of the server may end a long or idle transaction together with its session.
_TIMEOUTS = ("25P03", "25P04")
_LASTING = (
    asyncpg.DiskFullError,
    asyncpg.ConfigurationLimitExceededError,
)


def is_passing(error: BaseException) -> bool:
    """Whether a retry may succeed: the server restarts, fails over or has no connection left."""
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate in _TIMEOUTS:
        return True
    return isinstance(error, _PASSING) and not isinstance(error, _LASTING) and remedy_of(error) is None


def translated(store: str, error: BaseException, thread: str | None = None, *, schema: str) -> DurableGraphError:
    """The library's error for an error of the driver. `thread` is the thread whose rows the call used."""
    why = _message(error)
    remedy = remedy_of(error)
    if remedy is not None:
        return StoreConfigurationError(store, why, remedy=remedy)
    match error:
        case asyncpg.DiskFullError():
            return StoreUnavailableError(store, why, kind="full")
        case asyncpg.ReadOnlySQLTransactionError():
            return StoreUnavailableError(store, why, kind="read_only")
        case asyncpg.InsufficientPrivilegeError():
            return StoreUnavailableError(
                store, f"{why}; have its owner run: {grants_on(schema, 'the role of the DSN')}", kind="read_only"
            )
        case asyncpg.IntegrityConstraintViolationError() if thread is not None:
            return CorruptCheckpointError(thread, row=f"a row in {store}", why=why)
        case _:
            return StoreUnavailableError(store, why)


def misconfigured(store: str, error: BaseException, remedy: str) -> StoreConfigurationError:
    """The error for a mistake of configuration whose remedy is known."""
    return StoreConfigurationError(store, _message(error), remedy=remedy)


def grants_on(schema: str, role: str) -> str:
    """The statements that grant a role the use of a schema's tables."""
    name = quoted(schema)
    return (
        f"GRANT USAGE ON SCHEMA {name} TO {role}; "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {role}"
    )


def _message(error: BaseException) -> str:
    # A `TimeoutError` of the driver has no text.
    message = str(error) or ("it does not answer" if isinstance(error, TimeoutError) else type(error).__doc__)
    return f"{message} ({type(error).__name__})"
