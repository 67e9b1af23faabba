"""Following the events of a run: a follower reads them from the store, in any process, at its own speed."""

from collections.abc import AsyncGenerator
from typing import Any, Protocol

import msgspec

from durable_graph._runtime.events.model import LoggedEvent
from durable_graph._runtime.threads.event_history import CHECKPOINT, EventHistory
from durable_graph._runtime.threads.open_events import opened_follow
from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.event_log import (
    FIRST_ROW,
    MOST_ID,
    POSITIONS,
    EventLog,
    EventPage,
    Followed,
    KeepsEvents,
    event_id,
)
from durable_graph.checkpointing.run_ids import run_id
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.checkpointing.waiting import is_set_within
from durable_graph.errors import InvalidOptionError, MissingPowerError, UnknownRunError
from durable_graph.run_records import RunRow, RunState
from durable_graph.runs.changes import Changes
from durable_graph.runs.slots import waiting_for

PAGE = 64
"""The number of checkpoints, and of rows, that are read at once."""

_FIRST_LOOK, _LONGEST_LOOK = 0.1, 2.0
"""In seconds: the pauses between polls for new events, if no notice arrives."""

Graph = CompiledGraph[Any, Any, Any, Any]


class FollowedApp(Protocol):
    """What a follower needs of its `App`."""

    @property
    def checkpointer(self) -> Checkpointer: ...

    @property
    def store(self) -> RunStore: ...

    def graph(self, name: str) -> Graph: ...

    @property
    def changes(self) -> Changes: ...


class EventBatch(msgspec.Struct, frozen=True):
    """Events of a run that a follower has read at once.

    Without events, the follower has read every event so far. `is_waiting` and `has_ended` say where the run stood when
    the batch was read. `is_start`: no event of the run is before this batch.
    """

    events: tuple[LoggedEvent, ...]
    is_start: bool
    is_waiting: bool
    has_ended: bool


async def newest_event_id(app: FollowedApp, row: RunRow) -> int:
    """An id that no event of the run so far exceeds, and every later one does."""
    found = await _log_of(app).open_events(row.thread, row.seq)
    if found is None:
        raise UnknownRunError(run_id(key_of(row.thread), row.seq))
    return event_id(found.version, found.position)


async def follow(app: FollowedApp, row: RunRow, after: int | None) -> AsyncGenerator[EventBatch]:
    """The events of the run in this row after the one with the id `after`, until the run has ended, with an empty batch
    before each wait for new ones."""
    _check_id(after)
    log = _log_of(app)
    reader = _Reader(app.graph(row.graph), app.checkpointer, log, row, after or 0)
    with app.changes.watching_events(row.thread, row.seq) as change:
        is_stored = await _have_stored(app, log, row)
        pause = _FIRST_LOOK
        while True:
            # Cleared before the query, so that an event after the query is not missed.
            change.clear()
            events = await reader.next()
            has_stopped = not is_stored and reader.state is not RunState.RUNNING
            if not events and not reader.is_behind and not has_stopped:
                yield reader.batch(())
                if reader.state.is_ended:
                    return
                with waiting_for(row.thread, row.seq) as wait:
                    await wait.check(reader.state)
                    await is_set_within(change, pause)
            pause = _FIRST_LOOK if events else min(pause * 1.5, _LONGEST_LOOK)
            if events:
                yield reader.batch(tuple(events))
                reader.is_start = False
            if has_stopped:
                # The run has stopped before its worker received the follower.
                is_stored = await _have_stored(app, log, row)


def _log_of(app: FollowedApp) -> EventLog:
    saver = app.checkpointer
    if not isinstance(saver, KeepsEvents):
        raise MissingPowerError(type(saver).__name__, "events")
    return saver.events


def _check_id(after: int | None) -> None:
    is_id = isinstance(after, int) and not isinstance(after, bool) and 0 <= after <= MOST_ID
    if after is not None and not is_id:
        raise InvalidOptionError("after", after, allowed="the id of an event: a whole number of at least 0")


class _Reader:
    """Reads a run's events page by page. `is_behind`: the next page has events already. `is_start`: no event was read,
    and the run has none up to the first id."""

    def __init__(self, graph: Graph, saver: Checkpointer, log: EventLog, row: RunRow, after: int) -> None:
        self.is_behind = False
        self.is_start, self._has_begun = not after, False
        self.state = row.state
        self._log, self._row, self._after = log, row, after
        self._cursor = after
        self._history: EventHistory | None = None
        self._graph, self._saver = graph, saver

    async def next(self) -> list[LoggedEvent]:
        """The next events. Raises `UnknownRunError` once the run is deleted."""
        thread, seq = self._row.thread, self._row.seq
        history = self._history or await self._begun()
        page = await self._log.tail(thread, seq, self._cursor, PAGE)
        if page is None:
            raise UnknownRunError(run_id(key_of(thread), seq))
        if self._after >= (page.version + 1) * POSITIONS:
            allowed = f"the id of an event of the run: the newest has one below {(page.version + 1) * POSITIONS}"
            raise InvalidOptionError("after", self._after, allowed=allowed)
        self.is_behind = len(page.checkpoints) == PAGE or len(page.rows) == PAGE
        page = _complete(_of_run(page))
        events = await history.read(page, self._cursor)
        if events and not self._has_begun:
            self._has_begun = True
            self.is_start = await self._begins_with(events[0].id, page.first_checkpoint)
        if page.checkpoints:
            self._cursor = max(self._cursor, event_id(page.checkpoints[-1].no, FIRST_ROW - 1))
        if page.rows:
            last = page.rows[-1].row
            self._cursor = max(self._cursor, event_id(last.version, last.position))
        self.state = page.state
        return events

    async def _begins_with(self, event: int, first_checkpoint: int) -> bool:
        """Whether the run's first event is the one with this id, the first that was read."""
        if not self._after:
            return True
        if first_checkpoint and self._after >= event_id(first_checkpoint, CHECKPOINT):
            return False
        # The id is of an earlier run, or of an event before the run's first checkpoint.
        first = await _Reader(self._graph, self._saver, self._log, self._row, 0).next()
        return bool(first) and first[0].id == event

    def batch(self, events: tuple[LoggedEvent, ...]) -> EventBatch:
        """The events, and where the run stood when they were read."""
        return EventBatch(events, self.is_start, self.state is RunState.WAITING, self.state.is_ended)

    async def _begun(self) -> EventHistory:
        early = await self._log.results(self._row.thread, self._row.seq, self._after) if self._after else []
        self._history = EventHistory(self._graph.topology, self._saver, self._row.thread, early)
        return self._history


def _of_run(page: EventPage) -> EventPage:
    """The page without checkpoints that follow the run."""
    last = page.until - 1 if page.until else MOST_ID
    if page.state is RunState.DONE:
        last = min(last, page.checkpoint)
    return msgspec.structs.replace(page, checkpoints=tuple(made for made in page.checkpoints if made.no <= last))


def _complete(page: EventPage) -> EventPage:
    """The complete part of a page: if the limit cut off checkpoints, later rows are left out too, and vice versa."""
    checkpoints, rows = page.checkpoints, page.rows
    if len(checkpoints) == PAGE:
        rows = tuple(each for each in rows if each.row.version <= checkpoints[-1].no)
    if len(page.rows) == PAGE:
        checkpoints = tuple(made for made in checkpoints if made.no <= page.rows[-1].row.version)
    return msgspec.structs.replace(page, checkpoints=checkpoints, rows=rows)


async def _have_stored(app: FollowedApp, log: EventLog, row: RunRow) -> bool:
    """Request that the run's events are stored from now on. False if a worker holds the run and has stored none yet."""
    topology, saver = app.graph(row.graph).topology, app.checkpointer
    while True:
        found = await app.store.find_run(row.thread, row.seq)
        if found is None:
            raise UnknownRunError(run_id(key_of(row.thread), row.seq))
        match await log.follow(await opened_follow(topology, saver, found)):
            case Followed.HELD:
                app.changes.is_asked(found.worker)
                return False
            case Followed.NEW | Followed.KNOWN:
                return True
            case Followed.MOVED | Followed.NO_RUN:
                # If the run was deleted, the next query finds none.
                continue
