"""`MemorySaver.events`: the stored events of the runs of the saver's threads."""

import heapq
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from durable_graph.checkpointing.binding import Binding
from durable_graph.checkpointing.columns import key_of
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
from durable_graph.checkpointing.event_transactions import decided_follow, placed, since_of, takes_events
from durable_graph.checkpointing.memory_lock import alone
from durable_graph.checkpointing.memory_rows import ThreadRows
from durable_graph.records import TaskRecord
from durable_graph.run_records import EventKind, EventRow

_BEYOND = 1 << 62


class MemoryEvents:
    """The events of the runs of a `MemorySaver`. See `EventLog`."""

    def __init__(self, threads: dict[int, ThreadRows], lock: AbstractContextManager[object], binding: Binding) -> None:
        self._threads = threads
        self._lock = lock
        self._binding = binding

    @alone
    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        """See `EventLog.tail`."""
        found = self._threads.get(key_of(thread))
        run = None if found is None else found.runs.by_seq.get(seq)
        if found is None or run is None:
            return None
        version, position = place_of(after)
        first, made = run.row.first_checkpoint, list[MadeCheckpoint]()
        if first:
            made = heapq.nsmallest(limit, _made_since(found, max(since_of(after), first)), key=lambda each: each.no)
        rows = [row for row in found.runs.events.between((version, position + 1), (_BEYOND,)) if row.seq == seq]
        later = [each.row.first_checkpoint for each in found.runs.by_seq.values() if each.row.seq > seq]
        return EventPage(
            found.row.version,
            found.row.origin,
            run.row.state,
            first,
            run.row.checkpoint,
            min((number for number in later if number), default=0),
            tuple(made),
            tuple(LoggedRow(row, _record_of(found, row)) for row in rows[:limit]),
        )

    @alone
    async def results(self, thread: str, seq: int, until: int) -> list[tuple[str, int, int]]:
        """See `EventLog.results`."""
        found = self._threads.get(key_of(thread))
        if found is None:
            return []
        version, position = place_of(until)
        rows = found.runs.events.between((0, 0), (version, position + 1))
        return [_key(row) for row in rows if row.seq == seq and row.kind is EventKind.RESULT]

    @alone
    async def open_events(self, thread: str, seq: int) -> OpenEvents | None:
        """See `EventLog.open_events`."""
        found = self._threads.get(key_of(thread))
        if found is None or seq not in found.runs.by_seq:
            return None
        tasks: set[str] = set()
        for row in found.runs.events.between((found.row.head, 0), (_BEYOND,)):
            if row.seq == seq and row.kind in (EventKind.CUSTOM, EventKind.MESSAGE):
                tasks.add(row.task)
            elif row.seq == seq and row.kind is EventKind.RETRACTED:
                tasks.discard(row.task)
        return OpenEvents(found.row.version, _last_position(found), frozenset(tasks))

    @alone
    async def append(self, thread: str, epoch: int, rows: Sequence[EventRow]) -> bool:
        """See `EventLog.append`."""
        if not rows:
            return True
        found = self._threads.get(key_of(thread))
        run = None if found is None else found.runs.by_seq.get(rows[0].seq)
        if found is None or run is None or found.row.epoch != epoch or not takes_events(run.row.state):
            return False
        found.runs.log(rows)
        return True

    @alone
    async def follow(self, follow: Follow) -> Followed:
        """See `EventLog.follow`."""
        found = self._threads.get(key_of(follow.thread))
        run = None if found is None else found.runs.by_seq.get(follow.seq)
        if found is None or run is None:
            return Followed.NO_RUN
        decided = decided_follow(follow, found.row, run.row.state, found.runs.followed.get(follow.seq, 0))
        if decided is Followed.HELD:
            found.runs.followed[follow.seq] = ASKED
        elif decided is Followed.NEW:
            found.runs.log(placed(follow.rows, found.row.version, _last_position(found)))
            found.runs.followed[follow.seq] = STORED
        return decided

    @alone
    async def remove_events(self, thread: str, seq: int) -> int:
        """See `EventLog.remove_events`."""
        found = self._threads.get(key_of(thread))
        return 0 if found is None else found.runs.drop_events(seq)


def _key(row: EventRow) -> tuple[str, int, int]:
    return row.ns, row.born, row.ord


def _made_since(found: ThreadRows, version: int) -> Iterator[MadeCheckpoint]:
    for ns, rows in found.checkpoints.items():
        for row in rows.between(version, _BEYOND):
            yield MadeCheckpoint(row.no, ns, row.parent)


def _last_position(found: ThreadRows) -> int:
    version = found.row.version
    keys = [key for key in found.runs.events.order if key[0] == version]
    return keys[-1][1] if keys else FIRST_ROW - 1


def _record_of(found: ThreadRows, row: EventRow) -> TaskRecord | None:
    return found.record(row.ns, row.born, row.ord) if row.kind is EventKind.RESULT else None
