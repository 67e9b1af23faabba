"""The run that a worker executes, as the commits and saves of its execution change it."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import msgspec

from durable_graph.checkpointing import Checkpointer
from durable_graph.graph.entrypoints import CONTINUED
from durable_graph.records import CommitUnit, Status, StoredCheckpoint, TaskRecord, ValueKind, WritesBatch
from durable_graph.run_records import NEVER, EventRow, Message, RunState, RunUpdate, WaitsOn

_MOST_INTERRUPTS = 100
_json = msgspec.json.Encoder()

_STATES: dict[Status, RunState] = {
    "done": RunState.DONE,
    "interrupted": RunState.WAITING,
    "cancelled": RunState.CANCELLED,
    "failed": RunState.FAILED,
}
"""The state of a run whose thread takes this status. With any other status, the run continues."""


class WorkerLease(Protocol):
    """The lease of the worker that executes a run."""

    @property
    def has_ended(self) -> bool: ...


class RunEvents(Protocol):
    """The event log of a run. See `RunLog`."""

    is_active: bool

    @property
    def has_pending(self) -> bool: ...

    def connect(self, send: Callable[[], None]) -> None: ...

    def stop(self) -> None: ...

    def has_moved(self) -> None: ...

    def committed(self, version: int) -> None: ...

    def take(self, version: int) -> list[EventRow]: ...

    async def append(self, rows: list[EventRow]) -> bool: ...

    def of_save(self, records: Iterable[TaskRecord], version: int, *, waits: bool) -> tuple[EventRow, ...]: ...

    def of_wait(self, version: int) -> tuple[EventRow, ...]: ...

    def waits(self, outcomes: Mapping[tuple[int, int], Any]) -> None: ...


class History(Protocol):
    """The checkpoints of a thread, of which only the newest are kept."""

    def grows(self, no: int) -> None:
        """The checkpoint `no` is about to be stored."""
        ...


class RunReads(Protocol):
    """Reads of a run's thread that share statements with those of the worker's other runs."""

    async def load(self, thread: str) -> StoredCheckpoint | None: ...

    async def inbox(self, thread: str, topics: Collection[str]) -> list[Message]: ...


def _next_input(unit: CommitUnit) -> bytes | None:
    """The encoded input with which the workflow that the unit ends continues as new, None for the end of a run."""
    values = unit.checkpoints[-1].values
    return next((row.value for row in values if row.channel == CONTINUED and row.kind is ValueKind.FULL), None)


@dataclass(slots=True)
class OwnedRun:
    """A run that this process has claimed. `state` is the state that its last commit or save recorded.

    Commits and saves of the outermost graph carry the run's change of state, so that thread and run change in one
    transaction; in between, a commit costs nothing for the run.

    `has_input` says that the run's row still holds its input, which the first commit replaces by a checkpoint. `seen`
    is the counter of the run's messages at the claim, and `inbox` the one that the next suspension compares;
    `read_topics` are the topics whose messages were all taken since the claim. `claimed_at` is the store's time of the
    claim, and `due` the time at which the run continues if it suspends now. `lease` is that of its worker. `log` stores
    its events, once it has a follower. `has_progressed`: a commit or a result since the claim is durable.
    `has_updates`: the inbox may have updates of the thread. A run that has not begun begins from `from_checkpoint` (see
    `RunRow`). `has_parent`: another run started it, which receives its end. `children` starts child runs of it.
    `continues`: its last commit made it ready to continue as new. `history` limits the thread's checkpoints. `waits_on`
    is what it waits for if it suspends now. `found` is the thread as the claim has it, in place of the first load
    (None: it has to be loaded), and `reads` loads it and reads its inbox.
    """

    seq: int
    has_input: bool
    inbox: int = 0
    seen: int = 0
    read_topics: frozenset[str] = frozenset()
    claimed_at: int = 0
    due: int = NEVER
    state: RunState = RunState.RUNNING
    has_progressed: bool = False
    has_updates: bool = False
    lease: WorkerLease | None = None
    from_checkpoint: int | None = None
    waits_on: str | None = None
    log: RunEvents | None = None
    found: StoredCheckpoint | None = None
    reads: RunReads | None = None
    has_parent: bool = False
    children: object | None = None
    continues: bool = False
    history: History | None = None
    _began: float = field(default_factory=time.monotonic)

    async def load(self, saver: Checkpointer, thread: str) -> StoredCheckpoint | None:
        """The thread's head."""
        found, self.found = self.found, None
        if found is not None:
            return found
        return await (saver.load(thread) if self.reads is None else self.reads.load(thread))

    @property
    def may_be_taken(self) -> bool:
        """Whether another worker may have claimed the run: then this process begins no task of it."""
        return self.lease is not None and self.lease.has_ended

    @property
    def begins_from(self) -> int | None:
        """The checkpoint from which the run begins (0: an empty state). None if it has begun, or begins at the head."""
        return self.from_checkpoint if self.has_input else None

    def suspends(self, due: int, topics: frozenset[str], interrupts: Iterable[str]) -> None:
        """The run is about to wait until `due` (0: for no time), for messages of these topics, and for answers to the
        interrupts with these ids.

        A message of a topic that was not read since the claim may be in the inbox already: then the run is ready again.
        """
        self.due = due or NEVER
        self.inbox = self.seen if topics <= self.read_topics else 0
        waits_on = WaitsOn(tuple(sorted(topics)), tuple(islice(interrupts, _MOST_INTERRUPTS)))
        self.waits_on = _json.encode(waits_on).decode()

    @property
    def is_followed(self) -> bool:
        """Whether the run has a follower."""
        return self.log is not None and self.log.is_active

    def now(self) -> int:
        """The store's time, counted from the claim: microseconds since 1970."""
        return self.claimed_at + round((time.monotonic() - self._began) * 1_000_000)

    def with_commit(self, unit: CommitUnit) -> CommitUnit:
        """The unit, with the change of the run that belongs to it."""
        roots = [new.row.no for new in unit.checkpoints if not new.row.ns]
        if not roots:
            return unit
        if self.history is not None:
            self.history.grows(roots[-1])
        state = _STATES.get(unit.status, RunState.RUNNING)
        if state is RunState.RUNNING and not self.has_input:
            return unit
        first = roots[0] if self.has_input else 0
        update = RunUpdate(
            self.seq,
            state,
            checkpoint=roots[-1],
            first_checkpoint=first,
            inbox=self.inbox,
            has_parent=self.has_parent,
        )
        if state is RunState.DONE and (given := _next_input(unit)) is not None:
            update = RunUpdate(self.seq, RunState.READY, checkpoint=roots[-1], input=given)
        waits = state is RunState.WAITING and self.log is not None and self.log.is_active
        events = self.log.of_wait(unit.version) if waits and self.log is not None else ()
        return msgspec.structs.replace(unit, run=update, events=events)

    def with_save(self, batch: WritesBatch) -> WritesBatch:
        """The batch, with the change of the run that belongs to its status."""
        state = None if batch.status is None else _STATES.get(batch.status)
        if self.log is not None and self.log.is_active:
            events = self.log.of_save(batch.records, batch.expected, waits=state is RunState.WAITING)
            batch = msgspec.structs.replace(batch, events=events)
        if state is None:
            return batch
        update = RunUpdate(
            self.seq, state, due=self.due, inbox=self.inbox, error=batch.error, has_parent=self.has_parent
        )
        if state is RunState.WAITING:
            update = msgspec.structs.replace(update, waits_on=self.waits_on)
        return msgspec.structs.replace(batch, run=update)

    def recorded(self, update: RunUpdate | None) -> None:
        """This change is durable."""
        if update is not None:
            self.state = update.state
            self.continues = update.input is not None
            self.has_input = self.has_input and not update.first_checkpoint
