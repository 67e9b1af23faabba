"""`SqliteSaver.notifier`: listeners of this process directly, those of other processes by the file's version."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from durable_graph.checkpointing.listeners import Callback, Listeners
from durable_graph.checkpointing.notices import Notice, Wanted
from durable_graph.checkpointing.notifier import Listening
from durable_graph_sqlite.watching import Watch


class SqliteNotifier:
    """Notifies the processes that share a file. See `Notifier`.

    A change needs no message of its own: every other process sees that the file has changed. As long as this process
    has listeners, a thread polls the file's version: every 2 ms after a change, then at pauses that grow to 50 ms.
    """

    def __init__(self, path: Path, is_closed: Callable[[], bool], now: Callable[[], int]) -> None:
        """`is_closed` says whether the saver is closed: then the file is not watched. `now` is the time by which runs
        are due, in microseconds."""
        self._path, self._is_closed, self._now = path, is_closed, now
        self._listeners = Listeners(self._stop)
        self._watch: Watch | None = None
        # Threads that were stopped, until they have ended.
        self._stopped: set[Watch] = set()

    def notify(self, *notices: Notice) -> None:
        """See `Notifier.notify`."""
        self._listeners.tell(notices)
        if self._watch is not None:
            # The change is this process's own, and what others make of it comes soon.
            self._watch.hasten()

    def listen(self, callback: Callback, wanted: Callable[[], Wanted]) -> Listening:
        """See `Notifier.listen`."""
        listener = self._listeners.add(callback, wanted)
        if self._watch is not None and self._watch.loop is not listener.loop:
            # The event loop was closed before the saver.
            self._stop()
        if self._watch is None and not self._is_closed():
            self._watch = Watch(self._path, self._listeners, self._now)
        elif self._watch is not None:
            self._watch.hasten()
        return listener

    async def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the connections to the file that were made in this event loop, and wait for their end. Later listeners
        open another one."""
        if self._watch is not None and self._watch.loop is loop:
            self._stop()
        for watch in [each for each in self._stopped if each.loop is loop]:
            await watch.stopped()
            self._stopped.discard(watch)

    def _stop(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()
            self._stopped = {each for each in self._stopped if not each.has_ended} | {watch}
