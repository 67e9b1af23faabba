"""The stream from a run to its reader: a bounded buffer, and an end that loses no event."""

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Literal, Self

from durable_graph._runtime.events.model import AnyEvent, CustomEvent, ReaderGap
from durable_graph._runtime.events.sink import EventSink
from durable_graph._runtime.request import log
from durable_graph._runtime.request.cancellation import finish
from durable_graph._runtime.request.run import GRACE
from durable_graph.errors import InvalidCallError, InvalidOptionError, StreamOverflowError, UnfinishedChildError

Start = Callable[[EventSink], Awaitable[object]]
OnSlowReader = Literal["wait", "gap"]
OnDisconnect = Literal["cancel", "continue"]

BUFFER = 64
PUSHED = 10_000
PUSHED_BYTES = 64 * 1024 * 1024
_MOST_PARTS = 1000

_going_on: set["asyncio.Task[object]"] = set()
"""Runs that continue without a reader. The event loop holds only weak references to tasks."""


class EventStream:
    """The events of one run, from `async with graph.stream(...) as events`.

    Iterate over it for typed events; the iteration ends with the run and raises the run's error. `output` is the run's
    result, once it has ended.

    The buffer between run and reader is bounded. `on_slow_reader="wait"`: the run is at most 64 events ahead and waits
    for its reader. Async nodes that do not await their `StreamWriter` may be 10,000 events or 64 MB ahead; then the
    writer raises `StreamOverflowError` in the node. "gap": the run never waits; events that find the buffer full are
    dropped, a `ReaderGap` in their place has their number, and results can be read from the store.

    Leaving the block before the end: `on_disconnect="cancel"` cancels the run; finished tasks keep their results, and
    the thread can be resumed. "continue" lets the run continue to its end without a reader, as long as the event loop
    runs; if the run fails, the logger `durable_graph` has a warning.

    Raises `InvalidCallError` if it is read outside of its block, a second time, or by two tasks at once.
    """

    def __init__(
        self,
        start: Start,
        *,
        on_slow_reader: OnSlowReader = "wait",
        on_disconnect: OnDisconnect = "cancel",
        wants: Callable[[AnyEvent], bool] | None = None,
        takes_messages: bool = True,
    ) -> None:
        _check("on_slow_reader", on_slow_reader, ("wait", "gap"))
        _check("on_disconnect", on_disconnect, ("cancel", "continue"))
        self._start = start
        self._drops = on_slow_reader == "gap"
        self._continues = on_disconnect == "continue"
        self._wants = wants
        self._takes_messages = takes_messages
        self._events: deque[AnyEvent] = deque()
        # Those of the events that nodes pushed, in the same order, with their sizes in bytes.
        self._pushed: deque[tuple[AnyEvent, int]] = deque()
        self._pushed_bytes = 0
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._run: asyncio.Task[object] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._has_reported_end = False
        self._is_read = True
        self._is_awaited = False
        self._is_left = False

    @property
    def is_active(self) -> bool:
        """See `EventSink.is_active`."""
        return self._is_read

    @property
    def takes_messages(self) -> bool:
        """See `EventSink.takes_messages`."""
        return self._takes_messages

    @property
    def output(self) -> Any:
        """The result that `ainvoke` would have returned.

        Raises the error that `ainvoke` would have raised, and `InvalidCallError` while the run has not ended, or if it
        was cancelled.
        """
        if self._run is None or not self._run.done():
            message = "the run has not ended: read its events to the end first"
            raise InvalidCallError.of_stream(message)
        if self._run.cancelled():
            # No `CancelledError`: the task that reads the output was not cancelled.
            message = "the run was cancelled before its end, and has no output"
            raise InvalidCallError.of_stream(message)
        result = self._run.result()
        if isinstance(result, UnfinishedChildError):
            raise result
        return result

    async def __aenter__(self) -> Self:
        if self._run is not None:
            message = "this stream has been read: call graph.stream(...) again for another run"
            raise InvalidCallError.of_stream(message)
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        # A separate task and no task group: a scope held open across a reader's yield would cancel the reader.
        self._run = asyncio.create_task(self._go())
        self._run.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is None:
            return
        left_early = not self._run.done()
        self._is_left = True
        self._close()
        self._events.clear()
        self._pushed.clear()
        if left_early:
            if self._continues:
                _continue_unread(self._run)
                return
            self._run.cancel()
            # Wait for the run even if the reader is cancelled again and again: until its end the run holds the thread.
            try:
                await finish(_end_of(self._run), GRACE)
            except asyncio.CancelledError:
                # Raise the reader's cancellation; an error of the run, now or later, is logged.
                _continue_unread(self._run)
                raise
        if self._run.cancelled() or self._has_reported_end:
            return
        failure = self._run.exception()
        if failure is not None and error is None and not left_early:
            # The run had ended, but the reader left the block before its iteration raised the run's error.
            raise failure
        if failure is not None:
            log.error_unread(failure)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AnyEvent:
        if self._run is None:
            message = "the run was not started: read its events inside `async with graph.stream(...) as events`"
            raise InvalidCallError.of_stream(message)
        if self._is_awaited:
            message = "another task is already reading this stream; a stream has one reader"
            raise InvalidCallError.of_stream(message)
        while not self._events:
            if self._is_left:
                message = "its block has ended: read the events inside `async with graph.stream(...) as events`"
                raise InvalidCallError.of_stream(message)
            if self._run.done():
                self._has_reported_end = True
                self._run.result()
                raise StopAsyncIteration
            self._ready.clear()
            self._is_awaited = True
            try:
                await self._ready.wait()
            finally:
                self._is_awaited = False
        event = self._events.popleft()
        if self._pushed and self._pushed[0][0] is event:
            self._pushed_bytes -= self._pushed.popleft()[1]
        if self._has_room():
            self._room.set()
        return event

    def _has_room(self) -> bool:
        return len(self._events) <= BUFFER and self._pushed_bytes <= PUSHED_BYTES

    async def emit(self, event: AnyEvent) -> None:
        """See `EventSink.emit`."""
        self.emit_nowait(event)
        await self.room()

    def push(self, event: AnyEvent) -> None:
        """See `EventSink.push`."""
        if self._loop is not None and threading.get_ident() != self._thread:
            self._push_from_thread(self._loop, event)
            return
        if self._drops:
            self.emit_nowait(event)
        elif self._is_wanted(event):
            if len(self._events) >= PUSHED or self._pushed_bytes > PUSHED_BYTES:
                raise StreamOverflowError(len(self._events))
            size = _size_of(event)
            self._pushed.append((event, size))
            self._pushed_bytes += size
            self._events.append(event)
            self._ready.set()

    async def room(self) -> None:
        """See `EventSink.room`."""
        while not self._has_room() and self._is_read and not self._drops:
            self._room.clear()
            await self._room.wait()

    def _push_from_thread(self, loop: asyncio.AbstractEventLoop, event: AnyEvent) -> None:
        if self._drops:
            loop.call_soon_threadsafe(self.emit_nowait, event)
        else:
            # The caller is a worker thread, which may block.
            asyncio.run_coroutine_threadsafe(self.emit(event), loop).result()

    def _is_wanted(self, event: AnyEvent) -> bool:
        return self._is_read and (self._wants is None or self._wants(event))

    def emit_nowait(self, event: AnyEvent) -> None:
        """See `EventSink.emit_nowait`."""
        if not self._is_wanted(event):
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

    def _ended(self, _: "asyncio.Task[object]") -> None:
        self._close()

    def _close(self) -> None:
        """Ignore all later events, and wake every task that waits for room: neither nodes nor commits may block on a
        reader that has left."""
        self._is_read = False
        self._room.set()
        self._ready.set()

    async def _go(self) -> object:
        return await self._start(self)


def _size_of(event: AnyEvent) -> int:
    """About how many bytes the data of a pushed event takes, its containers and fields included."""
    size, parts = 0, deque([event.data if isinstance(event, CustomEvent) else getattr(event, "message", None)])
    for _ in range(_MOST_PARTS):
        if not parts:
            break
        part = parts.popleft()
        size += sys.getsizeof(part, 0)
        if isinstance(part, dict):
            parts.extend(part.values())
        elif isinstance(part, list | tuple | set | frozenset):
            parts.extend(part)
        elif isinstance(fields := getattr(part, "__dict__", None), dict):
            parts.extend(fields.values())
    return size


def _gap(event: AnyEvent, dropped: int) -> ReaderGap:
    return ReaderGap(thread_id=event.thread_id, step=event.step, dropped=dropped)


def _check(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidOptionError(option, value, allowed=" or ".join(map(repr, allowed)))


def _continue_unread(run: "asyncio.Task[object]") -> None:
    _going_on.add(run)
    run.add_done_callback(_ended_unread)


def _ended_unread(run: "asyncio.Task[object]") -> None:
    _going_on.discard(run)
    if not run.cancelled() and (failure := run.exception()) is not None:
        log.error_unread(failure)


async def _end_of(run: "asyncio.Task[object]") -> None:
    await asyncio.wait({run})
