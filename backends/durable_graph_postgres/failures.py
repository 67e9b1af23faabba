"""What PostgreSQL's errors mean for a caller."""

import asyncpg

from durable_graph.errors import (
    CorruptCheckpointError,
    DurableGraphError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
)

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
_LASTING = (asyncpg.DiskFullError, asyncpg.ConfigurationLimitExceededError, asyncpg.exceptions.ClientConfigurationError)


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed by and by: a server that restarts, fails over or has no connection left."""
    return isinstance(error, _PASSING) and not isinstance(error, _LASTING)


def translated(store: str, error: BaseException, thread: str | None = None) -> DurableGraphError:
    """The error that says whose move it is. `thread` is the one whose rows the call was about."""
    why = f"{error or type(error).__doc__} ({type(error).__name__})"
    match error:
        case asyncpg.DiskFullError():
            return StoreFullError(store, why)
        case asyncpg.ReadOnlySQLTransactionError() | asyncpg.InsufficientPrivilegeError():
            return StoreReadOnlyError(store, why)
        case asyncpg.IntegrityConstraintViolationError() if thread is not None:
            return CorruptCheckpointError(thread, row=f"a row in {store}", why=why)
        case _:
            return StoreUnavailableError(store, why)
