"""Merging updates in pieces, for values whose updates are read in pieces."""

from collections.abc import Sequence
from typing import Any, Protocol


class Merging(Protocol):
    """A merge in progress. For any division into pieces, the value is the same as that of one `Channel.merge`."""

    def add(self, updates: Sequence[Any]) -> None:
        """Merge the next updates. Raises the errors of `Channel.merge`."""

    def value(self) -> Any:
        """The value after all added updates. No update may be added afterwards."""
