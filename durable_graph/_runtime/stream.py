"""A run and its reader: a bounded buffer between them, and an end that loses nothing."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from durable_graph._runtime import log
from durable_graph._runtime.audience import Audience
from durable_graph._runtime.cancellation import finish
from durable_graph._runtime.events import AnyEvent
from durable_graph._runtime.run import GRACE

Start = Callable[[Audience], Awaitable[Any]]
OnSlowReader = Literal["wait", "gap"]
OnDisconnect = Literal["cancel", "continue"]

BUFFER = 64


class EventStream:
    """The events of one run, from `async with graph.stream(...) as events`.

    Iterate over it for typed events; the loop ends with the run and raises what the run raised. The run is at most 64
    events ahead of its reader and waits for it. Leaving the block before the end cancels the run: what had finished is
    kept, and the thread can be resumed. `output` is the run's result, once it has ended.
    """

    is_heard = True

    def __init__(
        self, start: Start, *, on_slow_reader: OnSlowReader = "wait", on_disconnect: OnDisconnect = "cancel"
    ) -> None:
        self._start = start
        self._events: deque[AnyEvent] = deque()
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._run: asyncio.Task[dict[str, Any]] | None = None
        self._told = False
        self._is_read = True

    @property
    def output(self) -> Mapping[str, Any]:
        """What `ainvoke` would have returned. Raises what the run raised, and `RuntimeError` while it runs."""
        if self._run is None or not self._run.done():
            message = "the run has not ended: read its events to the end first"
            raise RuntimeError(message)
        return self._run.result()

    async def __aenter__(self) -> Self:
        if self._run is not None:
            message = "this stream was read already: call graph.stream(...) again for another run"
            raise RuntimeError(message)
        # A task of its own and no task group: a scope held open across a reader's yield would cancel the reader.
        self._run = asyncio.create_task(self._go())
        self._run.add_done_callback(lambda _: self._ready.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._run is not None  # noqa: S101  # __aenter__ made it
        left_early = not self._run.done()
        if left_early:
            # What the run still has to tell finds no reader: it must not wait for one, nor may what it has to store.
            self._is_read = False
            self._room.set()
            self._run.cancel()
            # Also for a reader that is cancelled itself, however often: until its end the run holds the thread.
            await finish(_end_of(self._run), GRACE)
        if self._run.cancelled() or self._told:
            return
        failure = self._run.exception()
        if failure is not None and error is None and not left_early:
            # The reader stopped listening before the run's last word.
            raise failure
        if failure is not None:
            log.error_unread(failure)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AnyEvent:
        if self._run is None:
            message = "the run was not started: read its events inside `async with graph.stream(...) as events`"
            raise RuntimeError(message)
        while not self._events:
            if self._run.done():
                self._told = True
                self._run.result()
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        self._room.set()
        return self._events.popleft()

    async def _go(self) -> dict[str, Any]:
        return await self._start(self)

    def push(self, event: AnyEvent) -> None:
        self._events.append(event)
        self._ready.set()

    async def tell(self, event: AnyEvent) -> None:
        self._events.append(event)
        self._ready.set()
        while len(self._events) > BUFFER and self._is_read:
            self._room.clear()
            await self._room.wait()


async def _end_of(run: "asyncio.Task[Any]") -> None:
    await asyncio.wait({run})


class StreamWriter:
    """Tells the run's reader something, in stream mode "custom"."""

    __slots__ = ("_audience", "_make")

    def __init__(self, audience: Audience, make: Callable[[Any], AnyEvent]) -> None:
        self._audience = audience
        self._make = make

    def __call__(self, data: Any) -> None:
        if self._audience.is_heard:
            self._audience.push(self._make(data))
