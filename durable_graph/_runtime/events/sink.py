"""The sinks of a run's events, and how events reach them."""

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from durable_graph._runtime.events.model import AnyEvent, CheckpointCommitted
from durable_graph.records import checkpoint_id


class EventSink(Protocol):
    """The receiver of a run's events, nested runs included. Events of a nested run carry its namespace."""

    @property
    def is_active(self) -> bool:
        """Whether the sink has a reader. If not, no event need be made."""
        ...

    @property
    def takes_messages(self) -> bool:
        """Whether the reader wants messages, if there is a reader."""
        ...

    async def emit(self, event: AnyEvent) -> None:
        """Emit an event, and wait until the buffer has room for more."""
        ...

    def emit_nowait(self, event: AnyEvent) -> None:
        """Emit an event without waiting for room: its result is durable, and its run is being cancelled."""
        ...

    def push(self, event: AnyEvent) -> None:
        """Emit an event from user code that cannot wait. Raises `StreamOverflowError` if too many are unread.

        Safe to call from any thread. A call from another thread than the event loop's waits until there is room.
        """
        ...

    async def room(self) -> None:
        """Wait until the buffer has room for more."""
        ...


class Tee:
    """Emits each event to two sinks."""

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
    """The sink of a run without a reader."""

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


class Publication(msgspec.Struct):
    """Events for a sink, in order.

    `is_accepted` is set once the commit that they report cannot be stopped any more. A cancellation of the call that
    arrives later, while it waits, does not undo the commit: whoever sees the cancellation reads it here.
    """

    sink: EventSink
    events: Sequence[AnyEvent] = ()
    is_accepted: bool = False

    async def publish(self, *, provisional: bool = False, parent: int | None = None) -> None:
        """Emit the events and wait for the reader. `parent` is that of the checkpoint, where it will not be stored as
        the step has it.

        All events are emitted even if the caller is cancelled: they report what has happened.
        """
        events = deque(_as_published(event, provisional, parent) for event in self.events)
        try:
            while events:
                await self.sink.emit(events.popleft())
        except asyncio.CancelledError:
            self.publish_nowait(events)
            raise

    def publish_nowait(self, events: Iterable[AnyEvent]) -> None:
        """Emit these events without waiting for the reader."""
        for event in events:
            self.sink.emit_nowait(event)


def _as_published(event: AnyEvent, provisional: bool, parent: int | None) -> AnyEvent:
    published = msgspec.structs.replace(event, provisional=True) if provisional else event
    if parent is not None and isinstance(published, CheckpointCommitted):
        return msgspec.structs.replace(published, parent_checkpoint_id=checkpoint_id(parent) if parent else None)
    return published


class Room:
    """The result of a `StreamWriter` call. Awaiting it is optional, and waits until the buffer has room."""

    __slots__ = ("_sink",)

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink

    def __await__(self) -> Generator[Any, None, None]:
        return self._sink.room().__await__()


class StreamWriter:
    """Emits custom data: `writer(data)`, for stream mode "custom".

    `await writer(data)` waits until the buffer has room. An async node that writes much should await, because the
    number of writes without await is bounded (see `EventStream`). In a plain function, which runs in a thread, the call
    itself waits. Without a reader, a call does nothing.

    Raises `StreamOverflowError`.
    """

    __slots__ = ("_beat", "_make", "_sink")

    def __init__(self, sink: EventSink, make: Callable[[Any], AnyEvent], beat: Callable[[], None]) -> None:
        self._sink = sink
        self._make = make
        self._beat = beat

    def __call__(self, data: object) -> Room:
        self._beat()
        if self._sink.is_active:
            self._sink.push(self._make(data))
        return Room(self._sink)
