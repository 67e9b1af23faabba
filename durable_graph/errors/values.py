"""Values that cannot be stored, and stored bytes that cannot be read."""

from typing import Literal

from durable_graph.errors.tree import DurableGraphError, quoted, with_article


class UnstorableValueError(DurableGraphError, TypeError):
    """A value that could not be restored equal and of the same type, refused before anything was stored.

    `channel` names the channel or argument, `path` the place inside the value (`""` for the value itself).
    """

    def __init__(self, *, channel: str, path: str, type_name: str, why: str, remedy: str) -> None:
        self.channel = channel
        self.path = path
        self.type_name = type_name
        self.why = why
        self.remedy = remedy
        super().__init__(f"{channel}{path} is {with_article(type_name)} and cannot be stored: {why}; {remedy}")


class ValueTooLargeError(DurableGraphError, ValueError):
    """A value over the checkpointer's size limit. Sizes are in bytes, encoded.

    `is_stored`: the value is in the store, and was not read. Otherwise the call would have written it.
    """

    def __init__(self, *, channel: str, size: int, limit: int, is_stored: bool = False) -> None:
        self.channel = channel
        self.size = size
        self.limit = limit
        self.is_stored = is_stored
        remedy = "store it elsewhere and keep a reference in the state, or raise the checkpointer's max_value_bytes"
        if is_stored:
            remedy = "it was not read: open the checkpointer with a max_value_bytes of at least its size"
        super().__init__(f"the value for {channel} takes {size} bytes and the limit is {limit}; {remedy}")


class DecodeError(DurableGraphError, ValueError):
    """Stored bytes that are not a value of the declared type."""

    def __init__(self, channel: str, why: str) -> None:
        self.channel = channel
        self.why = why
        super().__init__(f"the bytes stored for {channel} cannot be read: {why}")


class CorruptCheckpointError(DurableGraphError):
    """A stored row is damaged or missing. No other row replaces it. Other checkpoints and threads stay usable."""

    def __init__(
        self, thread_id: str, *, row: str, why: str, checkpoint_id: str | None = None, way_out: str | None = None
    ) -> None:
        """`way_out` is what helps besides a backup, if the row has a remedy of its own."""
        self.thread_id = thread_id
        self.row = row
        self.why = why
        self.checkpoint_id = checkpoint_id
        at = f", checkpoint {checkpoint_id!r}" if checkpoint_id else ""
        if way_out is None:
            is_one = checkpoint_id is not None
            way_out = "fork from an older checkpoint" if is_one else "delete the thread if no checkpoint can be read"
        super().__init__(f"thread {thread_id!r}{at}: {row} is damaged ({why}); restore it from a backup or {way_out}")


class DamagedRowError(DurableGraphError):
    """The stored row of a schedule, a queue or a worker is damaged. Other schedules and queues stay usable.

    `name` is that of the schedule, the queue or the worker, and `why` says which part.
    """

    def __init__(self, kind: Literal["schedule", "queue", "worker"], name: str, *, why: str) -> None:
        self.kind: Literal["schedule", "queue", "worker"] = kind
        self.name = name
        self.why = why
        way_out = {
            "schedule": "delete the schedule and declare it again",
            "queue": "start a worker that declares the queue",
            "worker": "start the worker again",
        }[kind]
        super().__init__(
            f"the row of {kind} {quoted(name, 100)} is damaged ({why}); restore it from a backup or {way_out}"
        )
