"""The address of the database in a DSN, without secrets."""

import re
from urllib.parse import parse_qs, urlsplit

from durable_graph.errors import InvalidOptionError

_FORM = "postgresql://user:password@host/name, with special characters percent-encoded, or a pool"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:@\[\]]*)(:\d*)?")
_HIGHEST_PORT = 65535


def address_of(dsn: str) -> str:
    """Hosts, ports and the database's name. The user, the password and the options are left out: they may be secret.

    Raises `InvalidOptionError` for an invalid DSN. The error does not repeat it, because it may contain secrets.
    """
    try:
        parts = urlsplit(dsn)
        # The driver parses the options the same way, and its error would repeat the invalid part.
        parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise _refused("?") from None
    # A slash or a number sign in a password would move a part of it to where it looks like the address, so the form of
    # each part is checked.
    _, _, hosts = parts.netloc.rpartition("@")
    if parts.scheme not in ("postgresql", "postgres"):
        raise _refused(parts.scheme)
    if parts.netloc.count("@") > 1 or "@" in parts.path or parts.fragment or not all(map(_is_host, hosts.split(","))):
        raise _refused(parts.scheme)
    return f"{hosts or 'PostgreSQL'}{parts.path}"


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and int((found[2] or ":")[1:] or 0) <= _HIGHEST_PORT


def _refused(scheme: str) -> InvalidOptionError:
    return InvalidOptionError("database", f"{scheme}://...", allowed=_FORM)
