"""What nodes tell the run's reader with."""

from collections.abc import Callable, Generator
from typing import Any

from durable_graph._runtime.audience import Audience
from durable_graph._runtime.events import AnyEvent


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
