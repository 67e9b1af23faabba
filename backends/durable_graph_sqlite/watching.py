"""Watching a file for changes by other processes: a thread with a connection of its own."""

import asyncio
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from durable_graph.checkpointing.columns import Columns
from durable_graph.checkpointing.listeners import Listener, Listeners
from durable_graph.checkpointing.notices import EventsAdded, Notice, RunChanged, RunReady, Wanted, WorkerAsked
from durable_graph.errors.shown import logged
from durable_graph_sqlite.runs import first_due
from durable_graph_sqlite.statements import rows
from durable_graph_sqlite.waker import Waker, new_waker

_SHORTEST_PAUSE = 0.002
"""In seconds: the pause between two polls of the file's version after a change. The next pauses are longer."""
_LONGEST_PAUSE, _GROWTH = 0.05, 1.05
_LONGEST_PAUSE_WITH_WRITES, _GROWTH_WITH_WRITES = 0.5, 1.15
"""Where the system reports writes: then polling finds commits whose flush took long, and reports that were lost."""
_SHARE = 4
"""The pause after a change is at least this many times as long as the queries for the changes took."""
_PAUSE_AFTER_FAILURE = 0.5

_logger = logging.getLogger("durable_graph")


class Watch:
    """A thread that notifies listeners of changes, until `stop`, or until the event loop that made it is closed.

    SQLite shows a connection that others have committed (`data_version`), but not which rows. So after a change the
    thread queries what the listeners wait for. A commit writes the file's log, flushes it, and is visible then: a
    write to the log begins a series of polls, from the shortest pause on.
    """

    def __init__(self, path: Path, listeners: Listeners, now: Callable[[], int]) -> None:
        """`now` is the time by which runs are due."""
        self._path = path
        self._listeners = listeners
        self._now = now
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._waker: Waker = new_waker()
        self._is_stopped = False
        self._lock = threading.Lock()
        # Futures of the callers that wait for the thread's end. None once it has ended.
        self._waiting: list[asyncio.Future[None]] | None = []
        # A daemon thread: a program that does not close its saver can end.
        threading.Thread(target=self._run, name=f"watch {path}", daemon=True).start()

    def hasten(self) -> None:
        """Poll at short intervals again, because a change is expected."""
        self._waker.wake()

    def stop(self) -> None:
        """Let the thread close its connection and end."""
        self._is_stopped = True
        self._waker.wake()

    async def stopped(self) -> None:
        """Stop, and wait for the thread's end."""
        self.stop()
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._waiting is None:
                return
            self._waiting.append(end)
        await end

    @property
    def has_ended(self) -> bool:
        """Whether the thread has ended."""
        return self._waiting is None

    @property
    def is_over(self) -> bool:
        """Whether the thread has ended, or is about to."""
        return self._is_stopped or self.loop.is_closed()

    def _run(self) -> None:
        try:
            while not self.is_over:
                try:
                    self._watch()
                except sqlite3.ProgrammingError:
                    raise
                except sqlite3.Error as error:
                    # No listener depends on the thread: each also polls.
                    _logger.debug("changes of %s are not noticed: %s", self._path, logged(error))
                    self._wait(_PAUSE_AFTER_FAILURE, _PAUSE_AFTER_FAILURE)
        finally:
            self._waker.close()
            with self._lock:
                waiting, self._waiting = self._waiting or [], None
            for end in waiting:
                with suppress(RuntimeError):  # its event loop was closed
                    end.get_loop().call_soon_threadsafe(_resolve, end)

    def _watch(self) -> None:
        """Poll the file until the watch is stopped. Raises the errors of SQLite."""
        # Never creates a file: the saver does, and the file may have been removed.
        db = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None)
        try:
            known: dict[Listener, _Known] = {}
            version, pause = -1, _SHORTEST_PAUSE
            while not self.is_over:
                self._waker.forget_writes()
                (found,) = db.execute("PRAGMA data_version").fetchone()
                # A new listener gets notices of the present state.
                told = [each for each in self._listeners if found != version or each not in known]
                least = _SHORTEST_PAUSE
                if told:
                    version = found
                    pause = least = max(_SHORTEST_PAUSE, _SHARE * self._tell(db, known, told))
                else:
                    pause = self._next_pause(pause)
                if self._wait(pause, least):
                    pause = _SHORTEST_PAUSE
        finally:
            db.close()

    def _next_pause(self, pause: float) -> float:
        """The pause after this one, without a change."""
        if not self._waker.sees_writes:
            # SQLite has made the log once the connection has read the file.
            self._waker.watch(self._path.with_name(f"{self._path.name}-wal"))
        if self._waker.sees_writes:
            return min(pause * _GROWTH_WITH_WRITES, _LONGEST_PAUSE_WITH_WRITES)
        return min(pause * _GROWTH, _LONGEST_PAUSE)

    def _wait(self, pause: float, least: float) -> bool:
        """Pause, or less if the thread is woken, or after the time `least` if the file is written: then True."""
        return self._waker.wait(least) or (pause > least and self._waker.wait(pause - least, for_writes=True))

    def _tell(self, db: sqlite3.Connection, known: "dict[Listener, _Known]", told: Sequence[Listener]) -> float:
        """Pass these listeners the notices that they want. Returns the seconds that the queries took."""
        began = time.monotonic()
        for listener in told:
            notices = list(known.setdefault(listener, _Known()).news(db, listener.wanted(), self._now()))
            if notices:
                self._listeners.tell(notices, [listener])
        for gone in [each for each in known if each not in self._listeners]:
            del known[gone]
        return time.monotonic() - began


class _Known:
    """The notices that a listener has received already."""

    def __init__(self) -> None:
        self._due: dict[str, int | None] = {}
        self._requests: set[Any] = set()
        self._moves: dict[int, Columns] = {}

    def news(self, db: sqlite3.Connection, wanted: Wanted, now: int) -> Iterator[Notice]:
        for queue in wanted.queues:
            due = first_due(db, [queue])
            if due is not None and (due <= now or due != self._due.get(queue)):
                yield RunReady(queue)
            self._due[queue] = due
        if wanted.runs:
            ended = rows(db, "find_ended_among", {"runs": json.dumps(list(wanted.runs))})
            yield from (RunChanged(*each) for each in ended)
        requests = {
            (worker, *each) for worker in wanted.workers for each in rows(db, "find_asked_runs", {"worker": worker})
        }
        # The rows keep the requests until the runs end.
        yield from map(WorkerAsked, {worker for worker, *_ in requests - self._requests})
        self._requests = requests
        if wanted.threads:
            found = rows(db, "find_moves", {"threads": json.dumps(list(wanted.threads))})
            before, self._moves = self._moves, {moves[0]: moves for moves in found}
            yield from (EventsAdded(key) for key, moves in self._moves.items() if before.get(key) != moves)


def _resolve(end: "asyncio.Future[None]") -> None:
    if not end.done():
        end.set_result(None)
