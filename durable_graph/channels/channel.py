"""What a channel is: a named cell of the state with a rule for merging the writes of one superstep."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Self

from durable_graph.channels.merging import Merging


class Missing(Enum):
    """The value of a channel that has none."""

    MISSING = "missing"


MISSING = Missing.MISSING

NewId = Callable[[], str]
"""Draws an id. Only a rule that is being written to gets one: merging draws nothing."""


class UpdateRefused(ValueError):  # noqa: N818  # out of this package it is an error that names channel and author
    """What a rule cannot merge, as a sentence."""


class Channel(ABC):
    """A merge rule. It has no state of its own: values go in and a new value comes out."""

    __slots__ = ()

    declared: Any
    """The type of its value."""

    @property
    def update_type(self) -> Any:
        """The type of one write to it."""
        return self.declared

    @property
    def takes_one_write(self) -> bool:
        """Whether a second write in one superstep is an error."""
        return False

    @property
    def replaces(self) -> bool:
        """Whether a write takes the place of the value: then its bytes are the value's, and overwriting is writing."""
        return False

    @property
    def is_stored(self) -> bool:
        """Whether anything of it reaches the store. What does not may be of any type."""
        return True

    @property
    def is_transient(self) -> bool:
        """Whether a superstep that does not write to it clears it."""
        return False

    @property
    def stores_updates(self) -> bool:
        """Whether the writes themselves are stored, not the value that they lead to.

        Only for rules of ours: merging the same writes again has to give the same value for ever.
        """
        return False

    @property
    def mark(self) -> int:
        """What its stored updates say whose they are with, from 0 to 15: another rule would make another value of
        them."""
        return 0

    def initial(self) -> Any:
        """The value before any write, or MISSING."""
        return MISSING

    def prepare(self, update: Any, new_id: NewId) -> Any:
        """A write as it is recorded. Raises `UpdateRefused`."""
        return update

    def prepare_whole(self, value: Any, new_id: NewId) -> Any:
        """A value that takes the place of the old one, as it is recorded. Raises `UpdateRefused`."""
        return value

    def is_checked(self, update: Any) -> bool:
        """Whether `check` is to be asked about this write: most need no look at the value."""
        return False

    def check(self, current: Any, update: Any) -> None:  # noqa: B027  # most rules have no doubt
        """Whether the write makes sense for the value that its node was given. Raises `UpdateRefused`.

        Merging refuses nothing: what was right when it was written stays so, whatever its siblings do.
        """

    @abstractmethod
    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        """The value after one superstep's writes, in task order. `current` may be MISSING and is left as it is."""

    def merging(self, current: Any) -> Merging:
        """`merge` for updates that come in pieces, of which none costs more than its own updates do."""
        return _Collected(self, current)


class _Collected:
    """All updates, merged at the end."""

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
