"""Requests that wait to be sent to the store, with their answers."""

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph.checkpointing import CommitHandle
from durable_graph.checkpointing.chains import Stored
from durable_graph.errors.shown import shown
from durable_graph.graph import Topology
from durable_graph.records import Status, TaskRecord


class StatusChange(msgspec.Struct, frozen=True):
    """The status that a thread takes; `error` is the text of what it failed with."""

    status: Status
    error: str | None = None


_LONGEST_ERROR = 1000


def failure(error: BaseException) -> StatusChange:
    """The status of a thread whose run failed with `error`. Its text is cut to 1,000 characters."""
    # PostgreSQL takes no NUL in a text.
    return StatusChange("failed", shown(error).replace("\0", "\\x00")[:_LONGEST_ERROR])


class Ledger(msgspec.Struct):
    """The stored rows of one namespace, as the run in it knows them."""

    topology: Topology
    ns: str
    stored: Stored


class QueuedCommit(msgspec.Struct):
    """Supersteps to commit. `is_alone`: in a unit of their own, since a unit with others could not be built."""

    entries: Sequence[tuple[Ledger, NextCheckpoint]]
    answer: CommitHandle[bool] = msgspec.field(default_factory=CommitHandle)
    is_alone: bool = False


class QueuedSave(msgspec.Struct):
    records: tuple[TaskRecord, ...]
    status: StatusChange | None = None
    if_unmoved: bool = False
    if_status: Status | None = None
    is_answer: bool = False
    answer: CommitHandle[tuple[TaskRecord, ...] | None] = msgspec.field(default_factory=CommitHandle)


def fail(requests: Iterable[QueuedCommit | QueuedSave], error: BaseException) -> None:
    """Have all of them raise the error."""
    for request in requests:
        request.answer.set_error(error)


def taken_commits(queue: "deque[QueuedCommit | QueuedSave]") -> "list[QueuedCommit]":
    """The commits at the front of the queue, which go out together."""
    taken: list[QueuedCommit] = []
    while queue and isinstance(request := queue[0], QueuedCommit):
        if taken and (request.is_alone or taken[0].is_alone):
            break
        taken.append(request)
        queue.popleft()
    return taken


def taken_saves(queue: "deque[QueuedCommit | QueuedSave]") -> "list[QueuedSave]":
    """The saves at the front of the queue. One that holds only if nothing moved is sent alone."""
    taken: list[QueuedSave] = []
    while queue and isinstance(request := queue[0], QueuedSave):
        if taken and (request.if_unmoved or taken[0].if_unmoved):
            break
        taken.append(request)
        queue.popleft()
    return taken
