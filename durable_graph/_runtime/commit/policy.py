"""When a superstep is committed: before the next starts, behind it, or at the end of the run.

In all of them what was accepted is committed before a node runs, and a store failure starts no new node.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

import msgspec

from durable_graph._engine.build_commit import NextCheckpoint, joined, size_of, size_of_outcome
from durable_graph._engine.task import Outcome
from durable_graph._runtime.commit.journal import Journal
from durable_graph._runtime.commit.requests import Ledger, StatusChange
from durable_graph._runtime.events.model import AnyEvent, CheckpointCommitted
from durable_graph._runtime.events.sink import EventSink
from durable_graph._runtime.request.cancellation import finish
from durable_graph.checkpointing import CommitHandle
from durable_graph.checkpointing.pieces import at_once, in_pieces
from durable_graph.records import checkpoint_id


class Publication(msgspec.Struct, frozen=True):
    """Events for a sink.

    `on_accepted` is called once a superstep's commit cannot be stopped any more. A cancellation of the call that
    arrives later, while it waits, does not undo the commit.
    """

    sink: EventSink
    events: Sequence[AnyEvent]
    on_accepted: Callable[[], object] = bool

    async def publish(self, *, provisional: bool = False, parent: int | None = None) -> None:
        """Tell them, in order, and wait for the reader. `parent` is that of the checkpoint, where it will not be stored
        as the step has it.

        All events are published even if the caller is cancelled: they report what has happened.
        """
        events = deque(_as_published(event, provisional, parent) for event in self.events)
        try:
            while events:
                await self.sink.emit(events.popleft())
        except asyncio.CancelledError:
            self.publish_nowait(events)
            raise

    def publish_nowait(self, events: Iterable[AnyEvent]) -> None:
        """Tell these, in order, without waiting for the reader."""
        for event in events:
            self.sink.emit_nowait(event)


def _as_published(event: AnyEvent, provisional: bool, parent: int | None) -> AnyEvent:
    publication = msgspec.structs.replace(event, provisional=True) if provisional else event
    if parent is not None and isinstance(publication, CheckpointCommitted):
        return msgspec.structs.replace(publication, parent_checkpoint_id=checkpoint_id(parent) if parent else None)
    return publication


PublicationOf = Callable[[Sequence[Outcome]], Publication]
"""Makes the publication of outcomes from those that stand, which may be another writer's."""


class Durability(Protocol):
    """A commit policy. The events of a call are published once the call's part is durable.

    `ledger` says whose namespace a call is about. It is None only where nothing is kept.
    """

    async def commit(self, ledger: Ledger | None, step: NextCheckpoint, publication: Publication) -> bool:
        """A superstep is over. False: another writer recorded some of its tasks; adopt them and try again."""
        ...

    async def save(
        self,
        ledger: Ledger | None,
        outcomes: Sequence[Outcome],
        publication_of: PublicationOf,
        status: StatusChange | None = None,
    ) -> tuple[Outcome, ...]:
        """Record outcomes of tasks while their superstep continues, or fails. Returns the outcomes that stand."""
        ...

    async def stop(self, ledger: Ledger | None, outcomes: Sequence[Outcome], publication_of: PublicationOf) -> bool:
        """The run stops for answers: record these outcomes and the status, once all before them is durable.

        False: another writer recorded something meanwhile, an answer perhaps; adopt that and try again.
        """
        ...

    async def flush(self) -> None:
        """Commit all that was accepted so far: a record that follows depends on it."""
        ...

    async def settle(self) -> None:
        """Commit all that was accepted, at the end of the run, whatever the end is."""
        ...

    async def catch_up(self) -> None:
        """Publish the events of all calls so far."""
        ...


class Unstored:
    """Without a checkpointer: nothing is kept, everything is published at once."""

    async def commit(self, ledger: Ledger | None, step: NextCheckpoint, publication: Publication) -> bool:
        publication.on_accepted()
        if publication.events:
            await publication.publish()
        return True

    async def save(
        self,
        ledger: Ledger | None,
        outcomes: Sequence[Outcome],
        publication_of: PublicationOf,
        status: StatusChange | None = None,
    ) -> tuple[Outcome, ...]:
        await publication_of(outcomes).publish()
        return tuple(outcomes)

    async def stop(self, ledger: Ledger | None, outcomes: Sequence[Outcome], publication_of: PublicationOf) -> bool:
        await publication_of(outcomes).publish()
        return True

    async def flush(self) -> None:
        return None

    async def settle(self) -> None:
        return None

    async def catch_up(self) -> None:
        return None


class Sync:
    """Every call is durable when it returns."""

    def __init__(self, journal: Journal, grace: float) -> None:
        self._journal = journal
        self._grace = grace

    async def commit(self, ledger: Ledger | None, step: NextCheckpoint, publication: Publication) -> bool:
        handle = self._journal.commit((_kept(ledger), step))
        handle.when_done(partial(_accept, handle, publication))
        try:
            is_committed = await finish(handle, self._grace)
        except asyncio.CancelledError:
            if handle.is_done and handle.error is None and handle.result():
                publication.publish_nowait(publication.events)
            raise
        if is_committed and publication.events:
            await publication.publish()
        return is_committed

    async def save(
        self,
        ledger: Ledger | None,
        outcomes: Sequence[Outcome],
        publication_of: PublicationOf,
        status: StatusChange | None = None,
    ) -> tuple[Outcome, ...]:
        own = _kept(ledger)
        saving = self._journal.begin_save(own, outcomes, status)
        standing = partial(self._journal.standing, own, outcomes, saving.records)
        try:
            stood = await finish(saving.answer, self._grace)
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

    async def stop(self, ledger: Ledger | None, outcomes: Sequence[Outcome], publication_of: PublicationOf) -> bool:
        saving = self._journal.save_unmoved(_kept(ledger), outcomes, StatusChange("interrupted"))
        if await finish(saving, self._grace) is None:
            return False
        await publication_of(outcomes).publish()
        return True

    async def flush(self) -> None:
        return None

    async def settle(self) -> None:
        return None

    async def catch_up(self) -> None:
        return None


def _accept(handle: CommitHandle[bool], publication: Publication) -> None:
    if handle.error is None and handle.result():
        publication.on_accepted()


MOST_WAITING = 64 * 1024 * 1024
"""In bytes: with "async" a run waits once more than this waits for the store. There is a limit by number as well."""


class _Commit(msgspec.Struct, frozen=True):
    ledger: Ledger
    step: NextCheckpoint
    publication: Publication
    size: int


class _Save(msgspec.Struct, frozen=True):
    ledger: Ledger
    outcomes: tuple[Outcome, ...]
    status: StatusChange | None
    publication: Publication
    size: int


class Async:
    """Calls return before they are durable; one task sends them in order, at most `backlog` of them behind the run.

    Supersteps that wait together are committed together. The first failure stops the run: nothing that was queued
    behind it is sent.
    """

    def __init__(self, journal: Journal, grace: float, backlog: int) -> None:
        self._journal = journal
        self._grace = grace
        self._backlog = backlog
        self._queue: deque[_Commit | _Save] = deque()
        self._waiting_bytes = 0
        self._sender: asyncio.Task[None] | None = None
        self._sent = asyncio.Event()
        self._failure: BaseException | None = None

    async def commit(self, ledger: Ledger | None, step: NextCheckpoint, publication: Publication) -> bool:
        own = _kept(ledger)
        # Encoded now: while the commit waits, the nodes of the next superstep have the values in hand.
        step = self._journal.with_reduced_values(own, step)
        await self._enqueue(_Commit(own, step, publication, size_of(step)), publication.on_accepted)
        return True

    async def save(
        self,
        ledger: Ledger | None,
        outcomes: Sequence[Outcome],
        publication_of: PublicationOf,
        status: StatusChange | None = None,
    ) -> tuple[Outcome, ...]:
        size = sum(map(size_of_outcome, outcomes))
        await self._enqueue(_Save(_kept(ledger), tuple(outcomes), status, publication_of(outcomes), size))
        return tuple(outcomes)

    async def stop(self, ledger: Ledger | None, outcomes: Sequence[Outcome], publication_of: PublicationOf) -> bool:
        await self.settle()
        saving = self._journal.save_unmoved(_kept(ledger), outcomes, StatusChange("interrupted"))
        if await finish(saving, self._grace) is None:
            return False
        await publication_of(outcomes).publish()
        return True

    async def flush(self) -> None:
        await self.settle()

    async def settle(self) -> None:
        if self._sender is not None:
            await finish(self._all_sent(self._sender), self._grace)
        self._raise_failure()

    async def _all_sent(self, sender: "asyncio.Task[None]") -> None:
        # Raised in here as well: where the caller has left by then, the failure is logged and not lost.
        await sender
        self._raise_failure()

    async def catch_up(self) -> None:
        await self.settle()

    async def _enqueue(self, item: _Commit | _Save, on_accepted: Callable[[], object] = bool) -> None:
        self._raise_failure()
        # Taken on before any wait: a cancellation while waiting for room must not lose it.
        self._queue.append(item)
        self._waiting_bytes += item.size
        on_accepted()
        if self._sender is None or self._sender.done():
            self._sender = asyncio.ensure_future(self._send())
        while (len(self._queue) > self._backlog or self._waiting_bytes > MOST_WAITING) and self._failure is None:
            self._sent.clear()
            await self._sent.wait()
        self._raise_failure()

    async def _send(self) -> None:
        while self._queue:
            try:
                await self._send_next()
            except BaseException as error:  # kept for the run, which raises it before it starts another node
                self._failure = error
                self._queue.clear()
            finally:
                self._sent.set()

    async def _send_next(self) -> None:
        first = self._queue.popleft()
        if isinstance(first, _Save):
            await self._send_save(first)
            return
        commits, size = [first], first.size
        while self._queue and isinstance(following := self._queue[0], _Commit) and size < MOST_WAITING:
            commits.append(following)
            size += following.size
            self._queue.popleft()
        await _committed(self._journal, [(each.ledger, each.step) for each in commits])
        self._waiting_bytes -= size
        for each in commits:
            await each.publication.publish()

    async def _send_save(self, save: _Save) -> None:
        if await self._journal.save(save.ledger, save.outcomes, save.status) != save.outcomes:
            # The run has gone on from its own results: there is no way back to another's.
            raise self._journal.lost_race()
        self._waiting_bytes -= save.size
        await save.publication.publish()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        # The journal knows of a failure before the task here that waits for it.
        if self._journal.failure is not None:
            raise self._journal.failure


class Exit:
    """One commit at the end of the run, whatever the end is. Events before it are provisional."""

    def __init__(self, journal: Journal, grace: float) -> None:
        self._journal = journal
        self._grace = grace
        self._held: dict[str, tuple[Ledger, NextCheckpoint]] = {}
        self._outcomes: dict[str, tuple[Ledger, dict[tuple[int, int], Outcome]]] = {}
        self._status: StatusChange | None = None
        self._sending = asyncio.Lock()

    async def commit(self, ledger: Ledger | None, step: NextCheckpoint, publication: Publication) -> bool:
        own = _kept(ledger)
        # Now, while it is known which superstep is to blame, and the ones before it can be kept.
        step = self._journal.with_reduced_values(own, step)
        held = self._held.get(own.ns)
        if held is not None:
            # Encoded while the value is what this superstep made of it.
            step = self._journal.with_reduced_values(own, joined(held[1], step))
        self._held[own.ns] = own, step
        self._outcomes.pop(own.ns, None)
        publication.on_accepted()
        await publication.publish(provisional=True, parent=step.parent)
        return True

    async def save(
        self,
        ledger: Ledger | None,
        outcomes: Sequence[Outcome],
        publication_of: PublicationOf,
        status: StatusChange | None = None,
    ) -> tuple[Outcome, ...]:
        own = _kept(ledger)
        self._outcomes.setdefault(own.ns, (own, {}))[1].update((outcome.task.key, outcome) for outcome in outcomes)
        if not own.ns:
            self._status = status or self._status
        await publication_of(outcomes).publish(provisional=True)
        return tuple(outcomes)

    async def stop(self, ledger: Ledger | None, outcomes: Sequence[Outcome], publication_of: PublicationOf) -> bool:
        own = _kept(ledger)
        # Together with the held outcomes: an interrupt without the status would look like one of a running run.
        held = self._outcomes.get(own.ns, (own, {}))[1]
        rest = {**held, **{outcome.task.key: outcome for outcome in outcomes}}
        await finish(self._commit(but=own.ns), self._grace)
        if (
            await finish(
                self._journal.save_unmoved(own, tuple(rest.values()), StatusChange("interrupted")), self._grace
            )
            is None
        ):
            return False
        self._outcomes.pop(own.ns, None)
        await publication_of(outcomes).publish()
        return True

    async def flush(self) -> None:
        await self.settle()

    async def settle(self) -> None:
        await finish(self._commit(), self._grace)

    async def catch_up(self) -> None:
        return None

    async def _commit(self, but: str | None = None) -> None:
        """Send what is held, but not the outcomes of the namespace `but`."""
        async with self._sending:
            # At once: what comes while these are on their way builds on them, and on each other.
            held, self._held = self._held, {}
            outcomes = {ns: entry for ns, entry in self._outcomes.items() if ns != but}
            self._outcomes = {ns: entry for ns, entry in self._outcomes.items() if ns == but}
            status, self._status = self._status, None
            # In the order of their numbers, which is that of the supersteps.
            entries = sorted(held.values(), key=lambda entry: entry[1].state.no)
            if entries:
                await _committed(self._journal, entries)
            for ledger, recorded in outcomes.values():
                own = tuple(recorded.values())
                if await self._journal.save(ledger, own, status) != own:
                    raise self._journal.lost_race()
            if status is not None and "" not in outcomes:
                await self._journal.save_status(status)


async def _committed(journal: Journal, entries: Sequence[tuple[Ledger, NextCheckpoint]]) -> None:
    """Commit steps that the run has gone on from. Raises `CheckpointConflictError` where another writer was first."""
    while not await journal.commit(*entries):
        for ns in {ledger.ns: ledger for ledger, _ in entries}.values():
            await journal.check_not_lost(ns)


def _kept(ledger: Ledger | None) -> Ledger:
    assert ledger is not None  # noqa: S101  # a policy that keeps things is used with a journal, which makes ledgers
    return ledger
