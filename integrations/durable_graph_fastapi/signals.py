"""The beginning of a shutdown. A server that gets SIGTERM waits for open streams before it ends the lifespan, so the
streams have to end when the signal arrives."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Handler:
    """A signal handler that makes a call in the event loop, and then calls the handler that was set before.

    It has the attributes of that handler: sse-starlette finds uvicorn's server by `__self__`, and ends the other
    streams of the application when the server stops.
    """

    def __init__(self, before: Callable[[int, FrameType | None], Any], call: Callable[[], None]) -> None:
        self.before, self._call = before, call
        self._loop = asyncio.get_running_loop()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        # The frame that the signal interrupts may be anywhere in the event loop.
        self._loop.call_soon_threadsafe(self._call)
        self.before(number, frame)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.before, name)


@contextmanager
def calling_at_shutdown(call: Callable[[], None]) -> Iterator[None]:
    """Make the call in this event loop when the process gets SIGTERM or SIGINT, before the server's own handler.

    A signal without a handler ends the process at once, and outside of the main thread there are no signals: then
    nothing is set.
    """
    ours: list[tuple[signal.Signals, _Handler]] = []
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if callable(before):
                handler = _Handler(before, call)
                signal.signal(number, handler)
                ours.append((number, handler))
    try:
        yield
    finally:
        for number, handler in ours:
            # A handler that was set later calls ours, or has replaced it.
            current: object = signal.getsignal(number)
            if current is handler:
                signal.signal(number, handler.before)
