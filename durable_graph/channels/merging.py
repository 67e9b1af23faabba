"""Merging many updates piece by piece, for values whose updates are read in pieces."""

from collections.abc import Sequence
from typing import Any, Protocol


class Merging(Protocol):
    """A merge under way. However the updates are cut into pieces, the value is what one `Channel.merge` gives."""

    def add(self, updates: Sequence[Any]) -> None:
        """Merge the next updates. Raises what `Channel.merge` raises."""

    def value(self) -> Any:
        """The value after everything that was added. Nothing may be added afterwards."""
