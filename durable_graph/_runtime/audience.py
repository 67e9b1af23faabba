"""Who a run tells its events to."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from durable_graph._runtime.events import AnyEvent, Origin

TellMessage = Callable[[Any, Mapping[str, Any], Origin], None]
"""Tells a message with its metadata. It may be called from any thread, see `Audience.push`."""


class Audience(Protocol):
    """The reader of a run, nested runs included. Events of a nested run carry its namespace."""

    @property
    def is_heard(self) -> bool:
        """Whether anybody reads. If not, nothing is told and no event need be made."""
        ...

    @property
    def hears_messages(self) -> bool:
        """Whether the reader reads messages, if anybody reads at all."""
        ...

    async def tell(self, event: AnyEvent) -> None:
        """Hand over an event, and wait until the reader has room for more."""
        ...

    def put(self, event: AnyEvent) -> None:
        """Hand over an event without waiting for room: what it tells of is durable, and its run is being cancelled."""
        ...

    def push(self, event: AnyEvent) -> None:
        """Hand over an event from user code that cannot wait. Raises `StreamOverflowError` if too many are unread.

        Safe to call from any thread; one that is not the event loop's waits until the reader has room.
        """
        ...

    async def room(self) -> None:
        """Wait until the reader has room for more."""
        ...


class Both:
    """Two readers of one run."""

    def __init__(self, first: Audience, second: Audience) -> None:
        self._first = first
        self._second = second

    @property
    def is_heard(self) -> bool:
        return self._first.is_heard or self._second.is_heard

    @property
    def hears_messages(self) -> bool:
        return any(each.is_heard and each.hears_messages for each in (self._first, self._second))

    async def tell(self, event: AnyEvent) -> None:
        for audience in (self._first, self._second):
            if audience.is_heard:
                await audience.tell(event)

    def put(self, event: AnyEvent) -> None:
        for audience in (self._first, self._second):
            if audience.is_heard:
                audience.put(event)

    def push(self, event: AnyEvent) -> None:
        for audience in (self._first, self._second):
            if audience.is_heard:
                audience.push(event)

    async def room(self) -> None:
        for audience in (self._first, self._second):
            if audience.is_heard:
                await audience.room()


class Nobody:
    """For runs that nobody reads."""

    is_heard = False
    hears_messages = False

    async def tell(self, event: AnyEvent) -> None:
        return None

    def put(self, event: AnyEvent) -> None:
        return None

    def push(self, event: AnyEvent) -> None:
        return None

    async def room(self) -> None:
        return None
