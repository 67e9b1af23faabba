"""Errors of PostgreSQL that are mistakes of configuration, which no retry solves, and their remedies."""

import socket
import ssl
from collections.abc import Mapping

import asyncpg
from asyncpg import exceptions

_IN_DSN = "remove it from the DSN"
_POOLER = (
    "a pooler shares the connection between transactions: pass prepared_statements=False, "
    "or statement_cache_size=0 to a pool of your own"
)
_TABLES = "if they were dropped or altered, restore them from a backup; a newly opened saver creates missing ones"

_REMEDIES: Mapping[str, str] = {
    "22021": "use a database with ENCODING 'UTF8'",
    "22P05": "use a database with ENCODING 'UTF8'",
    "26000": _POOLER,
    "28000": "correct the user in the DSN, or create the role: CREATE ROLE ... LOGIN, and a line in pg_hba.conf",
    "28P01": "correct the user or the password in the DSN",
    "3D000": "correct the name in the DSN, or create the database: CREATE DATABASE",
    "3F000": _TABLES,
    "42703": _TABLES,
    "42P01": _TABLES,
    "42P05": _POOLER,
}
"""The remedies by the server's error code, for all calls."""

_REMEDIES_OF_SETTINGS: Mapping[str, str] = {
    "22023": "correct it in the DSN",
    "42704": _IN_DSN,
    "55P02": _IN_DSN,
}
"""The remedies by the server's error code, for a parameter of the DSN that it refuses as a setting of the session."""

_OF_POOLERS: Mapping[str, str] = {
    "unsupported startup parameter": (
        "remove it from the DSN; if the DSN does not have it, the saver set it: pass prepared_statements=False"
    ),
    "no such database": "correct the name in the DSN, or add it to the pooler's configuration",
    "no such user": "correct the user in the DSN, or add it to the pooler's configuration",
}
"""The remedies by the error text of pgbouncer, which has one code for all its refusals."""


def remedy_of(error: BaseException) -> str | None:
    """The remedy for a mistake of configuration; None for all other errors."""
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError() if "no encryption" in str(error):
            return "add sslmode=require to the DSN"
        case asyncpg.ProtocolViolationError():
            return next((remedy for text, remedy in _OF_POOLERS.items() if text in str(error)), None)
        case asyncpg.PostgresError() if "parameter" in str(error) and error.sqlstate in _REMEDIES_OF_SETTINGS:
            return _REMEDIES_OF_SETTINGS[error.sqlstate]
        case asyncpg.InsufficientPrivilegeError():
            return _remedy_of_privilege(str(error), error.detail or "")
        case asyncpg.PostgresError():
            return _REMEDIES.get(error.sqlstate or "")
        case exceptions.ClientConfigurationError():
            return "correct the DSN"
        case exceptions.UnsupportedServerFeatureError() | exceptions.UnsupportedClientFeatureError():
            return "configure the server to offer a method that the driver supports, such as scram-sha-256"
        case asyncpg.InterfaceError() if str(error).startswith("pool is "):
            return "pass a pool that stays open for as long as the saver is used"
        case _:
            return _remedy_of_file(error)


def remedy_of_address(error: BaseException) -> str | None:
    """The remedy for an error of the first connection whose probable cause is the DSN.

    For a server that was reachable before, the same error is temporary: a cluster removes the names of restarting
    servers.
    """
    match error:
        case socket.gaierror() if error.errno == socket.EAI_NONAME:
            return "correct the host in the DSN"
        case ssl.SSLCertVerificationError():
            return "give the certificate that signs the server's, sslrootcert=..., or correct the host in the DSN"
        case ConnectionError() if "rejected SSL upgrade" in str(error):
            return "enable TLS on the server, or write sslmode=prefer"
        case _:
            return None


def _remedy_of_privilege(message: str, detail: str) -> str | None:
    if "to set parameter" in message:
        return _IN_DSN
    if "CONNECT" in detail:
        return "have its owner run: GRANT CONNECT ON DATABASE ... TO the role of the DSN"
    # The role may only read, which is `StoreUnavailableError`, or cannot create the tables: see `admission`.
    return None


def _remedy_of_file(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLError) and (error.library in ("X509", "PEM") or error.reason == "PEM_LIB"):
        return "correct the files that the DSN names for TLS"
    return None
