"""The events of a run. A result's event is emitted after its commit: the result is durable, unless `provisional`."""

import time
from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

from durable_graph._runtime.request.callbacks import Origin
from durable_graph.graph import Interrupt


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Every event names its thread (None without checkpointer), namespace and superstep.

    `ns` is empty for the outermost graph; for a nested graph it has a part for each node around it. `at` is the time of
    the event, in seconds since the epoch. `provisional` is true if the event precedes its commit, which only
    `durability="exit"` allows.
    """

    thread_id: str | None
    ns: tuple[str, ...] = ()
    step: int
    at: float = msgspec.field(default_factory=time.time)
    provisional: bool = False


class AboutTask(TypedDict):
    """The fields that all events of one attempt at a task have in common."""

    thread_id: str | None
    ns: tuple[str, ...]
    step: int
    task_id: str
    node: str
    attempt: int


class TaskStarted(Event, frozen=True, kw_only=True, tag="task_started"):
    """A node starts with `input`, or a `@task` that it calls starts with `(args, kwargs)`.

    `metadata` joins the node's metadata and the run's.
    """

    task_id: str
    node: str
    attempt: int
    input: Any = None
    triggers: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)


class TaskFinished(Event, frozen=True, kw_only=True, tag="task_finished"):
    """A node returned and its result is recorded.

    `update` maps the state's keys to the node's writes. It is a list of such dicts if the node wrote a key more than
    once, None without writes, and the returned value for an entrypoint or a `@task`. `result` has the same as
    (key, value) pairs. `is_cached`: the result comes from a cache, and the node did not run.
    """

    task_id: str
    node: str
    attempt: int
    update: Any
    result: tuple[tuple[str, Any], ...] = ()
    is_cached: bool = False


class TaskInterrupted(Event, frozen=True, kw_only=True, tag="task_interrupted"):
    """A node waits for answers to `interrupts`. Without any, a graph inside the node stopped at a breakpoint."""

    task_id: str
    node: str
    attempt: int
    interrupts: tuple[Interrupt, ...]


class CustomEvent(Event, frozen=True, kw_only=True, tag="custom"):
    """Data that a node wrote to the stream with its `StreamWriter`."""

    task_id: str
    node: str
    data: Any


class MessageEvent(Event, frozen=True, kw_only=True, tag="message"):
    """A message, or a chunk of one.

    `origin` is "pushed" if a node called `push_message`, "streamed" if a chat model called by a node streamed a chunk,
    and "returned" if a node returned a whole message. A returned message has the id of its streamed chunks.
    """

    task_id: str
    node: str
    message: Any
    metadata: Mapping[str, Any]
    origin: Origin = "pushed"


class RunInterrupted(Event, frozen=True, kw_only=True, tag="run_interrupted"):
    """The run stops for answers to `interrupts`, or at a breakpoint if there are none.

    `values` is the state with the writes of the tasks that finished in the current superstep; `changed_keys` are the
    keys that these tasks wrote.
    """

    interrupts: tuple[Interrupt, ...]
    values: Any
    next: tuple[str, ...]
    changed_keys: tuple[str, ...] = ()


class RunDrained(Event, frozen=True, kw_only=True, tag="run_drained"):
    """The run stops because it was drained, for `reason`."""

    reason: str


class ReaderGap(Event, frozen=True, kw_only=True, tag="reader_gap"):
    """The number of events that were dropped here, because the reader was slow. The store has the results."""

    dropped: int


class TaskFailed(Event, frozen=True, kw_only=True, tag="task_failed"):
    """A node raised. `error` is the error as text; the run raises the error itself.

    If the node `will_retry`, the next attempt is due at `retry_at`, in seconds since the epoch.
    """

    task_id: str
    node: str
    attempt: int
    error: str
    will_retry: bool = False
    retry_at: float | None = None


class PlannedTask(msgspec.Struct, frozen=True):
    """A task that runs next. `checkpoint_ns` is the namespace of the graph inside it, None if there is none."""

    id: str
    name: str
    checkpoint_ns: str | None = None


class CheckpointCommitted(Event, frozen=True, kw_only=True, tag="checkpoint_committed"):
    """The thread has a new checkpoint. `values` is the state, of which this superstep wrote `changed_keys`.

    `writers` are the nodes that wrote, `next` the nodes that run next. Without a checkpointer the event marks the end
    of a superstep, and `checkpoint_id` is None.
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
    """A run resumes at a checkpoint, whose state is `values`.

    `recorded` are the nodes of its superstep whose results are recorded and reused.
    """

    checkpoint_id: str
    values: Any
    recorded: tuple[str, ...]
    next: tuple[str, ...]


class AnswersRecorded(Event, frozen=True, kw_only=True, tag="answers_recorded"):
    """A call's answers to the interrupts `answered` are recorded, and the call ends: another run executes the thread,
    and continues with them. If that run was killed, `ainvoke(None)` resumes the thread."""

    answered: tuple[str, ...]


class EventsRetracted(Event, frozen=True, kw_only=True, tag="events_retracted"):
    """The custom events and messages of this task with smaller ids are void: another attempt at the task starts, after
    a failure, an answer or the end of a process. Its other events stay valid. Only event logs have it."""

    task_id: str
    node: str


class LoggedEvent(msgspec.Struct, frozen=True):
    """An event of a run in its log. `id` grows from event to event of the thread, and is the same in every process."""

    id: int
    event: Event


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
