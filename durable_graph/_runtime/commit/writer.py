"""The one writer between a run and its saver: when a commit is sent, who waits for it, and when its events go out.

One writer serves a run and all runs nested in it, because they share the thread's one row. Its promises:

- Order: what the run made first is durable first (`sender.py`), and events follow what they report.
- Failure: the first failure of the store ends the run. `KnownThread.failure` keeps it, and the run raises it before it
  starts another node.
- Cancellation: the saver owns a call that it began, so no asyncio task of the run protects it. A cancelled caller waits
  for the end of the call, for a grace period, and the result of the call counts in either case.
- Policy: `Policy` says, as data, whether the run waits. Under "sync" a run adopts outcomes that another writer recorded
  first. Under the others it has gone on from its own results, and such outcomes end it.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from durable_graph._engine.build_commit import (
    NextCheckpoint,
    joined,
    records_of,
    size_of,
    size_of_outcome,
    with_reduced_values,
)
from durable_graph._engine.header import Metadata
from durable_graph._engine.restore import Restored, check_results, nothing_stored, recorded_outcomes
from durable_graph._engine.task import Outcome, Task
from durable_graph._runtime.commit.requests import NO_EVENTS, Namespace, QueuedCommit, QueuedSave, StatusChange
from durable_graph._runtime.commit.sender import MOST_WAITING, Sender
from durable_graph._runtime.commit.thread import KnownThread
from durable_graph._runtime.events.sink import EventSink, Publication
from durable_graph._runtime.request.cancellation import finish
from durable_graph._runtime.request.owned_run import OwnedRun
from durable_graph.checkpointing import Checkpointer, CommitHandle
from durable_graph.checkpointing.pieces import Pieces, at_once, in_pieces
from durable_graph.graph import Topology
from durable_graph.records import Status, StoredThread, TaskRecord, ThreadRow

Key = tuple[int, int]
PublicationOf = Callable[[Sequence[Outcome]], Publication]
"""Makes the publication of outcomes from those that stand, which may be another writer's."""


class Policy(msgspec.Struct, frozen=True):
    """When a request is sent to the store.

    `waits`: at once, and the run waits for it ("sync"). Otherwise the run goes on: with at most `backlog` requests
    waiting behind it ("async"), or, with None, with all of them held until the run ends ("exit").
    """

    waits: bool
    backlog: int | None = 0


SYNC = Policy(waits=True)
EXIT = Policy(waits=False, backlog=None)


def open_writer(
    saver: Checkpointer,
    row: ThreadRow,
    policy: Policy,
    *,
    grace: float,
    metadata: Metadata | None = None,
    calls_in: Iterable[str] = (),
    base: StoredThread | None = None,
    run: OwnedRun | None = None,
) -> "Writer":
    """A writer of the thread that was found with this row, with a commit id of its own. `base` is the row as the saver
    returned it; `run` is the run that a worker executes."""
    thread = KnownThread(saver, row, os.urandom(16), set(calls_in), base)
    log = None if run is None else run.log
    sender = Sender(thread, metadata or {}, _now, run=run, log=log)
    if log is not None:
        log.connect(sender.send_events)
    return Writer(thread, sender, policy, grace)


def _now() -> int:
    """The time in microseconds since the epoch."""
    return time.time_ns() // 1000


@dataclass(slots=True, eq=False)
class _Behind:
    """What is behind the runs of one sink: the number of `requests` that are not durable or not published yet.

    `unpublished` are the events of those that are durable, with their sizes, which are `size` bytes together.
    """

    requests: int = 0
    size: int = 0
    unpublished: deque[tuple[Publication, int]] = field(default_factory=deque)
    publisher: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class Writer:
    """Commits and records what a run has done, as its policy says. `grace` is in seconds."""

    thread: KnownThread
    sender: Sender
    policy: Policy
    grace: float
    # Of a run that does not wait: the number and bytes of its requests that are not durable yet; and what is behind the
    # runs of each sink. A nested run that is read by its caller has a sink of its own, and no other run waits for its
    # reader: the reader may be waiting for that run.
    _not_durable: int = 0
    _bytes_not_durable: int = 0
    _behind: dict[EventSink, _Behind] = field(default_factory=dict)
    _has_moved: asyncio.Event = field(default_factory=asyncio.Event)
    # Of a run that commits at its end: what it holds, by namespace.
    _held: dict[str, tuple[Namespace, NextCheckpoint]] = field(default_factory=dict)
    _held_outcomes: dict[str, tuple[Namespace, dict[Key, Outcome]]] = field(default_factory=dict)
    _held_status: StatusChange | None = None

    def namespace(self, topology: Topology, ns: str, restored: Restored | None) -> Namespace:
        """A namespace with the rows that were loaded."""
        rows = restored.stored if restored is not None else nothing_stored(self.thread.row.origin, ns)
        return Namespace(topology, ns, rows)

    # Commits

    async def commit(self, own: Namespace, step: NextCheckpoint, publication: Publication) -> bool:
        """Commit a superstep as the policy says, and publish its events once it is durable.

        False if another writer recorded some of its tasks: adopt them and try again. Raises `CheckpointConflictError`
        if another writer committed, and the store's errors.
        """
        if not self.policy.waits:
            await self._commit_behind(own, step, publication)
            return True
        answer = self._send_commit(QueuedCommit(((own, step),), publication))
        if not answer.is_done:
            try:
                await finish(answer, self.grace)
            except asyncio.CancelledError:
                if answer.is_done and answer.error is None and answer.result():
                    publication.is_accepted = True
                    publication.publish_nowait(publication.events)
                raise
        publication.is_accepted = is_committed = answer.result()
        if is_committed and publication.events:
            await publication.publish()
        return is_committed

    async def commit_now(self, *entries: tuple[Namespace, NextCheckpoint], taken: tuple[int, ...] = ()) -> bool:
        """Commit supersteps together, and wait for the commit under every policy. `taken` are the updates they apply.
        False and errors as for `commit`."""
        return await finish(self._send_commit(QueuedCommit(entries, NO_EVENTS, taken=taken)), self.grace)

    async def commit_input(self, own: Namespace, step: NextCheckpoint) -> bool:
        """Commit an input: durable before any node runs, under every policy. False and errors as for `commit`.

        The row of a run that a worker executes holds the input already, so it is committed with the next superstep.
        """
        run = self.sender.run
        if run is None or not run.has_input or run.is_followed:
            return await self.commit_now((own, step))
        step = with_reduced_values(own.topology, step, self.thread.max_value_bytes)
        self.sender.hold(QueuedCommit(((own, step),), NO_EVENTS))
        return True

    async def _commit_behind(self, own: Namespace, step: NextCheckpoint, publication: Publication) -> None:
        # Encoded now. While the commit waits, the nodes of the next superstep have the values in hand; and it is known
        # which superstep is to blame for a value that cannot be encoded, and the ones before it can be kept.
        step = with_reduced_values(own.topology, step, self.thread.max_value_bytes)
        if self.policy.backlog is not None:
            request = QueuedCommit(((own, step),), publication, size_of(step), is_final=True)
            self.thread.raise_failure()
            # Before any wait: a cancellation while the run waits for room must not lose it.
            publication.is_accepted = True
            behind = self._follow(self._send_commit(request), publication, request.size)
            await self._wait_for_room(self.policy.backlog, behind)
            return
        held = self._held.get(own.ns)
        if held is not None:
            # Encoded while the value is what this superstep made of it.
            both = joined(held[1], step)
            step = with_reduced_values(own.topology, both, self.thread.max_value_bytes)
        self._held[own.ns] = own, step
        self._held_outcomes.pop(own.ns, None)
        publication.is_accepted = True
        await publication.publish(provisional=True, parent=step.parent)

    # Task records

    async def save(
        self,
        own: Namespace,
        outcomes: Sequence[Outcome],
        publication_of: PublicationOf,
        status: StatusChange | None = None,
    ) -> tuple[Outcome, ...]:
        """Record outcomes of tasks while their superstep continues, or fails. Returns the outcomes that stand."""
        if not self.policy.waits:
            await self._save_behind(own, tuple(outcomes), publication_of, status)
            return tuple(outcomes)
        saving = self.sender.send(self._saving(own, outcomes, status))
        standing = partial(self._standing, own, outcomes, saving.records)
        try:
            stood = await finish(saving.answer, self.grace)
        except asyncio.CancelledError as cancelled:
            if saving.answer.is_done and saving.answer.error is None:
                try:
                    publication = publication_of(at_once(standing(saving.answer.result() or ())))
                except Exception as error:  # what another writer recorded cannot be read: the cancellation wins
                    raise cancelled from error
                publication.publish_nowait(publication.events)
            raise
        found = await in_pieces(standing(stood or ()))
        await publication_of(found).publish()
        return found

    async def _save_behind(
        self,
        own: Namespace,
        outcomes: tuple[Outcome, ...],
        publication_of: PublicationOf,
        status: StatusChange | None,
    ) -> None:
        if self.policy.backlog is None:
            held = self._held_outcomes.setdefault(own.ns, (own, {}))[1]
            held.update((outcome.task.key, outcome) for outcome in outcomes)
            if not own.ns:
                self._held_status = status or self._held_status
            await publication_of(outcomes).publish(provisional=True)
            return
        self.thread.raise_failure()
        answer = self._send_final(own, outcomes, status)
        behind = self._follow(answer, publication_of(outcomes), sum(map(size_of_outcome, outcomes)))
        await self._wait_for_room(self.policy.backlog, behind)

    async def save_unmoved(
        self,
        own: Namespace,
        outcomes: Sequence[Outcome],
        status: StatusChange | None,
        if_status: Status | None = None,
        *,
        is_answer: bool = False,
    ) -> tuple[Outcome, ...] | None:
        """Record all of these, and return those that stand. None if another writer recorded anything since this run
        looked, or if the thread has another status than `if_status`."""
        request = self._saving(own, outcomes, status)
        request.if_unmoved, request.if_status, request.is_answer = True, if_status, is_answer
        if self.thread.has_missed:
            return None
        stood = await self.sender.send(request).answer
        return None if stood is None else await in_pieces(self._standing(own, outcomes, request.records, stood))

    async def save_status(self, status: StatusChange) -> None:
        """Record the thread's status."""
        await self.sender.send(QueuedSave((), status)).answer

    async def save_records(self, records: tuple[TaskRecord, ...]) -> tuple[TaskRecord, ...]:
        """Record the outcomes of calls inside a task, and return the records that stand."""
        self.thread.calls_in.update(record.ns for record in records)
        return await self.sender.send(QueuedSave(records)).answer or ()

    async def interrupt(self, own: Namespace, outcomes: Sequence[Outcome], publication_of: PublicationOf) -> bool:
        """Record that the run stops for answers, with these outcomes, once all before them is durable.

        False if another writer recorded something meanwhile, an answer perhaps: adopt that and try again.
        """
        # Together with the held outcomes: an interrupt without the status would look like one of a running run.
        held = self._held_outcomes.get(own.ns, (own, {}))[1]
        rest = {**held, **{outcome.task.key: outcome for outcome in outcomes}}
        await self.settle(but=own.ns)
        saving = self.save_unmoved(own, tuple(rest.values()), StatusChange("interrupted"))
        if await finish(saving, self.grace) is None:
            return False
        self._held_outcomes.pop(own.ns, None)
        await publication_of(outcomes).publish()
        return True

    async def adopt(self, own: Namespace, plan: Sequence[Task]) -> dict[Key, Outcome]:
        """The outcomes that any writer recorded for the plan of a namespace's newest checkpoint."""
        records = await self.thread.catch_up(own.ns, has_missed=bool(own.ns))
        return await in_pieces(recorded_outcomes(own.topology, tuple(plan), records, self.thread.max_value_bytes))

    def _saving(self, own: Namespace, outcomes: Sequence[Outcome], status: StatusChange | None) -> QueuedSave:
        # The thread's status is the affair of its outermost graph.
        return QueuedSave(records_of(own.rows, outcomes, self.thread.commit_id), None if own.ns else status)

    def _standing(
        self, own: Namespace, outcomes: Sequence[Outcome], offered: Sequence[TaskRecord], stood: Sequence[TaskRecord]
    ) -> Pieces[tuple[Outcome, ...]]:
        """The outcomes that stand, where the records `offered` were saved and the records that `stood` came back."""
        if not own.ns:
            same = zip(outcomes, offered, stood, strict=True)
            kept = (outcome for outcome, mine, theirs in same if mine == theirs)
            self.thread.stored = self.thread.stored.with_results(kept)
        if tuple(stood) == tuple(offered):
            return tuple(outcomes)
        plan = tuple(outcome.task for outcome in outcomes)
        standing = yield from recorded_outcomes(own.topology, plan, stood, self.thread.max_value_bytes)
        check_results(self.thread.id, standing.values())
        return tuple(
            outcome if mine == theirs else standing.get(outcome.task.key, outcome)
            for outcome, mine, theirs in zip(outcomes, offered, stood, strict=True)
        )

    def _send_commit(self, request: QueuedCommit) -> CommitHandle[bool]:
        for _, step in request.entries:
            for record in step.calls:
                self.thread.calls_in.add(record.ns)
        return self.sender.send(request).answer

    def _send_final(
        self, own: Namespace, outcomes: Sequence[Outcome], status: StatusChange | None
    ) -> "CommitHandle[tuple[TaskRecord, ...] | None]":
        """Send outcomes that the run has gone on from: another writer's in place of them end the run."""
        request = self._saving(own, outcomes, status)
        request.is_final = True
        answer = self.sender.send(request).answer
        if not own.ns:
            answer.when_done(partial(self._note_results, answer, outcomes))
        return answer

    def _note_results(self, answer: CommitHandle[Any], outcomes: Sequence[Outcome]) -> None:
        if answer.error is None:
            self.thread.stored = self.thread.stored.with_results(outcomes)

    # The end of a run, or a record that depends on all before it

    async def flush(self) -> None:
        """Have all requests so far durable: a record that follows depends on them. Their events may follow later."""
        if not self.policy.waits:
            await self._send_all(None)
            if self._not_durable:
                await finish(self._wait_until(lambda: not self._not_durable), self.grace)
            self._raise_failure_behind()

    async def catch_up(self, sink: EventSink) -> None:
        """Have the events of all requests so far published that are for this sink. Those of a run that commits at its
        end are, already."""
        behind = self._behind.get(sink)
        if behind is not None:
            await finish(self._wait_until(lambda: not behind.requests), self.grace)
        self._raise_failure_behind()

    async def settle(self, but: str | None = None) -> None:
        """Have all requests so far durable and their events published, whatever the end of the run is.

        `but` is a namespace whose held outcomes stay held. Raises the store's errors, also one from before.
        """
        await self._send_all(but)
        if self._behind:
            await finish(self._wait_until(lambda: not self._behind), self.grace)
        self._raise_failure_behind()

    async def _send_all(self, but: str | None) -> None:
        if self._held or self._held_status or self._held_outcomes.keys() - {but}:
            await finish(self._send_held(but), self.grace)

    def _raise_failure_behind(self) -> None:
        if not self.policy.waits and self.policy.backlog is not None:
            self.thread.raise_failure()

    async def _send_held(self, but: str | None) -> None:
        # Taken at once: what comes while these are under way builds on them, and on each other.
        held, self._held = self._held, {}
        outcomes = {ns: each for ns, each in self._held_outcomes.items() if ns != but}
        self._held_outcomes = {ns: each for ns, each in self._held_outcomes.items() if ns == but}
        status, self._held_status = self._held_status, None
        answers: list[CommitHandle[Any]] = []
        if held:
            # In the order of their numbers, which is that of the supersteps.
            entries = sorted(held.values(), key=lambda entry: entry[1].state.no)
            answers.append(self._send_commit(QueuedCommit(entries, NO_EVENTS, is_final=True)))
        for own, recorded in outcomes.values():
            answers.append(self._send_final(own, tuple(recorded.values()), status))
        if status is not None and "" not in outcomes:
            answers.append(self.sender.send(QueuedSave((), status)).answer)
        for answer in answers:
            await answer

    # What is behind a run that does not wait

    def _follow(self, answer: CommitHandle[Any], publication: Publication, size: int) -> _Behind:
        """Count a request as behind the run until it is durable and its events are published."""
        behind = self._behind.get(publication.sink)
        if behind is None:
            behind = self._behind[publication.sink] = _Behind()
        behind.requests += 1
        self._not_durable += 1
        self._bytes_not_durable += size
        answer.when_done(partial(self._is_answered, answer, publication, behind, size))
        return behind

    def _is_answered(self, answer: CommitHandle[Any], publication: Publication, behind: _Behind, size: int) -> None:
        self._not_durable -= 1
        self._bytes_not_durable -= size
        if answer.error is None and publication.events:
            behind.unpublished.append((publication, size))
            behind.size += size
            if behind.publisher is None:
                behind.publisher = asyncio.get_running_loop().create_task(self._publish(publication.sink, behind))
            self._has_moved.set()
        else:
            self._is_no_longer_behind(publication.sink, behind)

    async def _publish(self, sink: EventSink, behind: _Behind) -> None:
        """Publish, in order, the events of what is durable. A slow reader slows the run: see `_wait_for_room`."""
        try:
            while behind.unpublished:
                publication, size = behind.unpublished.popleft()
                behind.size -= size
                try:
                    await publication.publish()
                finally:
                    self._is_no_longer_behind(sink, behind)
        except Exception as error:  # raised by the run, before it starts another node
            self.thread.failure = self.thread.failure or error
        finally:
            behind.publisher = None
            rest = [publication for publication, _ in behind.unpublished]
            behind.unpublished.clear()
            behind.size = 0
            for _ in rest:
                self._is_no_longer_behind(sink, behind)
            for publication in rest:
                publication.publish_nowait(publication.events)

    def _is_no_longer_behind(self, sink: EventSink, behind: _Behind) -> None:
        behind.requests -= 1
        if not behind.requests:
            del self._behind[sink]
        self._has_moved.set()

    async def _wait_for_room(self, backlog: int, behind: _Behind) -> None:
        if not self._has_room(backlog, behind):
            await self._wait_until(lambda: self.thread.failure is not None or self._has_room(backlog, behind))
        self.thread.raise_failure()

    def _has_room(self, backlog: int, behind: _Behind) -> bool:
        # Once nothing of these runs is left to become durable, what else waits to be sent does not wake anyone.
        waiting = self.sender.waiting if self._not_durable else 0
        is_short = waiting + len(behind.unpublished) <= backlog
        return is_short and self._bytes_not_durable + behind.size <= MOST_WAITING

    async def _wait_until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._has_moved.clear()
            await self._has_moved.wait()
        # Raised in here as well: where the caller has left by then, the failure is logged and not lost.
        self.thread.raise_failure()
