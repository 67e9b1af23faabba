"""What a run tells while it runs. Result events follow the commit: what they say is durable, unless `provisional`."""

from collections.abc import Mapping
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Every event names its thread (None without checkpointer), namespace and superstep.

    `provisional` is true where it precedes its commit, which only `durability="exit"` allows.
    """

    thread_id: str | None
    ns: tuple[str, ...] = ()
    step: int
    provisional: bool = False


class TaskStarted(Event, frozen=True, kw_only=True, tag="task_started"):
    """A node is about to run."""

    task_id: str
    node: str
    attempt: int


class TaskFinished(Event, frozen=True, kw_only=True, tag="task_finished"):
    """A node returned and its result is recorded. `update` maps the state's keys to what it wrote, None if nothing."""

    task_id: str
    node: str
    attempt: int
    update: Mapping[str, Any] | None


class TaskFailed(Event, frozen=True, kw_only=True, tag="task_failed"):
    """A node raised. `error` is shown, not raised: the run raises it."""

    task_id: str
    node: str
    attempt: int
    error: str


class CheckpointCommitted(Event, frozen=True, kw_only=True, tag="checkpoint_committed"):
    """The thread has a new checkpoint. `changed` tells whether it changed `values`; `next` are the nodes that run next.

    Without a checkpointer it says that a superstep ended, and `checkpoint_id` is None.
    """

    checkpoint_id: str | None
    source: str
    values: Mapping[str, Any]
    changed: bool
    next: tuple[str, ...]


class RunResumed(Event, frozen=True, kw_only=True, tag="run_resumed"):
    """A run goes on from a checkpoint. `recorded` are the nodes of its superstep whose results are kept."""

    checkpoint_id: str
    values: Mapping[str, Any]
    recorded: tuple[str, ...]
    next: tuple[str, ...]


AnyEvent = TaskStarted | TaskFinished | TaskFailed | CheckpointCommitted | RunResumed
