"""The reads and writes of the event log that all databases have in common, free of I/O."""

from collections.abc import Iterable, Sequence

import msgspec

from durable_graph.checkpointing.columns import Columns, key_of, record_from
from durable_graph.checkpointing.event_log import (
    ASKED,
    FIRST_ROW,
    STORED,
    EventPage,
    Follow,
    Followed,
    LoggedRow,
    MadeCheckpoint,
    OpenEvents,
    place_of,
)
from durable_graph.checkpointing.event_rows import event_columns
from durable_graph.checkpointing.queries import Query, Steps, first_of
from durable_graph.checkpointing.transactions import Batch, Part, Transaction, WriteResult, lock
from durable_graph.records import ThreadRow
from durable_graph.run_records import EventKind, EventRow, RunState

RUN, CHECKPOINT, ROW = 0, 1, 2
"""The kinds of the rows that the query `tail_events` finds."""


def tail(thread: str, seq: int, after: int, limit: int) -> Steps[EventPage | None]:
    """See `EventLog.tail`. One query."""
    version, position = place_of(after)
    place = {"thread_key": key_of(thread), "seq": seq, "version": version, "position": position}
    found = yield Query("tail_events", {**place, "since": since_of(after), "limit": limit})
    return page_from(thread, seq, found)


def since_of(after: int) -> int:
    """The number of the first checkpoint that may have an event after this one."""
    version, position = place_of(after)
    return version + (position >= FIRST_ROW - 1)


def page_from(thread: str, seq: int, found: Sequence[Columns]) -> EventPage | None:
    """The page that `tail_events` found."""
    run = next((columns for columns in found if columns[0] == RUN), None)
    if run is None:
        return None
    _, version, state, first, checkpoint, until, _, _, origin, *_ = run
    return EventPage(
        version,
        origin,
        RunState(state),
        first,
        checkpoint,
        until,
        tuple(MadeCheckpoint(each[1], each[7], each[2]) for each in found if each[0] == CHECKPOINT),
        tuple(_row_from(thread, seq, columns) for columns in found if columns[0] == ROW),
    )


def _row_from(thread: str, seq: int, columns: Columns) -> LoggedRow:
    _, version, position, epoch, kind, born, order, ns, value, task, rank, *rest = columns
    row = EventRow(seq, version, position, epoch, EventKind(kind), value, ns, born, order, task.decode("ascii"))
    record = None if rank is None else record_from(thread, (ns, born, order, rank, *rest))
    return LoggedRow(row, record)


def results(thread: str, seq: int, until: int) -> Steps[list[tuple[str, int, int]]]:
    """See `EventLog.results`. One query."""
    version, position = place_of(until)
    sought = {"thread_key": key_of(thread), "seq": seq, "version": version, "position": position}
    return [(ns, born, order) for ns, born, order in (yield Query("find_result_events", sought))]


def open_events(thread: str, seq: int) -> Steps[OpenEvents | None]:
    """See `EventLog.open_events`. Two queries."""
    sought = {"thread_key": key_of(thread), "seq": seq}
    last = yield from first_of("find_last_event", **sought)
    if last is None:
        return None
    version, position = last
    found = yield Query("find_open_events", sought)
    tasks = frozenset(task.decode("ascii") for task, emitted, retracted in found if emitted > (retracted or 0))
    return OpenEvents(version, position or FIRST_ROW - 1, tasks)


def takes_events(state: RunState) -> bool:
    """Whether the last holder of a run in this state may append events. As `append_events` and `is_run_held` do it.

    A run whose worker lost its lease is ready or quarantined. Until another worker claims it, the commits of the worker
    are accepted, and so are the events that precede them.
    """
    return state in (RunState.READY, RunState.RUNNING, RunState.QUARANTINED)


def follow(request: Follow) -> Transaction[Followed]:
    """See `EventLog.follow`."""
    key = key_of(request.thread)
    locked = yield from lock(request.thread)
    found = yield from first_of("find_follower", thread_key=key, seq=request.seq)
    if locked is None or found is None:
        return WriteResult(Followed.NO_RUN)
    state, followed = found
    decided = decided_follow(request, locked.row, RunState(state), followed)
    if decided is Followed.HELD:
        yield Query("follow_run", {"thread_key": key, "seq": request.seq, "followed": ASKED})
    elif decided is Followed.NEW:
        yield from _append_next(request, locked.row.version)
        yield Query("follow_run", {"thread_key": key, "seq": request.seq, "followed": STORED})
    return WriteResult(decided)


def decided_follow(request: Follow, thread: ThreadRow, state: RunState, followed: int) -> Followed:
    """The result of the request."""
    if followed == STORED:
        return Followed.KNOWN
    if state is RunState.RUNNING:
        return Followed.HELD
    is_as_seen = (thread.version, thread.epoch, thread.wseq) == (request.version, request.epoch, request.wseq)
    return Followed.NEW if is_as_seen else Followed.MOVED


def _append_next(request: Follow, version: int) -> Part[None]:
    key = key_of(request.thread)
    if request.rows:
        last = yield from first_of("find_last_event", thread_key=key, seq=request.seq)
        position = (last[1] if last is not None else None) or FIRST_ROW - 1
        yield Batch("add_event", [event_columns(key, row) for row in placed(request.rows, version, position)])


def placed(rows: Iterable[EventRow], version: int, position: int) -> list[EventRow]:
    """The rows at the positions after this one."""
    replace = msgspec.structs.replace
    return [replace(row, version=version, position=at) for at, row in enumerate(rows, position + 1)]
