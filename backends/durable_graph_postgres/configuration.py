"""Which of PostgreSQL's refusals are mistakes of configuration, which no waiting mends, and what mends them."""

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
"""By the server's code, for whatever call it refuses."""

_REMEDIES_OF_SETTINGS: Mapping[str, str] = {
    "22023": "correct it in the DSN",
    "42704": _IN_DSN,
    "55P02": _IN_DSN,
}
"""By the server's code, where it refuses a parameter of the DSN as a setting of the session."""

_OF_POOLERS: Mapping[str, str] = {
    "unsupported startup parameter": (
        "remove it from the DSN; if the DSN does not have it, the saver set it: pass prepared_statements=False"
    ),
    "no such database": "correct the name in the DSN, or add it to the pooler's configuration",
    "no such user": "correct the user in the DSN, or add it to the pooler's configuration",
}
"""By what pgbouncer says, which has one code for all that it refuses."""


def remedy_of(error: BaseException) -> str | None:
    """What mends the mistake that the error tells of; None where it tells of something else."""
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError() if "no encryption" in str(error):
            return "add sslmode=require to the DSN"
        case asyncpg.ProtocolViolationError():
            return next((remedy for said, remedy in _OF_POOLERS.items() if said in str(error)), None)
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
    """The same for the first connection, which fails because of the DSN, as far as one can tell.

    Of a server that has been there before it is a failure that passes: a cluster forgets the names of what restarts.
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


def _remedy_of_privilege(said: str, detail: str) -> str | None:
    if "to set parameter" in said:
        return _IN_DSN
    if "CONNECT" in detail:
        return "have its owner run: GRANT CONNECT ON DATABASE ... TO the role of the DSN"
    # It may read and not write, which is `StoreReadOnlyError`, or cannot make the tables: see `admission`.
    return None


def _remedy_of_file(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLError) and (error.library in ("X509", "PEM") or error.reason == "PEM_LIB"):
        return "correct the files that the DSN names for TLS"
    return None
