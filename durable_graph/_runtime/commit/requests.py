"""Requests that wait to be sent to the store, with their answers."""

from collections.abc import Sequence

import msgspec

from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._runtime.events.sink import NullSink, Publication
from durable_graph.checkpointing import CommitHandle
from durable_graph.checkpointing.chains import Stored as StoredRows
from durable_graph.errors.shown import shown
from durable_graph.graph import Topology
from durable_graph.records import Status, TaskRecord

NO_EVENTS = Publication(NullSink())

_LONGEST_ERROR = 1000


class StatusChange(msgspec.Struct, frozen=True):
    """The status that a thread takes; `error` is the text of what it failed with."""

    status: Status
    error: str | None = None


def failure(error: BaseException) -> StatusChange:
    """The status of a thread whose run failed with `error`. Its text is cut to 1,000 characters."""
    # PostgreSQL takes no NUL in a text.
    return StatusChange("failed", shown(error).replace("\0", "\\x00")[:_LONGEST_ERROR])


class Namespace(msgspec.Struct):
    """One namespace of the thread, with its stored rows as the run in it knows them."""

    topology: Topology
    ns: str
    rows: StoredRows


class QueuedCommit(msgspec.Struct):
    """Supersteps to commit, and the events that report them.

    `is_alone`: in a unit of their own, since a unit with others could not be built. `is_final`: the run has gone on
    from them, so they are not given up for another writer's records. `taken` are the updates that they apply.
    """

    entries: Sequence[tuple[Namespace, NextCheckpoint]]
    publication: Publication
    size: int = 0
    is_final: bool = False
    is_alone: bool = False
    taken: tuple[int, ...] = ()
    answer: CommitHandle[bool] = msgspec.field(default_factory=CommitHandle)


class QueuedSave(msgspec.Struct):
    """Task records to save, and a status.

    `if_unmoved`: only if nobody else recorded anything since the run looked; `if_status`: only if the thread has this
    status. `is_answer`: the records are answers, with which the thread accepts a request that has a key. `is_final`:
    the run has gone on from the records, so other records in their place end it.
    """

    records: tuple[TaskRecord, ...]
    status: StatusChange | None = None
    if_unmoved: bool = False
    if_status: Status | None = None
    is_answer: bool = False
    is_final: bool = False
    answer: CommitHandle[tuple[TaskRecord, ...] | None] = msgspec.field(default_factory=CommitHandle)
