"""A run's side of the commit protocol: the thread's row, the rows that the store has, and the requests to send.

One journal serves a run and all runs nested in it: they share the thread's one row. It sends their requests in the
order in which they were made, one call of the saver at a time. Commits that wait together are one unit, and so are
saves. After the first failure of the store it sends nothing more: later requests build on the failed one.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec

from durable_graph._engine.build_commit import (
    NamespaceStep,
    NextCheckpoint,
    build_unit,
    records_of,
    with_reduced_values,
)
from durable_graph._engine.header import Metadata
from durable_graph._engine.restore import Restored, check_results, nothing_stored, recorded_outcomes
from durable_graph._engine.task import Identity, Outcome, Task
from durable_graph._runtime.commit.busy import has_written
from durable_graph._runtime.commit.conflicts import StoredSoFar, conflict
from durable_graph._runtime.commit.open_thread import Opened
from durable_graph._runtime.commit.request_keys import Acceptance
from durable_graph._runtime.commit.requests import (
    Ledger,
    QueuedCommit,
    QueuedSave,
    StatusChange,
    fail,
    taken_commits,
    taken_saves,
)
from durable_graph.checkpointing import Checkpointer, CommitHandle
from durable_graph.checkpointing.chains import Stored
from durable_graph.checkpointing.integrity import verified, verified_records
from durable_graph.checkpointing.pieces import Pieces, in_pieces
from durable_graph.checkpointing.rules import thread_after_commit
from durable_graph.errors import CheckpointConflictError, StoreUnavailableError
from durable_graph.graph import Topology
from durable_graph.records import (
    CommitResult,
    Committed,
    CommitUnit,
    Conflict,
    HistoryPage,
    Rank,
    SaveResult,
    Status,
    StoredCheckpoint,
    StoredThread,
    TaskRecord,
    ThreadRow,
    WritesBatch,
    WritesMoved,
)

T = TypeVar("T")
Request = TypeVar("Request", QueuedCommit, QueuedSave)

_RESULTS = (Rank.DONE, Rank.ROUTING_OPEN)

_CUT_OFF = "a call ended without an outcome"


@dataclass(slots=True)
class Journal:
    """Sends a run's commits and task records in the order of the calls, and holds the thread's row that results.

    `commit_id` is drawn once per run: if two racing runs send the same commit, it tells whose was applied. `failure` is
    the store's failure, if there was one: the run ends with it, even if user code catches it. `calls_in` are the
    namespaces in which calls are recorded, as far as this run knows. `stayed` are the stored parts of the call.
    `has_missed`: another writer has recorded something, an answer perhaps, since this run read the records of the
    outermost graph. `accepts` is the request with a key that the next commit of the outermost graph, or its next
    answer, accepts. `is_cancelled`: the thread was cancelled while this run executes it; later commits leave the thread
    cancelled, and the run starts no further superstep. `base` is the thread's row as the saver returned it last.
    """

    saver: Checkpointer
    thread: ThreadRow
    commit_id: bytes
    metadata: Metadata
    now: Callable[[], int]
    calls_in: set[str] = field(default_factory=set)
    opened_at: int = 0
    failure: Exception | None = None
    stayed: StoredSoFar = field(default_factory=StoredSoFar)
    has_missed: bool = False
    accepts: Acceptance | None = None
    is_cancelled: bool = False
    base: StoredThread | None = None
    _reserved: int = 0
    _queue: deque[QueuedCommit | QueuedSave] = field(default_factory=deque)
    _is_sending: bool = False
    _is_looping: bool = False

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
        """The stored rows of a namespace, as they were loaded."""
        stored = restored.stored if restored is not None else nothing_stored(self.thread.origin, ns)
        return Ledger(topology, ns, stored)

    def reserve(self) -> int:
        """The number of the next checkpoint of any namespace. They are to be committed in this order."""
        self._reserved = max(self._reserved, self.thread.version) + 1
        return self._reserved

    def commit(self, *entries: tuple[Ledger, NextCheckpoint]) -> CommitHandle[bool]:
        """Commit supersteps, together. False if another writer recorded tasks meanwhile: adopt them and try again.

        The handle raises `CheckpointConflictError` if another writer committed.
        """
        for _, step in entries:
            for record in step.calls:
                self.calls_in.add(record.ns)
        return self._send(QueuedCommit(entries)).answer

    def begin_save(self, ledger: Ledger, outcomes: Sequence[Outcome], status: StatusChange | None = None) -> QueuedSave:
        """Record the outcomes of tasks. The answer has the records that stand, see `standing`."""
        return self._send(self._saving(ledger, outcomes, status, if_unmoved=False))

    async def save(
        self, ledger: Ledger, outcomes: Sequence[Outcome], status: StatusChange | None = None
    ) -> tuple[Outcome, ...]:
        """Record the outcomes of tasks, and return those that stand: another writer's, where that came first."""
        saving = self.begin_save(ledger, outcomes, status)
        stood = await saving.answer
        return await in_pieces(self.standing(ledger, outcomes, saving.records, stood or ()))

    async def save_unmoved(
        self,
        ledger: Ledger,
        outcomes: Sequence[Outcome],
        status: StatusChange | None,
        if_status: Status | None = None,
        *,
        is_answer: bool = False,
    ) -> tuple[Outcome, ...] | None:
        """Record all of these, as `save` does. None if another writer recorded anything since this run looked, or if
        the thread has another status than `if_status`."""
        request = self._saving(ledger, outcomes, status, if_unmoved=True)
        request.if_status, request.is_answer = if_status, is_answer
        if self.has_missed:
            return None
        stood = await self._send(request).answer
        return None if stood is None else await in_pieces(self.standing(ledger, outcomes, request.records, stood))

    def standing(
        self, ledger: Ledger, outcomes: Sequence[Outcome], offered: Sequence[TaskRecord], stood: Sequence[TaskRecord]
    ) -> Pieces[tuple[Outcome, ...]]:
        """The outcomes that stand, where the records `offered` were saved and the records that `stood` came back."""
        if not ledger.ns:
            same = zip(outcomes, offered, stood, strict=True)
            self.stayed = self.stayed.with_results(outcome for outcome, mine, theirs in same if mine == theirs)
        if tuple(stood) == tuple(offered):
            return tuple(outcomes)
        plan = tuple(outcome.task for outcome in outcomes)
        standing = yield from recorded_outcomes(ledger.topology, plan, stood, self.max_value_bytes)
        check_results(self.thread.thread, standing.values())
        return tuple(
            outcome if mine == theirs else standing.get(outcome.task.key, outcome)
            for outcome, mine, theirs in zip(outcomes, offered, stood, strict=True)
        )

    async def save_status(self, status: StatusChange) -> None:
        """Record the thread's status."""
        await self._send(QueuedSave((), status)).answer

    async def save_records(self, records: tuple[TaskRecord, ...]) -> tuple[TaskRecord, ...]:
        """Record the outcomes of calls inside a task, and return the records that stand."""
        self.calls_in.update(record.ns for record in records)
        return await self._send(QueuedSave(records)).answer or ()

    async def adopt(self, ledger: Ledger, plan: tuple[Task, ...]) -> dict[tuple[int, int], Outcome]:
        """The outcomes that any writer recorded for the plan of a namespace's newest checkpoint."""
        records = await self._caught_up(ledger, has_missed=bool(ledger.ns))
        return await in_pieces(recorded_outcomes(ledger.topology, plan, records, self.max_value_bytes))

    async def check_not_lost(self, ledger: Ledger) -> None:
        """Catch up with other writers where the run has gone on from its own results, and there is no way back.

        Raises `CheckpointConflictError` where another writer recorded a result of the same tasks. An answer is none.
        """
        records = await self._caught_up(ledger, has_missed=True)
        if any(record.commit_id != self.commit_id and record.rank in _RESULTS for record in records):
            self.failure = self.lost_race()
            raise self.failure

    async def _caught_up(self, ledger: Ledger, *, has_missed: bool) -> tuple[TaskRecord, ...]:
        with self.reading():
            found = await self.saver.load(self.thread.thread, ledger.ns, None)
        # Before the pauses of what follows, in which others use this journal.
        if found is None or found.thread.version != self.thread.version:
            self.failure = conflict(self.thread, None if found is None else found.thread, self.stayed)
            raise self.failure
        self.thread = msgspec.structs.replace(self.thread, wseq=found.thread.wseq, status=found.thread.status)
        self.base, self.has_missed = found.base, has_missed
        self.is_cancelled = self.is_cancelled or found.thread.status == "cancelled"
        with self.reading():
            await in_pieces(verified(found))
        return found.records

    def reopen(self, opened: Opened) -> None:
        """Begin again from the thread as it is now. Nothing may have been sent, and be on its way."""
        self.thread, self.base, self.failure, self.has_missed = opened.thread, opened.base, None, False
        self.opened_at = self._reserved = opened.thread.version

    async def load(self, ns: str, no: int | None = None) -> StoredCheckpoint | None:
        """A checkpoint of a namespace, by default the newest one, checked."""
        with self.reading():
            found = await self.saver.load(self.thread.thread, ns, no)
            if found is not None:
                await in_pieces(verified(found))
            return found

    async def load_records(self, ns: str) -> tuple[TaskRecord, ...]:
        """The records of a namespace, checked."""
        with self.reading():
            found = await self.saver.load_records(self.thread.thread, ns)
            return await in_pieces(verified_records(found)) if found is not None else ()

    async def history(self, ns: str, before: int | None, limit: int) -> HistoryPage | None:
        """A page of a namespace's checkpoints, as it is stored: nothing of it is checked."""
        with self.reading():
            return await self.saver.history(self.thread.thread, ns, before=before, limit=limit)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A failure to read the thread in this block ends the run."""
        self._raise_failure()
        try:
            yield
        except Exception as error:
            self.failure = error
            raise

    def with_reduced_values(self, ledger: Ledger, step: NextCheckpoint) -> NextCheckpoint:
        """The step with all of its bytes, so that a commit of it later cannot fail by its values."""
        return with_reduced_values(ledger.topology, step, self.max_value_bytes)

    def _saving(
        self, ledger: Ledger, outcomes: Sequence[Outcome], status: StatusChange | None, *, if_unmoved: bool
    ) -> QueuedSave:
        records = records_of(ledger.stored, outcomes, self.commit_id)
        # The thread's status is its outermost run's affair.
        own = None if ledger.ns else status
        return QueuedSave(records, own, if_unmoved)

    # Sending. One call of the saver is under way at a time; what is asked meanwhile waits, and its end sends that. No
    # asyncio task does it: the saver owns the call that it began, so a caller that is cancelled stops nothing.

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _send(self, request: Request) -> Request:
        self._raise_failure()
        self._queue.append(request)
        self._send_next()
        return request

    def _send_next(self) -> None:
        if self._is_looping:
            # Called by the end of a call that the loop below began: the loop continues by itself.
            return
        self._is_looping = True
        try:
            while self._queue and not self._is_sending:
                if commits := taken_commits(self._queue):
                    self._send_commits(commits)
                else:
                    self._send_saves(taken_saves(self._queue))
        finally:
            self._is_looping = False

    def _call(
        self,
        requests: "Sequence[QueuedCommit | QueuedSave]",
        call: Callable[[], Awaitable[T]],
        ended: Callable[[CommitHandle[T]], None],
    ) -> None:
        """Begin a call of the saver for these requests, and have its end handled."""
        self._is_sending = True

        def end() -> None:
            self._is_sending = False
            try:
                ended(handle)
            except BaseException as error:
                self._break_off(requests, error)
            self._send_next()

        try:
            handle = CommitHandle.of(call())
        except BaseException as error:
            self._is_sending = False
            self._break_off(requests, error)
        else:
            handle.when_done(end)

    def _break_off(self, requests: "Sequence[QueuedCommit | QueuedSave]", error: BaseException) -> None:
        """Answer the requests with an error of the saver's method, or of reading its result: no caller waits for ever.

        `KeyboardInterrupt` and `SystemExit` are raised as well, because they end the process.
        """
        self._end(requests, error)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error

    def _send_commits(self, requests: "list[QueuedCommit]") -> None:
        try:
            unit, stored = self._unit(requests)
        except Exception as error:
            if len(requests) > 1:
                # Each alone, so that one that cannot be encoded is refused alone.
                for request in requests:
                    request.is_alone = True
                self._queue.extendleft(reversed(requests))
            else:
                fail(requests, error)
            return
        self._send_unit(requests, unit, stored)

    def _send_unit(
        self,
        requests: "list[QueuedCommit]",
        unit: CommitUnit,
        stored: dict[str, Stored],
        *,
        is_again: bool = False,
    ) -> None:
        def ended(call: "CommitHandle[CommitResult]") -> None:
            if call.error is not None:
                self._end(requests, call.error)
                return
            result = call.result()
            if not is_again and self._was_only_cancelled(result):
                # Nothing but the cancellation came between: what has finished is committed.
                self.is_cancelled = True
                again = self._as_it_is_now(msgspec.structs.replace(unit, wseq=unit.wseq + 1))
                self._send_unit(requests, again, stored, is_again=True)
            elif isinstance(result, Committed):
                self._committed(requests, unit, stored, result.base)
            elif isinstance(result, WritesMoved):
                for request in requests:
                    request.answer.set_result(False)
            else:
                self._end_in_conflict(requests)

        self._call(requests, partial(self.saver.commit, unit), ended)

    def _committed(
        self,
        requests: "list[QueuedCommit]",
        unit: CommitUnit,
        stored: dict[str, Stored],
        base: StoredThread | None,
    ) -> None:
        if unit.request is not None:
            self.accepts = None
        before = self.thread if self.thread.version else None
        self.base, self.thread = base, thread_after_commit(unit, before) if base is None else base.row
        for request in requests:
            for ledger, step in request.entries:
                ledger.stored = stored[ledger.ns]
                if not ledger.ns:
                    self.stayed = self.stayed.with_step(step)
        has_written(self.saver, self.thread.thread)
        for request in requests:
            request.answer.set_result(True)

    def _unit(self, requests: "list[QueuedCommit]") -> tuple[CommitUnit, dict[str, Stored]]:
        entries = [entry for request in requests for entry in request.entries]
        unit, stored = build_unit(
            self.thread,
            {ledger.ns: ledger.stored for ledger, _ in entries},
            [NamespaceStep(ledger.topology, ledger.ns, step) for ledger, step in entries],
            commit_id=self.commit_id,
            at=self.now(),
            metadata=self.metadata,
            max_value_bytes=self.max_value_bytes,
            base=self.base,
        )
        roots = [step.state.no for ledger, step in entries if not ledger.ns]
        if self.accepts is not None and roots:
            request = self.accepts.row(self.thread.origin, roots[-1], unit.at)
            unit = msgspec.structs.replace(unit, request=request)
        return self._as_it_is_now(unit), stored

    def _was_only_cancelled(self, result: CommitResult) -> bool:
        return isinstance(result, WritesMoved) and result.is_cancelled and result.wseq == self.thread.wseq + 1

    def _as_it_is_now(self, unit: CommitUnit) -> CommitUnit:
        """The unit, of a thread that is cancelled if this one was: unless nothing is left to run."""
        if not self.is_cancelled or unit.status == "done":
            return unit
        return msgspec.structs.replace(unit, status="cancelled")

    def _send_saves(self, requests: "list[QueuedSave]") -> None:
        records = tuple(record for request in requests for record in request.records)
        statuses = [request.status for request in requests if request.status is not None]
        known, first = self.thread, requests[0]
        status, at = (statuses[-1] if statuses else None), self.now()
        accepts = self.accepts if first.is_answer else None
        batch = WritesBatch(
            thread=known.thread,
            expected=known.version,
            epoch=known.epoch,
            at=at,
            records=records,
            wseq=known.wseq if first.if_unmoved else None,
            status=None if status is None else status.status,
            error=None if status is None else status.error,
            if_status=first.if_status,
            request=None if accepts is None else accepts.row(known.origin, known.head, at),
            base=self.base,
        )
        self._call(requests, partial(self.saver.save_writes, batch), partial(self._saved, requests, batch))

    def _saved(self, requests: "list[QueuedSave]", batch: WritesBatch, call: "CommitHandle[SaveResult]") -> None:
        if call.error is not None:
            self._end(requests, call.error)
            return
        saved = call.result()
        match saved:
            case Conflict():
                self._end_in_conflict(requests)
            case WritesMoved():
                for request in requests:
                    request.answer.set_result(None)
            case _:
                self.base, self.is_cancelled = saved.base, self.is_cancelled or saved.is_cancelled
                if batch.request is not None:
                    self.accepts = None
                # Counted, not copied from the answer: a number that another writer moved has to differ at the next
                # commit.
                status_now = None if saved.is_cancelled else batch.status
                self.thread = msgspec.structs.replace(
                    self.thread, wseq=self.thread.wseq + saved.bumped, status=status_now or self.thread.status
                )
                standing = iter(saved.standing)
                for request in requests:
                    request.answer.set_result(tuple(next(standing) for _ in request.records))
                has_written(self.saver, self.thread.thread)

    def _end_in_conflict(self, requests: "Sequence[QueuedCommit | QueuedSave]") -> None:
        """Another writer was first. The thread as it is now tells whether what the call had stored is there at all."""

        def loaded(call: "CommitHandle[StoredCheckpoint | None]") -> None:
            if call.error is not None:
                self._end(requests, call.error)
            else:
                found = call.result()
                self._end(requests, conflict(self.thread, None if found is None else found.thread, self.stayed))

        self._call(requests, partial(self.saver.load, self.thread.thread, "", None), loaded)

    def _end(self, requests: "Sequence[QueuedCommit | QueuedSave]", error: BaseException) -> None:
        """Nothing is sent any more: neither these, nor what waits behind them."""
        fail(requests, error)
        self.failure = error if isinstance(error, Exception) else StoreUnavailableError("the store", _CUT_OFF)
        fail(self._queue, self.failure)
        self._queue.clear()

    def lost_race(self) -> CheckpointConflictError:
        """The error where another writer recorded tasks of a superstep that this run has already built on."""
        return conflict(self.thread, self.thread, self.stayed)
