"""One follower per run and process, however many clients read the run.

A `Tail` reads the events of a run from the store and keeps the newest ones for its readers, up to `RING` events or
`RING_SIZE`. A reader that begins earlier, or falls behind further than that, reads from the store on its own until it
has caught up. So a reader that has stalled holds nothing but its place.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

import msgspec

from durable_graph import LoggedEvent
from durable_graph.errors import StoreUnavailableError, UnknownRunError
from durable_graph.runs import EventBatch, RunHandle, RunStatus
from durable_graph_http.frames import RunFrame

RING = 256
"""The number of events that a tail keeps for its readers at most."""

RING_SIZE = 64 * 1024
"""The length of the frames, as they are sent, of the events that a tail keeps, besides those that it has just read."""

_RETRY_AFTER = 0.5
"""In seconds: the pause before a reader asks a store again that was unavailable."""


class Entry:
    """An event of a run. `is_start`: it is the run's first one. `made` is what readers have made of it, for others."""

    __slots__ = ("is_start", "logged", "made")

    def __init__(self, logged: LoggedEvent, *, is_start: bool) -> None:
        self.logged: LoggedEvent = logged
        self.is_start: bool = is_start
        self.made: dict[str, list[RunFrame]] = {}

    @property
    def size(self) -> int:
        """The length of the frames that readers have made of it so far."""
        return sum(frame.size for frames in self.made.values() for frame in frames)


class Stop(msgspec.Struct, frozen=True):
    """The run has ended, or waits for a caller, and the reader has its events so far. `last_event` is the id of the
    newest event that the reader has got, None without any."""

    status: RunStatus
    last_event: int | None


class Tails:
    """The tails of a process, one for each run that has readers at its newest event."""

    def __init__(self) -> None:
        self._tails: dict[str, Tail] = {}
        self._is_stopping = False
        self._closing: set[asyncio.Task[None]] = set()
        self._wakers: set[asyncio.Event] = set()

    @contextmanager
    def waking(self, event: asyncio.Event) -> Iterator[None]:
        """The event is set when the readers are to end, too."""
        self._wakers.add(event)
        try:
            yield
        finally:
            self._wakers.discard(event)

    async def aclose(self) -> None:
        """End every reader and every tail, and wait for the tails."""
        self.stop()
        for tail in list(self._tails.values()):
            self._close(tail)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def stop(self) -> None:
        """End every reader. Readers that begin later end at once, too."""
        self._is_stopping = True
        for tail in self._tails.values():
            tail.wake()
        for event in self._wakers:
            event.set()

    @property
    def is_stopping(self) -> bool:
        """Whether readers end."""
        return self._is_stopping

    @property
    def count(self) -> int:
        """The number of tails."""
        return len(self._tails)

    async def follow(
        self, handle: RunHandle, after: int = 0, *, stops_when_interrupted: bool = True
    ) -> AsyncGenerator[Entry | Stop, None]:
        """The events of a run with ids after this one, and a `Stop` once the run has ended. With
        `stops_when_interrupted` a run that waits for a caller is at its stop, too. Without a `Stop`, the service is
        stopping, or the run was deleted.

        Raises the errors of `RunHandle.events`, except that it waits for a store that is unavailable.
        """
        reader = _Reader(self, handle, after, stops_when_interrupted=stops_when_interrupted)
        try:
            while not self._is_stopping:
                steps = reader.of_tail() if reader.is_in_reach() else reader.of_store()
                async with aclosing(steps):
                    async for step in steps:
                        yield step
                if reader.is_over:
                    return
        except UnknownRunError:
            return
        finally:
            reader.leave()

    def find(self, handle: RunHandle) -> "Tail | None":
        """The tail of the run, if it has one."""
        return self._tails.get(handle.run_id)

    def join(self, handle: RunHandle, after: int) -> "Tail":
        """The tail of the run; a new one begins after the event with this id."""
        tail = self._tails.get(handle.run_id)
        if tail is None:
            tail = self._tails[handle.run_id] = Tail(handle, after)
        return tail

    def leave(self, tail: "Tail") -> None:
        """End a tail without readers."""
        if not tail.places and self._tails.get(tail.run_id) is tail:
            self._close(tail)

    def _close(self, tail: "Tail") -> None:
        del self._tails[tail.run_id]
        task = tail.close()
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class Tail:
    """Follows one run for readers that are at its newest events."""

    def __init__(self, handle: RunHandle, after: int) -> None:
        self.run_id: str = handle.run_id
        self.places: dict[_Reader, int] = {}
        """The number of the entry that each reader gets next."""
        self.first: int = 0
        """The number of the oldest entry that is kept."""
        self.base: int = after
        """Every event of the run after the one with this id is kept, or is still to come."""
        self.stop: RunStatus | None = None
        """Where the run stands, if it has ended or waits for a caller, and no entry is to come before that changes."""
        self.error: Exception | None = None
        self.moved: asyncio.Event = asyncio.Event()
        """Set when there is something new; then the next such event takes its place."""
        self._entries: deque[Entry] = deque()
        self._handle, self._head = handle, after
        self._task = asyncio.create_task(self._follow(), name=f"tail of run {handle.run_id}")

    @property
    def end(self) -> int:
        """The number of the next entry."""
        return self.first + len(self._entries)

    def place_after(self, event: int) -> int:
        """The number of the first entry after the event with this id."""
        return next((self.first + n for n, each in enumerate(self._entries) if each.logged.id > event), self.end)

    def entry(self, number: int) -> Entry:
        """An entry that is kept."""
        return self._entries[number - self.first]

    def wake(self) -> None:
        """Make every reader look again."""
        moved, self.moved = self.moved, asyncio.Event()
        moved.set()

    def close(self) -> asyncio.Task[None]:
        """Stop following. Returns the task that ends."""
        self._task.cancel()
        self.wake()
        return self._task

    async def _follow(self) -> None:
        try:
            while not await self._has_ended():  # noqa: ASYNC110  # a store has no event for its return
                await asyncio.sleep(_RETRY_AFTER)
        except Exception as error:
            # The readers raise it.
            self.error = error
            self.wake()

    async def _has_ended(self) -> bool:
        """Follow the run to its end. False if the store is unavailable."""
        try:
            async with aclosing(self._handle.event_batches(after=self._head)) as batches:
                async for batch in batches:
                    await self._take(batch)
        except StoreUnavailableError:
            return False
        return True

    async def _take(self, batch: EventBatch) -> None:
        if batch.events:
            self.stop = None
            for number, logged in enumerate(batch.events):
                self._entries.append(Entry(logged, is_start=batch.is_start and number == 0))
            self._head = batch.events[-1].id
            self._trim()
            self.wake()
            return
        stop = await stop_of(self._handle, batch)
        if stop != self.stop:
            self.stop = stop
            self.wake()

    def _trim(self) -> None:
        """Drop what every reader has got, and what is too much."""
        needed = max(min(self.places.values(), default=self.end), self.end - RING)
        size, number = 0, self.end
        while number > needed and size <= RING_SIZE:
            number -= 1
            size += self.entry(number).size
        needed = max(needed, number + 1 if size > RING_SIZE else number)
        while self.first < needed:
            self.base = self._entries.popleft().logged.id
            self.first += 1


async def stop_of(handle: RunHandle, batch: EventBatch) -> RunStatus | None:
    """The status of a run that has ended or waits for a caller, as a batch without events says. None otherwise."""
    if not (batch.has_ended or batch.is_waiting):
        return None
    status = await handle.status()
    return status if status.has_ended or status.is_interrupted else None


class _Reader:
    """One reader of a run: its place, and how it goes on."""

    def __init__(self, tails: Tails, handle: RunHandle, after: int, *, stops_when_interrupted: bool) -> None:
        self.is_over = False
        self._tails, self._handle = tails, handle
        self._after = after
        self._last: int | None = None
        self._stops_when_interrupted = stops_when_interrupted
        self._has_caught_up = False
        self._has_to_look = False
        self._tail: Tail | None = None
        # The stop of the tail that the reader has compared with the store.
        self._compared: RunStatus | None = None

    def is_in_reach(self) -> bool:
        """Whether a tail has every event that the reader needs."""
        if self._has_to_look:
            return False
        tail = self._tails.find(self._handle)
        if tail is not None:
            return tail.base <= self._after
        return self._has_caught_up

    def leave(self) -> None:
        """Give up the place in the tail."""
        if self._tail is not None:
            tail, self._tail = self._tail, None
            tail.places.pop(self, None)
            self._tails.leave(tail)

    def _got(self, entry: Entry) -> Entry:
        self._after = self._last = entry.logged.id
        return entry

    def _is_stop(self, status: RunStatus | None) -> bool:
        return status is not None and (status.has_ended or self._stops_when_interrupted)

    async def of_tail(self) -> AsyncGenerator[Entry | Stop, None]:
        """The events from the tail, until the reader is over or has fallen behind."""
        tail = self._tail = self._tails.join(self._handle, self._after)
        tail.places[self] = tail.place_after(self._after)
        try:
            while not self._tails.is_stopping:
                number = tail.places[self]
                if number < tail.first:
                    self._has_caught_up = False
                    return
                if number < tail.end:
                    tail.places[self], entry = number + 1, tail.entry(number)
                    # The tail may be behind what the reader has read from the store itself.
                    if entry.logged.id > self._after:
                        yield self._got(entry)
                    continue
                if tail.error is not None:
                    raise tail.error
                if tail.stop is not None and self._is_stop(tail.stop) and tail.stop is not self._compared:
                    if tail.stop.state != "done":
                        # An answer or a retry may have followed, which the tail has not seen yet.
                        self._compared, self._has_to_look = tail.stop, True
                        return
                    self.is_over = True
                    yield Stop(tail.stop, self._last)
                    return
                await tail.moved.wait()
        finally:
            self.leave()

    async def of_store(self) -> AsyncGenerator[Entry | Stop, None]:
        """The events from the store, until the reader is over or has caught up."""
        tail = self._tails.find(self._handle)
        known = 0 if tail is None else tail.base
        try:
            async with aclosing(self._handle.event_batches(after=self._after)) as batches:
                async for batch in batches:
                    for number, logged in enumerate(batch.events):
                        if self._tails.is_stopping:
                            return
                        yield self._got(Entry(logged, is_start=batch.is_start and number == 0))
                    if not batch.events:
                        status = await stop_of(self._handle, batch)
                        if status is not None and self._is_stop(status):
                            self.is_over = True
                            yield Stop(status, self._last)
                        self._has_caught_up, self._has_to_look = True, False
                        # The id after which the tail began need not be that of an event.
                        self._after = max(self._after, known)
                        return
        except StoreUnavailableError:
            await asyncio.sleep(_RETRY_AFTER)
