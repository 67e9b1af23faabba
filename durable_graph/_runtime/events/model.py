"""What a run tells while it runs. Result events follow the commit: what they say is durable, unless `provisional`."""

import time
from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

from durable_graph._runtime.request.callbacks import Origin
from durable_graph.graph import Interrupt


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Every event names its thread (None without checkpointer), namespace and superstep.

    `ns` is empty for the outermost graph, and for a nested one has a part for each node that it is nested in. `at` is
    when the event was made, in seconds since the epoch. `provisional` is true where it precedes its commit, which only
    `durability="exit"` allows.
    """

    thread_id: str | None
    ns: tuple[str, ...] = ()
    step: int
    at: float = msgspec.field(default_factory=time.time)
    provisional: bool = False


class AboutTask(TypedDict):
    """What every event of a task says: whose it is, and which attempt."""

    thread_id: str | None
    ns: tuple[str, ...]
    step: int
    task_id: str
    node: str
    attempt: int


class TaskStarted(Event, frozen=True, kw_only=True, tag="task_started"):
    """A node is about to run, with `input`; or a `@task` that it calls, with `(args, kwargs)`.

    `metadata` is the node's own and the run's.
    """

    task_id: str
    node: str
    attempt: int
    input: Any = None
    triggers: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)


class TaskFinished(Event, frozen=True, kw_only=True, tag="task_finished"):
    """A node returned and its result is recorded.

    `update` maps the state's keys to what it wrote: a list of such dicts where it wrote a key more than once, None if
    nothing, and what it returned for an entrypoint or a `@task`. `result` has the same as (key, value) pairs.
    `is_cached`: a cache had the result, and the node did not run.
    """

    task_id: str
    node: str
    attempt: int
    update: Any
    result: tuple[tuple[str, Any], ...] = ()
    is_cached: bool = False


class TaskInterrupted(Event, frozen=True, kw_only=True, tag="task_interrupted"):
    """A node waits for answers to what it asked. Without `interrupts`, a graph inside it stopped at a breakpoint."""

    task_id: str
    node: str
    attempt: int
    interrupts: tuple[Interrupt, ...]


class CustomEvent(Event, frozen=True, kw_only=True, tag="custom"):
    """Something that a node told the reader."""

    task_id: str
    node: str
    data: Any


class MessageEvent(Event, frozen=True, kw_only=True, tag="message"):
    """A message, or a piece of one.

    `origin` says how it came: a node told it (`push_message`), a model that a node called streamed it, or a node
    returned it, then whole; one that was streamed before has the id of its pieces.
    """

    task_id: str
    node: str
    message: Any
    metadata: Mapping[str, Any]
    origin: Origin = "pushed"


class RunInterrupted(Event, frozen=True, kw_only=True, tag="run_interrupted"):
    """The run stops for answers to `interrupts`, or at a breakpoint if there are none.

    `values` is the state with the writes of the tasks that finished in the open superstep; `changed_keys` are the keys
    that these tasks wrote.
    """

    interrupts: tuple[Interrupt, ...]
    values: Any
    next: tuple[str, ...]
    changed_keys: tuple[str, ...] = ()


class RunDrained(Event, frozen=True, kw_only=True, tag="run_drained"):
    """The run stops because it was asked to."""

    reason: str


class ReaderGap(Event, frozen=True, kw_only=True, tag="reader_gap"):
    """So many events were dropped here, because the reader was slow. What they told of is in the store."""

    dropped: int


class TaskFailed(Event, frozen=True, kw_only=True, tag="task_failed"):
    """A node raised. `error` is shown, not raised: the run raises it.

    If it `will_retry`, the next attempt is due at `retry_at`, in seconds since the epoch.
    """

    task_id: str
    node: str
    attempt: int
    error: str
    will_retry: bool = False
    retry_at: float | None = None


class PlannedTask(msgspec.Struct, frozen=True):
    """A task that runs next. `checkpoint_ns` leads to the state of the graph inside it, None if there is none."""

    id: str
    name: str
    checkpoint_ns: str | None = None


class CheckpointCommitted(Event, frozen=True, kw_only=True, tag="checkpoint_committed"):
    """The thread has a new checkpoint. `values` is the state, of which this superstep wrote `changed_keys`.

    `writers` are the nodes that wrote, `next` those that run next. Without a checkpointer it says that a superstep
    ended, and `checkpoint_id` is None.
    """

    checkpoint_id: str | None
    source: str
    values: Any
    next: tuple[str, ...]
    changed_keys: tuple[str, ...] = ()
    parent_checkpoint_id: str | None = None
    tasks: tuple[PlannedTask, ...] = ()
    writers: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)


class RunResumed(Event, frozen=True, kw_only=True, tag="run_resumed"):
    """A run goes on from a checkpoint, whose state is `values`.

    `recorded` are the nodes of its superstep whose results are kept.
    """

    checkpoint_id: str
    values: Any
    recorded: tuple[str, ...]
    next: tuple[str, ...]


class AnswersRecorded(Event, frozen=True, kw_only=True, tag="answers_recorded"):
    """A call's answers to the questions `answered` are recorded, and the call ends: a run is at work on the thread, and
    goes on with them. If that run was killed, `ainvoke(None)` does."""

    answered: tuple[str, ...]


AnyEvent = (
    TaskStarted
    | TaskFinished
    | TaskInterrupted
    | TaskFailed
    | CheckpointCommitted
    | RunResumed
    | RunInterrupted
    | RunDrained
    | AnswersRecorded
    | CustomEvent
    | MessageEvent
    | ReaderGap
)
