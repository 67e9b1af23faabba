"""Who a run tells its events to."""

from typing import Protocol

from durable_graph._runtime.events import AnyEvent


class Audience(Protocol):
    """The reader of a run, nested runs included. Events of a nested run carry its namespace."""

    @property
    def is_heard(self) -> bool:
        """Whether anybody reads. If not, nothing is told and no event need be made."""
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

    async def tell(self, event: AnyEvent) -> None:
        return None

    def put(self, event: AnyEvent) -> None:
        return None

    def push(self, event: AnyEvent) -> None:
        return None

    async def room(self) -> None:
        return None
