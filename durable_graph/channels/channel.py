"""A channel: a named cell of the state with a rule that merges the writes of one superstep."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Self

from durable_graph.channels.merging import Merging


class Missing(Enum):
    """Stands for the value of a channel without a value."""

    MISSING = "missing"


MISSING = Missing.MISSING

NewId = Callable[[], str]
"""Draws a random id. Only preparing a write draws ids; merging never does."""


class UpdateRefused(ValueError):  # noqa: N818  # callers turn it into an error that names channel and author
    """A rule cannot merge a write. Its text is a sentence."""


class Channel(ABC):
    """A merge rule. It has no state: it makes a new value of a value and writes."""

    __slots__ = ()

    declared: Any
    """The type of the channel's value."""

    @property
    def update_type(self) -> Any:
        """The type of one write to the channel."""
        return self.declared

    @property
    def takes_one_write(self) -> bool:
        """Whether a second write in one superstep is an error."""
        return False

    @property
    def replaces(self) -> bool:
        """Whether a write replaces the value: then its bytes are the value's, and an `Overwrite` is a plain write."""
        return False

    @property
    def is_stored(self) -> bool:
        """Whether the channel is stored. Values of a channel that is not stored may be of any type."""
        return True

    @property
    def is_transient(self) -> bool:
        """Whether a superstep that does not write to it clears it."""
        return False

    @property
    def stores_updates(self) -> bool:
        """Whether the writes are stored in place of the merged value.

        Only for built-in rules: merging the same writes must give the same value in all versions.
        """
        return False

    @property
    def mark(self) -> int:
        """The number from 0 to 15 that identifies the rule of stored updates, which another rule would merge
        differently."""
        return 0

    def initial(self) -> Any:
        """The value before any write, or MISSING."""
        return MISSING

    def prepare(self, update: Any, new_id: NewId) -> Any:
        """The write to record for an update. Raises `UpdateRefused`."""
        return update

    def prepare_whole(self, value: Any, new_id: NewId) -> Any:
        """The value to record for an `Overwrite`. Raises `UpdateRefused`."""
        return value

    def is_checked(self, update: Any) -> bool:
        """Whether this write needs `check`: most writes are valid for any value."""
        return False

    def check(self, current: Any, update: Any) -> None:  # noqa: B027  # most rules accept every write
        """Raises `UpdateRefused` if the write does not fit the value that its node received.

        Merging refuses nothing: a write that was valid when it was recorded stays valid for all writes of its siblings.
        """

    @abstractmethod
    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        """The value after one superstep's writes, in task order. `current` may be MISSING, and is not changed."""

    def merging(self, current: Any) -> Merging:
        """`merge` for updates in pieces. The cost of a piece depends on its own updates only."""
        return _Collected(self, current)


class _Collected:
    """Collects all updates, and merges them at the end."""

    def __init__(self, rule: Channel, current: Any) -> None:
        self._rule = rule
        self._current = current
        self._updates: list[Any] = []

    def add(self, updates: Sequence[Any]) -> None:
        self._updates.extend(updates)

    def value(self) -> Any:
        return self._rule.merge(self._current, self._updates)


class Declarable(Channel):
    """A rule that users put into `Annotated[<type>, <rule>]`, as a class or as an instance."""

    __slots__ = ()

    @abstractmethod
    def on(self, declared: Any) -> Self:
        """The rule for a key annotated with this type. Raises `UpdateRefused` for a type that it cannot hold."""
