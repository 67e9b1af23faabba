"""A saver at whose chosen call the process crashes, or a move is made: see `moves`.

counting = CrashingSaver(MemorySaver())              # a run without a crash
await build(counting).ainvoke(...)
for point in crash_points(counting.calls):
    inner = MemorySaver()
    ...                                              # run on CrashingSaver(inner, point), then resume on `inner`
"""

from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Literal, Self, TypeVar

import msgspec

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.directory import KeepsDirectory, ThreadDirectory
from durable_graph.checkpointing.event_log import EventLog, KeepsEvents
from durable_graph.checkpointing.queue_store import KeepsQueues, QueueStore
from durable_graph.checkpointing.run_store import KeepsRuns, RunStore
from durable_graph.checkpointing.schedule_store import KeepsSchedules, ScheduleStore
from durable_graph.errors import DurableGraphError, InvalidOptionError
from durable_graph.records import (
    CommitResult,
    CommitUnit,
    HistoryPage,
    ListedStatus,
    SaveResult,
    StoredCheckpoint,
    StoredRecords,
    StoredRequests,
    ThreadInfo,
    WritesBatch,
)
from durable_graph.testing.crashing_directory import CrashingDirectory
from durable_graph.testing.crashing_events import CrashingEvents
from durable_graph.testing.crashing_queues import CrashingQueues
from durable_graph.testing.crashing_runs import CrashingRuns
from durable_graph.testing.crashing_schedules import CrashingSchedules

T = TypeVar("T")

Move = Callable[[], Awaitable[object]]
"""The action at a call of the store instead of a crash."""

Moment = Literal["before", "inside", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "inside", "after")


class SimulatedCrashError(DurableGraphError):
    """The process counts as dead since this call. None of its later calls reaches the store."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)


class CrashPoint(msgspec.Struct, frozen=True, gc=False):
    """A moment of the `call`-th call of the store, counted from 1.

    "before": the call never arrives. "inside": it is applied and its reply is lost. "after": its reply is the last to
    arrive.
    """

    call: int
    moment: Moment


def crash_points(calls: int) -> Iterator[CrashPoint]:
    """All moments of all `calls` calls."""
    for call in range(1, calls + 1):
        for moment in MOMENTS:
            yield CrashPoint(call, moment)


class CrashingSaver:
    """Passes calls to `inner` until the crash point, and refuses all later calls, which a dead process would not make.

    Without a point it never crashes, and counts the calls: `calls` is their number, `names` their names. If `inner`
    keeps runs, their events, queues, a directory and schedules, the calls of `runs`, `events`, `queues`, `directory`
    and `schedules` count as well.

    With a `move` the process does not crash at the point: the move is awaited, before the call reaches the store
    ("before"), or after it was applied and before its reply arrives ("after"). `has_moved` says whether it has begun.
    See `expire_leases` and `move_clock`.
    """

    runs: RunStore
    events: EventLog
    directory: ThreadDirectory
    schedules: ScheduleStore
    queues: QueueStore

    def __init__(self, inner: Checkpointer, point: CrashPoint | None = None, *, move: Move | None = None) -> None:
        """Raises `InvalidOptionError` for a move without a point, or at the moment "inside"."""
        if move is not None and (point is None or point.moment == "inside"):
            raise InvalidOptionError("point", point, allowed="a CrashPoint 'before' or 'after' a call, with a move")
        self.inner = inner
        self.point = point
        self.move = move
        self.has_moved: bool = False
        self.calls: int = 0
        self.names: list[str] = []
        self.crashed: bool = False
        self.max_value_bytes: int = inner.max_value_bytes
        if isinstance(inner, KeepsRuns):
            self.runs = CrashingRuns(inner.runs, self._call, self._uncounted)
        if isinstance(inner, KeepsEvents):
            self.events = CrashingEvents(inner.events, self._call)
        if isinstance(inner, KeepsDirectory):
            self.directory = CrashingDirectory(inner.directory, self._call)
        if isinstance(inner, KeepsSchedules):
            self.schedules = CrashingSchedules(inner.schedules, self._call, self._uncounted)
        if isinstance(inner, KeepsQueues):
            self.queues = CrashingQueues(inner.queues, self._call, self._uncounted)

    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        return await self._call("load", lambda: self.inner.load(thread, ns, no))

    async def commit(self, unit: CommitUnit) -> CommitResult:
        return await self._call("commit", lambda: self.inner.commit(unit))

    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        return await self._call("save_writes", lambda: self.inner.save_writes(batch))

    async def load_records(self, thread: str, ns: str) -> StoredRecords | None:
        return await self._call("load_records", lambda: self.inner.load_records(thread, ns))

    async def find_request(self, thread: str, key: str) -> StoredRequests | None:
        return await self._call("find_request", lambda: self.inner.find_request(thread, key))

    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        return await self._call("history", lambda: self.inner.history(thread, ns, before=before, limit=limit))

    async def list_threads(
        self,
        *,
        status: ListedStatus | None = None,
        limit: int = 100,
        after: ThreadInfo | str | None = None,
        before: int | None = None,
    ) -> list[ThreadInfo]:
        return await self._call(
            "list_threads", lambda: self.inner.list_threads(status=status, limit=limit, after=after, before=before)
        )

    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        return await self._call("delete_thread", lambda: self.inner.delete_thread(thread, seen=seen, purge=purge))

    async def forget_deleted(self, *, before: int, limit: int = 500) -> int:
        return await self._call("forget_deleted", lambda: self.inner.forget_deleted(before=before, limit=limit))

    async def copy_thread(self, source: str, target: str) -> None:
        await self._call("copy_thread", lambda: self.inner.copy_thread(source, target))

    async def prune(self, thread: str, *, keep_last: int = 1, before: int | None = None) -> int:
        return await self._call("prune", lambda: self.inner.prune(thread, keep_last=keep_last, before=before))

    async def aclose(self) -> None:
        """Close `inner`, also after a crash. This is no call of the run: the test closes the saver that it opened."""
        await self.inner.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _uncounted(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        if self.crashed:
            raise SimulatedCrashError(f"the process is dead: {name} was refused")
        return await call()

    async def _call(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        if self.crashed:
            raise SimulatedCrashError(f"the process is dead: {name} was refused")
        self.calls += 1
        self.names.append(name)
        moment = self.point.moment if self.point is not None and self.point.call == self.calls else None
        if self.move is not None:
            return await self._moved(call, self.move, moment)
        self.crashed = moment is not None
        if moment == "before":
            raise SimulatedCrashError(f"crash before call {self.calls}, {name}")
        answer = await call()
        if moment == "inside":
            raise SimulatedCrashError(f"crash inside call {self.calls}, {name}")
        return answer

    async def _moved(self, call: Callable[[], Awaitable[T]], move: Move, moment: Moment | None) -> T:
        if moment == "before":
            self.has_moved = True
            await move()
        answer = await call()
        if moment == "after":
            self.has_moved = True
            await move()
        return answer
