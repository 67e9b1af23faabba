"""A thread as a run finds it and then knows it: loaded, checked, decoded, and the row that its own commits make."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._engine.restore import Restored, restore
from durable_graph._engine.task import Finished, Identity, Outcome
from durable_graph._runtime.request import log
from durable_graph._runtime.request.owned_run import OwnedRun
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.digests import origin_of
from durable_graph.checkpointing.integrity import verified, verified_records
from durable_graph.checkpointing.pieces import in_pieces
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.checkpointing.run_ids import run_id
from durable_graph.checkpointing.run_store import KeepsRuns
from durable_graph.errors import CheckpointConflictError, ThreadBusyError, WrongGraphError
from durable_graph.graph import Topology
from durable_graph.records import (
    HistoryPage,
    Rank,
    StoredCheckpoint,
    StoredThread,
    TaskRecord,
    ThreadRow,
    checkpoint_id,
)

_RESULTS = (Rank.DONE, Rank.ROUTING_OPEN)


class Opened(msgspec.Struct, frozen=True):
    """A thread as it was found: its row (made up for a new one), and the checkpoint to start from, if there is one.
    `calls_in` are the namespaces in which calls are recorded that the tasks of the head's plan made. `base` is the row
    as the saver returned it, `unfinished_run` the number of the run that owns the thread (0: none does)."""

    thread: ThreadRow
    restored: Restored | None
    calls_in: frozenset[str] = frozenset()
    base: StoredThread | None = None
    unfinished_run: int = 0


async def open_thread(
    saver: Checkpointer, topology: Topology, thread_id: str, no: int | None, owned: OwnedRun | None = None
) -> Opened:
    """Load, check and decode a thread, or the head of the thread of a claimed run.

    Raises `CorruptCheckpointError` for damaged rows.
    """
    found = await (owned.load(saver, thread_id) if owned is not None and no is None else saver.load(thread_id, "", no))
    if found is None:
        return Opened(new_thread(thread_id), None)
    await in_pieces(verified(found))
    check_graph(topology, thread_id, found.thread)
    if found.thread.status == "deleted":
        return Opened(reborn(thread_id, found.thread), None)
    restored, calls_in = restore(topology, found, saver.max_value_bytes), {record.ns for record in found.nested}
    opened = await in_pieces(restored)
    return Opened(found.thread, opened, frozenset(calls_in), found.base, found.unfinished_run)


async def check_not_owned(saver: Checkpointer, opened: Opened) -> None:
    """Raise `ThreadBusyError` if the thread belongs to an unfinished run, which workers execute."""
    seq, thread = opened.unfinished_run, opened.thread.thread
    if not seq:
        return
    run = await saver.runs.find_run(thread, seq) if isinstance(saver, KeepsRuns) else None
    worker = run.worker_name if run is not None else None
    raise ThreadBusyError.of_run(thread, run_id(key_of(thread), seq), worker or None)


def new_thread(thread_id: str) -> ThreadRow:
    """The row that a thread would have before its first commit."""
    incarnation = drawn_incarnation()
    return ThreadRow(thread_id, incarnation, origin_of(thread_id, incarnation), 0, 0, 0, 0, 0, 0, "done", 0, b"")


def reborn(thread_id: str, tombstone: ThreadRow) -> ThreadRow:
    """The row of a deleted thread that is used again: its numbers continue, and its incarnation is new."""
    return msgspec.structs.replace(new_thread(thread_id), version=tombstone.version, epoch=tombstone.epoch)


def check_graph(topology: Topology, thread_id: str, thread: ThreadRow) -> None:
    """Raise `WrongGraphError` unless the thread is the graph's.

    No name is None: a graph without a name may not touch a thread that belongs to one, and a named graph takes a thread
    without a name, which its next commit names. `formerly` has the names that the graph once had.
    """
    if thread.status == "deleted" or not thread.version:
        return
    stored, called = thread.graph, topology.graph_name
    if stored is None:
        if called is None and thread.graph_digest != topology.nodes_digest and thread.graph_digest:
            log.other_nodes(thread_id)
    elif stored != called and stored not in topology.formerly:
        raise WrongGraphError(thread_id, stored=stored, called=called)


class StoredSoFar(msgspec.Struct, frozen=True):
    """The parts of a call that are stored so far in the outermost graph's namespace.

    `input` is the checkpoint that its input made and `newest` the last one that it committed (0: none), `recorded` the
    nodes whose results it recorded on top of that one, `answered` the ids of the questions that it answered.
    """

    input: int = 0
    newest: int = 0
    recorded: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()

    def with_step(self, step: NextCheckpoint) -> "StoredSoFar":
        """Once the step is committed."""
        no = step.state.no
        return StoredSoFar(no if step.source == "input" else self.input, no, (), self.answered)

    def with_results(self, outcomes: Iterable[Outcome]) -> "StoredSoFar":
        """Once these outcomes are recorded."""
        nodes = tuple(outcome.task.node for outcome in outcomes if isinstance(outcome, Finished))
        return msgspec.structs.replace(self, recorded=self.recorded + nodes) if nodes else self

    def with_answers(self, ids: Iterable[str]) -> "StoredSoFar":
        """Once the answers to these questions are recorded."""
        return msgspec.structs.replace(self, answered=(*self.answered, *ids))


@dataclass(slots=True)
class KnownThread:
    """A thread as a run knows it: the row that its own commits and saves have made, and reads that are checked.

    `commit_id` is drawn once per run: if two racing runs send the same commit, it tells whose was applied. `calls_in`
    are the namespaces in which calls are recorded, as far as this run knows. `base` is the thread's row as the saver
    returned it last. `failure` is the store's failure, if there
    was one: the run ends with it, even if user code catches it. `stored` are the parts of the call that are stored.
    `has_missed`: another writer has recorded something, an answer perhaps, since this run read the records of the
    outermost graph. `is_cancelled`: the thread was cancelled while this run executes it; later commits leave the thread
    cancelled, and the run starts no further superstep.
    """

    saver: Checkpointer
    row: ThreadRow
    commit_id: bytes
    calls_in: set[str] = field(default_factory=set)
    base: StoredThread | None = None
    failure: Exception | None = None
    stored: StoredSoFar = field(default_factory=StoredSoFar)
    has_missed: bool = False
    is_cancelled: bool = False
    opened_at: int = 0
    max_value_bytes: int = 0
    _reserved: int = 0

    def __post_init__(self) -> None:
        self.opened_at = self._reserved = self.row.version
        self.max_value_bytes = self.saver.max_value_bytes

    @property
    def id(self) -> str:
        """The thread's id."""
        return self.row.thread

    def identity(self, ns: str) -> Identity:
        """The identity that the tasks of a namespace have."""
        return Identity(self.row.thread, self.row.incarnation, ns)

    def reserve(self) -> int:
        """The number of the next checkpoint of any namespace. They are to be committed in this order."""
        self._reserved = max(self._reserved, self.row.version) + 1
        return self._reserved

    def reopen(self, opened: Opened) -> None:
        """Begin again from the thread as it is now. No request may be under way."""
        self.row, self.base, self.failure, self.has_missed = opened.thread, opened.base, None, False
        self.opened_at = self._reserved = opened.thread.version

    def raise_failure(self) -> None:
        """Raise the store's failure, if there was one."""
        if self.failure is not None:
            raise self.failure

    def conflict(self, found: ThreadRow | None) -> CheckpointConflictError:
        """The error for this run where another writer was first. `found` is the thread's row as it is now."""
        version = 0 if found is None else found.version
        known, stored = self.row, self.stored
        is_same = found is not None and found.status != "deleted" and found.incarnation == known.incarnation
        if not is_same:
            # Deleting a thread deletes what the call had stored in it.
            stored = StoredSoFar()
        return CheckpointConflictError(
            known.thread,
            expected=known.version,
            found=version,
            checkpoint_id=checkpoint_id(version),
            input_checkpoint_id=checkpoint_id(stored.input) if stored.input else None,
            newest_checkpoint_id=checkpoint_id(stored.newest) if stored.newest else None,
            recorded=stored.recorded,
            answered=stored.answered,
            is_deleted=not is_same and known.head > 0,
        )

    def lost_race(self) -> CheckpointConflictError:
        """The error where another writer recorded tasks of a superstep that this run has already built on."""
        return self.conflict(self.row)

    # Reads

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A failure to read the thread in this block ends the run."""
        self.raise_failure()
        try:
            yield
        except Exception as error:
            self.failure = error
            raise

    async def load(self, ns: str, no: int | None = None) -> StoredCheckpoint | None:
        """A checkpoint of a namespace, by default the newest one, checked."""
        with self.reading():
            found = await self.saver.load(self.row.thread, ns, no)
            if found is not None:
                await in_pieces(verified(found))
            return found

    async def load_records(self, ns: str) -> tuple[TaskRecord, ...]:
        """The records of a namespace, checked."""
        with self.reading():
            found = await self.saver.load_records(self.row.thread, ns)
            return await in_pieces(verified_records(found)) if found is not None else ()

    async def history(self, ns: str, before: int | None, limit: int) -> HistoryPage | None:
        """A page of a namespace's checkpoints, as it is stored: nothing of it is checked."""
        with self.reading():
            return await self.saver.history(self.row.thread, ns, before=before, limit=limit)

    async def catch_up(self, ns: str, *, has_missed: bool) -> tuple[TaskRecord, ...]:
        """The task records of a namespace as they are now, checked. The next commit takes them as seen.

        Raises `CheckpointConflictError` if another writer has committed.
        """
        with self.reading():
            found = await self.saver.load(self.row.thread, ns, None)
        # Before the pauses of what follows, in which others use this thread.
        if found is None or found.thread.version != self.row.version:
            self.failure = self.conflict(None if found is None else found.thread)
            raise self.failure
        self.row = msgspec.structs.replace(self.row, wseq=found.thread.wseq, status=found.thread.status)
        self.base, self.has_missed = found.base, has_missed
        self.is_cancelled = self.is_cancelled or found.thread.status == "cancelled"
        with self.reading():
            await in_pieces(verified(found))
        return found.records

    async def check_not_lost(self, ns: str) -> None:
        """Catch up with other writers where the run has gone on from its own results, and there is no way back.

        Raises `CheckpointConflictError` where another writer recorded a result of the same tasks. An answer is none.
        """
        records = await self.catch_up(ns, has_missed=True)
        if any(record.commit_id != self.commit_id and record.rank in _RESULTS for record in records):
            self.failure = self.lost_race()
            raise self.failure
