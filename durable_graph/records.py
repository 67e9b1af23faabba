"""What is stored: the rows that cross the checkpointer's protocol, as plain values and bytes.

Nothing here knows a user's type. Numbers (`no`) count the checkpoints of one thread, over all its namespaces;
`0` stands for "none". Times are integers, microseconds since the epoch in UTC, and are shown, never compared.
"""

from collections.abc import Iterable
from enum import Enum, IntEnum
from typing import Literal

import msgspec

Status = Literal["running", "interrupted", "failed", "done", "cancelled", "deleted"]
"""A thread's status. `running`: tasks are left, and no reason is recorded why none of them runs (a run executes them,
or a crash or a cancelled call ended it). `interrupted`: it waits for an answer, or a breakpoint stopped it. `failed`: a
node failed. `done`: nothing is left to run. `cancelled`: it was cancelled for good. `deleted`: the row that
`delete_thread` leaves for a while, without the thread's id."""

STATUSES: tuple[Status, ...] = ("running", "interrupted", "failed", "done", "cancelled", "deleted")

ListedStatus = Literal["running", "interrupted", "failed", "done", "cancelled", "damaged"]
"""A thread's status in a listing. `damaged`: its row does not match its digest, so nothing in it can be trusted."""

LISTED_STATUSES: tuple[ListedStatus, ...] = ("running", "interrupted", "failed", "done", "cancelled", "damaged")


class ValueKind(IntEnum):
    """What the bytes of a `ValueRow` are."""

    FULL = 0
    """The channel's whole value. `prev` is 0."""
    DELTA = 1
    """Updates to apply, in order, to the value that the row `prev` leads to (0: to the channel's empty value)."""
    ABSENT = 2
    """The channel has no value from here on. `prev` is 0 and `value` is empty."""


class Rank(Enum):
    """How far a task has come: which of two records of it stands is `checkpointing.rules.standing`'s to say.

    The numbers are what stores hold. They are in no order, and so cannot be compared.
    """

    FAILED = 0
    INTERRUPTED = 1
    """It waits for an answer, or was stopped before it began."""
    HANDLING = 4
    """The node failed for good, and its error handler is to run."""
    ROUTING_OPEN = 2
    """The node is done and its writes stand; its routers have not chosen yet."""
    DONE = 3


class ThreadRow(msgspec.Struct, frozen=True, gc=False):
    """One thread: the row that every commit compares and swaps.

    `thread` is its id, empty once the thread is deleted. `version` is the last checkpoint number given, over all
    namespaces; `head` the root namespace's newest checkpoint. `epoch` is the fence against writers that are to be shut
    out; it is compared by each commit and is no part of the row's digest. `wseq` counts the batches of task records
    saved since the last commit, `gen` the prunes. `incarnation` is drawn when the thread begins, anew after a deletion.
    `origin` binds the digests of its rows and survives `copy_thread`. `floor` is the oldest root checkpoint that prune
    left (0: nothing was pruned).

    The rest is for operators who read the table with SQL, and for listings: `graph` (None: it has no name) and a digest
    of its nodes' names, the nodes that run next (see `next_nodes`), the run's metadata as a JSON object, and the error
    of a failed thread. `extra` is room for later fields: a msgpack array that only grows, or nothing.
    """

    thread: str
    incarnation: int
    origin: bytes
    version: int
    head: int
    epoch: int
    wseq: int
    gen: int
    floor: int
    status: Status
    status_since: int
    commit_id: bytes
    graph: str | None = None
    graph_digest: bytes = b""
    next: tuple[str, ...] = ()
    metadata: str = "{}"
    error: str | None = None
    created_at: int = 0
    updated_at: int = 0
    extra: bytes = b""


class Summary(msgspec.Struct, frozen=True, gc=False):
    """What a commit makes a thread's row say of it, in plain columns. See `ThreadRow`."""

    graph: str | None = None
    graph_digest: bytes = b""
    next: tuple[str, ...] = ()
    metadata: str = "{}"


MOST_NEXT_NODES = 100


def next_nodes(nodes: Iterable[str]) -> tuple[str, ...]:
    """The nodes of a plan as a thread's row has them: each name once, the first hundred names at most."""
    return tuple(dict.fromkeys(nodes))[:MOST_NEXT_NODES]


class CheckpointRow(msgspec.Struct, frozen=True, gc=False):
    """One checkpoint of one namespace. `header` is the engine's own record (plan, step, metadata), encoded.

    `parent` is the checkpoint of the same namespace that it was made from. `born` is the smallest number under which
    a task of its plan is recorded. `state_digest` sums up every channel's last row, so that a vanished row is noticed.
    """

    ns: str
    no: int
    parent: int
    born: int
    at: int
    commit_id: bytes
    header: bytes
    state_digest: bytes
    digest: bytes
    extra: bytes = b""


class ValueRow(msgspec.Struct, frozen=True, gc=False):
    """What one superstep did to one channel."""

    channel: str
    no: int
    prev: int
    kind: ValueKind
    value: bytes
    digest: bytes


class TaskRecord(msgspec.Struct, frozen=True, gc=False):
    """What one task came to. Keyed by (thread, ns, born, ord): of a task's records one stands. `value` is the engine's.

    `revision` says which record of the task it is, counting from 1: each is made by somebody who had seen the one
    before it.
    """

    ns: str
    born: int
    ord: int
    rank: Rank
    revision: int
    commit_id: bytes
    value: bytes
    digest: bytes
    extra: bytes = b""


class RequestRow(msgspec.Struct, frozen=True, gc=False):
    """A request that the thread took once, under the key that its caller gave it.

    `input_digest` is that of the graph's name and of the input; `checkpoint` the one that the input became; `seq` the
    run's (0: there is none).
    """

    key: str
    input_digest: bytes
    seq: int
    checkpoint: int
    made_at: int
    digest: bytes
    extra: bytes = b""


class StoredRequests(msgspec.Struct, frozen=True, gc=False):
    """What a store knows of a request. Where it has none of the key, `digests` are those of all requests of the thread,
    made anew from their rows, since any of them may have had the key. `requests_digest` is the sum that they should
    have."""

    thread: str
    origin: bytes
    request: RequestRow | None
    digests: tuple[bytes, ...]
    requests_digest: bytes


class NewCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint to commit, with the rows of the channels that it changed."""

    row: CheckpointRow
    values: tuple[ValueRow, ...]


class CommitUnit(msgspec.Struct, frozen=True, gc=False):
    """Everything of one commit that has to become true together.

    It applies only if the thread is at `expected` (0: it does not exist), with the same `epoch` and `wseq`, and, for a
    fork, the same `gen`. Afterwards the thread is at the number of the last checkpoint. Numbers ascend over all
    namespaces; gaps may be. `fork_of` is the checkpoint, of any namespace, that a new line grows from; None follows
    the head's line. Without a root checkpoint the head stays, in a fork that of `fork_of`'s time. `summary` is None
    where the plain columns stay as they are, as they do without a root checkpoint. `request` is the request with a key
    that this unit accepts. `version` is the thread's version once the unit is applied: it is computed, not given.
    """

    thread: str
    incarnation: int
    origin: bytes
    expected: int
    epoch: int
    wseq: int
    gen: int
    commit_id: bytes
    at: int
    status: Status
    checkpoints: tuple[NewCheckpoint, ...]
    records: tuple[TaskRecord, ...] = ()
    fork_of: int | None = None
    summary: Summary | None = None
    request: RequestRow | None = None
    version: int = 0

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "version", self.checkpoints[-1].row.no)


class Committed(msgspec.Struct, frozen=True, gc=False):
    """The unit is applied, by this call or by an earlier one with the same unit."""

    version: int


class WritesMoved(msgspec.Struct, frozen=True, gc=False):
    """Not applied: the version is right, but another writer recorded tasks meanwhile. Load, adopt, try again.

    `is_cancelled`: or the thread was cancelled, and there is no other try.
    """

    wseq: int
    is_cancelled: bool = False


class Conflict(msgspec.Struct, frozen=True, gc=False):
    """Not applied: the thread is at another version, epoch or (for a fork) generation, or what it forks is pruned."""

    version: int


CommitResult = Committed | WritesMoved | Conflict


class WritesBatch(msgspec.Struct, frozen=True, gc=False):
    """Task records to save at once, on top of the checkpoint `expected`; `status` changes the thread's, if given.

    It applies only if the thread is at `expected` with the same `epoch` and, where they are given, the same `wseq` and
    the status `if_status`: nobody recorded anything, or changed the status, since its writer looked. All of it applies,
    or nothing. `error` goes with a status: the text that the thread's row then has. A thread that is cancelled stays so
    unless the status is "running", or `if_status` is "cancelled". `request` is as in `CommitUnit`.
    """

    thread: str
    expected: int
    epoch: int
    at: int
    records: tuple[TaskRecord, ...]
    status: Status | None = None
    wseq: int | None = None
    error: str | None = None
    request: RequestRow | None = None
    if_status: Status | None = None


class Saved(msgspec.Struct, frozen=True, gc=False):
    """The batch is durable. `standing` has, for each record given, the one that stands: another's, if that came first.

    `bumped` says whether this call changed `wseq`, which a repeated call does not. `is_cancelled`: the thread was
    cancelled, and its run is to end.
    """

    wseq: int
    bumped: bool
    standing: tuple[TaskRecord, ...]
    is_cancelled: bool = False


SaveResult = Saved | WritesMoved | Conflict


class NestedRecord(msgspec.Struct, frozen=True, gc=False):
    """Where the record of a nested task or of a call is, and its digest as it is stored."""

    ns: str
    born: int
    ord: int
    digest: bytes


class StoredCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """What `load` found: the thread, and a checkpoint with all that is needed to restore its state.

    `checkpoint` is None where the thread is deleted, or has no such checkpoint. `values` holds, for every channel, its
    last row and the rows that its `prev`s lead to. `records` are the task records from `checkpoint.born` to its `no`.
    `writes_digest` is the sum that `records` should have, with those of nested tasks and calls since, where the thread
    keeps one: at its head. `nested` tells of the latter; the records themselves are read from their own namespaces.
    """

    thread: ThreadRow
    checkpoint: CheckpointRow | None
    values: tuple[ValueRow, ...] = ()
    records: tuple[TaskRecord, ...] = ()
    writes_digest: bytes | None = None
    nested: tuple[NestedRecord, ...] = ()


class HistoryPage(msgspec.Struct, frozen=True, gc=False):
    """A page of a thread's checkpoints, newest first, with what is needed to restore each.

    `values` has the rows that the page's own checkpoints wrote. `bases` has, for each checkpoint outside the page that
    is the parent of one inside it, the rows that a load of it would give; where the parent was pruned, at least those
    that its child still needs. `older` is the number to ask the next page with, 0 at the end.

    `before` is the number that the page was asked with, None for the first one (0: whoever made it did not say). Of the
    first page `values` has all rows since its oldest checkpoint, so that those of a vanished one are there. Where the
    page has the thread's head, `head_records` are the task records that the head's sum `writes_digest` covers.
    """

    thread: ThreadRow
    checkpoints: tuple[CheckpointRow, ...]
    values: tuple[ValueRow, ...]
    bases: dict[int, tuple[ValueRow, ...]]
    records: tuple[TaskRecord, ...]
    older: int
    ns: str = ""
    before: int | None = 0
    writes_digest: bytes | None = None
    head_records: tuple[NestedRecord, ...] = ()


class StoredRecords(msgspec.Struct, frozen=True, gc=False):
    """The task records of one namespace, by `born` and `ord`."""

    thread: ThreadRow
    records: tuple[TaskRecord, ...]


class ThreadInfo(msgspec.Struct, frozen=True, gc=False):
    """A thread in a listing. `since` is when it took its status; times are in microseconds since 1970.

    `graph` is the name of the graph that began it (None: it has none), `next` the nodes that run next (at most a
    hundred names), `metadata` the newest run's, `error` what a failed thread failed with. The rest is as in its row.

    Of a thread whose row is `damaged`, nothing but the id and what is wrong (`damage`) is filled in.
    """

    thread: str
    status: ListedStatus
    since: int = 0
    head: int = 0
    version: int = 0
    wseq: int = 0
    graph: str | None = None
    next: tuple[str, ...] = ()
    metadata: str = "{}"
    error: str | None = None
    created_at: int = 0
    updated_at: int = 0
    floor: int = 0
    damage: str | None = None


_ID_DIGITS = 16


def checkpoint_id(no: int) -> str:
    """A checkpoint's number as callers see it: opaque, and sorted as text it is in order."""
    return f"{no:0{_ID_DIGITS}d}"


NO_TEXT = "it has a lone surrogate, which no store can hold"
"""Why a name is refused that is not `is_text`."""


def is_text(text: str) -> bool:
    """Whether every store can hold it: it has no halves of surrogate pairs, which UTF-8 cannot take."""
    # What most names are is known to be fine at once.
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def checkpoint_no(text: str) -> int | None:
    """The number behind a checkpoint id, or None if it is none of ours."""
    return int(text) if len(text) == _ID_DIGITS and text.isascii() and text.isdigit() and int(text) > 0 else None
