"""What PostgreSQL's errors mean for a caller."""

import socket
import ssl

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
# The server's settings may end a transaction that takes its time, and its session as well.
_TIMEOUTS = ("25P03", "25P04")
_LASTING = (
    asyncpg.DiskFullError,
    asyncpg.ConfigurationLimitExceededError,
    asyncpg.exceptions.ClientConfigurationError,
)


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed by and by: a server that restarts, fails over or has no connection left."""
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate in _TIMEOUTS:
        return True
    # A pool that somebody else has closed, or never opened.
    is_of_pool = isinstance(error, asyncpg.InterfaceError) and str(error).startswith("pool is ")
    return isinstance(error, _PASSING) and not isinstance(error, _LASTING) and not is_of_pool


def is_of_address(error: BaseException) -> bool:
    """Whether a first connection fails because the DSN is wrong, as far as one can tell.

    Of a server that has been there before it is a failure that passes: a cluster forgets the names of what restarts.
    """
    match error:
        case socket.gaierror():
            return error.errno == socket.EAI_NONAME
        case ssl.SSLCertVerificationError():
            return True
        case _:
            return isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error)


def translated(store: str, error: BaseException, thread: str | None = None) -> DurableGraphError:
    """The error that says whose move it is. `thread` is the one whose rows the call was about."""
    # What a driver gives up waiting for is an error without a text.
    said = str(error) or ("it does not answer" if isinstance(error, TimeoutError) else type(error).__doc__)
    why = f"{said} ({type(error).__name__})"
    match error:
        case asyncpg.DiskFullError():
            return StoreFullError(store, why)
        case asyncpg.ReadOnlySQLTransactionError() | asyncpg.InsufficientPrivilegeError():
            return StoreReadOnlyError(store, why)
        case asyncpg.IntegrityConstraintViolationError() if thread is not None:
            return CorruptCheckpointError(thread, row=f"a row in {store}", why=why)
        case _:
            return StoreUnavailableError(store, why)
