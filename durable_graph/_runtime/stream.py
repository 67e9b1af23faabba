"""A run and its reader: a bounded buffer between them, and an end that loses nothing."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Literal, Self

import anyio.from_thread

from durable_graph._runtime import log
from durable_graph._runtime.audience import Audience
from durable_graph._runtime.cancellation import finish
from durable_graph._runtime.events import AnyEvent, ReaderGap
from durable_graph._runtime.run import GRACE
from durable_graph.errors import InvalidOptionError, StreamOverflowError

Start = Callable[[Audience], Awaitable[Any]]
OnSlowReader = Literal["wait", "gap"]
OnDisconnect = Literal["cancel", "continue"]

BUFFER = 64
PUSHED = 10_000

_going_on: set["asyncio.Task[Any]"] = set()
"""Runs whose reader left and who go on: without a reference of ours the loop would forget them."""


class EventStream:
    """The events of one run, from `async with graph.stream(...) as events`.

    Iterate over it for typed events; the loop ends with the run and raises what the run raised. `output` is the run's
    result, once it has ended.

    The buffer between run and reader is bounded. `on_slow_reader="wait"`: the run is at most 64 events ahead and waits;
    what nodes tell by a writer that they do not await may be 10,000 events ahead, and then raises
    `StreamOverflowError`. "gap": the run never waits; a `ReaderGap` says how many events were dropped, and results can
    be read from the store.

    Leaving the block before the end: `on_disconnect="cancel"` cancels the run; what had finished is kept, the thread
    can be resumed. "continue" lets it go on to its end.
    """

    is_heard = True

    def __init__(
        self, start: Start, *, on_slow_reader: OnSlowReader = "wait", on_disconnect: OnDisconnect = "cancel"
    ) -> None:
        _check("on_slow_reader", on_slow_reader, ("wait", "gap"))
        _check("on_disconnect", on_disconnect, ("cancel", "continue"))
        self._start = start
        self._drops = on_slow_reader == "gap"
        self._goes_on = on_disconnect == "continue"
        self._events: deque[AnyEvent] = deque()
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._run: asyncio.Task[Any] | None = None
        self._told = False
        self._is_read = True

    @property
    def output(self) -> Any:
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
            self._events.clear()
            self._room.set()
            if self._goes_on:
                _let_go_on(self._run)
                return
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

    async def tell(self, event: AnyEvent) -> None:
        """See `Audience.tell`."""
        self._put(event, BUFFER)
        await self.room()

    def push(self, event: AnyEvent) -> None:
        """See `Audience.push`."""
        if not self._drops and self._is_read and len(self._events) >= PUSHED:
            raise StreamOverflowError(PUSHED)
        self._put(event, PUSHED)

    async def room(self) -> None:
        """See `Audience.room`."""
        while len(self._events) > BUFFER and self._is_read and not self._drops:
            self._room.clear()
            await self._room.wait()

    def _put(self, event: AnyEvent, limit: int) -> None:
        if not self._is_read:
            return
        if self._drops and len(self._events) >= BUFFER:
            last = self._events[-1]
            if isinstance(last, ReaderGap):
                self._events[-1] = _gap(event, last.dropped + 1)
            else:
                self._events.append(_gap(event, 1))
        else:
            self._events.append(event)
        self._ready.set()

    async def _go(self) -> Any:
        return await self._start(self)


def _gap(event: AnyEvent, dropped: int) -> ReaderGap:
    return ReaderGap(thread_id=event.thread_id, step=event.step, dropped=dropped)


def _check(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidOptionError(option, value, allowed=" or ".join(map(repr, allowed)))


def _let_go_on(run: "asyncio.Task[Any]") -> None:
    _going_on.add(run)
    run.add_done_callback(_ended_unread)


def _ended_unread(run: "asyncio.Task[Any]") -> None:
    _going_on.discard(run)
    if not run.cancelled() and (failure := run.exception()) is not None:
        log.error_unread(failure)


async def _end_of(run: "asyncio.Task[Any]") -> None:
    await asyncio.wait({run})


class Room:
    """What a call of a writer gives: await it, or do not."""

    __slots__ = ("_audience",)

    def __init__(self, audience: Audience) -> None:
        self._audience = audience

    def __await__(self) -> Generator[Any, None, None]:
        return self._audience.room().__await__()


class StreamWriter:
    """Tells the run's reader something: `writer(data)`, in stream mode "custom".

    `await writer(data)` waits until the reader has room, which a node that tells much should do. In a plain function,
    which runs in a thread, the call itself waits.
    """

    __slots__ = ("_audience", "_beat", "_make")

    def __init__(self, audience: Audience, make: Callable[[Any], AnyEvent], beat: Callable[[], None]) -> None:
        self._audience = audience
        self._make = make
        self._beat = beat

    def __call__(self, data: Any) -> Room:
        self._beat()
        if self._audience.is_heard:
            _hand_over(self._audience, self._make(data))
        return Room(self._audience)


def _hand_over(audience: Audience, event: AnyEvent) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # A plain function in its worker thread: it can wait where it is.
        anyio.from_thread.run(audience.tell, event)
    else:
        audience.push(event)
