"""The runs of a `CrashingSaver`: calls of the store of runs are calls of the store, and crash as these do."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from durable_graph.checkpointing.run_store import RunStore
from durable_graph.records import StoredCheckpoint
from durable_graph.run_records import (
    Accepted,
    Claim,
    Discarded,
    Heartbeat,
    Message,
    NewMessage,
    NewRun,
    NewWorker,
    QueueStats,
    RunRow,
    RunState,
    Sent,
    Settlement,
    Swept,
)

T = TypeVar("T")


class Passes(Protocol):
    """Passes the call of a name on, or refuses it."""

    async def __call__(self, name: str, call: Callable[[], Awaitable[T]], /) -> T: ...


class CrashingRuns:
    """Passes calls to the runs of the saver inside, by way of `through`.

    The calls of `beside` and of a worker's upkeep go by way of `uncounted`: they are made at certain times, so they
    would move the crash point from one execution to the next.
    """

    def __init__(self, inner: RunStore, through: Passes, uncounted: Passes) -> None:
        self.inner = inner
        self._call = through
        self._uncounted = uncounted

    @property
    def skew(self) -> int:
        return self.inner.skew

    @skew.setter
    def skew(self, by: int) -> None:
        self.inner.skew = by

    @property
    def lease_skew(self) -> int:
        return self.inner.lease_skew

    @lease_skew.setter
    def lease_skew(self, by: int) -> None:
        self.inner.lease_skew = by

    async def accept(self, run: NewRun) -> Accepted:
        return await self._call("accept", lambda: self.inner.accept(run))

    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        return await self._call("accept_and_claim", lambda: self.inner.accept_and_claim(run, worker))

    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        return await self._call("claim", lambda: self.inner.claim(worker, queues, most))

    async def next_due(self, queues: Sequence[str]) -> int | None:
        return await self._call("next_due", lambda: self.inner.next_due(queues))

    async def next_deadline(self) -> int | None:
        return await self._uncounted("next_deadline", self.inner.next_deadline)

    async def fail_overdue(self, *, limit: int = 50) -> list[tuple[str, int]]:
        return await self._uncounted("fail_overdue", lambda: self.inner.fail_overdue(limit=limit))

    async def register(self, worker: NewWorker) -> None:
        await self._call("register", lambda: self.inner.register(worker))

    async def heartbeat(self, worker: int, ttl: int) -> Heartbeat | None:
        return await self._call("heartbeat", lambda: self.inner.heartbeat(worker, ttl))

    async def release(self, worker: int) -> int:
        return await self._call("release", lambda: self.inner.release(worker))

    async def unregister(self, worker: int) -> None:
        await self._call("unregister", lambda: self.inner.unregister(worker))

    async def sweep(self, max_crashes: int) -> Swept:
        return await self._call("sweep", lambda: self.inner.sweep(max_crashes))

    async def repair(self, *, limit: int = 50) -> int:
        return await self._uncounted("repair", lambda: self.inner.repair(limit=limit))

    async def delete_ended(self, *, keep: int, limit: int = 50) -> int:
        return await self._uncounted("delete_ended", lambda: self.inner.delete_ended(keep=keep, limit=limit))

    async def delete_run(self, thread: str, seq: int) -> RunState | None:
        return await self._call("delete_run", lambda: self.inner.delete_run(thread, seq))

    async def settle(self, settlement: Settlement) -> bool:
        return await self._call("settle", lambda: self.inner.settle(settlement))

    async def find_run(self, thread: str | int, seq: int) -> RunRow | None:
        return await self._call("find_run", lambda: self.inner.find_run(thread, seq))

    async def find_unfinished(self, thread: str) -> RunRow | None:
        return await self._call("find_unfinished", lambda: self.inner.find_unfinished(thread))

    async def find_children(self, thread: str | int, seq: int) -> list[RunRow]:
        return await self._call("find_children", lambda: self.inner.find_children(thread, seq))

    async def find_orphans(self, *, limit: int = 50) -> list[tuple[str, int]]:
        return await self._uncounted("find_orphans", lambda: self.inner.find_orphans(limit=limit))

    async def list_runs(
        self,
        *,
        graph: str | None = None,
        state: RunState | None = None,
        thread: str | None = None,
        metadata: str | None = None,
        limit: int = 100,
        after: tuple[str, int] | None = None,
    ) -> list[RunRow]:
        return await self._call(
            "list_runs",
            lambda: self.inner.list_runs(
                graph=graph, state=state, thread=thread, metadata=metadata, limit=limit, after=after
            ),
        )

    async def cancel_run(self, thread: str, seq: int, reason: str) -> RunState | None:
        return await self._call("cancel_run", lambda: self.inner.cancel_run(thread, seq, reason))

    async def retry_run(self, thread: str, seq: int) -> RunState | None:
        return await self._call("retry_run", lambda: self.inner.retry_run(thread, seq))

    async def send(self, message: NewMessage) -> Sent:
        return await self._call("send", lambda: self.inner.send(message))

    async def discard(self, thread: str, topic: str, key: str) -> Discarded:
        return await self._call("discard", lambda: self.inner.discard(thread, topic, key))

    async def inbox(self, thread: str, topics: Collection[str]) -> list[Message]:
        return await self._call("inbox", lambda: self.inner.inbox(thread, topics))

    async def load_many(self, threads: Collection[str], max_value_bytes: int) -> dict[str, StoredCheckpoint]:
        return await self._call("load_many", lambda: self.inner.load_many(threads, max_value_bytes))

    async def inboxes(self, topics: Mapping[str, Collection[str]]) -> dict[str, list[Message]]:
        return await self._call("inboxes", lambda: self.inner.inboxes(topics))

    async def queue_stats(self) -> list[QueueStats]:
        return await self._call("queue_stats", self.inner.queue_stats)

    async def count_workers(self) -> int:
        return await self._call("count_workers", self.inner.count_workers)

    @asynccontextmanager
    async def beside(self) -> AsyncIterator["CrashingRuns"]:
        async with self.inner.beside() as beside:
            yield CrashingRuns(beside, self._uncounted, self._uncounted)
