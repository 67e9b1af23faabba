"""A run's side of the commit protocol: where the thread is, what the store holds of it, and what to send next."""

from collections.abc import Callable, Sequence

import msgspec

from durable_graph._engine.header import Metadata
from durable_graph._engine.restore import Restored, nothing_stored, recorded_outcomes, restore
from durable_graph._engine.rows import Stored
from durable_graph._engine.task import Identity, Outcome, Task
from durable_graph._engine.unit import Step, build_unit, records_of, with_reduced_values
from durable_graph.checkpointing import Checkpointer, verify
from durable_graph.checkpointing.digests import origin_of
from durable_graph.errors import CheckpointConflictError
from durable_graph.graph import Topology
from durable_graph.records import (
    Committed,
    Conflict,
    Status,
    ThreadRow,
    WritesBatch,
    WritesMoved,
    checkpoint_id,
)


class Opened(msgspec.Struct, frozen=True):
    """A thread as it was found: its row (made up for a new one), and the checkpoint to start from, if there is one."""

    thread: ThreadRow
    restored: Restored | None


async def open_thread(saver: Checkpointer, topology: Topology, thread_id: str, no: int | None) -> Opened:
    """Load, check and decode a thread. Raises `CorruptCheckpointError` for damaged rows."""
    found = await saver.load(thread_id, "", no)
    if found is None:
        return Opened(new_thread(thread_id), None)
    verify(found)
    if found.thread.status == "deleted":
        return Opened(reborn(found.thread), None)
    return Opened(found.thread, restore(topology, found))


def new_thread(thread_id: str) -> ThreadRow:
    """The row that a thread would have before its first commit."""
    return ThreadRow(thread_id, 0, origin_of(thread_id, 0), 0, 0, 0, 0, 0, 0, "done", 0, b"")


def reborn(tombstone: ThreadRow) -> ThreadRow:
    """A deleted thread about to be used again: numbers go on, its identity is a new one."""
    incarnation = tombstone.incarnation + 1
    return msgspec.structs.replace(
        tombstone, incarnation=incarnation, origin=origin_of(tombstone.thread, incarnation), head=0, wseq=0
    )


class Journal:
    """Sends this run's commits and task records, in the order of the calls, and keeps what they lead to.

    `commit_id` is drawn once per run: of two racing runs with the same commit it tells whose was applied.
    """

    def __init__(
        self,
        saver: Checkpointer,
        topology: Topology,
        opened: Opened,
        *,
        commit_id: bytes,
        metadata: Metadata,
        now: Callable[[], int],
    ) -> None:
        self._saver = saver
        self._topology = topology
        self.thread = opened.thread
        self.stored: Stored = opened.restored.stored if opened.restored else nothing_stored(opened.thread.origin, "")
        self._commit_id = commit_id
        self._metadata = metadata
        self._now = now

    @property
    def identity(self) -> Identity:
        """Whose tasks this run runs."""
        return Identity(self.thread.thread, self.thread.incarnation, self.stored.ns)

    @property
    def max_value_bytes(self) -> int:
        """The store's limit for one value."""
        return self._saver.max_value_bytes

    async def commit(self, *steps: Step) -> bool:
        """Commit supersteps, together. False if another writer recorded tasks meanwhile: adopt them and try again.

        Raises `CheckpointConflictError` if another writer committed.
        """
        unit, stored = build_unit(
            self._topology,
            self.thread,
            self.stored,
            steps,
            commit_id=self._commit_id,
            at=self._now(),
            metadata=self._metadata,
            max_value_bytes=self._saver.max_value_bytes,
        )
        match await self._saver.commit(unit):
            case Committed():
                self.thread = msgspec.structs.replace(
                    self.thread, version=unit.version, head=unit.version, wseq=0, status=unit.status
                )
                self.stored = stored
                return True
            case WritesMoved():
                return False
            case Conflict(version):
                raise self._conflict(version)

    def with_reduced_values(self, step: Step) -> Step:
        """The step with all of its bytes, so that a commit of it later cannot fail by its values."""
        return with_reduced_values(self._topology, step, self.max_value_bytes)

    async def save(self, outcomes: Sequence[Outcome], status: Status | None = None) -> tuple[Outcome, ...]:
        """Record what tasks came to, and return the outcomes that stand: another writer's, where that came first."""
        records = records_of(self.stored, outcomes, self._commit_id)
        batch = WritesBatch(self.thread.thread, self.thread.version, self.thread.epoch, self._now(), records, status)
        saved = await self._saver.save_writes(batch)
        if isinstance(saved, Conflict):
            raise self._conflict(saved.version)
        # Counted, not copied from the answer: a number that another writer moved has to differ at the next commit.
        self.thread = msgspec.structs.replace(
            self.thread, wseq=self.thread.wseq + saved.bumped, status=status or self.thread.status
        )
        standing = recorded_outcomes(self._topology, tuple(outcome.task for outcome in outcomes), saved.standing)
        return tuple(
            outcome if mine == theirs else standing.get(outcome.task.key, outcome)
            for outcome, mine, theirs in zip(outcomes, records, saved.standing, strict=True)
        )

    async def adopt(self, plan: tuple[Task, ...]) -> dict[tuple[int, int], Outcome]:
        """The outcomes that any writer recorded for the plan of the thread's head."""
        found = await self._saver.load(self.thread.thread, self.stored.ns, None)
        if found is None or found.thread.version != self.thread.version:
            raise self._conflict(0 if found is None else found.thread.version)
        verify(found)
        self.thread = msgspec.structs.replace(self.thread, wseq=found.thread.wseq)
        return recorded_outcomes(self._topology, plan, found.records)

    def _conflict(self, found: int) -> CheckpointConflictError:
        return CheckpointConflictError(
            self.thread.thread, expected=self.thread.version, found=found, checkpoint_id=checkpoint_id(found)
        )
