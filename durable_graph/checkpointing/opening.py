"""Opening a saver from a URL, with an installed backend."""

from urllib.parse import urlsplit

from durable_graph.checkpointing.protocol import Checkpointer
from durable_graph.errors import InvalidOptionError, MissingBackendError
from durable_graph.installed import entry_points

GROUP = "durable_graph.backends"
"""The entry-point group. An entry's name is a URL scheme, its value a class with a class method `from_url(url)`."""


def open_checkpointer(url: str) -> Checkpointer:
    """The saver that a URL names: `sqlite:///runs.db`, `sqlite:////var/lib/runs.db`, `memory://`,
    `postgresql://user:password@host/name`.

    The saver opens its store on first use and is closed with `async with` or `aclose()`. This call reads the installed
    packages' metadata from disk: make it at start-up, not in a handler.

    Raises:
        MissingBackendError: no installed backend has the scheme, or the backend needs a package that is not installed.
        InvalidOptionError: the backend cannot read the URL.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        # The error does not repeat the URL, which may contain a password.
        raise InvalidOptionError("url", "...", allowed="a URL, such as sqlite:///runs.db") from None
    backends = {entry.name: entry for entry in entry_points(GROUP)}
    if scheme not in backends:
        raise MissingBackendError(scheme, known=backends)
    try:
        backend = backends[scheme].load()
    except ModuleNotFoundError as error:
        raise MissingBackendError(scheme, known=backends, driver=error.name or str(error)) from error
    saver = backend.from_url(url)
    if not isinstance(saver, Checkpointer):
        raise InvalidOptionError(
            "url", url, allowed=f"the scheme of a checkpointer; {scheme!r} gave {type(saver).__name__}"
        )
    return saver
