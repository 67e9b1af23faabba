"""Who a run tells its events to."""

from collections.abc import Callable, Generator
from typing import Any, Protocol

from durable_graph._runtime.events.model import AnyEvent


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


class Room:
    """What a call of a writer gives: await it until the reader has room, or do not."""

    __slots__ = ("_audience",)

    def __init__(self, audience: Audience) -> None:
        self._audience = audience

    def __await__(self) -> Generator[Any, None, None]:
        return self._audience.room().__await__()


class StreamWriter:
    """Tells the run's reader something: `writer(data)`, in stream mode "custom".

    `await writer(data)` waits until the reader has room, which an async node that tells much should do: what it does
    not await is bounded (see `EventStream`). In a plain function, which runs in a thread, the call itself waits. Where
    nobody reads it does nothing.

    Raises `StreamOverflowError`.
    """

    __slots__ = ("_audience", "_beat", "_make")

    def __init__(self, audience: Audience, make: Callable[[Any], AnyEvent], beat: Callable[[], None]) -> None:
        self._audience = audience
        self._make = make
        self._beat = beat

    def __call__(self, data: Any) -> Room:
        self._beat()
        if self._audience.is_heard:
            self._audience.push(self._make(data))
        return Room(self._audience)
