"""A run's side of the commit protocol: where the thread is, what the store holds of it, and what to send next.

One journal serves a run and all runs nested in it: they share the thread's one row. What they send goes out in the
order of the calls, and what waits meanwhile goes out together. The first failure of the store is the last thing that
happens: what follows it would tell of something that is not there.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from durable_graph._engine.header import Metadata
from durable_graph._engine.restore import Restored, check_results, nothing_stored, recorded_outcomes, restore
from durable_graph._engine.rows import Stored
from durable_graph._engine.task import Identity, Outcome, Task
from durable_graph._engine.unit import Entry, Step, build_unit, records_of, with_reduced_values
from durable_graph._runtime.pieces import in_pieces
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.digests import origin_of
from durable_graph.checkpointing.integrity import verified, verified_records
from durable_graph.checkpointing.rules import drawn_incarnation, thread_after_commit
from durable_graph.errors import CheckpointConflictError, StoreUnavailableError
from durable_graph.errors.shown import shown
from durable_graph.graph import Topology
from durable_graph.records import (
    Committed,
    CommitUnit,
    Conflict,
    HistoryPage,
    Status,
    StoredCheckpoint,
    TaskRecord,
    ThreadRow,
    WritesBatch,
    WritesMoved,
    checkpoint_id,
)


class Opened(msgspec.Struct, frozen=True):
    """A thread as it was found: its row (made up for a new one), and the checkpoint to start from, if there is one.
    `calls_in` are the namespaces in which calls are recorded that the tasks of the head's plan made."""

    thread: ThreadRow
    restored: Restored | None
    calls_in: frozenset[str] = frozenset()


async def open_thread(saver: Checkpointer, topology: Topology, thread_id: str, no: int | None) -> Opened:
    """Load, check and decode a thread. Raises `CorruptCheckpointError` for damaged rows."""
    found = await saver.load(thread_id, "", no)
    if found is None:
        return Opened(new_thread(thread_id), None)
    await in_pieces(verified(found))
    if found.thread.status == "deleted":
        return Opened(reborn(thread_id, found.thread), None)
    restored, calls_in = restore(topology, found, saver.max_value_bytes), {record.ns for record in found.nested}
    return Opened(found.thread, await in_pieces(restored), frozenset(calls_in))


def new_thread(thread_id: str) -> ThreadRow:
    """The row that a thread would have before its first commit."""
    incarnation = drawn_incarnation()
    return ThreadRow(thread_id, incarnation, origin_of(thread_id, incarnation), 0, 0, 0, 0, 0, 0, "done", 0, b"")


def reborn(thread_id: str, tombstone: ThreadRow) -> ThreadRow:
    """A deleted thread about to be used again: numbers go on, its identity is a new one."""
    return msgspec.structs.replace(new_thread(thread_id), version=tombstone.version, epoch=tombstone.epoch)


class StatusChange(msgspec.Struct, frozen=True):
    """The status that a thread takes; `error` is the text of what it failed with."""

    status: Status
    error: str | None = None


_LONGEST_ERROR = 1000


def failure(error: BaseException) -> StatusChange:
    """The status of a thread whose run failed with `error`. Its text is cut to 1,000 characters."""
    # PostgreSQL takes no NUL in a text.
    return StatusChange("failed", shown(error).replace("\0", "\\x00")[:_LONGEST_ERROR])


class Ledger(msgspec.Struct):
    """What the store holds of one namespace, as the run that goes on in it knows."""

    topology: Topology
    ns: str
    stored: Stored


class _Commit(msgspec.Struct):
    entries: Sequence[tuple[Ledger, Step]]
    answer: "asyncio.Future[bool]"


class _Save(msgspec.Struct):
    records: tuple[TaskRecord, ...]
    status: StatusChange | None = None
    if_unmoved: bool = False
    answer: "asyncio.Future[tuple[TaskRecord, ...] | None]" = msgspec.field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


_CUT_OFF = "a call of it was stopped before it told its outcome"


@dataclass(slots=True)
class Journal:
    """Sends a run's commits and task records, in the order of the calls, and keeps what they lead to.

    `commit_id` is drawn once per run: of two racing runs with the same commit it tells whose was applied. `failure` is
    what the store failed with, if it did: the run is to end with it, whatever the code that it comes through makes of
    it. `calls_in` are the namespaces in which calls are recorded, as far as this run knows.
    """

    saver: Checkpointer
    thread: ThreadRow
    commit_id: bytes
    metadata: Metadata
    now: Callable[[], int]
    calls_in: set[str] = field(default_factory=set)
    opened_at: int = 0
    failure: Exception | None = None
    _reserved: int = 0
    _queue: deque[_Commit | _Save] = field(default_factory=deque)
    _is_sending: bool = False

    def __post_init__(self) -> None:
        self.opened_at = self._reserved = self.thread.version

    @property
    def max_value_bytes(self) -> int:
        """The store's limit for one value."""
        return self.saver.max_value_bytes

    def identity(self, ns: str) -> Identity:
        """Whose tasks a namespace's are."""
        return Identity(self.thread.thread, self.thread.incarnation, ns)

    def ledger(self, topology: Topology, ns: str, restored: Restored | None) -> Ledger:
        """What the store holds of a namespace, given what was loaded of it."""
        stored = restored.stored if restored is not None else nothing_stored(self.thread.origin, ns)
        return Ledger(topology, ns, stored)

    def reserve(self) -> int:
        """The number of the next checkpoint of any namespace. They are to be committed in this order."""
        self._reserved = max(self._reserved, self.thread.version) + 1
        return self._reserved

    async def commit(self, *entries: tuple[Ledger, Step]) -> bool:
        """Commit supersteps, together. False if another writer recorded tasks meanwhile: adopt them and try again.

        Raises `CheckpointConflictError` if another writer committed.
        """
        self.calls_in.update(record.ns for _, step in entries for record in step.calls)
        request = _Commit(entries, asyncio.get_running_loop().create_future())
        await self._send(request)
        return await request.answer

    async def save(
        self, ledger: Ledger, outcomes: Sequence[Outcome], status: StatusChange | None = None
    ) -> tuple[Outcome, ...]:
        """Record what tasks came to, and return the outcomes that stand: another writer's, where that came first."""
        request = self._saving(ledger, outcomes, status, if_unmoved=False)
        await self._send(request)
        stood = await request.answer
        assert stood is not None  # noqa: S101  # only an answer to a question is refused
        if stood == request.records:
            return tuple(outcomes)
        plan = tuple(outcome.task for outcome in outcomes)
        standing = await in_pieces(recorded_outcomes(ledger.topology, plan, stood, self.max_value_bytes))
        check_results(self.thread.thread, standing.values())
        return tuple(
            outcome if mine == theirs else standing.get(outcome.task.key, outcome)
            for outcome, mine, theirs in zip(outcomes, request.records, stood, strict=True)
        )

    async def save_unmoved(self, ledger: Ledger, outcomes: Sequence[Outcome], status: Status) -> bool:
        """Record all of these, or none if another writer recorded anything since this run looked."""
        request = self._saving(ledger, outcomes, StatusChange(status), if_unmoved=True)
        await self._send(request)
        return await request.answer is not None

    async def save_status(self, status: StatusChange) -> None:
        """Record the thread's status."""
        request = _Save((), status)
        await self._send(request)
        await request.answer

    async def save_records(self, records: tuple[TaskRecord, ...]) -> tuple[TaskRecord, ...]:
        """Record what calls inside a task came to, and return the records that stand."""
        self.calls_in.update(record.ns for record in records)
        request = _Save(records)
        await self._send(request)
        return await request.answer or ()

    async def adopt(self, ledger: Ledger, plan: tuple[Task, ...]) -> dict[tuple[int, int], Outcome]:
        """The outcomes that any writer recorded for the plan of a namespace's newest checkpoint."""
        with self._reading():
            found = await self.saver.load(self.thread.thread, ledger.ns, None)
        # Before the pauses of what follows, in which others use this journal.
        if found is None or found.thread.version != self.thread.version:
            self.failure = self._conflict(0 if found is None else found.thread.version)
            raise self.failure
        self.thread = msgspec.structs.replace(self.thread, wseq=found.thread.wseq)
        with self._reading():
            await in_pieces(verified(found))
        return await in_pieces(recorded_outcomes(ledger.topology, plan, found.records, self.max_value_bytes))

    async def load(self, ns: str, no: int | None = None) -> StoredCheckpoint | None:
        """A checkpoint of a namespace, by default the newest one, checked."""
        with self._reading():
            found = await self.saver.load(self.thread.thread, ns, no)
            if found is not None:
                await in_pieces(verified(found))
            return found

    async def load_records(self, ns: str) -> tuple[TaskRecord, ...]:
        """The records of a namespace, checked."""
        with self._reading():
            found = await self.saver.load_records(self.thread.thread, ns)
            return await in_pieces(verified_records(found)) if found is not None else ()

    async def history(self, ns: str, before: int | None, limit: int) -> HistoryPage | None:
        """A page of a namespace's checkpoints, as it is stored: nothing of it is checked."""
        with self._reading():
            return await self.saver.history(self.thread.thread, ns, before=before, limit=limit)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self._raise_failure()
        try:
            yield
        except Exception as error:
            self.failure = error
            raise

    def with_reduced_values(self, ledger: Ledger, step: Step) -> Step:
        """The step with all of its bytes, so that a commit of it later cannot fail by its values."""
        return with_reduced_values(ledger.topology, step, self.max_value_bytes)

    def _saving(
        self, ledger: Ledger, outcomes: Sequence[Outcome], status: StatusChange | None, *, if_unmoved: bool
    ) -> _Save:
        records = records_of(ledger.stored, outcomes, self.commit_id)
        # The thread's status is its outermost run's affair.
        own = None if ledger.ns else status
        return _Save(records, own, if_unmoved)

    # Sending: whoever comes first sends for all who come meanwhile

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def _send(self, request: _Commit | _Save) -> None:
        self._raise_failure()
        self._queue.append(request)
        if self._is_sending:
            return
        self._is_sending = True
        try:
            while self._queue:
                await self._send_next()
        finally:
            self._is_sending = False

    async def _send_next(self) -> None:
        first = self._queue[0]
        if isinstance(first, _Commit):
            await self._send_commits(self._taken_commits())
        else:
            await self._send_saves(self._taken_saves(first))

    def _taken_commits(self) -> "list[_Commit]":
        taken: list[_Commit] = []
        while self._queue and isinstance(request := self._queue[0], _Commit):
            taken.append(request)
            self._queue.popleft()
        return taken

    def _taken_saves(self, first: "_Save") -> "list[_Save]":
        """The saves at the front of the queue. One that holds only if nothing moved is sent alone."""
        taken: list[_Save] = []
        while self._queue and isinstance(request := self._queue[0], _Save):
            if taken and (request.if_unmoved or first.if_unmoved):
                break
            taken.append(request)
            self._queue.popleft()
        return taken

    async def _send_commits(self, requests: "list[_Commit]") -> None:
        try:
            unit, stored = self._unit(requests)
        except Exception as error:
            if len(requests) > 1:
                # Each alone, so that one that cannot be encoded is refused alone.
                for request in requests:
                    await self._send_commits([request])
            else:
                _fail(requests, error)
            return
        await self._send_unit(requests, unit, stored)

    async def _send_unit(self, requests: "list[_Commit]", unit: CommitUnit, stored: dict[str, Stored]) -> None:
        try:
            result = await self.saver.commit(unit)
        except BaseException as error:
            self._end(requests, error)
            return
        match result:
            case Committed():
                before = self.thread if self.thread.version else None
                self.thread = thread_after_commit(unit, before)
                for request in requests:
                    for ledger, _ in request.entries:
                        ledger.stored = stored[ledger.ns]
                    request.answer.set_result(True)
            case WritesMoved():
                for request in requests:
                    request.answer.set_result(False)
            case Conflict(version):
                self._end(requests, self._conflict(version))

    def _unit(self, requests: "list[_Commit]") -> tuple[CommitUnit, dict[str, Stored]]:
        entries = [entry for request in requests for entry in request.entries]
        return build_unit(
            self.thread,
            {ledger.ns: ledger.stored for ledger, _ in entries},
            [Entry(ledger.topology, ledger.ns, step) for ledger, step in entries],
            commit_id=self.commit_id,
            at=self.now(),
            metadata=self.metadata,
            max_value_bytes=self.max_value_bytes,
        )

    async def _send_saves(self, requests: "list[_Save]") -> None:
        records = tuple(record for request in requests for record in request.records)
        statuses = [request.status for request in requests if request.status is not None]
        status = statuses[-1] if statuses else None
        wseq = self.thread.wseq if requests[0].if_unmoved else None
        batch = WritesBatch(
            self.thread.thread,
            self.thread.version,
            self.thread.epoch,
            self.now(),
            records,
            None if status is None else status.status,
            wseq,
            None if status is None else status.error,
        )
        try:
            saved = await self.saver.save_writes(batch)
        except BaseException as error:
            self._end(requests, error)
            return
        match saved:
            case Conflict(version):
                self._end(requests, self._conflict(version))
            case WritesMoved():
                for request in requests:
                    request.answer.set_result(None)
            case _:
                # Counted, not copied from the answer: a number that another writer moved has to differ at the next
                # commit.
                self.thread = msgspec.structs.replace(
                    self.thread, wseq=self.thread.wseq + saved.bumped, status=batch.status or self.thread.status
                )
                standing = iter(saved.standing)
                for request in requests:
                    request.answer.set_result(tuple(next(standing) for _ in request.records))

    def _end(self, requests: "Sequence[_Commit | _Save]", error: BaseException) -> None:
        """Nothing is sent any more: neither these, nor what waits behind them."""
        _fail(requests, error)
        self.failure = error if isinstance(error, Exception) else StoreUnavailableError("the store", _CUT_OFF)
        _fail(self._queue, self.failure)
        self._queue.clear()

    def _conflict(self, found: int) -> CheckpointConflictError:
        return CheckpointConflictError(
            self.thread.thread, expected=self.thread.version, found=found, checkpoint_id=checkpoint_id(found)
        )


def _fail(requests: "Iterable[_Commit | _Save]", error: BaseException) -> None:
    for request in requests:
        request.answer.set_exception(error)
        # Retrieved by who asked; one who was cancelled out of its grace period asks no more.
        request.answer.exception()
