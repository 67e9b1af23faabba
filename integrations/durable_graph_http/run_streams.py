"""The frames of a run, and of all runs of a thread, as they become known."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import msgspec

from durable_graph.errors import StoreUnavailableError, UnknownRunError
from durable_graph.extending import logged_items
from durable_graph.runs import RunHandle, RunStatus
from durable_graph_http.frames import (
    SLOTS,
    EventFrames,
    MessageFrames,
    RunFrame,
    Wanted,
    done_frame,
    error_frame,
    event_shown,
    typed_event,
)
from durable_graph_http.messages import Frame
from durable_graph_http.run_errors import error_object
from durable_graph_http.streaming import Start
from durable_graph_http.tails import Entry, Stop
from durable_graph_http.values import encoded_text

if TYPE_CHECKING:
    from durable_graph_http.service import AgentService

_FIRST_LOOK, _LONGEST_LOOK = 0.1, 5.0
"""In seconds: the pauses between polls for a new run of a thread, if no notice arrives."""


_PAGE = 500


class Source:
    """Makes the frames that a reader of one run gets: those it wants, after a given one."""

    def __init__(self, service: "AgentService", handle: RunHandle, graph: str, shown: str, wanted: Wanted) -> None:
        self._events = EventFrames(logged_items(service.app.graph(graph)), handle.run_id, shown)
        self._messages = MessageFrames(shown) if wanted.has_messages else None
        self._shown, self._wanted = shown, wanted

    def frames(self, entry: Entry, after: int) -> Iterator[Frame]:
        """The frames of an event with ids after this one."""
        made = entry.made.get(self._shown)
        if made is None:
            made = entry.made[self._shown] = self._events(entry.logged, is_start=entry.is_start)
        if self._messages is not None:
            of_messages = self._messages(entry.logged)
            if of_messages:
                made = sorted((*made, *of_messages), key=lambda frame: frame.id)
        return (self.sent(frame) for frame in made if frame.id > after and self._wanted.takes(frame))

    def sent(self, frame: RunFrame) -> Frame:
        """The frame as it is sent."""
        return Frame(self._wanted.name_of(frame), frame.data(), str(frame.id))

    def first_event(self, start: Start) -> int:
        """The reader has to see the events after this one. Frames of messages depend on all earlier ones."""
        return 0 if self._messages is not None else max(start.after // SLOTS - 1, 0)


async def run_frames(
    service: "AgentService", handle: RunHandle, graph: str, shown: str, wanted: Wanted, start: Start
) -> AsyncGenerator[Frame, None]:
    """The frames of a run, until it has ended or waits for a caller, or the service is stopping."""
    source = Source(service, handle, graph, shown, wanted)
    if start.has_header:
        yield Frame("metadata", encoded_text({"run_id": handle.run_id, "attempt": 1}), str(start.after))
    async with aclosing(service.tails.follow(handle, source.first_event(start))) as steps:
        async for step in steps:
            if isinstance(step, Entry):
                for frame in source.frames(step, start.after):
                    yield frame
                continue
            error = error_of(step.status, shown)
            if error is not None:
                last = error_frame(await last_event_of(handle, step), error)
                if last.id > start.after:
                    yield source.sent(last)


async def typed_frames(
    service: "AgentService", handle: RunHandle, shown: str, after: int
) -> AsyncGenerator[Frame, None]:
    """The typed events of a run after the one with this id, until the run has ended."""
    async with aclosing(service.tails.follow(handle, after, stops_when_interrupted=False)) as steps:
        async for step in steps:
            if isinstance(step, Entry):
                event = typed_event(event_shown(step.logged.event, shown))
                yield Frame(event["type"], encoded_text({"id": step.logged.id, **event}), str(step.logged.id))


async def thread_frames(
    service: "AgentService", thread_id: str, shown: str, wanted: Wanted, start: Start
) -> AsyncGenerator[Frame, None]:
    """The frames of all runs of a thread, one after the other, until the service is stopping."""
    source: Source | None = None
    run = ""
    runs = follow_thread(service, thread_id, start.after // SLOTS, from_start=wanted.has_messages)
    async with aclosing(runs):
        async for handle, graph, step in runs:
            if source is None or run != handle.run_id:
                source, run = Source(service, handle, graph, shown, wanted), handle.run_id
            if isinstance(step, Entry):
                for frame in source.frames(step, start.after):
                    yield frame
                continue
            for last in await _last_frames(handle, step, shown):
                if last.id > start.after and wanted.takes(last):
                    yield source.sent(last)


async def _last_frames(handle: RunHandle, stop: Stop, shown: str) -> list[RunFrame]:
    error = error_of(stop.status, shown)
    last = await last_event_of(handle, stop)
    status = {"done": "success", "cancelled": "interrupted"}.get(stop.status.state, "error")
    frames = [] if error is None else [error_frame(last, error)]
    return [*frames, done_frame(last, handle.run_id, status)]


async def follow_thread(
    service: "AgentService", thread_id: str, after: int, *, from_start: bool
) -> AsyncGenerator[tuple[RunHandle, str, Entry | Stop], None]:
    """The events of the runs of a thread, one run after the other, each with its run and the name of its graph. The
    thread need not exist.

    It begins after the event with the id `after`, or, with `from_start`, with the first event of the run that has it.
    """
    app, tails = service.app, service.tails
    last = await _run_before(service, thread_id, after)
    begin = 0 if from_start else max(after - 1, 0)
    while (found := await _next_run(service, thread_id, last)) is not None:
        newest = max(found.after, begin)
        status = found.status
        if status.graph in app.graphs:
            async with aclosing(tails.follow(found.handle, newest, stops_when_interrupted=False)) as steps:
                async for step in steps:
                    yield found.handle, status.graph, step
                    if isinstance(step, Stop):
                        status = step.status
                    else:
                        newest = step.logged.id
        last = _Followed(found.handle, status, newest)


class _Followed(msgspec.Struct, frozen=True):
    """A run of a thread that is followed, and the event after which it is."""

    handle: RunHandle
    status: RunStatus
    after: int = 0


async def _next_run(service: "AgentService", thread_id: str, last: _Followed | None) -> _Followed | None:
    """The run after the last one, once there is one; or the last one, once it is retried. None: the service is
    stopping."""
    app, pause = service.app, _FIRST_LOOK
    with app.changes.watching_thread(thread_id) as changed, service.tails.waking(changed):
        while True:
            # Cleared before the query, so that a change after the query is not missed.
            changed.clear()
            if service.tails.is_stopping:
                return None
            with suppress(StoreUnavailableError, UnknownRunError):
                for status in await app.runs(thread_id=thread_id, after=None if last is None else last.status, limit=1):
                    return _Followed(await app.find(status.run_id), status)
                if last is not None and last.status.state != "done" and last.status.graph in app.graphs:
                    status = await last.handle.status()
                    if not status.has_ended:
                        return _Followed(last.handle, status, last.after)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await changed.wait()
            pause = min(pause * 1.5, _LONGEST_LOOK)


async def _run_before(service: "AgentService", thread_id: str, after: int) -> _Followed | None:
    """The run before the one that has the event with this id, None if that is the first run."""
    is_found = False
    for status in reversed(await all_runs(service, thread_id) if after else ()):
        handle = await service.app.find(status.run_id)
        if is_found:
            return _Followed(handle, status, after)
        first = await _first_event_of(handle) if status.graph in service.app.graphs else None
        is_found = first is not None and first <= after
    return None


async def all_runs(service: "AgentService", thread_id: str) -> list[RunStatus]:
    """The runs of a thread, in their order."""
    found: list[RunStatus] = []
    while page := await service.app.runs(thread_id=thread_id, limit=_PAGE, after=found[-1] if found else None):
        found += page
        if len(page) < _PAGE:
            break
    return found


async def newest_event_of(service: "AgentService", thread_id: str) -> int:
    """An id that no event of the thread so far exceeds, 0 without a run."""
    runs = await all_runs(service, thread_id)
    return await (await service.app.find(runs[-1].run_id)).newest_event_id() if runs else 0


async def _first_event_of(handle: RunHandle) -> int | None:
    async with aclosing(handle.event_batches()) as batches:
        async for batch in batches:
            return batch.events[0].id if batch.events else None
    return None


async def last_event_of(handle: RunHandle, stop: Stop | None = None) -> int:
    """The id of the last event of a run that has ended, 0 without any. A `Stop` knows it if its reader has got one."""
    last = 0 if stop is None else stop.last_event or 0
    if last:
        return last
    async with aclosing(handle.event_batches()) as batches:
        async for batch in batches:
            if batch.events:
                last = batch.events[-1].id
            else:
                break
    return last


def error_of(status: RunStatus, shown: str) -> dict[str, str] | None:
    """How a run failed, for a client that knows its thread as `shown`. None for a run that did not fail."""
    failure = status.failure
    if failure is None or failure.kind == "cancelled":
        return None
    return error_object(failure, status.thread_id.removesuffix(shown))
