"""Sends a run's requests to its saver: one call at a time, in the order in which they were made.

Commits that wait together go out as one unit, and so do saves. No asyncio task does that: the saver owns a call that it
began, and the call's end sends what waits. After the first failure nothing is sent any more, because later requests
build on the failed one.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec

from durable_graph._engine.build_commit import NamespaceStep, build_unit
from durable_graph._engine.header import Metadata
from durable_graph._runtime.commit.busy import has_written
from durable_graph._runtime.commit.request_keys import Acceptance
from durable_graph._runtime.commit.requests import QueuedCommit, QueuedSave
from durable_graph._runtime.commit.thread import KnownThread
from durable_graph._runtime.request.owned_run import OwnedRun, RunEvents
from durable_graph.checkpointing import CommitHandle
from durable_graph.checkpointing.chains import Stored as StoredRows
from durable_graph.checkpointing.rules import thread_after_commit
from durable_graph.errors import StoreUnavailableError
from durable_graph.records import (
    CommitResult,
    Committed,
    CommitUnit,
    Conflict,
    SaveResult,
    StoredCheckpoint,
    StoredThread,
    WritesBatch,
    WritesMoved,
)

T = TypeVar("T")
Request = TypeVar("Request", QueuedCommit, QueuedSave)
Requests = Sequence[QueuedCommit | QueuedSave]

MOST_WAITING = 64 * 1024 * 1024
"""In bytes: the largest unit that is made of supersteps that waited, and the most that may wait behind a run."""

_CUT_OFF = "a call ended without an outcome"


@dataclass(slots=True)
class Sender:
    """The queue of requests, and the calls of the saver.

    `accepts` is the request with a key that the next commit of the outermost graph, or its next answer, accepts. `run`
    is the run that a worker executes. `wakes_run`: answers wake the thread's run, which a worker executes. `taken` are
    the messages that the answers are. `log` has the events of the run that wait to be stored: they precede what is sent
    next. `now` gives microseconds since the epoch.
    """

    thread: KnownThread
    metadata: Metadata
    now: Callable[[], int]
    accepts: Acceptance | None = None
    run: OwnedRun | None = None
    wakes_run: bool = False
    taken: tuple[int, ...] = ()
    log: RunEvents | None = None
    _held: QueuedCommit | None = None
    _queue: deque[QueuedCommit | QueuedSave] = field(default_factory=deque)
    _is_sending: bool = False
    _is_looping: bool = False

    @property
    def waiting(self) -> int:
        """The number of requests that wait for the call that is under way."""
        return len(self._queue)

    def send(self, request: Request) -> Request:
        """Send the request once all before it are done. Raises the store's failure, if there was one."""
        if self.thread.failure is not None:
            raise self.thread.failure
        if self._held is not None:
            self._send_held_with(request)
        self._queue.append(request)
        if not self._is_looping and not self._is_sending:
            self._send_next()
        return request

    def hold(self, commit: QueuedCommit) -> None:
        """Send this commit together with the next one, or before any other request.

        It is the input of a run that a worker executes, which the run's row holds until then: so a run of N supersteps
        costs N commits.
        """
        commit.is_final = True
        self._held = commit

    def _send_held_with(self, request: QueuedCommit | QueuedSave) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        if isinstance(request, QueuedCommit):
            request.entries = (*held.entries, *request.entries)
            request.is_final = True
        else:
            self._queue.append(held)

    def _send_next(self) -> None:
        if self._is_looping:
            # Called by the end of a call that the loop below began: the loop continues by itself.
            return
        self._is_looping = True
        try:
            while not self._is_sending and (self._queue or (self.log is not None and self.log.has_pending)):
                if self.log is not None and self.log.has_pending:
                    self._send_events(self.log)
                elif commits := self._taken_commits():
                    self._send_commits(commits)
                else:
                    self._send_saves(self._taken_saves())
        finally:
            self._is_looping = False

    def _taken_commits(self) -> list[QueuedCommit]:
        """The commits at the front of the queue, which go out together."""
        taken: list[QueuedCommit] = []
        queue, size = self._queue, 0
        while queue and isinstance(request := queue[0], QueuedCommit) and size < MOST_WAITING:
            if taken and (request.is_alone or taken[0].is_alone or request.is_final != taken[0].is_final):
                break
            taken.append(request)
            size += request.size
            queue.popleft()
        return taken

    def _taken_saves(self) -> list[QueuedSave]:
        """The saves at the front of the queue. One that holds only if nothing moved is sent alone."""
        taken: list[QueuedSave] = []
        queue = self._queue
        while queue and isinstance(request := queue[0], QueuedSave):
            if taken and (request.if_unmoved or taken[0].if_unmoved):
                break
            taken.append(request)
            queue.popleft()
        return taken

    def _call(
        self, requests: Requests, call: Callable[[], Awaitable[T]], ended: Callable[[CommitHandle[T]], None]
    ) -> None:
        """Begin a call of the saver for these requests, and have its end handled."""
        self._is_sending = True

        def end() -> None:
            self._is_sending = False
            try:
                if handle.error is not None:
                    self._fail(requests, handle.error)
                else:
                    ended(handle)
            except BaseException as error:
                self._break_off(requests, error)
            if self._queue or (self.log is not None and self.log.has_pending):
                self._send_next()

        try:
            handle = CommitHandle.of(call())
        except BaseException as error:
            self._is_sending = False
            self._break_off(requests, error)
        else:
            if handle.is_done:
                end()
            else:
                handle.when_done(end)

    def _break_off(self, requests: Requests, error: BaseException) -> None:
        """Answer the requests with an error of the saver's method, or of reading its result: no caller waits for ever.

        `KeyboardInterrupt` and `SystemExit` are raised as well, because they end the process.
        """
        self._fail(requests, error)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error

    def _fail(self, requests: Requests, error: BaseException) -> None:
        """Nothing is sent any more: neither these, nor what waits behind them."""
        self.thread.failure = error if isinstance(error, Exception) else StoreUnavailableError("the store", _CUT_OFF)
        waiting = list(self._queue)
        self._queue.clear()
        if self.log is not None:
            self.log.stop()
        _answer_all(requests, error)
        _answer_all(waiting, self.thread.failure)

    def _end_in_conflict(self, requests: Requests) -> None:
        """Another writer was first. The thread as it is now tells whether what the call had stored is there at all."""

        def loaded(call: "CommitHandle[StoredCheckpoint | None]") -> None:
            found = call.result()
            self._fail(requests, self.thread.conflict(None if found is None else found.thread))

        self._call(requests, partial(self.thread.saver.load, self.thread.id, "", None), loaded)

    # Events of a run

    def send_events(self) -> None:
        """Send the events that wait to be stored, after the present call."""
        if self.thread.failure is not None:
            if self.log is not None:
                self.log.stop()
        elif not self._is_looping and not self._is_sending:
            self._send_next()

    def _send_events(self, log: RunEvents) -> None:
        if self._held is not None:
            # The events follow the run's input.
            held, self._held = self._held, None
            self._send_commits([held])
            return
        rows = log.take(self.thread.row.version)

        def ended(call: "CommitHandle[bool]") -> None:
            if call.result():
                log.has_moved()
            else:
                # Another worker holds the run: the next commit will conflict.
                log.stop()

        if rows:
            self._call((), partial(log.append, rows), ended)

    # Commits

    def _send_commits(self, requests: list[QueuedCommit]) -> None:
        try:
            unit, stored = self._unit(requests)
        except Exception as error:
            if len(requests) > 1:
                # Each alone, so that one that cannot be encoded is refused alone.
                for request in requests:
                    request.is_alone = True
                self._queue.extendleft(reversed(requests))
            elif requests[0].is_final:
                self._fail(requests, error)
            else:
                _answer_all(requests, error)
            return
        self._send_unit(requests, unit, stored)

    def _unit(self, requests: list[QueuedCommit]) -> tuple[CommitUnit, dict[str, StoredRows]]:
        thread = self.thread
        rows: dict[str, StoredRows] = {}
        steps: list[NamespaceStep] = []
        for request in requests:
            for own, step in request.entries:
                rows[own.ns] = own.rows
                steps.append(NamespaceStep(own.topology, own.ns, step))
        unit, stored = build_unit(
            thread.row,
            rows,
            steps,
            commit_id=thread.commit_id,
            at=self.now(),
            metadata=self.metadata,
            max_value_bytes=thread.max_value_bytes,
            base=thread.base,
        )
        if self.accepts is not None:
            roots = [each.step.state.no for each in steps if not each.ns]
            if roots:
                accepted = self.accepts.row(thread.row.origin, roots[-1], unit.at)
                unit = msgspec.structs.replace(unit, request=accepted)
        for request in requests:  # no comprehension: that is one more Python call in each superstep
            if request.taken:
                unit = msgspec.structs.replace(unit, taken=(*unit.taken, *request.taken))
        unit = self._still_cancelled(unit) if thread.is_cancelled else unit
        return (unit if self.run is None else self.run.with_commit(unit)), stored

    def _still_cancelled(self, unit: CommitUnit) -> CommitUnit:
        """The unit of a thread that was cancelled: it stays cancelled, unless nothing is left to run."""
        return unit if unit.status == "done" else msgspec.structs.replace(unit, status="cancelled")

    def _send_unit(
        self, requests: list[QueuedCommit], unit: CommitUnit, stored: dict[str, StoredRows], *, is_again: bool = False
    ) -> None:
        def ended(call: "CommitHandle[CommitResult]") -> None:
            result = call.result()
            if isinstance(result, Committed):
                self._committed(requests, unit, stored, result.base)
            elif not isinstance(result, WritesMoved):
                self._end_in_conflict(requests)
            elif not is_again and result.is_cancelled and result.wseq == self.thread.row.wseq + 1:
                # Nothing but the cancellation came between: what has finished is committed.
                self.thread.is_cancelled = True
                again = self._still_cancelled(msgspec.structs.replace(unit, wseq=unit.wseq + 1))
                self._send_unit(requests, again, stored, is_again=True)
            elif requests[0].is_final:
                self._send_again(requests)
            else:
                for request in requests:
                    request.answer.set_result(False)

        self._call(requests, partial(self.thread.saver.commit, unit), ended)

    def _send_again(self, requests: list[QueuedCommit]) -> None:
        """Send commits that the run has gone on from once more, unless another writer's results contradict them."""
        namespaces = list(dict.fromkeys(own.ns for request in requests for own, _ in request.entries))

        async def check() -> None:
            for ns in namespaces:
                await self.thread.check_not_lost(ns)

        self._call(requests, check, lambda _: self._send_commits(requests))

    def _committed(
        self, requests: list[QueuedCommit], unit: CommitUnit, stored: dict[str, StoredRows], base: StoredThread | None
    ) -> None:
        thread = self.thread
        if unit.request is not None:
            self.accepts = None
        if self.run is not None:
            self.run.has_progressed = True
            self.run.recorded(unit.run)
            if self.log is not None:
                self.log.committed(unit.version)
        before = thread.row if thread.row.version else None
        thread.base, thread.row = base, thread_after_commit(unit, before) if base is None else base.row
        for request in requests:
            for own, step in request.entries:
                own.rows = stored[own.ns]
                if not own.ns:
                    thread.stored = thread.stored.with_step(step)
        has_written(thread.saver, thread.row.thread)
        for request in requests:
            request.answer.set_result(True)

    # Saves

    def _send_saves(self, requests: list[QueuedSave]) -> None:
        records = tuple(record for request in requests for record in request.records)
        statuses = [request.status for request in requests if request.status is not None]
        known, first = self.thread.row, requests[0]
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
            base=self.thread.base,
            wakes_run=self.wakes_run and first.is_answer,
            taken=self.taken if first.is_answer else (),
        )
        if self.run is not None:
            batch = self.run.with_save(batch)
        saver = self.thread.saver
        self._call(requests, partial(saver.save_writes, batch), partial(self._saved, requests, batch))

    def _saved(self, requests: list[QueuedSave], batch: WritesBatch, call: "CommitHandle[SaveResult]") -> None:
        saved, thread = call.result(), self.thread
        if isinstance(saved, Conflict):
            self._end_in_conflict(requests)
            return
        if isinstance(saved, WritesMoved):
            for request in requests:
                request.answer.set_result(None)
            return
        thread.base, thread.is_cancelled = saved.base, thread.is_cancelled or saved.is_cancelled
        if self.run is not None:
            # Answers are recorded before the tasks begin that they are for.
            self.run.has_progressed |= bool(batch.records) and not requests[0].is_answer
            self.run.recorded(batch.run)
            if batch.events and self.log is not None:
                self.log.has_moved()
        if batch.request is not None:
            self.accepts = None
        # Counted, not copied from the answer: a number that another writer moved has to differ at the next commit.
        status_now = None if saved.is_cancelled else batch.status
        thread.row = msgspec.structs.replace(
            thread.row, wseq=thread.row.wseq + saved.bumped, status=status_now or thread.row.status
        )
        standing = iter(saved.standing)
        answers = [tuple(next(standing) for _ in request.records) for request in requests]
        has_written(thread.saver, thread.row.thread)
        for at, (request, stood) in enumerate(zip(requests, answers, strict=True)):
            if request.is_final and stood != request.records:
                # The run has gone on from its own results: there is no way back to another's.
                self._fail(requests[at:], thread.lost_race())
                return
            request.answer.set_result(stood)


def _answer_all(requests: Iterable[QueuedCommit | QueuedSave], error: BaseException) -> None:
    for request in requests:
        request.answer.set_error(error)
