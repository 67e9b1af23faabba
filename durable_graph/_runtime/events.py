"""What a run tells while it runs. Result events follow the commit: what they say is durable, unless `provisional`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from durable_graph.graph import Interrupt


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Every event names its thread (None without checkpointer), namespace and superstep.

    `provisional` is true where it precedes its commit, which only `durability="exit"` allows.
    """

    thread_id: str | None
    ns: tuple[str, ...] = ()
    step: int
    provisional: bool = False


class TaskStarted(Event, frozen=True, kw_only=True, tag="task_started"):
    """A node is about to run, with `input`."""

    task_id: str
    node: str
    attempt: int
    input: Any = None
    triggers: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)


class TaskFinished(Event, frozen=True, kw_only=True, tag="task_finished"):
    """A node returned and its result is recorded. `update` maps the state's keys to what it wrote, None if nothing."""

    task_id: str
    node: str
    attempt: int
    update: Any
    result: Any = None
    is_cached: bool = False


class TaskInterrupted(Event, frozen=True, kw_only=True, tag="task_interrupted"):
    """A node waits for answers to what it asked."""

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
    """A message, or a piece of one, that a node told the reader."""

    task_id: str
    node: str
    message: Any
    metadata: Mapping[str, Any]


class RunInterrupted(Event, frozen=True, kw_only=True, tag="run_interrupted"):
    """The run stops for answers to `interrupts`, or at a breakpoint if there are none."""

    interrupts: tuple[Interrupt, ...]
    values: Any
    next: tuple[str, ...]


class RunDrained(Event, frozen=True, kw_only=True, tag="run_drained"):
    """The run stops because it was asked to."""

    reason: str


class ReaderGap(Event, frozen=True, kw_only=True, tag="reader_gap"):
    """So many events were dropped here, because the reader was slow."""

    dropped: int


class TaskFailed(Event, frozen=True, kw_only=True, tag="task_failed"):
    """A node raised. `error` is shown, not raised: the run raises it."""

    task_id: str
    node: str
    attempt: int
    error: str
    will_retry: bool = False
    retry_at: float | None = None


class CheckpointCommitted(Event, frozen=True, kw_only=True, tag="checkpoint_committed"):
    """The thread has a new checkpoint. `changed` tells whether it changed `values`; `next` are the nodes that run next.

    Without a checkpointer it says that a superstep ended, and `checkpoint_id` is None.
    """

    checkpoint_id: str | None
    source: str
    values: Any
    changed: bool
    next: tuple[str, ...]
    parent_checkpoint_id: str | None = None
    tasks: tuple[tuple[str, str], ...] = ()
    writers: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)


class RunResumed(Event, frozen=True, kw_only=True, tag="run_resumed"):
    """A run goes on from a checkpoint. `recorded` are the nodes of its superstep whose results are kept."""

    checkpoint_id: str
    values: Mapping[str, Any]
    recorded: tuple[str, ...]
    next: tuple[str, ...]


AnyEvent = (
    TaskStarted
    | TaskFinished
    | TaskInterrupted
    | TaskFailed
    | CheckpointCommitted
    | RunResumed
    | RunInterrupted
    | RunDrained
    | CustomEvent
    | MessageEvent
    | ReaderGap
)
