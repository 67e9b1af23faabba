"""What a channel is: a named cell of the state with a rule for merging the writes of one superstep."""

from collections.abc import Sequence
from enum import Enum
from typing import Any, Protocol


class Missing(Enum):
    """The value of a channel that has none."""

    MISSING = "missing"


MISSING = Missing.MISSING


class Channel(Protocol):
    """A merge rule. It has no state of its own: values go in and a new value comes out."""

    @property
    def declared(self) -> Any:
        """The type of its value."""
        ...

    @property
    def update_type(self) -> Any:
        """The type of one write to it."""
        ...

    @property
    def takes_one_write(self) -> bool:
        """Whether a second write in one superstep is an error."""
        ...

    @property
    def stores_updates(self) -> bool:
        """Whether the writes themselves are stored, not the value that they lead to.

        Only for rules of ours: merging the same writes again has to give the same value for ever.
        """
        ...

    def initial(self) -> Any:
        """The value before any write, or MISSING."""
        ...

    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        """The value after one superstep's writes, in task order. `current` may be MISSING and is left as it is."""
        ...
