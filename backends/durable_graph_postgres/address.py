"""What a DSN says of where the database is: the part of it that may be told."""

import re
from urllib.parse import parse_qs, urlsplit

from durable_graph.errors import InvalidOptionError

_FORM = "postgresql://user:password@host/name, with special characters percent-encoded, or a pool"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:@\[\]]*)(:\d*)?")
_HIGHEST_PORT = 65535


def address_of(dsn: str) -> str:
    """Hosts, ports and the database's name. Nothing of what comes before the hosts or in the options: it has passwords.

    Raises `InvalidOptionError` for what is no DSN. The error does not repeat it: whatever it is, it may be secret.
    """
    try:
        parts = urlsplit(dsn)
        # As the driver does, which would tell what it did not understand.
        parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise _refused("?") from None
    # A password with a slash or a number sign in it would else be taken for something that may be told.
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
