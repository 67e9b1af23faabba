"""The notices of one `App`: its parts send them to each other and to other processes, and wait for them."""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.listeners import LocalNotifier
from durable_graph.checkpointing.notices import EventsAdded, Notice, RunChanged, RunReady, Wanted, WorkerAsked
from durable_graph.checkpointing.notifier import Listening, Notifier, Notifies
from durable_graph.run_records import RunRow, RunState


class WokenWorker(Protocol):
    """The methods that wake a worker."""

    @property
    def id(self) -> int: ...

    def nudge(self) -> None: ...

    def find_requests(self) -> None: ...

    def expect_updates(self, thread: str) -> None: ...


class _Place:
    """The workers and the callers of one event loop. It listens as long as there are any."""

    def __init__(self, queues: Collection[str]) -> None:
        self.workers: set[WokenWorker] = set()
        # The events of waiting callers, by the notice that each waits for.
        self.waiting: dict[Notice, list[asyncio.Event]] = {}
        self.listening: Listening | None = None
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._queues = queues

    def wanted(self) -> Wanted:
        # A copy is made in one step, because other threads call this.
        workers, waiting = list(self.workers), list(self.waiting)
        return Wanted(
            queues=self._queues if workers else (),
            runs=[(each.thread_key, each.seq) for each in waiting if isinstance(each, RunChanged)],
            workers=[each.id for each in workers],
            threads=[each.thread_key for each in waiting if isinstance(each, EventsAdded)],
        )

    def hear(self, notice: Notice) -> None:
        match notice:
            case RunReady(queue):
                if queue in self._queues:
                    for worker in self.workers:
                        worker.nudge()
            case WorkerAsked(id_):
                for worker in self.workers:
                    if worker.id == id_:
                        worker.find_requests()
            case _:
                for event in self.waiting.get(notice, ()):
                    event.set()


class Changes:
    """Wakes workers when a run becomes ready, and callers that wait for a change of a run: those of this `App`, and by
    the saver's notifier those of every process with the same store. A saver without a notifier reaches this `App` only.
    """

    def __init__(self, saver: Checkpointer, queues: Collection[str]) -> None:
        """`queues` are those of the app's workers."""
        self._notifier: Notifier = saver.notifier if isinstance(saver, Notifies) else LocalNotifier()
        self._queues = queues
        # One for each event loop, because a saver in memory may be used by several.
        self._places: dict[asyncio.AbstractEventLoop, _Place] = {}

    @property
    def has_worker(self) -> bool:
        """Whether a worker of this app runs in this event loop."""
        place = self._places.get(asyncio.get_running_loop())
        return place is not None and bool(place.workers)

    def is_ready(self, *queues: str) -> None:
        """Runs of these queues are ready to be claimed, or have another due time."""
        self._notifier.notify(*map(RunReady, queues))

    def has_changed(self, thread: str, seq: int) -> None:
        """The run has ended, or is suspended."""
        self._notifier.notify(RunChanged(key_of(thread), seq))

    def is_asked(self, worker: int) -> None:
        """A run of the worker has a request for the worker, which then reads its requests."""
        self._notifier.notify(WorkerAsked(worker))

    def has_update(self, thread: str, row: RunRow | None) -> None:
        """An update of the thread was recorded. `row` is its unfinished run after that."""
        place = self._places.get(asyncio.get_running_loop())
        workers = [] if place is None else list(place.workers)
        for worker in workers:
            worker.expect_updates(thread)
        if row is None:
            return
        if row.state is not RunState.RUNNING:
            self.is_ready(row.queue)
        elif row.worker not in [worker.id for worker in workers]:
            self.is_asked(row.worker)

    def is_cancelled(self, row: RunRow) -> None:
        """The run was cancelled, or has a request to cancel it. `row` was read after that."""
        if row.state is RunState.RUNNING:
            self.is_asked(row.worker)
        elif row.state.is_ended:
            # The next run of the thread is ready.
            self._notifier.notify(RunChanged(key_of(row.thread), row.seq), RunReady(row.queue))

    def has_events(self, thread: str) -> None:
        """The thread has new events, which its followers then read."""
        self._notifier.notify(EventsAdded(key_of(thread)))

    def watching_run(self, thread: str, seq: int) -> AbstractContextManager[asyncio.Event]:
        """An event that is set whenever the run has changed, for a block that waits for changes.

        Within the block: clear the event, read the store, and wait for the event for a limited time.
        """
        return self._watching(RunChanged(key_of(thread), seq))

    def watching_events(self, thread: str, seq: int) -> AbstractContextManager[asyncio.Event]:
        """As `watching_run`, also for new events of the run. The event may also be set without a change."""
        return self._watching(RunChanged(key_of(thread), seq), EventsAdded(key_of(thread)))

    def watching_thread(self, thread: str) -> AbstractContextManager[asyncio.Event]:
        """As `watching_run`, for new events of any run of the thread."""
        return self._watching(EventsAdded(key_of(thread)))

    @contextmanager
    def _watching(self, *notices: Notice) -> Iterator[asyncio.Event]:
        place, event = self._place(), asyncio.Event()
        for notice in notices:
            place.waiting.setdefault(notice, []).append(event)
        self._listen(place)
        try:
            yield event
        finally:
            for notice in notices:
                events = place.waiting[notice]
                events.remove(event)
                if not events:
                    del place.waiting[notice]
            self._leave(place)

    def begin(self, worker: WokenWorker) -> None:
        """Wake the worker from now on."""
        place = self._place()
        place.workers.add(worker)
        self._listen(place)

    def end(self, worker: WokenWorker) -> None:
        """Do not wake the worker any more. Calling it again does nothing."""
        place = self._places.get(asyncio.get_running_loop())
        if place is not None:
            place.workers.discard(worker)
            self._leave(place)

    def _place(self) -> _Place:
        loop = asyncio.get_running_loop()
        for other in list(self._places):
            if other.is_closed():
                # The event loop was closed before its workers and callers ended.
                self._end_listening(self._places.pop(other))
        return self._places.setdefault(loop, _Place(self._queues))

    def _listen(self, place: _Place) -> None:
        if place.listening is None:
            place.listening = self._notifier.listen(place.hear, place.wanted)

    def _leave(self, place: _Place) -> None:
        if not place.workers and not place.waiting:
            self._end_listening(place)
            self._places.pop(place.loop, None)

    def _end_listening(self, place: _Place) -> None:
        if place.listening is not None:
            place.listening.close()
            place.listening = None
