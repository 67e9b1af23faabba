"""The entry points of installed packages: backends, stored types, and what an integration brings."""

from collections.abc import Iterable
from typing import Any, Protocol


class Distribution(Protocol):
    """The package that has an entry point."""

    @property
    def name(self) -> str: ...


class EntryPoint(Protocol):
    """A named object of an installed package."""

    @property
    def name(self) -> str: ...

    @property
    def dist(self) -> Distribution | None: ...

    def load(self) -> Any:
        """The object. The call imports its module."""
        ...


def entry_points(group: str, name: str | None = None) -> Iterable[EntryPoint]:
    """The entry points of a group, by default of every name.

    `importlib.metadata` and the 40 modules that it imports are loaded here, because most programs never need them.
    """
    from importlib import metadata

    return metadata.entry_points(group=group) if name is None else metadata.entry_points(group=group, name=name)
