"""What every saver decides alike, as functions of rows: no I/O.

A thread's numbers fall into *lines*. A line is an interval of numbers that begins at `lo` and grows from the
checkpoint `parent` (0: from nothing); only the line of the thread's head is ever extended. So the checkpoints that led
to number `n` lie in a few intervals, its *lineage*, and a channel's value at `n` is its last row in them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from durable_graph.errors import InvalidOptionError
from durable_graph.records import (
    CheckpointRow,
    CommitResult,
    Committed,
    CommitUnit,
    Conflict,
    Rank,
    Saved,
    Status,
    TaskRecord,
    ThreadInfo,
    ThreadRow,
    WritesBatch,
    WritesMoved,
)

Interval = tuple[int, int]
"""First and last number, both included."""


class ValueKey(NamedTuple):
    """Where a value row lies, and the row that it goes on from."""

    ns: str
    channel: str
    no: int
    prev: int


# A commit -----------------------------------------------------------------------------------------


def needs_read_back(unit: CommitUnit, thread: ThreadRow | None) -> bool:
    """Whether only the commit id of the unit's last checkpoint can tell if it was applied: the thread is beyond it."""
    return thread is not None and thread.version > unit.version and _is_of_life(unit, thread)


def decide(unit: CommitUnit, thread: ThreadRow | None, read_back: bytes | None = None) -> CommitResult | None:
    """What becomes of a unit, given the thread's row as it is locked. None: it is to be applied.

    `read_back` is the commit id stored with the unit's last checkpoint, where `needs_read_back` asked for it.
    """
    if thread is None:
        return None if unit.expected == 0 else Conflict(0)
    if not _is_of_life(unit, thread):
        return Conflict(thread.version)
    # By version *and* commit id: a run gives all of its commits one id.
    latest = thread.commit_id if thread.version == unit.version else read_back
    if thread.version >= unit.version:
        return Committed(unit.version) if latest == unit.commit_id else Conflict(thread.version)
    if thread.version != unit.expected or thread.epoch != unit.epoch:
        return Conflict(thread.version)
    if unit.fork_of is not None and thread.gen != unit.gen:
        return Conflict(thread.version)
    return None if thread.wseq == unit.wseq else WritesMoved(thread.wseq)


def thread_after_commit(unit: CommitUnit, thread: ThreadRow | None) -> ThreadRow:
    """The thread's row once the unit is applied."""
    begins = begins_thread(thread)
    heads = [new.row.no for new in unit.checkpoints if new.row.ns == ""]
    return ThreadRow(
        thread=unit.thread,
        incarnation=unit.incarnation,
        origin=unit.origin,
        version=unit.version,
        head=max(heads, default=0 if begins or thread is None else thread.head),
        epoch=unit.epoch,
        wseq=0,
        gen=thread.gen if thread else 0,
        floor=0 if begins or thread is None else thread.floor,
        status=unit.status,
        status_since=_since(thread, unit.status, unit.at),
        commit_id=unit.commit_id,
    )


def new_line(unit: CommitUnit, thread: ThreadRow | None) -> tuple[int, int] | None:
    """The line (`lo`, `parent`) that the unit begins, if it begins one."""
    first = unit.checkpoints[0].row.no
    if begins_thread(thread):
        return first, 0
    return (first, unit.fork_of) if unit.fork_of is not None else None


def begins_thread(thread: ThreadRow | None) -> bool:
    """Whether the next commit is the first one of the thread, or of its next incarnation."""
    return thread is None or thread.status == "deleted"


def _is_of_life(unit: CommitUnit, thread: ThreadRow) -> bool:
    if thread.status == "deleted":
        return unit.incarnation == thread.incarnation + 1
    return unit.incarnation == thread.incarnation and unit.origin == thread.origin


def _since(thread: ThreadRow | None, status: Status, at: int) -> int:
    return thread.status_since if thread is not None and thread.status == status else at


# Task records -------------------------------------------------------------------------------------


# A failure and an interrupt are both "not yet".
_FINALITY = {Rank.FAILED: 0, Rank.INTERRUPTED: 0, Rank.HANDLING: 1, Rank.ROUTING_OPEN: 2, Rank.DONE: 3}


def standing(recorded: TaskRecord | None, offered: TaskRecord) -> TaskRecord:
    """Which of two records of one task stands: the more final one, then the one of the higher revision.

    Among equals, and among done ones whatever their revision, it is the one that was recorded first.
    """
    if recorded is None or _finality(offered) > _finality(recorded):
        return offered
    return recorded


def _finality(record: TaskRecord) -> tuple[int, int]:
    return _FINALITY[record.rank], 0 if record.rank == Rank.DONE else record.revision


def accepts(batch: WritesBatch, thread: ThreadRow | None) -> bool:
    """Whether task records may be saved on top of the thread as it is."""
    return (
        thread is not None
        and thread.status != "deleted"
        and thread.version == batch.expected
        and thread.epoch == batch.epoch
    )


def has_moved(batch: WritesBatch, thread: ThreadRow) -> bool:
    """Whether somebody recorded something that the batch's writer has not seen, and the batch holds only if not."""
    return batch.wseq is not None and thread.wseq != batch.wseq


def thread_after_save(batch: WritesBatch, thread: ThreadRow, stood: Iterable[TaskRecord], *, bumped: bool) -> ThreadRow:
    """The thread's row once the batch is applied. `stood` has the records that now stand, in the batch's order.

    A batch of which nothing stands does not change the status either: another writer's result does.
    """
    counts = not batch.records or any(given == stands for given, stands in zip(batch.records, stood, strict=True))
    status = batch.status if batch.status is not None and counts else thread.status
    return msgspec.structs.replace(
        thread, wseq=thread.wseq + bumped, status=status, status_since=_since(thread, status, batch.at)
    )


def answer_to_late_save(
    batch: WritesBatch, thread: ThreadRow, recorded: Iterable[TaskRecord | None]
) -> Saved | Conflict:
    """For a batch that the thread is past: a repeated call is told that everything stands, any other conflicts."""
    stood = tuple(recorded)
    if batch.records and stood == batch.records:
        return Saved(wseq=thread.wseq, bumped=False, standing=batch.records)
    return Conflict(thread.version)


def is_of_head(record: TaskRecord, born: int, head: int) -> bool:
    """Whether the sum of the head's records has this one: the head is `head`, and its plan goes back to `born`."""
    return record.ns == "" and born <= record.born <= head


# The other verbs ----------------------------------------------------------------------------------


def tombstone(thread: ThreadRow) -> ThreadRow:
    """What `delete_thread` leaves: of a higher version and epoch, so that no writer that knew the thread still fits."""
    return msgspec.structs.replace(
        thread,
        version=thread.version + 1,
        head=0,
        epoch=thread.epoch + 1,
        wseq=0,
        floor=0,
        status="deleted",
        commit_id=b"",
    )


def copied(source: ThreadRow, target: str, grave: ThreadRow | None) -> ThreadRow:
    """The row of a copy. `grave` is the tombstone that lies under the target's id: its writers must not fit the copy
    either, and its task ids must not come back."""
    if grave is None:
        return msgspec.structs.replace(source, thread=target)
    return msgspec.structs.replace(
        source,
        thread=target,
        epoch=max(source.epoch, grave.epoch),
        incarnation=max(source.incarnation, grave.incarnation + 1),
    )


def is_copy(source: ThreadRow, target: ThreadRow) -> bool:
    """Whether `target` is a copy of `source` that nobody has gone on from, nor from the source."""
    same_place = msgspec.structs.replace(
        target, thread=source.thread, epoch=source.epoch, incarnation=source.incarnation
    )
    return source.thread != target.thread and same_place == source


def lineage(parents: Mapping[int, int], no: int) -> list[Interval]:
    """The intervals that led to number `no`, newest first. `parents` has each line's parent, by its first number."""
    firsts = sorted(parents)
    intervals: list[Interval] = []
    while no > 0:
        at = bisect_right(firsts, no)
        if at == 0:
            break
        lo = firsts[at - 1]
        intervals.append((lo, no))
        no = min(parents[lo], lo - 1)
    return intervals


def is_within(intervals: Iterable[Interval], no: int) -> bool:
    return any(lo <= no <= hi for lo, hi in intervals)


class Kept(NamedTuple):
    """What a prune keeps. `oldest` has each kept namespace's first checkpoint, `floor` is that of the root."""

    checkpoints: frozenset[tuple[str, int]]
    lines: frozenset[int]
    oldest: Mapping[str, int]
    born: Mapping[str, int]
    intervals: tuple[Interval, ...]

    @property
    def floor(self) -> int:
        return self.oldest[""]

    def needs_record(self, ns: str, born: int) -> bool:
        """Whether a kept checkpoint may plan the task; a namespace without checkpoints goes with the root."""
        return born >= self.born.get(ns, self.born[""])


def check_keep_last(keep_last: int) -> None:
    """Raises `InvalidOptionError` for a number that would leave no checkpoint."""
    if keep_last < 1:
        raise InvalidOptionError("keep_last", keep_last, allowed="a number from 1 on; delete_thread removes everything")


def kept(
    checkpoints: Iterable[CheckpointRow], parents: Mapping[int, int], thread: ThreadRow, keep_last: int
) -> Kept | None:
    """What a prune keeps: the newest `keep_last` root checkpoints in the head's lineage, and of every other namespace
    what it was at since then. None where the thread has no root checkpoint: there is nothing to go by."""
    intervals = tuple(lineage(parents, thread.version))
    by_ns: dict[str, list[CheckpointRow]] = {}
    for row in sorted(checkpoints, key=lambda row: row.no):
        if is_within(intervals, row.no):
            by_ns.setdefault(row.ns, []).append(row)
    root = by_ns.pop("", [])[-keep_last:]
    if not root:
        return None
    stay = {"": root}
    for ns, rows in by_ns.items():
        stay[ns] = rows[max(bisect_right([row.no for row in rows], root[0].no) - 1, 0) :]
    return Kept(
        checkpoints=frozenset((ns, row.no) for ns, rows in stay.items() for row in rows),
        lines=frozenset(lo for lo, _ in intervals),
        oldest={ns: rows[0].no for ns, rows in stay.items()},
        born={ns: min(row.born for row in rows) for ns, rows in stay.items()},
        intervals=intervals,
    )


def needed_values(keys: Iterable[ValueKey], keeps: Kept) -> set[tuple[str, str, int]]:
    """The rows (namespace, channel, number) that loads of the kept checkpoints read."""
    channels: dict[tuple[str, str], dict[int, int]] = {}
    for key in keys:
        if key.ns in keeps.oldest and is_within(keeps.intervals, key.no):
            channels.setdefault((key.ns, key.channel), {})[key.no] = key.prev
    needed: set[tuple[str, str, int]] = set()
    for (ns, channel), prevs in channels.items():
        oldest = keeps.oldest[ns]
        since = max((no for no in prevs if no <= oldest), default=oldest)
        for start in prevs:
            no = start if start >= since else 0
            while no in prevs and (ns, channel, no) not in needed:
                needed.add((ns, channel, no))
                no = prevs[no]
    return needed


def thread_after_prune(thread: ThreadRow, floor: int) -> ThreadRow:
    """The thread's row once the checkpoints before `floor` and those of other lines are gone."""
    return msgspec.structs.replace(thread, gen=thread.gen + 1, floor=floor)


# A listing ----------------------------------------------------------------------------------------


def check_limit(limit: int) -> None:
    """Raises `InvalidOptionError` for a page without room. Databases take such a limit for none, or for no limit."""
    if limit < 1:
        raise InvalidOptionError("limit", limit, allowed="a number from 1 on")


def is_listed(thread: ThreadRow, status: Status | None) -> bool:
    """Whether a listing shows the thread: those of one status, or all but the deleted ones."""
    return thread.status == status if status is not None else thread.status != "deleted"


def thread_info(thread: ThreadRow) -> ThreadInfo:
    """The thread as a listing shows it."""
    return ThreadInfo(thread.thread, thread.status, thread.status_since, thread.head, thread.version)
