"""The stored rows of the checkpointer's protocol, as plain values and bytes.

This module uses no type of the user. Numbers (`no`) count the checkpoints of one thread, over all its namespaces; `0`
stands for "none". Times are integers, microseconds since the epoch in UTC, and are shown, never compared.
"""

from collections.abc import Iterable
from enum import Enum, IntEnum
from typing import Literal

import msgspec

from durable_graph.run_records import EventRow, RunUpdate

Status = Literal["running", "interrupted", "failed", "done", "cancelled", "deleted"]
"""A thread's status. `running`: tasks are pending, and no reason for a stop is recorded (a run executes the tasks, or
was ended by a crash or a cancelled call). `interrupted`: the thread waits for an answer, or a breakpoint stopped it.
`failed`: a node failed. `done`: no task is pending. `cancelled`: it was cancelled permanently. `deleted`: the row that
`delete_thread` keeps for a while, without the thread's id."""

STATUSES: tuple[Status, ...] = ("running", "interrupted", "failed", "done", "cancelled", "deleted")

ListedStatus = Literal["running", "interrupted", "failed", "done", "cancelled", "damaged"]
"""A thread's status in a listing. `damaged`: its row does not match its digest, so none of its columns is reliable."""

LISTED_STATUSES: tuple[ListedStatus, ...] = ("running", "interrupted", "failed", "done", "cancelled", "damaged")


class ValueKind(IntEnum):
    """The kind of the bytes of a `ValueRow`."""

    FULL = 0
    """The channel's whole value. `prev` is 0."""
    DELTA = 1
    """Updates to apply, in order, to the value of the row `prev` (0: to the channel's empty value)."""
    ABSENT = 2
    """The channel has no value since this checkpoint. `prev` is 0 and `value` is empty."""


class Rank(Enum):
    """The progress of a task. `checkpointing.rules.standing` chooses between two records of a task.

    Stores hold the numbers. They have no order, so ranks cannot be compared.
    """

    FAILED = 0
    INTERRUPTED = 1
    """The task waits for an answer, or was stopped before it started."""
    HANDLING = 4
    """The last attempt at the node failed, and its error handler is pending."""
    ROUTING_OPEN = 2
    """The node is done and its writes are final; its routers have not returned yet."""
    DONE = 3


class ThreadRow(msgspec.Struct, frozen=True, gc=False):
    """A thread's row, which every commit compares and swaps.

    `thread` is its id, empty once the thread is deleted. `version` is the last assigned checkpoint number, over all
    namespaces; `head` the root namespace's newest checkpoint. `epoch` fences off outdated writers; each commit compares
    it, and it is no part of the row's digest. `wseq` counts the batches of task records since the last commit, `gen`
    the prunes. `incarnation` is drawn when the thread is created, and again after a deletion. `origin` is part of the
    digests of all its rows, and `copy_thread` keeps it. `floor` is the oldest root checkpoint that a prune kept (0: the
    thread was not pruned).

    The other fields are for operators who read the table with SQL, and for listings: `graph` (None: it has no name) and
    a digest of its nodes' names, the nodes that run next (see `next_nodes`), the run's metadata as a JSON object, and
    the error of a failed thread. `extra` is reserved for later fields: a msgpack array that only grows, or empty.
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


EMPTY_SUM = bytes(16)
"""A sum of digests over no rows."""


class Sums(msgspec.Struct, frozen=True, gc=False):
    """The digests in a thread's row of other rows: the task records of its head, the branches in the lineage of its
    version, and all accepted requests."""

    writes: bytes = EMPTY_SUM
    branches: bytes = EMPTY_SUM
    requests: bytes = EMPTY_SUM


class StoredThread(msgspec.Struct, frozen=True, gc=False):
    """A thread's row as the store has it, with the sums and the digest that the store keeps in it.

    A saver returns it, and the caller passes it on with its next unit or batch, as `base`: the saver then computes the
    next row without reading the thread, and its compare-and-swap is one comparison of the digest. `born` is the
    smallest number under which a task of the head's plan is recorded.

    It is a copy, and decides nothing: if the stored row has another digest, the saver reads it. The digest is empty if
    the saver has no use for it.
    """

    row: ThreadRow
    sums: Sums = Sums()
    born: int = 0
    digest: bytes = b""


class Summary(msgspec.Struct, frozen=True, gc=False):
    """The plain columns of a thread's row that a commit sets. See `ThreadRow`."""

    graph: str | None = None
    graph_digest: bytes = b""
    next: tuple[str, ...] = ()
    metadata: str = "{}"


MOST_NEXT_NODES = 100


def next_nodes(nodes: Iterable[str]) -> tuple[str, ...]:
    """The nodes of a plan for a thread's row: each name once, at most the first hundred names."""
    return tuple(dict.fromkeys(nodes))[:MOST_NEXT_NODES]


class CheckpointRow(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint of a namespace. `header` is the engine's encoded record (plan, step, metadata).

    `parent` is its parent checkpoint in the same namespace. `born` is the smallest number under which a task of its
    plan is recorded. `state_digest` is the sum over the last row of every channel, which reveals missing rows.
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
    """The change of a channel by a superstep."""

    channel: str
    no: int
    prev: int
    kind: ValueKind
    value: bytes
    digest: bytes


class TaskRecord(msgspec.Struct, frozen=True, gc=False):
    """The outcome of a task. Keyed by (thread, ns, born, ord): a task has one valid record. The engine encodes `value`.

    `revision` is the number of the record among those of the task, from 1: the writer of each record had read the
    record before it.
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
    """A request that the thread accepted once, under its caller's key.

    `input_digest` is the digest of the graph's name and of the input; `checkpoint` the checkpoint of the input; `seq`
    the run's number (0: there is none).
    """

    key: str
    input_digest: bytes
    seq: int
    checkpoint: int
    made_at: int
    digest: bytes
    extra: bytes = b""


class StoredRequests(msgspec.Struct, frozen=True, gc=False):
    """The result of looking up a request. If there is no request with the key, `digests` has the digests of all
    requests of the thread, computed from their rows, because any of them may have had the key. `requests_digest` is
    their expected sum."""

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
    """The rows of a commit, which are applied atomically.

    The unit applies only if the thread is at `expected` (0: it does not exist), with the same `epoch` and `wseq`, and,
    for a fork, the same `gen`. Afterwards the thread is at the number of the last checkpoint. Numbers ascend over all
    namespaces, possibly with gaps. `fork_of` is the checkpoint, of any namespace, at which a new branch starts; None
    continues the head's branch. Without a root checkpoint the head stays, or in a fork becomes the head at the time of
    `fork_of`. `summary` is None if the plain columns stay unchanged, as they do without a root checkpoint. `request` is
    the request with a key that this unit accepts. `base` is the thread as the saver returned it last, None if the
    caller has none: it saves the saver a query, and changes no result. `run` is the change of the run that a worker
    executes, `events` are events of it, and `taken` has the updates of the thread that the unit applies: they leave the
    inbox. `version` is the thread's version after the unit; it is computed.
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
    base: StoredThread | None = None
    run: RunUpdate | None = None
    events: tuple[EventRow, ...] = ()
    version: int = 0
    taken: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "version", self.checkpoints[-1].row.no)


class Committed(msgspec.Struct, frozen=True, gc=False, eq=False):
    """The unit is applied, by this call or by an earlier call with the same unit.

    `base` is the thread's row that results, for the caller's next unit. None: the saver does not return it, or the
    thread has changed since the unit was applied. It does not count in comparisons.
    """

    version: int
    base: StoredThread | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Committed) and self.version == other.version

    def __ne__(self, other: object) -> bool:
        # The base class has its own.
        return not self == other

    def __hash__(self) -> int:
        return hash(self.version)


class WritesMoved(msgspec.Struct, frozen=True, gc=False):
    """Not applied: the version matches, but another writer recorded tasks meanwhile. Load, adopt the records and retry.

    `is_cancelled`: the thread was cancelled, and the call must not be retried.
    """

    wseq: int
    is_cancelled: bool = False


class Conflict(msgspec.Struct, frozen=True, gc=False):
    """Not applied: the thread is at another version, epoch or (for a fork) generation, or its `fork_of` is pruned."""

    version: int


CommitResult = Committed | WritesMoved | Conflict


class WritesBatch(msgspec.Struct, frozen=True, gc=False):
    """Task records to save together at the checkpoint `expected`; `status` changes the thread's status, if it is set.

    The batch applies only if the thread is at `expected` with the same `epoch` and, if they are set, the same `wseq`
    and the status `if_status`: no other writer recorded tasks or changed the status since the thread was read. The
    batch is applied whole or not at all. `error` is the error text for the thread's row, together with a status. A
    cancelled thread stays cancelled unless the status is "running", or `if_status` is "cancelled". `request`, `base`,
    `run` and `events` are as in `CommitUnit`. `wakes_run`: an unfinished run of the thread that waits becomes ready.
    `taken` has the numbers of the messages that the batch takes from the thread's inbox.
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
    base: StoredThread | None = None
    run: RunUpdate | None = None
    wakes_run: bool = False
    taken: tuple[int, ...] = ()
    events: tuple[EventRow, ...] = ()


class Saved(msgspec.Struct, frozen=True, gc=False, eq=False):
    """The batch is durable. `standing` has the valid record for each of its records: another writer's may be first.

    `bumped` says whether this call changed `wseq`, which a repeated call does not. `is_cancelled`: the thread was
    cancelled, and its run has to end. `base` is as in `Committed`.
    """

    wseq: int
    bumped: bool
    standing: tuple[TaskRecord, ...]
    is_cancelled: bool = False
    base: StoredThread | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Saved) and self._facts() == other._facts()

    def __ne__(self, other: object) -> bool:
        # The base class has its own.
        return not self == other

    def __hash__(self) -> int:
        return hash(self._facts())

    def _facts(self) -> tuple[int, bool, tuple[TaskRecord, ...], bool]:
        return self.wseq, self.bumped, self.standing, self.is_cancelled


SaveResult = Saved | WritesMoved | Conflict


class NestedRecord(msgspec.Struct, frozen=True, gc=False):
    """The key and the stored digest of the record of a nested task or a call."""

    ns: str
    born: int
    ord: int
    digest: bytes


class StoredCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """The result of `load`: the thread, and a checkpoint with the rows of its state.

    `checkpoint` is None if the thread is deleted, or has no such checkpoint. `values` has, for every channel, its last
    row and the chain of rows before it (`prev`). `records` are the task records from `checkpoint.born` to its `no`.
    `writes_digest` is the expected sum over `records` and the records of nested tasks and calls since then; the thread
    keeps the sum for its head only. `nested` has the keys of the latter; their records are read from their namespaces.
    `base` is the thread for the caller's next unit, if the checkpoint is the head of the outermost graph and the saver
    returns it. `unfinished_run` is the number of the thread's first run that has not ended (0: there is none).
    """

    thread: ThreadRow
    checkpoint: CheckpointRow | None
    values: tuple[ValueRow, ...] = ()
    records: tuple[TaskRecord, ...] = ()
    writes_digest: bytes | None = None
    nested: tuple[NestedRecord, ...] = ()
    base: StoredThread | None = None
    unfinished_run: int = 0


class HistoryPage(msgspec.Struct, frozen=True, gc=False):
    """A page of a thread's checkpoints, newest first, with the rows of each state.

    `values` has the rows that the page's checkpoints wrote. `bases` has, for each parent that is not on the page, the
    rows that `load` would return for it; if the parent was pruned, at least the rows that its child still needs.
    `older` is the `before` of the next page, 0 at the end.

    `before` is the number with which the page was requested, None for the first page (0: not set by its maker). On the
    first page `values` has all rows since its oldest checkpoint, including those of missing checkpoints. If the page
    has the thread's head, `head_records` are the task records that the head's sum `writes_digest` covers.
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
    """A thread in a listing. `since` is the time when its status changed; times are in microseconds since 1970.

    `graph` is the name of the graph that created it (None: it has none), `next` the nodes that run next (at most a
    hundred names), `metadata` the newest run's metadata, `error` the error of a failed thread. The other fields are as
    in its row.

    For a `damaged` thread only the id and the description of the damage (`damage`) are set.
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
    """The checkpoint id for a number: opaque to callers, and its text order is the order of the numbers."""
    return f"{no:0{_ID_DIGITS}d}"


NO_TEXT = "it has a lone surrogate, which no store can hold"
"""The reason in errors for names that are not `is_text`."""


def is_text(text: str) -> bool:
    """Whether every store can hold the text: it has no lone surrogates, which UTF-8 cannot encode."""
    # Most names are ASCII, and need no loop over their characters.
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def checkpoint_no(text: str) -> int | None:
    """The number of a checkpoint id, None if the text is no checkpoint id."""
    return int(text) if len(text) == _ID_DIGITS and text.isascii() and text.isdigit() and int(text) > 0 else None
