"""When a superstep is committed: before the next starts, behind it, or at the end of the run.

In all of them what was accepted is committed before a node runs, and a store failure starts no new node.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from durable_graph._engine.task import Outcome
from durable_graph._engine.unit import Step, joined
from durable_graph._runtime.cancellation import finish
from durable_graph._runtime.events import AnyEvent
from durable_graph._runtime.journal import Journal
from durable_graph.errors import CheckpointConflictError
from durable_graph.records import Status, checkpoint_id

Publish = Callable[[AnyEvent], Awaitable[None]]
Tell = Callable[[Sequence[Outcome]], Sequence[AnyEvent]]
"""The events that tell of outcomes: made from those that stand, which may be another writer's."""


class Durability(Protocol):
    """A commit policy. What is given with a call is published once that call's part is durable."""

    async def commit(self, step: Step, events: Sequence[AnyEvent]) -> bool:
        """A superstep is over. False: another writer recorded some of its tasks; adopt them and try again."""
        ...

    async def save(self, outcomes: Sequence[Outcome], tell: Tell, status: Status | None = None) -> tuple[Outcome, ...]:
        """Tasks came to an end while their superstep goes on, or fails. Answers with the outcomes that stand."""
        ...

    async def settle(self) -> None:
        """The run ends, whatever way: what was taken on is committed when this returns."""
        ...


class Nowhere:
    """Without a checkpointer: nothing is kept, everything is published at once."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    async def commit(self, step: Step, events: Sequence[AnyEvent]) -> bool:
        await _publish_all(self._publish, events)
        return True

    async def save(self, outcomes: Sequence[Outcome], tell: Tell, status: Status | None = None) -> tuple[Outcome, ...]:
        await _publish_all(self._publish, tell(outcomes))
        return tuple(outcomes)

    async def settle(self) -> None:
        return None


class Sync:
    """Every call is durable when it returns."""

    def __init__(self, journal: Journal, publish: Publish, grace: float) -> None:
        self._journal = journal
        self._publish = publish
        self._grace = grace

    async def commit(self, step: Step, events: Sequence[AnyEvent]) -> bool:
        if not await finish(self._journal.commit(step), self._grace):
            return False
        await _publish_all(self._publish, events)
        return True

    async def save(self, outcomes: Sequence[Outcome], tell: Tell, status: Status | None = None) -> tuple[Outcome, ...]:
        standing = await finish(self._journal.save(outcomes, status), self._grace)
        await _publish_all(self._publish, tell(standing))
        return standing

    async def settle(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class _Commit:
    step: Step
    events: Sequence[AnyEvent]


@dataclass(frozen=True, slots=True)
class _Save:
    outcomes: tuple[Outcome, ...]
    status: Status | None
    events: Sequence[AnyEvent]


class Async:
    """Calls return before they are durable; one task sends them in order, at most `backlog` of them behind the run.

    Supersteps that wait together are committed together. The first failure stops the run: nothing that was queued
    behind it is sent.
    """

    def __init__(self, journal: Journal, publish: Publish, grace: float, backlog: int) -> None:
        self._journal = journal
        self._publish = publish
        self._grace = grace
        self._backlog = backlog
        self._queue: deque[_Commit | _Save] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._sent = asyncio.Event()
        self._failure: BaseException | None = None

    async def commit(self, step: Step, events: Sequence[AnyEvent]) -> bool:
        await self._enqueue(_Commit(step, events))
        return True

    async def save(self, outcomes: Sequence[Outcome], tell: Tell, status: Status | None = None) -> tuple[Outcome, ...]:
        await self._enqueue(_Save(tuple(outcomes), status, tell(outcomes)))
        return tuple(outcomes)

    async def settle(self) -> None:
        if self._sender is not None:
            await finish(_result_of(self._sender), self._grace)
        self._raise_failure()

    async def _enqueue(self, item: _Commit | _Save) -> None:
        self._raise_failure()
        # Taken on before any wait: a cancellation while waiting for room must not lose it.
        self._queue.append(item)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.ensure_future(self._send())
        while len(self._queue) > self._backlog and self._failure is None:
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
            if await self._journal.save(first.outcomes, first.status) != first.outcomes:
                # The run has gone on from its own results: there is no way back to another's.
                raise lost_race(self._journal)
            await _publish_all(self._publish, first.events)
            return
        commits = [first]
        while self._queue and isinstance(following := self._queue[0], _Commit):
            commits.append(following)
            self._queue.popleft()
        if not await self._journal.commit(*(each.step for each in commits)):
            raise lost_race(self._journal)
        for each in commits:
            await _publish_all(self._publish, each.events)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


class Exit:
    """One commit at the end of the run, whatever the end is. What is published before it is provisional."""

    def __init__(self, journal: Journal, publish: Publish, grace: float) -> None:
        self._journal = journal
        self._publish = publish
        self._grace = grace
        self._held: Step | None = None
        self._outcomes: list[Outcome] = []
        self._status: Status | None = None

    async def commit(self, step: Step, events: Sequence[AnyEvent]) -> bool:
        # Now, while it is known which superstep is to blame, and the ones before it can be kept.
        step = self._journal.with_reduced_values(step)
        self._held = step if self._held is None else joined(self._held, step)
        self._outcomes = []
        await _publish_all(self._publish, events, provisional=True)
        return True

    async def save(self, outcomes: Sequence[Outcome], tell: Tell, status: Status | None = None) -> tuple[Outcome, ...]:
        self._outcomes.extend(outcomes)
        self._status = status or self._status
        await _publish_all(self._publish, tell(outcomes), provisional=True)
        return tuple(outcomes)

    async def settle(self) -> None:
        await finish(self._commit(), self._grace)

    async def _commit(self) -> None:
        held, self._held = self._held, None
        if held is not None and not await self._journal.commit(held):
            raise lost_race(self._journal)
        if self._outcomes or self._status:
            outcomes, self._outcomes = self._outcomes, []
            await self._journal.save(outcomes, self._status)


def lost_race(journal: Journal) -> CheckpointConflictError:
    """Another writer recorded tasks of a superstep that this run has already built on."""
    version = journal.thread.version
    return CheckpointConflictError(
        journal.thread.thread, expected=version, found=version, checkpoint_id=checkpoint_id(version)
    )


async def _publish_all(publish: Publish, events: Sequence[AnyEvent], *, provisional: bool = False) -> None:
    for event in events:
        await publish(msgspec.structs.replace(event, provisional=True) if provisional else event)


async def _result_of(task: "asyncio.Task[None]") -> None:
    await task
