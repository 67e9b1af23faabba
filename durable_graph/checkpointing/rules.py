"""The decisions that all savers have in common, as functions of rows without I/O.

A thread's numbers are divided into *branches*. A branch is an interval of numbers that begins at `lo` and grows from
the checkpoint `parent` (0: none); only the branch of the thread's head is ever extended. So the ancestors of number `n`
are in a few intervals, its *lineage*, and a channel's value at `n` is its last row in them.
"""

import os
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from durable_graph.checkpointing.digests import add, share_of, subtract
from durable_graph.checkpointing.directory import NewThread
from durable_graph.errors import InvalidOptionError
from durable_graph.records import (
    LISTED_STATUSES,
    CommitResult,
    Committed,
    CommitUnit,
    Conflict,
    ListedStatus,
    NestedRecord,
    Rank,
    Saved,
    Status,
    Summary,
    TaskRecord,
    ThreadInfo,
    ThreadRow,
    WritesBatch,
    WritesMoved,
    is_text,
)
from durable_graph.run_records import NewRun

Interval = tuple[int, int]
"""First and last number, both included."""


_MOST_CHECKPOINTS = 1 << 53


# A commit -----------------------------------------------------------------------------------------


def needs_read_back(unit: CommitUnit, thread: ThreadRow | None) -> bool:
    """Whether the thread's version is past the unit's: then only the commit id of the unit's last checkpoint can show
    whether the unit was applied."""
    return thread is not None and thread.version > unit.version and _is_of_life(unit, thread)


def decide(unit: CommitUnit, thread: ThreadRow | None, read_back: bytes | None = None) -> CommitResult | None:
    """The result of a unit that is not applied, given the thread's locked row. None: the unit is to be applied.

    `read_back` is the commit id stored with the unit's last checkpoint, if `needs_read_back`.
    """
    if thread is None:
        return None if unit.expected == 0 else Conflict(0)
    if not _is_of_life(unit, thread):
        return Conflict(thread.version)
    # Compare version *and* commit id, because all commits of a run have the same commit id.
    latest = thread.commit_id if thread.version == unit.version else read_back
    if thread.version >= unit.version:
        return Committed(unit.version) if latest == unit.commit_id else Conflict(thread.version)
    if thread.version != unit.expected or thread.epoch != unit.epoch:
        return Conflict(thread.version)
    if unit.fork_of is not None and (thread.gen != unit.gen or 0 < unit.fork_of < thread.floor):
        return Conflict(thread.version)
    return None if thread.wseq == unit.wseq else WritesMoved(thread.wseq, thread.status == "cancelled")


def needs_forked_head(unit: CommitUnit) -> bool:
    """Whether the unit forks without a root checkpoint: then the new head is an existing root checkpoint."""
    return unit.fork_of is not None and all(new.row.ns for new in unit.checkpoints)


def thread_after_commit(unit: CommitUnit, thread: ThreadRow | None, forked_head: int | None = None) -> ThreadRow:
    """The thread's row after the unit.

    `forked_head` is the newest root checkpoint in the lineage of `unit.fork_of`, if `needs_forked_head`: the new branch
    starts from it, and later root checkpoints belong to the old branch.
    """
    # None if the unit starts the thread, or its next incarnation.
    before = None if thread is None or thread.status == "deleted" else thread
    summary = unit.summary or (Summary() if before is None else _summary(before))
    head = 0 if before is None else before.head
    if forked_head is not None:
        head = forked_head
    # Numbers ascend, so the unit's last root checkpoint is the head.
    for new in unit.checkpoints:
        if new.row.ns == "":
            head = new.row.no
    return ThreadRow(
        thread=unit.thread,
        incarnation=unit.incarnation,
        origin=unit.origin,
        version=unit.version,
        head=head,
        epoch=unit.epoch,
        wseq=0,
        gen=thread.gen if thread else 0,
        floor=0 if before is None else before.floor,
        status=unit.status,
        status_since=_since(thread, unit.status, unit.at),
        commit_id=unit.commit_id,
        graph=summary.graph,
        graph_digest=summary.graph_digest,
        next=summary.next,
        metadata=summary.metadata,
        created_at=unit.at if before is None else before.created_at,
        updated_at=unit.at,
    )


def _summary(thread: ThreadRow) -> Summary:
    return Summary(thread.graph, thread.graph_digest, thread.next, thread.metadata)


def new_branch(unit: CommitUnit, thread: ThreadRow | None) -> tuple[int, int] | None:
    """The branch (`lo`, `parent`) that the unit starts, None if it extends the current branch."""
    first = unit.checkpoints[0].row.no
    if begins_thread(thread):
        return first, 0
    return (first, unit.fork_of) if unit.fork_of is not None else None


def begins_thread(thread: ThreadRow | None) -> bool:
    """Whether the next commit is the first of the thread, or of its next incarnation. A thread whose first run was
    accepted has a row, and no commit yet."""
    return thread is None or thread.status == "deleted" or not thread.commit_id


def _is_of_life(unit: CommitUnit, thread: ThreadRow) -> bool:
    if thread.status == "deleted":
        return unit.incarnation != thread.incarnation
    return unit.incarnation == thread.incarnation and unit.origin == thread.origin


def _since(thread: ThreadRow | None, status: Status, at: int) -> int:
    return thread.status_since if thread is not None and thread.status == status else at


# A thread and its runs ----------------------------------------------------------------------------


def created_thread(new: NewThread | NewRun, grave: ThreadRow | None, at: int) -> ThreadRow:
    """The row of a thread that is created. `grave` is the tombstone of a deleted thread of the same id: the numbers of
    its checkpoints continue."""
    return ThreadRow(
        thread=new.thread,
        incarnation=new.incarnation,
        origin=new.origin,
        version=grave.version if grave is not None else 0,
        head=0,
        epoch=new.epoch,
        wseq=0,
        gen=0,
        floor=0,
        status="done",
        status_since=at,
        commit_id=b"",
        created_at=at,
        updated_at=at,
    )


def accepted_thread(run: NewRun, grave: ThreadRow | None, at: int) -> ThreadRow:
    """The row of a thread that is created by its first run. See `created_thread`."""
    return msgspec.structs.replace(created_thread(run, grave, at), status="running", graph=run.graph)


def cancelled_thread(thread: ThreadRow, epoch: int, at: int) -> ThreadRow:
    """The row of a thread whose run is cancelled while no worker holds it. Its writers are refused by the new epoch."""
    status: Status = "cancelled"
    return msgspec.structs.replace(
        thread,
        epoch=epoch,
        wseq=thread.wseq + 1,
        status=status,
        status_since=_since(thread, status, at),
        updated_at=at,
    )


def failed_thread(thread: ThreadRow, error: str | None, at: int) -> ThreadRow:
    """The row of a thread whose run has failed without a save of its failure. A thread that was stopped permanently
    stays as it is."""
    status: Status = "failed"
    if thread.status not in ("running", "interrupted"):
        return thread
    return msgspec.structs.replace(
        thread, wseq=thread.wseq + 1, status=status, status_since=at, error=error, updated_at=at
    )


def done_thread(thread: ThreadRow, at: int) -> ThreadRow:
    """The row of a thread that has nothing left to run, whose run is done. A thread that was stopped, or has tasks,
    stays as it is."""
    if thread.status != "running" or thread.next:
        return thread
    return msgspec.structs.replace(thread, wseq=thread.wseq + 1, status="done", status_since=at, updated_at=at)


def reopened_thread(thread: ThreadRow, at: int) -> ThreadRow:
    """The row of a cancelled or failed thread whose run is retried."""
    return msgspec.structs.replace(
        thread, wseq=thread.wseq + 1, status="running", status_since=at, error=None, updated_at=at
    )


# Task records -------------------------------------------------------------------------------------


# A failed task and an interrupted task both run again.
_FINALITY = {Rank.FAILED: 0, Rank.INTERRUPTED: 0, Rank.HANDLING: 1, Rank.ROUTING_OPEN: 2, Rank.DONE: 3}


def standing(recorded: TaskRecord | None, offered: TaskRecord) -> TaskRecord:
    """The winner of two records of one task: the more final record, then the record with the higher revision.

    Among equals, and among done records of any revision, the first recorded wins.
    """
    if recorded is None or finality(offered.rank, offered.revision) > finality(recorded.rank, recorded.revision):
        return offered
    return recorded


def finality(rank: Rank, revision: int) -> tuple[int, int]:
    """The finality of a record: of two records the greater wins, and the first recorded among equals."""
    return _FINALITY[rank], 0 if rank == Rank.DONE else revision


def accepts(batch: WritesBatch, thread: ThreadRow | None) -> bool:
    """Whether the batch matches the thread's current row, so that its records may be saved."""
    if thread is None or not _is_at(batch, thread):
        return False
    return batch.wseq in (None, thread.wseq) and batch.if_status in (None, thread.status)


def _is_at(batch: WritesBatch, thread: ThreadRow) -> bool:
    return thread.status != "deleted" and thread.version == batch.expected and thread.epoch == batch.epoch


def thread_after_save(batch: WritesBatch, thread: ThreadRow, stood: Iterable[TaskRecord], *, bumped: bool) -> ThreadRow:
    """The thread's row after the batch. `stood` has the winning records, in the batch's order.

    A batch of which no record wins does not change the status: the writer of the winning records has set it.
    """
    counts = not batch.records or any(given == stands for given, stands in zip(batch.records, stood, strict=True))
    status = batch.status if batch.status is not None and counts else thread.status
    if thread.status == "cancelled" and status != "running" and batch.if_status != "cancelled":
        # A run that does not know about the cancellation must not undo it by its records.
        status = thread.status
    return msgspec.structs.replace(
        thread,
        wseq=thread.wseq + bumped,
        status=status,
        status_since=_since(thread, status, batch.at),
        error=batch.error if batch.status == status and counts else thread.error,
        updated_at=batch.at,
    )


def is_bumped(batch: WritesBatch, thread: ThreadRow, replaced: Iterable[object]) -> bool:
    """Whether the batch changes `wseq`: by records, or by cancelling the thread, which a running run detects by the
    new `wseq`."""
    cancels = batch.status == "cancelled" and thread.status != "cancelled"
    return any(True for _ in replaced) or cancels


def answer_to_late_save(
    batch: WritesBatch, thread: ThreadRow, recorded: Iterable[TaskRecord | None]
) -> Saved | WritesMoved | Conflict:
    """The result of a batch that does not match the thread: `Saved` if all its records are stored, as for a repeated
    call, else the reason for the refusal."""
    if batch.records and tuple(recorded) == batch.records:
        return Saved(thread.wseq, bumped=False, standing=batch.records, is_cancelled=thread.status == "cancelled")
    if not _is_at(batch, thread):
        return Conflict(thread.version)
    return WritesMoved(thread.wseq, thread.status == "cancelled")


# The sum over the head's records ------------------------------------------------------------------


def is_of_head(record: TaskRecord | NestedRecord, born: int, head: int) -> bool:
    """Whether the sum over the records of the head `head` includes this record. `born` is the smallest number of a task
    in the head's plan.

    The sum includes the records of tasks of the plan, and all records of other namespaces since `born`, of nested tasks
    and of calls: no other digest would detect that one of these is missing.
    """
    return record.born >= born and (record.ns != "" or record.born <= head)


def is_bare(unit: CommitUnit, born: int, head: int) -> bool:
    """Whether the head has no records yet, as after the usual superstep: the unit made it, all tasks of its plan are
    new, and the unit has no record of them."""
    if head != born:
        return False
    for record in unit.records:
        if is_of_head(record, born, head):
            return False
    return head in [new.row.no for new in unit.checkpoints]


Replacement = tuple[TaskRecord | None, TaskRecord]
"""The earlier record of a task, if there was one, and the record that replaces it."""


def sum_with(total: bytes, replaced: Iterable[Replacement], born: int, head: int) -> bytes:
    """The sum over the head's records after replacements. `born` and `head` are as for `is_of_head`."""
    for before, after in replaced:
        if is_of_head(after, born, head):
            total = add(subtract(total, share_of(before)) if before else total, share_of(after))
    return total


def sum_without(total: bytes, gone: Iterable[TaskRecord | NestedRecord], born: int, head: int) -> bytes:
    """The sum over the head's records after a removal of records."""
    return subtract(total, *(share_of(record) for record in gone if is_of_head(record, born, head)))


# The other verbs ----------------------------------------------------------------------------------


def is_to_be_deleted(thread: ThreadRow, seen: ThreadInfo | None) -> bool:
    """Whether to delete the thread: not if it is deleted already, or has changed since it was `seen`."""
    return thread.status != "deleted" and (seen is None or seen == thread_info(thread))


def is_damage_to_be_deleted(seen: ThreadInfo | None) -> bool:
    """Whether to delete a thread whose row is damaged: not if it was `seen` without damage, so that it has changed."""
    return seen is None or seen.status == "damaged"


def tombstone(thread: ThreadRow, at: int) -> ThreadRow:
    """The row that `delete_thread` leaves: without the thread's id and data, and with a higher version and epoch, so
    that commits of the thread's earlier writers are refused."""
    return ThreadRow(
        thread="",
        incarnation=thread.incarnation,
        origin=thread.origin,
        version=thread.version + 1,
        head=0,
        epoch=thread.epoch + 1,
        wseq=0,
        gen=0,
        floor=0,
        status="deleted",
        status_since=at,
        commit_id=b"",
        updated_at=at,
    )


def tombstone_of_damage(version: object, at: int) -> ThreadRow:
    """The row that `delete_thread` leaves of a thread whose row is damaged, with a random incarnation and epoch.

    `version` is the version in the damaged row. A new thread of this id continues its numbers, if it is a valid
    version.
    """
    known = version if isinstance(version, int) and 0 <= version < _MOST_CHECKPOINTS else 0
    row = ThreadRow("", drawn_incarnation(), b"", known, 0, drawn_incarnation(), 0, 0, 0, "deleted", at, b"")
    return tombstone(row, at)


def drawn_incarnation() -> int:
    """63 random bits for a new thread: commits of writers that know an earlier thread of the same id are refused."""
    return int.from_bytes(os.urandom(8), "big") >> 1 or 1


def copied(source: ThreadRow, target: str, grave: ThreadRow | None, incarnation: int) -> ThreadRow:
    """The row of a copy, with a new incarnation: task ids of an earlier thread of its id must not occur again.

    `grave` is the tombstone of a deleted thread with the target's id: commits of that thread's writers must be refused
    as well.
    """
    epoch = source.epoch if grave is None else max(source.epoch, grave.epoch)
    return msgspec.structs.replace(source, thread=target, epoch=epoch, incarnation=incarnation)


def is_copy(source: ThreadRow, target: ThreadRow) -> bool:
    """Whether `target` is a copy of `source`, and neither of them has changed since."""
    same_place = msgspec.structs.replace(
        target, thread=source.thread, epoch=source.epoch, incarnation=source.incarnation
    )
    return source.thread != target.thread and same_place == source


def lineage(parents: Mapping[int, int], no: int) -> list[Interval]:
    """The intervals of the ancestors of number `no`, newest first. `parents` has each branch's parent, by its first
    number."""
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


# A listing ----------------------------------------------------------------------------------------


_LARGEST = 2**63 - 1
"""The largest integer of the databases."""


def check_limit(limit: int) -> None:
    """Raises `InvalidOptionError` for a limit that is no whole number, and for one below 1, which databases read as an
    empty result, or as no limit."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= _LARGEST:
        raise InvalidOptionError("limit", limit, allowed="a whole number of at least 1")


def is_listed(thread: ThreadRow, status: ListedStatus | None, before: int | None) -> bool:
    """Whether a listing of `status`, or of all threads, includes the thread. Its row is undamaged."""
    is_old = before is None or thread.status_since < before
    return is_old and thread.status != "deleted" and status in (None, thread.status)


class Cursor(NamedTuple):
    """The start of the next page of a listing: after this thread, whose status is from `since`."""

    since: int = 0
    thread: str = ""

    @classmethod
    def of(cls, after: "ThreadInfo | str | None") -> "Cursor":
        """The cursor after the last thread of a page."""
        if isinstance(after, ThreadInfo):
            return cls(after.since, after.thread)
        return cls(0, after or "")


def check_listing(
    status: ListedStatus | None, limit: int, after: "ThreadInfo | str | None", before: int | None
) -> None:
    """Raises `InvalidOptionError` for an unknown status, a limit below 1, a cursor of another order, or a value that no
    database can store."""
    check_limit(limit)
    if status is not None and status not in LISTED_STATUSES:
        raise InvalidOptionError("status", status, allowed=", ".join(map(repr, LISTED_STATUSES)))
    if status is not None and isinstance(after, str):
        raise InvalidOptionError("after", after, allowed="the last ThreadInfo of the page before, if a status is given")
    is_damaged = isinstance(after, ThreadInfo) and after.status == "damaged"
    if not is_damaged and not is_text(Cursor.of(after).thread):
        raise InvalidOptionError("after", after, allowed="a thread id without lone surrogates")
    if before is not None and not 0 <= before <= _LARGEST:
        raise InvalidOptionError("before", before, allowed="microseconds since 1970, a number of at least 0")


def thread_info(thread: ThreadRow) -> ThreadInfo:
    """The thread's item in a listing."""
    if thread.status == "deleted":
        raise AssertionError("a deleted thread is in no listing")
    return ThreadInfo(
        thread=thread.thread,
        status=thread.status,
        since=thread.status_since,
        head=thread.head,
        version=thread.version,
        wseq=thread.wseq,
        graph=thread.graph,
        next=thread.next,
        metadata=thread.metadata,
        error=thread.error,
        created_at=thread.created_at,
        updated_at=thread.updated_at,
        floor=thread.floor,
    )
