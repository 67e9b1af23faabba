"""What the parts of one `App` tell each other inside this process. Other processes look at the store."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

Waiting = dict[tuple[str, int], "list[asyncio.Future[None]]"]


@dataclass(slots=True, eq=False)
class Changes:
    """The workers to nudge when a run becomes ready, and the callers that wait for a change of a run: of its state, or
    of its events. `holders` are told of a run that got its first follower, and `lookers` of a thread that got an
    update."""

    workers: set[asyncio.Event] = field(default_factory=set)
    waiting: Waiting = field(default_factory=dict)
    following: Waiting = field(default_factory=dict)
    holders: set[Callable[[str, int], None]] = field(default_factory=set)
    lookers: set[Callable[[str], None]] = field(default_factory=set)

    def is_ready(self) -> None:
        """A run is ready to be claimed."""
        for worker in self.workers:
            worker.set()

    def has_update(self, thread: str) -> None:
        """An update of the thread was recorded."""
        for look in self.lookers:
            look(thread)

    def change_of(self, thread: str, seq: int) -> "asyncio.Future[None]":
        """A future that is set at the next change of the run by this process. Cancelling it forgets it."""
        return _expected(self.waiting, (thread, seq))

    def event_of(self, thread: str, seq: int) -> "asyncio.Future[None]":
        """A future that is set once this process has stored an event of the run. Cancelling it forgets it."""
        return _expected(self.following, (thread, seq))

    def has_changed(self, thread: str, seq: int) -> None:
        """The run has ended, or is suspended."""
        _set(self.waiting, (thread, seq))
        _set(self.following, (thread, seq))

    def has_events(self, thread: str, seq: int) -> None:
        """The run has a new checkpoint, or an event of it is stored."""
        if self.following:
            _set(self.following, (thread, seq))

    def is_followed(self, thread: str, seq: int) -> None:
        """Somebody follows the run's events, and did not before."""
        for holder in list(self.holders):
            holder(thread, seq)


def _expected(waiting: Waiting, run: tuple[str, int]) -> "asyncio.Future[None]":
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting.setdefault(run, []).append(future)
    future.add_done_callback(partial(_forget, waiting, run))
    return future


def _forget(waiting: Waiting, run: tuple[str, int], future: "asyncio.Future[None]") -> None:
    futures = waiting.get(run)
    if futures is not None and future in futures:
        futures.remove(future)
        if not futures:
            del waiting[run]


def _set(waiting: Waiting, run: tuple[str, int]) -> None:
    for future in waiting.pop(run, ()):
        if not future.done():
            future.set_result(None)
