"""A run as its callers see it, from any process."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from durable_graph._runtime.events.model import LoggedEvent
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.directory_rules import UNREADABLE
from durable_graph.checkpointing.run_ids import run_id
from durable_graph.checkpointing.run_rules import DEADLINE_PASSED
from durable_graph.checkpointing.waiting import is_set_within
from durable_graph.errors import CorruptCheckpointError, DurableGraphError, RunFailedError, UnknownRunError
from durable_graph.run_records import RunRow, RunState, WaitsOn
from durable_graph.runs.arguments import read_timeout
from durable_graph.runs.following import EventBatch, FollowedApp, follow, newest_event_id
from durable_graph.runs.slots import waiting_for
from durable_graph.runs.times import moment

T = TypeVar("T")
StateName = Literal["ready", "running", "waiting", "blocked", "done", "failed", "cancelled", "quarantined"]

_NAMES: dict[RunState, StateName] = {
    RunState.READY: "ready",
    RunState.RUNNING: "running",
    RunState.WAITING: "waiting",
    RunState.BLOCKED: "blocked",
    RunState.DONE: "done",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "cancelled",
    RunState.QUARANTINED: "quarantined",
}
STATES: dict[StateName, RunState] = {name: state for state, name in _NAMES.items()}

_FIRST_LOOK, _LONGEST_LOOK = 0.02, 1.0
"""In seconds: the pauses between polls of a run, if no notice arrives."""


class RunStatus(msgspec.Struct, frozen=True):
    """A run as its row says. Times are aware datetimes in UTC.

    `state`: "ready", "running", "waiting" (for an answer, or until `due`), "blocked" (an earlier run of its thread has
    not ended), "done", "failed", "cancelled", or "quarantined" (too many processes ended while they executed it).
    `attempt` counts the claims of the run, `crashes` how many of the claiming workers in a row ended without
    progress. `worker` names the worker that executes it: its host and process id. A waiting run waits for messages of
    the `topics` and for answers to the `interrupts`, of which 100 ids are shown at most. `error` is the reason of a run
    that ended without a result, and of one that its worker is asked to cancel. `metadata` is that of its start.
    `parent` is the id of the run that started it with `start_child`. `children` are the ids of the runs that it started
    and that have not ended: `RunHandle.status` has them, listings do not.
    """

    run_id: str
    thread_id: str
    graph: str
    state: StateName
    queue: str
    priority: int
    due: datetime | None
    deadline: datetime | None
    attempt: int
    crashes: int
    worker: str | None
    accepted_at: datetime | None
    ended_at: datetime | None
    error: str | None
    topics: tuple[str, ...] = ()
    interrupts: tuple[str, ...] = ()
    metadata: dict[str, str | int | float | bool | None] = {}
    parent: str | None = None
    children: tuple[str, ...] = ()

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended, with a result or without. A quarantined run has, until it is retried."""
        return STATES[self.state].is_ended

    @property
    def is_at_breakpoint(self) -> bool:
        """Whether it waits at a breakpoint, for `App.resume`."""
        return self.state == "waiting" and not self.interrupts and not self.topics and self.due is None

    @property
    def is_interrupted(self) -> bool:
        """Whether it waits for a caller: for an answer, or at a breakpoint."""
        return self.is_at_breakpoint or (self.state == "waiting" and bool(self.interrupts))

    @property
    def failure(self) -> RunFailedError | None:
        """The error that `RunHandle.result` raises: for a run that has ended without a result. None for others."""
        error = self.error or "no reason is recorded"
        match self.state:
            case "cancelled" | "quarantined":
                return RunFailedError(self.run_id, self.thread_id, self.state, error)
            case "failed":
                has_passed = error == DEADLINE_PASSED
                return RunFailedError(self.run_id, self.thread_id, "deadline" if has_passed else "failed", error)
            case _:
                return None


def status_of(row: RunRow) -> RunStatus:
    """The status that a run's row shows. Raises `CorruptCheckpointError` for a row that is damaged."""
    id_ = run_id(key_of(row.thread), row.seq)
    try:
        return _status_of(row, id_)
    except (ValueError, OverflowError) as error:
        if isinstance(error, DurableGraphError):
            raise
        why = "a time or its parent is out of range"
        raise CorruptCheckpointError(row.thread, row=f"run {id_}", why=why, way_out="delete its thread") from error


def _status_of(row: RunRow, id_: str) -> RunStatus:
    waits_on: WaitsOn = WaitsOn()
    if row.state is RunState.WAITING and row.waits_on:
        waits_on = _decoded(row, row.waits_on, WaitsOn, f"what run {id_} waits for", f"cancel the run {id_}")
    metadata: dict[str, Any] = {}
    if row.metadata:
        # The metadata stay with the run until it is deleted.
        metadata = _decoded(row, row.metadata, dict[str, Any], f"the metadata of run {id_}", "delete its thread")
    return RunStatus(
        run_id=id_,
        thread_id=row.thread,
        graph=row.graph,
        state=_NAMES[row.state],
        queue=row.queue,
        priority=row.priority,
        due=moment(row.due),
        deadline=moment(row.deadline),
        attempt=row.attempt,
        crashes=row.crashes,
        worker=row.worker_name or None,
        accepted_at=moment(row.accepted_at),
        ended_at=moment(row.ended_at),
        error=row.error,
        topics=waits_on.topics,
        interrupts=waits_on.interrupts,
        metadata=metadata,
        parent=run_id(row.parent_key, row.parent_seq) if row.parent_key else None,
    )


def _decoded(row: RunRow, text: str, kind: type[T], what: str, way_out: str) -> T:
    """A column of a run's row that is JSON. Raises `CorruptCheckpointError`."""
    try:
        return msgspec.json.decode(text, type=kind)
    except UNREADABLE as error:
        raise CorruptCheckpointError(row.thread, row=what, why="it cannot be read", way_out=way_out) from error


class RunsOfApp(FollowedApp, Protocol):
    """What a handle needs of its `App`."""

    async def output_of(self, row: RunRow) -> Any: ...

    async def cancel(self, run_id: str, reason: str = ...) -> RunStatus: ...


class RunHandle:
    """A run, to wait for, read and cancel. Any process can make one: `await app.find(run_id)`.

    `is_new` is False where the same `key` had started the run before.
    """

    __slots__ = ("_app", "_key", "_seq", "is_new", "run_id", "thread_id")

    def __init__(self, app: RunsOfApp, thread_id: str, seq: int, *, is_new: bool = True) -> None:
        self._app = app
        self._key, self._seq = key_of(thread_id), seq
        self.run_id: str = run_id(self._key, seq)
        self.thread_id: str = thread_id
        self.is_new: bool = is_new

    def __repr__(self) -> str:
        return f"<RunHandle {self.run_id} of thread {self.thread_id!r}>"

    async def status(self) -> RunStatus:
        """The run's status now. Raises `UnknownRunError`."""
        status = status_of(await self._row())
        children = await self._app.store.find_children(self._key, self._seq)
        found = tuple(run_id(key_of(child.thread), child.seq) for child in children)
        return msgspec.structs.replace(status, children=found)

    async def result(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109  # a time limit is what callers ask for
        """The run's output, as `ainvoke` returns it, once it has ended. A waiting caller that is cancelled, or whose
        `timeout` in seconds is over (`TimeoutError`), cancels no run.

        Raises `RunFailedError` for a run that ended without a result, `UnknownRunError`, `InvalidOptionError` for a
        `timeout` that is no number, and `RunDeadlockError` in a node if the run cannot begin while the node waits.
        """
        async with asyncio.timeout(read_timeout(timeout)):
            row = await self._ended()
        failure = status_of(row).failure
        if failure is not None:
            raise failure
        return await self._app.output_of(row)

    async def stopped(self, timeout: float | None = None) -> RunStatus:  # noqa: ASYNC109  # as above
        """The run's status once it has ended, or waits for an answer or at a breakpoint. A waiting caller that is
        cancelled, or whose `timeout` in seconds is over (`TimeoutError`), cancels no run.

        Raises `UnknownRunError`, and `InvalidOptionError` for a `timeout` that is no number.
        """
        async with asyncio.timeout(read_timeout(timeout)):
            return status_of(await self._row_once(lambda row: row.state.is_ended or status_of(row).is_interrupted))

    async def cancel(self, reason: str = "cancelled by a caller", *, wait: bool = False) -> RunStatus:
        """Cancel the run, and its thread with it. The cancellation is recorded when this returns.

        A worker that executes the run stops it, and records the tasks that have finished; with `wait` this returns
        after that. A run that has ended stays as it is. Raises `UnknownRunError`.
        """
        status = await self._app.cancel(self.run_id, reason)
        return status_of(await self._ended()) if wait else status

    async def events(self, *, after: int | None = None) -> AsyncGenerator[LoggedEvent]:
        """The events of the run, from its first event on, or from the first one after the id `after`. The iteration
        ends after the last event of a run that has ended.

        The id of an event is a whole number, larger than that of the event before, and the same in every process. A
        follower that was interrupted passes the last id that it received. A slow follower does not delay the run. The
        results of tasks arrive when they are recorded. Custom events and messages are stored from the run's first
        follower on, or from its start with `App.start(..., events="all")`.

        Raises `UnknownRunError`, `InvalidOptionError` for an id that no event can have, `UnknownNameError` for a run
        of a graph that this app does not have, and `MissingPowerError`.
        """
        async with aclosing(self.event_batches(after=after)) as batches:
            async for batch in batches:
                for event in batch.events:
                    yield event

    async def event_batches(self, *, after: int | None = None) -> AsyncGenerator[EventBatch]:
        """The events of `events` as they are read, several at once. A batch without events precedes each wait: the
        follower has every event so far, and the batch has the run's state at that time. The last batch is empty.

        Raises the errors of `events`.
        """
        async with aclosing(follow(self._app, await self._row(), after)) as batches:
            async for batch in batches:
                yield batch

    async def newest_event_id(self) -> int:
        """An id that no event so far exceeds: `events(after=...)` with it has only the events from now on. It need not
        be the id of an event.

        Raises `UnknownRunError` and `MissingPowerError`.
        """
        return await newest_event_id(self._app, await self._row())

    async def _row(self) -> RunRow:
        row = await self._app.store.find_run(self._key, self._seq)
        if row is None:
            raise UnknownRunError(self.run_id)
        return row

    async def _ended(self) -> RunRow:
        return await self._row_once(lambda row: row.state.is_ended)

    async def _row_once(self, is_reached: Callable[[RunRow], bool]) -> RunRow:
        pause = _FIRST_LOOK
        run = self.thread_id, self._seq
        with self._app.changes.watching_run(*run) as changed, waiting_for(*run) as wait:
            while True:
                # Cleared before the query, so that a change after the query is not missed.
                changed.clear()
                row = await self._row()
                if is_reached(row):
                    return row
                await wait.check(row.state)
                await is_set_within(changed, pause)
                pause = min(pause * 1.5, _LONGEST_LOOK)
