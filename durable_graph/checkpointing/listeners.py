"""The listeners of one process, and a notifier that reaches only these."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from durable_graph.checkpointing.notices import Notice, Wanted
from durable_graph.checkpointing.notifier import Listening

Callback = Callable[[Notice], None]


class Listener:
    """A callback for an event loop. `close` removes it."""

    __slots__ = ("_callback", "_listeners", "loop", "wanted")

    def __init__(self, listeners: "Listeners", callback: Callback, wanted: Callable[[], Wanted]) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.wanted: Callable[[], Wanted] = wanted
        self._listeners = listeners
        self._callback = callback

    def hear(self, notices: Iterable[Notice]) -> None:
        """Call back, in the listener's event loop."""
        for notice in notices:
            if self in self._listeners:
                self._callback(notice)

    def close(self) -> None:
        """Remove it. Calling it again does nothing."""
        self._listeners.remove(self)


class Listeners:
    """The listeners of a notifier. Any thread may pass notices to them."""

    def __init__(self, on_last: Callable[[], None] = lambda: None) -> None:
        """`on_last` is called when the last listener was removed."""
        self._listeners: dict[Listener, None] = {}
        self._on_last = on_last

    def __len__(self) -> int:
        return len(self._listeners)

    def __iter__(self) -> Iterator[Listener]:
        # A copy: other threads may add and remove listeners.
        return iter(list(self._listeners))

    def __contains__(self, listener: Listener) -> bool:
        return listener in self._listeners

    def add(self, callback: Callback, wanted: Callable[[], Wanted]) -> Listener:
        """Add a listener for the running event loop."""
        listener = Listener(self, callback, wanted)
        self._listeners[listener] = None
        return listener

    def remove(self, listener: Listener) -> None:
        """Remove a listener, if it is there."""
        if self._listeners.pop(listener, self) is None and not self._listeners:
            self._on_last()

    def tell(self, notices: Iterable[Notice], to: Iterable[Listener] | None = None) -> None:
        """Have all listeners, or those of `to`, called back: at once in the running event loop, soon in others."""
        here = None
        with suppress(RuntimeError):  # a thread without an event loop
            here = asyncio.get_running_loop()
        for listener in self if to is None else to:
            if listener.loop is here:
                listener.hear(notices)
                continue
            try:
                listener.loop.call_soon_threadsafe(listener.hear, notices)
            except RuntimeError:
                # The event loop was closed before the listener.
                listener.close()


class LocalNotifier:
    """Reaches the listeners of this process only. See `Notifier`."""

    def __init__(self) -> None:
        self._listeners = Listeners()

    def notify(self, *notices: Notice) -> None:
        """See `Notifier.notify`."""
        self._listeners.tell(notices)

    def listen(self, callback: Callback, wanted: Callable[[], Wanted]) -> Listening:
        """See `Notifier.listen`."""
        return self._listeners.add(callback, wanted)
