"""The parameters of a DSN: those for the driver, those that the saver applies itself, and those that are refused.

Hosted databases show DSNs for libpq, or for the pools of other languages. The driver sends every parameter that it does
not know to the server as a setting, and the server refuses parameters of libpq as well.
"""

import socket
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from durable_graph.errors import InvalidOptionError

_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")

_KEEPALIVES: Mapping[str, tuple[int, str]] = {
    "keepalives": (socket.SOL_SOCKET, "SO_KEEPALIVE"),
    "keepalives_idle": (socket.IPPROTO_TCP, "TCP_KEEPIDLE"),
    "keepalives_interval": (socket.IPPROTO_TCP, "TCP_KEEPINTVL"),
    "keepalives_count": (socket.IPPROTO_TCP, "TCP_KEEPCNT"),
    "tcp_user_timeout": (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT"),
}
"""Options of the socket. Not every system has all of them; libpq ignores the missing ones, and so does the saver."""

_NO_CHOICE: Mapping[str, tuple[str, ...]] = {
    "channel_binding": ("prefer", "disable"),
    "client_encoding": ("utf8", "utf-8", "unicode", "auto"),
    "gssdelegation": ("0",),
    "gssencmode": ("prefer", "disable"),
    "load_balance_hosts": ("disable",),
    "max_protocol_version": ("3.0", "latest"),
    "min_protocol_version": ("3.0",),
    "replication": ("0", "false", "off", "no"),
    "requiressl": ("0",),
    "sslcertmode": ("allow",),
    "sslcompression": ("0",),
    "sslsni": ("1",),
}
"""Parameters of libpq that the driver does not support, and the values that match its fixed behaviour."""

_REMOVE = "the driver cannot do that: remove it"
_FOREIGN = "PostgreSQL does not know it: remove it"

_NOT_DONE: Mapping[str, str] = {
    **dict.fromkeys(_NO_CHOICE, _REMOVE),
    "channel_binding": f"{_REMOVE}, and let sslmode=verify-full check who the server is",
    "hostaddr": _REMOVE,
    "require_auth": _REMOVE,
    "requirepeer": _REMOVE,
    "requiressl": "it is out of use: write sslmode=require",
    "scram_client_key": _REMOVE,
    "scram_server_key": _REMOVE,
    "sslcrldir": _REMOVE,
    "sslkeylogfile": _REMOVE,
    # Parameters of other pools and drivers.
    "command_timeout": f"{_FOREIGN}, and give patience=...",
    "connection_limit": f"{_FOREIGN}, and give pool_size=...",
    "currentSchema": f"{_FOREIGN}, and give schema=...",
    "max_pool_size": f"{_FOREIGN}, and give pool_size=...",
    "min_pool_size": _FOREIGN,
    "pgbouncer": f"{_FOREIGN}, and give prepared_statements=False",
    "pool_size": f"{_FOREIGN}, and give pool_size=...",
    "pool_timeout": f"{_FOREIGN}, and give patience=...",
    "prepareThreshold": f"{_FOREIGN}, and give prepared_statements=False where a pooler is in between",
    "prepared_statement_cache_size": f"{_FOREIGN}, and give prepared_statements=False where a pooler is in between",
    "schema": f"{_FOREIGN}, and give schema=...",
    "socket_timeout": f"{_FOREIGN}, and give patience=...",
    "ssl": "PostgreSQL does not know it: write sslmode=...",
    "sslaccept": "PostgreSQL does not know it: write sslmode=...",
    "statement_cache_size": f"{_FOREIGN}, and give prepared_statements=False where a pooler is in between",
}
"""The refused parameters, and their remedies."""


class Parameters(NamedTuple):
    """A DSN for the driver, and the parameters that the saver applies itself.

    `connect_timeout` is in seconds, None if the DSN sets no limit. `driver` are arguments for `asyncpg.connect`,
    `settings` the names of the parameters that remain in the DSN, `files` the paths of files by parameter.
    """

    dsn: str
    connect_timeout: float | None
    driver: Mapping[str, Any]
    sockets: tuple[tuple[int, int, int], ...]
    settings: frozenset[str]
    files: Mapping[str, str]


def parameters_of(dsn: str) -> Parameters:
    """The parameters of a DSN. Raises `InvalidOptionError`, which does not repeat the DSN: it may have secrets."""
    parts = urlsplit(dsn)
    # As for libpq and for the driver, the last parameter of a name counts, and a parameter without a value is ignored.
    given = {name: value for name, value in parse_qsl(parts.query) if value}
    kept = {name: value for name, value in given.items() if not _is_needless(name, value)}
    timeout = _number(kept, "connect_timeout")
    sockets = tuple(_socket_options(kept))
    driver: dict[str, Any] = {}
    if kept.get("sslrootcert") == "system":
        # As in libpq, use the system's trusted certificates, and check the server's name.
        del kept["sslrootcert"]
        kept.pop("sslmode", None)
        driver["ssl"] = True
    name = kept.pop("fallback_application_name", None)
    if name is not None:
        kept.setdefault("application_name", name)
    return Parameters(
        dsn=dsn if kept == given else parts._replace(query=urlencode(kept)).geturl(),
        connect_timeout=timeout if timeout is not None and timeout > 0 else None,
        driver=driver,
        sockets=sockets,
        settings=frozenset(kept),
        files={name: kept[name] for name in _FILES if name in kept},
    )


def _is_needless(name: str, value: str) -> bool:
    if value.lower() in _NO_CHOICE.get(name, ()):
        return True
    if name in _NOT_DONE:
        raise InvalidOptionError(
            "database", f"postgresql://...?{name}=...", allowed=f"a DSN without this {name!r}; {_NOT_DONE[name]}"
        )
    return False


def _socket_options(kept: dict[str, str]) -> list[tuple[int, int, int]]:
    options = []
    for parameter, (level, name) in _KEEPALIVES.items():
        value = _number(kept, parameter)
        # 0 means the system's default, except for `keepalives`, where it means off.
        if value is not None and hasattr(socket, name) and (value > 0 or parameter == "keepalives"):
            options.append((level, getattr(socket, name), value))
    if options and options[0][1] != socket.SO_KEEPALIVE:
        # The other options are about probes, which libpq enables by default.
        options.insert(0, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
    return options


def _number(kept: dict[str, str], name: str) -> int | None:
    """Remove a parameter from `kept`, and return its value, a whole number."""
    value = kept.pop(name, None)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise InvalidOptionError(
            "database", f"postgresql://...?{name}=...", allowed=f"a whole number as {name!r}"
        ) from None
