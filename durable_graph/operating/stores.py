"""The store that a command reads or changes: by its URL, or that of a program's `App`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from durable_graph.checkpointing import Checkpointer, open_checkpointer
from durable_graph.checkpointing.run_store import KeepsRuns, RunStore
from durable_graph.errors import InvalidOptionError, MissingPowerError
from durable_graph.operating.apps import load_app
from durable_graph.runs import App


def place_of(store: str | None, app: str | None) -> App | Checkpointer:
    """The `App` or the saver that an operator names; the `App`, if both are given.

    It imports the program or the backend, so it is called before the event loop starts. Raises `InvalidOptionError`,
    `MissingBackendError`, and what the program raises when it is imported.
    """
    if app is not None:
        return load_app(app)
    if store is None:
        option = "store"
        raise InvalidOptionError(option, None, allowed="--store URL, or --app module:name", kind="missing")
    saver = open_checkpointer(store)
    _check_exists(store)
    return saver


@asynccontextmanager
async def opened(place: App | Checkpointer) -> AsyncIterator[Checkpointer]:
    """The saver of the place. It is closed afterwards, unless it belongs to the program."""
    if isinstance(place, App):
        async with place:
            yield place.checkpointer
    else:
        async with place:
            yield place


def runs_of(saver: Checkpointer) -> RunStore:
    """The runs of a saver. Raises `MissingPowerError`."""
    if not isinstance(saver, KeepsRuns):
        raise MissingPowerError(type(saver).__name__, "runs")
    return saver.runs


def _check_exists(url: str) -> None:
    # A saver creates its file on first use. For an operator, a file that does not exist is a mistyped path.
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and not Path(unquote(parts.path[1:])).exists():
        option = "store"
        raise InvalidOptionError(option, url, allowed="the URL of a store that exists")
