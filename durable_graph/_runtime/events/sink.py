"""Who a run tells its events to."""

from collections.abc import Callable, Generator
from typing import Any, Protocol

from durable_graph._runtime.events.model import AnyEvent


class EventSink(Protocol):
    """The reader of a run, nested runs included. Events of a nested run carry its namespace."""

    @property
    def is_active(self) -> bool:
        """Whether anybody reads. If not, nothing is told and no event need be made."""
        ...

    @property
    def takes_messages(self) -> bool:
        """Whether the reader reads messages, if anybody reads at all."""
        ...

    async def emit(self, event: AnyEvent) -> None:
        """Hand over an event, and wait until the reader has room for more."""
        ...

    def emit_nowait(self, event: AnyEvent) -> None:
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


class Tee:
    """Two readers of one run."""

    def __init__(self, first: EventSink, second: EventSink) -> None:
        self._first = first
        self._second = second

    @property
    def is_active(self) -> bool:
        return self._first.is_active or self._second.is_active

    @property
    def takes_messages(self) -> bool:
        return any(each.is_active and each.takes_messages for each in (self._first, self._second))

    async def emit(self, event: AnyEvent) -> None:
        for sink in (self._first, self._second):
            if sink.is_active:
                await sink.emit(event)

    def emit_nowait(self, event: AnyEvent) -> None:
        for sink in (self._first, self._second):
            if sink.is_active:
                sink.emit_nowait(event)

    def push(self, event: AnyEvent) -> None:
        for sink in (self._first, self._second):
            if sink.is_active:
                sink.push(event)

    async def room(self) -> None:
        for sink in (self._first, self._second):
            if sink.is_active:
                await sink.room()


class NullSink:
    """For runs that nobody reads."""

    is_active = False
    takes_messages = False

    async def emit(self, event: AnyEvent) -> None:
        return None

    def emit_nowait(self, event: AnyEvent) -> None:
        return None

    def push(self, event: AnyEvent) -> None:
        return None

    async def room(self) -> None:
        return None


class Room:
    """What a call of a writer gives: await it until the reader has room, or do not."""

    __slots__ = ("_sink",)

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink

    def __await__(self) -> Generator[Any, None, None]:
        return self._sink.room().__await__()


class StreamWriter:
    """Tells the run's reader something: `writer(data)`, in stream mode "custom".

    `await writer(data)` waits until the reader has room, which an async node that tells much should do: what it does
    not await is bounded (see `EventStream`). In a plain function, which runs in a thread, the call itself waits. Where
    nobody reads it does nothing.

    Raises `StreamOverflowError`.
    """

    __slots__ = ("_beat", "_make", "_sink")

    def __init__(self, sink: EventSink, make: Callable[[Any], AnyEvent], beat: Callable[[], None]) -> None:
        self._sink = sink
        self._make = make
        self._beat = beat

    def __call__(self, data: Any) -> Room:
        self._beat()
        if self._sink.is_active:
            self._sink.push(self._make(data))
        return Room(self._sink)
