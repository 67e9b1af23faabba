"""The protocol of the event log of runs: a power of a saver, which `isinstance(saver, KeepsEvents)` finds.

An event id is `version * 2**20 + position`: the thread's version when it was emitted, and its position there. The
events that a checkpoint implies are stored nowhere else; they have the positions below `FIRST_ROW`, at the number of
the checkpoint. All other events are rows. Only the holder of a run assigns their positions, so ids increase.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Protocol, runtime_checkable

import msgspec

from durable_graph.records import TaskRecord
from durable_graph.run_records import EventRow, RunState

POSITIONS = 1 << 20
"""The number of positions of a version."""

FIRST_ROW = 1 << 19
"""The position of the first stored event of a version. Lower positions belong to events of its checkpoint."""

MOST_ID = (1 << 53) - 1
"""The largest id, which every JavaScript program can hold."""


def event_id(version: int, position: int) -> int:
    """The id of an event."""
    return version * POSITIONS + position


def place_of(event: int) -> tuple[int, int]:
    """The version and the position of an event."""
    return divmod(event, POSITIONS)


class MadeCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint that was committed: its number, its namespace and its parent."""

    no: int
    ns: str
    parent: int


class LoggedRow(msgspec.Struct, frozen=True, gc=False):
    """A stored event. `record` is the task's record, for an event that is a result."""

    row: EventRow
    record: TaskRecord | None = None


class EventPage(msgspec.Struct, frozen=True, gc=False):
    """The new checkpoints and the new rows of a run, in the order of their numbers and ids, as of one moment.

    `version` is the thread's, `origin` is part of the digests of its rows. The run is in `state`; its checkpoints are
    those from `first_checkpoint` (0: there is none yet) to before `until` (0: no other run has followed), and to
    `checkpoint` if it is done.
    """

    version: int
    origin: bytes
    state: RunState
    first_checkpoint: int
    checkpoint: int
    until: int
    checkpoints: tuple[MadeCheckpoint, ...] = ()
    rows: tuple[LoggedRow, ...] = ()


class OpenEvents(msgspec.Struct, frozen=True, gc=False):
    """Where a holder of a run continues its events: the place of the last row of the thread's version, and the tasks
    of the pending superstep whose custom events and messages are not void."""

    version: int
    position: int
    tasks: frozenset[str]


class Follow(msgspec.Struct, frozen=True, gc=False):
    """A follower for a run. `rows` are events about what is recorded since the last checkpoint, for a run that no
    worker holds; they hold if the thread is at `version` with this `epoch` and `wseq`. The store assigns their
    positions."""

    thread: str
    seq: int
    version: int = 0
    epoch: int = 0
    wseq: int = 0
    rows: tuple[EventRow, ...] = ()


ASKED, STORED = 1, 2
"""Values of `followed` in a run's row. ASKED: the run has a follower. STORED: its holder has stored an event, or the
follower has."""


class Followed(Enum):
    """The result of a `Follow`."""

    NEW = 0
    """The rows are stored, and so are the events of its next holder."""
    KNOWN = 1
    """The events of the run are stored already."""
    HELD = 2
    """A worker holds the run, and has stored no event yet: it stores events from its next heartbeat on. If the run
    stops before that heartbeat, the follower calls again."""
    MOVED = 3
    """Nothing was changed: the thread has changed since the caller read it."""
    NO_RUN = 4


@runtime_checkable
class EventLog(Protocol):
    """The stored events of runs, in the same place as their threads. Every method may be called again with the same
    arguments."""

    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        """The checkpoints of the thread from the version of the event `after` on, and the run's rows after that event,
        up to `limit` of each. None if there is no such run."""
        ...

    async def results(self, thread: str, seq: int, until: int) -> list[tuple[str, int, int]]:
        """The keys of the tasks' records whose results are events of the run with ids up to `until`, at least those of
        the supersteps that were not over at that event."""
        ...

    async def open_events(self, thread: str, seq: int) -> OpenEvents | None:
        """Where a holder continues the run's events. None if there is no such run."""
        ...

    async def append(self, thread: str, epoch: int, rows: Sequence[EventRow]) -> bool:
        """Store events of one run, in one transaction, and note that its events are stored. False, and nothing is
        stored, if the thread's epoch is another, or the run waits or has ended: the caller does not hold it any more.

        A run whose worker lost its lease is held by it until another worker claims it: as its commits, so its events.
        """
        ...

    async def follow(self, follow: Follow) -> Followed:
        """Request that the events of the run are stored from now on."""
        ...

    async def remove_events(self, thread: str, seq: int) -> int:
        """Remove the run's rows. Returns their number."""
        ...


@runtime_checkable
class KeepsEvents(Protocol):
    """A saver with the power to keep the events of runs: `isinstance(saver, KeepsEvents)`."""

    @property
    def events(self) -> EventLog:
        """The events of the runs of the saver's threads."""
        ...
