"""The stored rows of runs, workers and leases, as plain values and bytes.

A run is one accepted input of a thread. Its row outlives the process that executes it. Times are integers, microseconds
since the epoch in UTC, by the store's clock.
"""

from enum import Enum, IntEnum
from typing import Final, Literal

import msgspec

from durable_graph.queue_records import QueueLimits

NEVER = 1 << 62
"""The `due` of a run that nothing but a message, an answer or a call wakes; the `deadline` of a run without one."""


class RunState(IntEnum):
    """Who has to act on a run. The thread's status says how the thread stands."""

    READY = 0
    """A worker may claim it from `due` on."""
    RUNNING = 1
    """The worker in its row executes it, as long as the worker's lease lasts."""
    WAITING = 2
    """It waits for an answer or a message, or until `due`."""
    BLOCKED = 3
    """An earlier run of its thread has not ended."""
    DONE = 4
    FAILED = 5
    CANCELLED = 6
    QUARANTINED = 7
    """Too many workers ended while they executed it. It stays out of its queue until it is retried."""

    @property
    def is_ended(self) -> bool:
        """Whether the run has ended; a quarantined run has, until it is retried."""
        return self >= RunState.DONE


class RequestOfRun(IntEnum):
    """What the worker of a running run is asked for."""

    NOTHING = 0
    CANCEL = 1
    APPLY_UPDATES = 3
    """An update of its thread is in the inbox. Every unfinished run of the thread has this request until a commit has
    taken the last update, unless it has another request."""


UPDATES: Final = "__update__"
"""The topic of updates: changes of a thread's state, and nodes to run next, that its run applies between two
supersteps."""


IfBusy = Literal["wait", "reject", "interrupt", "rollback"]
"""What a new run does while an earlier run of its thread has not ended: it waits for its end, or is refused, or cancels
it, or cancels it and begins from the checkpoint before it."""


class NewRun(msgspec.Struct, frozen=True, gc=False):
    """A run to accept. The store assigns its `seq` and its times.

    `input` is encoded, and `options` too (see `durable_graph.runs`). `input_digest` is the digest of the graph and the
    input: a repetition with the same `key` must have the same. `priority` is 0 (first) to 4. The run is due `delay`
    microseconds after its acceptance, and its deadline is `time_limit` microseconds after that (0: none).
    `if_busy` decides while an earlier run of the thread has not ended. `metadata` is a JSON object, or empty.
    `parent_key` and `parent_seq` are the thread's key and the number of its parent (0: it has no parent), and
    `on_parent` says what happens to the run when its parent is cancelled (1: it is cancelled too).
    `formerly` has the earlier names of the graph. `incarnation` and `origin` are for a thread that does not exist.
    `epoch` and `token` are random; the token tells a repeated call from another one. `limit_key` is 0 for a run in the
    queue of its graph, and the value of `queue_rules.stored_key` for a run in a queue with limits, which `QueueStore`
    claims.
    """

    thread: str
    graph: str
    queue: str
    input: bytes
    input_digest: bytes
    options: bytes
    incarnation: int
    origin: bytes
    epoch: int
    token: bytes
    formerly: tuple[str, ...] = ()
    key: str | None = None
    context: bytes = b""
    priority: int = 2
    delay: int = 0
    time_limit: int = 0
    if_busy: IfBusy = "wait"
    metadata: str = ""
    limit_key: int = 0
    parent_key: int = 0
    parent_seq: int = 0
    on_parent: int = 0


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """The result of accepting a run.

    `is_new` is False if the thread had accepted a request with the key before: `seq` is then that of its run (0: the
    request was not a run), and `input_digest` is its digest, which the caller compares. If the run was refused,
    `seq` is 0 and the reason is set: `busy_seq` is the thread's unfinished run, `stored_graph` the other graph that the
    thread belongs to, `lost_before` the first checkpoint of the run whose earlier checkpoint was removed, so that it
    cannot be rolled back.
    """

    seq: int
    is_new: bool
    state: RunState
    input_digest: bytes = b""
    busy_seq: int = 0
    stored_graph: str | None = None
    lost_before: int = 0


class EventKind(IntEnum):
    """What a stored event is."""

    RESULT = 1
    """A task's result is durable: the record of the task has it, and the event has no value."""
    OUTCOME = 2
    """An attempt at a task failed, or asks a question. The value has a copy of the record, which later attempts
    replace."""
    CUSTOM = 3
    MESSAGE = 4
    RETRACTED = 5
    """A task runs again: its earlier custom and message events are void."""
    WAITING = 6
    """The run waits, for answers or at a breakpoint."""


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """An event of the run `seq` that no checkpoint implies, emitted when the thread was at `version`.

    Its id is made of `version` and `position`. `epoch` is that of the execution that emitted it. `ns`, `born` and `ord`
    are the key of the task's record, for events about one; `task` is the id of the task that a custom event, a message
    or a retraction is of. `value` is encoded.
    """

    seq: int
    version: int
    position: int
    epoch: int
    kind: EventKind
    value: bytes = b""
    ns: str = ""
    born: int = 0
    ord: int = 0
    task: str = ""


class RunUpdate(msgspec.Struct, frozen=True, gc=False):
    """The change of a run by a commit or a save of its thread, in the same transaction.

    `first_checkpoint` is the checkpoint that the input became: the row then gives its input up (0: no change).
    `checkpoint` is the checkpoint that the run is at (0: no change). A run that becomes WAITING is due at `due`; it
    becomes READY instead if a message arrived since the execution read its inbox, whose counter was `inbox`, or if its
    holder was asked for something. A run that becomes DONE becomes READY instead if it has the request APPLY_UPDATES:
    an update is left to apply. `waits_on` says what it waits for: see `WaitsOn`. `error` is the text of a failure.
    `has_parent`: the end of the run is sent to its parent. A run that becomes READY with an `input` continues as new
    with this input.
    """

    seq: int
    state: RunState
    checkpoint: int = 0
    first_checkpoint: int = 0
    due: int = NEVER
    inbox: int = 0
    error: str | None = None
    waits_on: str | None = None
    has_parent: bool = False
    input: bytes | None = None


class WaitsOn(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a waiting run waits for, in its row as JSON: the topics of messages, and the ids of interrupts, of which at
    most 100 are stored."""

    topics: tuple[str, ...] = ()
    interrupts: tuple[str, ...] = ()


class RunRow(msgspec.Struct, frozen=True, gc=False):
    """A run's row, without its input, options and context.

    `attempt` counts its claims; `crashes` the claims in a row whose worker ended without progress. `claimed_version` is
    the thread's version at the last claim or crash. `worker` is 0 and `worker_name` is empty if no worker holds it.
    `request` is what the worker is asked for. `waits_on` is what a waiting run waits for, `metadata` the JSON object
    that its caller gave. A run that has not begun begins from `from_checkpoint` (0: from an empty state; None: from
    the head). `parent_key`, `parent_seq` and `on_parent` are as in `NewRun`.
    """

    thread: str
    seq: int
    state: RunState
    priority: int
    due: int
    deadline: int
    first_checkpoint: int
    checkpoint: int
    claimed_version: int
    attempt: int
    crashes: int
    inbox: int
    worker: int
    request: int
    accepted_at: int
    ended_at: int
    queue: str
    graph: str
    error: str | None
    waits_on: str | None = None
    metadata: str | None = None
    from_checkpoint: int | None = None
    parent_key: int = 0
    parent_seq: int = 0
    on_parent: int = 0
    worker_name: str = ""


class FreshThread(msgspec.Struct, frozen=True, gc=False):
    """The parts of the row of a thread without a checkpoint that its runs do not have: the thread needs no load."""

    incarnation: int
    created_at: int
    requests_digest: bytes
    digest: bytes


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A run that a worker has claimed: the run is RUNNING, and the thread has a new epoch, so that the commits of
    earlier holders are refused.

    `version` is the thread's, and `fresh` parts of its row if that is 0. `now` is the store's time of the claim.
    `from_checkpoint` and `parent_key` are as in `RunRow`. `followed` is 1 if the run has a follower, and 2 if its
    events are stored already. `queue` is set by `QueueStore.claim` only.
    """

    thread: str
    seq: int
    graph: str
    input: bytes
    options: bytes
    context: bytes
    first_checkpoint: int
    checkpoint: int
    deadline: int
    attempt: int
    crashes: int
    inbox: int
    request: int
    from_checkpoint: int | None
    epoch: int
    version: int
    now: int
    followed: int = 0
    parent_key: int = 0
    fresh: FreshThread | None = None
    queue: str = ""


class NewWorker(msgspec.Struct, frozen=True, gc=False):
    """A worker to register: a process that executes runs. `id` is random. Its lease lasts `ttl` microseconds. `queues`
    are those that it serves."""

    id: int
    ttl: int
    name: str
    queues: tuple[str, ...] = ()


class Heartbeat(msgspec.Struct, frozen=True, gc=False):
    """The result of renewing a lease. `requests` has what the worker is asked for, by thread and run, and `followed`
    the followed runs."""

    requests: tuple[tuple[str, int, int], ...] = ()
    followed: tuple[tuple[str, int], ...] = ()


class Swept(msgspec.Struct, frozen=True, gc=False):
    """The result of a sweep: the workers whose lease had ended, the runs that others may claim now, and the runs that
    were quarantined."""

    workers: int = 0
    ready: int = 0
    quarantined: int = 0


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """The end or suspension of a run that no commit carries. It applies only while `worker` holds the run by the claim
    number `attempt`. A run that is released is due `delay` microseconds later."""

    thread: str
    seq: int
    worker: int
    attempt: int
    state: RunState
    due: int = NEVER
    inbox: int = 0
    error: str | None = None
    delay: int = 0
    waits_on: str | None = None


class NewMessage(msgspec.Struct, frozen=True, gc=False):
    """A message for the runs of a thread. `key` tells it from the other messages of its topic: a message whose key is
    known is not sent again. `value` is encoded."""

    thread: str
    topic: str
    key: str
    value: bytes


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message that no run has taken yet. `seq` is its number in its thread, in the order of arrival."""

    seq: int
    topic: str
    value: bytes
    key: str


class Sent(Enum):
    """What became of a message."""

    NEW = 0
    KNOWN = 1
    """A message with its key was sent before."""
    NO_THREAD = 2
    NO_RUN = 3
    """The thread has no unfinished run."""
    CANCELLED = 4
    """The thread has no unfinished run, and is cancelled."""


class Discarded(Enum):
    """What became of a request to discard a message."""

    DISCARDED = 0
    NO_MESSAGE = 1
    """No such message is in the inbox: it was never sent, or a run has taken it, or it was discarded before."""
    NO_THREAD = 2
    RUNNING = 3
    """A worker executes the thread's run, and may be about to take the message."""


class QueueStats(msgspec.Struct, frozen=True, gc=False):
    """The runs of a queue: their number by state (those that have not ended, and the quarantined), and the time since
    which the oldest due run waits (0: none does).

    `limits` are the limits that hold, and `declared_at` is the time of their declaration (None and 0: the queue was not
    declared). `workers` is the number of living workers that serve the queue: without one, its runs stay ready.
    """

    queue: str
    ready: int = 0
    running: int = 0
    waiting: int = 0
    blocked: int = 0
    quarantined: int = 0
    oldest_due: int = 0
    limits: QueueLimits | None = None
    declared_at: int = 0
    workers: int = 0
