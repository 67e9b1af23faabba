"""Stores of runs with one bug each."""

import asyncio
import copy
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from durable_graph import MemorySaver
from durable_graph.checkpointing import rules
from durable_graph.checkpointing.binding import Binding
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.memory_rows import RunRows, StoredRun, ThreadRows
from durable_graph.checkpointing.memory_runs import Lease, MemoryRuns
from durable_graph.records import (
    CommitResult,
    Committed,
    CommitUnit,
    RequestRow,
    Saved,
    SaveResult,
    ThreadInfo,
    WritesBatch,
)
from durable_graph.run_records import (
    Accepted,
    Claim,
    Heartbeat,
    NewRun,
    NewWorker,
    QueueStats,
    RunRow,
    RunState,
    Settlement,
    Swept,
)

replace = msgspec.structs.replace

HOUR = 3_600_000_000


class PlantedRuns(MemoryRuns):
    """What bugs need."""

    def thread(self, thread: str) -> ThreadRows | None:
        return self._threads.get(key_of(thread))

    def change(self, thread: str, seq: int, **fields: Any) -> None:
        """Change a run without the rules."""
        stored = self.thread(thread)
        assert stored is not None
        run = stored.runs.by_seq[seq]
        stored.runs.put(replace(run, row=replace(run.row, **fields)))

    def all_runs(self) -> list[RunRow]:
        return [run.row for stored in self._threads.values() for run in stored.runs.by_seq.values()]


# Acceptance


class ForgetsRuns(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        accepted = await super().accept(run)
        stored = self.thread(run.thread)
        assert stored is not None
        stored.runs = RunRows(stored.runs.last)
        return accepted


class ForgetsTheContext(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        return await super().accept(replace(run, context=b""))


class FencesAtTheAcceptance(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        accepted = await super().accept(run)
        stored = self.thread(run.thread)
        assert stored is not None
        stored.row = replace(stored.row, epoch=run.epoch)
        return accepted


class IgnoresKeys(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        return await super().accept(replace(run, key=None))


class FindsKeysTooEarly(PlantedRuns):
    """A key that is not found is inserted later, when it may be there."""

    async def accept(self, run: NewRun) -> Accepted:
        stored = self.thread(run.thread)
        is_known = stored is not None and run.key in stored.requests
        await asyncio.sleep(0)
        if is_known or run.key is None:
            return await super().accept(run)
        accepted = await super().accept(replace(run, key=None))
        stored = self.thread(run.thread)
        assert stored is not None
        stored.requests[run.key] = RequestRow(run.key, run.input_digest, accepted.seq, 0, 0, b"")
        return accepted


class ReturnsTheDigestOfTheCall(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        return replace(await super().accept(run), input_digest=run.input_digest)


class ForgetsKeysOfEndedRuns(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        stored = self.thread(run.thread)
        if stored is not None and run.key in stored.requests and stored.runs.first() is None:
            del stored.requests[run.key]
        return await super().accept(run)


class KnowsOnlyKeysOfRuns(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        stored = self.thread(run.thread)
        if stored is not None:
            stored.requests = {key: request for key, request in stored.requests.items() if request.seq}
        return await super().accept(run)


class SignsNoRequests(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        accepted = await super().accept(run)
        stored = self.thread(run.thread)
        if stored is not None and run.key is not None:
            stored.requests[run.key] = replace(stored.requests[run.key], digest=bytes(16))
        return accepted


class IgnoresTokens(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        return await super().accept(replace(run, token=os.urandom(16)))


class TearsAcceptances(PlantedRuns):
    """The run a moment after its thread."""

    async def accept(self, run: NewRun) -> Accepted:
        if self.thread(run.thread) is None:
            self._threads[key_of(run.thread)] = ThreadRows(rules.accepted_thread(run, None, 0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return await super().accept(run)


class AlwaysWaits(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        return await super().accept(replace(run, waits_if_busy=True))


class NeverBlocks(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        accepted = await super().accept(run)
        if accepted.state == RunState.BLOCKED:
            self.change(run.thread, accepted.seq, state=RunState.READY)
        return replace(accepted, state=RunState.READY)


class AcceptsOneAtATime(PlantedRuns):
    """Of runs that are accepted together, only the first is stored."""

    is_busy = False

    async def accept(self, run: NewRun) -> Accepted:
        if self.is_busy:
            return Accepted(1, is_new=True, state=RunState.READY)
        self.is_busy = True
        await asyncio.sleep(0)
        self.is_busy = False
        return await super().accept(run)


class NeverCloses(PlantedRuns):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._binding = Binding("runs", any_loop=True)


# Claims


class UnblocksAll:
    """In the place of `RunRows.unblock`."""

    @staticmethod
    def unblock(runs: RunRows) -> None:
        for seq, run in runs.by_seq.items():
            if run.row.state == RunState.BLOCKED:
                runs.by_seq[seq] = replace(run, row=replace(run.row, state=RunState.READY))

    @staticmethod
    def unblock_at_once(runs: RunRows) -> None:
        first = runs.first()
        if first is not None and first.state == RunState.BLOCKED:
            runs.change(replace(first, state=RunState.READY, due=0))

    @staticmethod
    def never(runs: RunRows) -> None:
        """Do nothing."""


def first_that_does_not_wait(runs: RunRows) -> RunRow | None:
    """In the place of `RunRows.first`."""
    rows = [runs.by_seq[seq].row for seq in runs.unfinished]
    rows = [row for row in rows if row.state != RunState.WAITING]
    return rows[0] if rows else None


class CancelsAndUnblocks(PlantedRuns):
    async def cancel_run(self, thread: str, seq: int, reason: str) -> RunState | None:
        state = await super().cancel_run(thread, seq, reason)
        for run in self.all_runs():
            if run.state == RunState.BLOCKED and run.seq > seq:
                self.change(run.thread, run.seq, state=RunState.READY)
        return state


class RetriesAtOnce(PlantedRuns):
    async def retry_run(self, thread: str, seq: int) -> RunState | None:
        state = await super().retry_run(thread, seq)
        if state == RunState.BLOCKED:
            self.change(thread, seq, state=RunState.READY)
        return state


class FencesOnlyNewThreads(PlantedRuns):
    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        before = {key: stored.row.epoch for key, stored in self._threads.items() if stored.row.head}
        claims = await super().claim(worker, queues, most)
        for key, epoch in before.items():
            self._threads[key].row = replace(self._threads[key].row, epoch=epoch)
        return [replace(claim, epoch=before.get(key_of(claim.thread), claim.epoch)) for claim in claims]


class LeasesNeverEnd(PlantedRuns):
    def _is_alive(self, worker: int) -> bool:
        return worker in self._workers


class ClaimsForAnybody(PlantedRuns):
    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        self._workers.setdefault(worker, Lease(1 << 62, ""))
        return await super().claim(worker, queues, most)


class ClaimsFromAllQueues(PlantedRuns):
    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        return await super().claim(worker, [run.queue for run in self.all_runs()], most)


class ClaimsQueueByQueue(PlantedRuns):
    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        claims: list[Claim] = []
        for queue in queues:
            claims += await super().claim(worker, [queue], most - len(claims))
        return claims


class ClaimsAll(PlantedRuns):
    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        return await super().claim(worker, queues, 100)


class ClaimsOfEachQueue(PlantedRuns):
    """`most` counts for each queue."""

    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        return [claim for queue in queues for claim in await super(PlantedRuns, self).claim(worker, [queue], most)]


class LooksAtOneQueue(PlantedRuns):
    async def next_due(self, queues: Sequence[str]) -> int | None:
        return await super().next_due(queues[:1])


class CountsBackwards(PlantedRuns):
    async def next_due(self, queues: Sequence[str]) -> int | None:
        due = [run.due for run in self.all_runs() if run.queue in queues and run.state == RunState.READY]
        return min(due) - self._now() if due else None


class ClaimsWhatItHasRead(PlantedRuns):
    """It reads, and a moment later it claims."""

    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        found = [run for run in self.all_runs() if run.state == RunState.READY]
        await asyncio.sleep(0)
        for run in found[:most]:
            self.change(run.thread, run.seq, state=RunState.READY)
        return await super().claim(worker, queues, most)


class HasItsOwnThreadsBeside(PlantedRuns):
    @asynccontextmanager
    async def beside(self) -> AsyncIterator[MemoryRuns]:
        yield MemoryRuns(copy.deepcopy(self._threads), self._lock, self._binding, self._workers)


class HasItsOwnLeasesBeside(PlantedRuns):
    @asynccontextmanager
    async def beside(self) -> AsyncIterator[MemoryRuns]:
        yield MemoryRuns(self._threads, self._lock, self._binding, dict(self._workers))


# Commits, saves and settlements


class DropsRunsOfCommits(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        return await super().commit(replace(unit, run=None))


class ChangesRunsOfRefusedCommits(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        answer = await super().commit(unit)
        if not isinstance(answer, Committed) and unit.run is not None:
            self._threads[key_of(unit.thread)].runs.update(unit.run, unit.at)
        return answer


class ChangesRunsOfRepeatedCommits(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        before = self._threads.get(key_of(unit.thread))
        is_repeated = before is not None and before.row.version >= unit.version
        answer = await super().commit(unit)
        if is_repeated and unit.run is not None:
            self._threads[key_of(unit.thread)].runs.update(unit.run, unit.at)
        return answer


class BeginsThreadsAnew(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        before = self._threads.get(key_of(unit.thread))
        if before is not None and not before.row.head:
            before.requests.clear()
        return await super().commit(unit)


class DropsRunsOfSaves(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        return await super().save_writes(replace(batch, run=None))


class ChangesRunsOfRefusedSaves(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        answer = await super().save_writes(batch)
        if not isinstance(answer, Saved) and batch.run is not None:
            self._threads[key_of(batch.thread)].runs.update(batch.run, batch.at)
        return answer


class WakesNobody(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        return await super().save_writes(replace(batch, wakes_run=False))


class WakesByRefusedSaves(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        answer = await super().save_writes(batch)
        if not isinstance(answer, Saved) and batch.wakes_run:
            self._threads[key_of(batch.thread)].runs.wake(batch.at)
        return answer


class WakesWithoutRecords(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        return await super().save_writes(replace(batch, records=()) if batch.wakes_run else batch)


def keeps_the_input(right: Any, runs: RunRows, update: Any, at: int) -> None:
    """In the place of `RunRows.update`."""
    before = runs.by_seq[update.seq].input
    right(runs, update, at)
    runs.by_seq[update.seq] = replace(runs.by_seq[update.seq], input=before)


def removes_the_input(right: Any, runs: RunRows, update: Any, at: int) -> None:
    """In the place of `RunRows.update`."""
    right(runs, update, at)
    runs.by_seq[update.seq] = replace(runs.by_seq[update.seq], options=b"", context=b"")


class SettlesWithoutErrors(PlantedRuns):
    async def settle(self, settlement: Settlement) -> bool:
        return await super().settle(replace(settlement, error=None))


class ReleasesAtOnce(PlantedRuns):
    async def settle(self, settlement: Settlement) -> bool:
        return await super().settle(replace(settlement, delay=0))


# Workers


class NeverRenews(PlantedRuns):
    async def heartbeat(self, worker: int, ttl: int) -> Heartbeat | None:
        lease = self._workers.get(worker)
        found = await super().heartbeat(worker, ttl)
        if lease is not None:
            self._workers[worker] = lease
        return found


class RegistersByHeartbeats(PlantedRuns):
    async def heartbeat(self, worker: int, ttl: int) -> Heartbeat | None:
        found = await super().heartbeat(worker, ttl)
        if found is None:
            await self.register(NewWorker(worker, ttl, "worker"))
        return found or Heartbeat()


class CountsAllWorkers(PlantedRuns):
    async def count_workers(self) -> int:
        return len(self._workers)


class KeepsRequestsToItself(PlantedRuns):
    async def heartbeat(self, worker: int, ttl: int) -> Heartbeat | None:
        return Heartbeat() if await super().heartbeat(worker, ttl) is not None else None


class TellsRequestsToAll(PlantedRuns):
    async def heartbeat(self, worker: int, ttl: int) -> Heartbeat | None:
        asked = ((run.thread, run.seq, run.request) for run in self.all_runs() if run.request)
        return Heartbeat(tuple(asked)) if await super().heartbeat(worker, ttl) is not None else None


class TellsRequestsOnce(PlantedRuns):
    async def heartbeat(self, worker: int, ttl: int) -> Heartbeat | None:
        found = await super().heartbeat(worker, ttl)
        for thread, seq, _ in found.requests if found is not None else ():
            self.change(thread, seq, request=0)
        return found


class ReleasesAreCrashes(PlantedRuns):
    async def release(self, worker: int) -> int:
        for run in self.all_runs():
            if run.worker == worker:
                self.change(run.thread, run.seq, crashes=run.crashes + 1)
        return await super().release(worker)


class ReleasesAll(PlantedRuns):
    async def release(self, worker: int) -> int:
        return sum([await super(PlantedRuns, self).release(each) for each in self._workers])


class UnregistersWithoutARelease(PlantedRuns):
    async def unregister(self, worker: int) -> None:
        self._workers.pop(worker, None)


class UnregistersNobody(PlantedRuns):
    async def unregister(self, worker: int) -> None:
        await self.release(worker)


class SweepsAgainAndAgain(PlantedRuns):
    async def sweep(self, max_crashes: int) -> Swept:
        workers = dict(self._workers)
        swept = await super().sweep(max_crashes)
        self._workers.update(workers)
        return swept


class SweepsTheLiving(PlantedRuns):
    async def sweep(self, max_crashes: int) -> Swept:
        for worker, lease in self._workers.items():
            self._workers[worker] = replace(lease, until=0)
        return await super().sweep(max_crashes)


class SweepsOnlyHolders(PlantedRuns):
    async def sweep(self, max_crashes: int) -> Swept:
        holders = {run.worker for run in self.all_runs()}
        idle = {worker: lease for worker, lease in self._workers.items() if worker not in holders}
        for worker in idle:
            del self._workers[worker]
        swept = await super().sweep(max_crashes)
        self._workers.update(idle)
        return swept


# Cancelling, retrying, listing


class CancelsTheRunning(PlantedRuns):
    async def cancel_run(self, thread: str, seq: int, reason: str) -> RunState | None:
        state = await super().cancel_run(thread, seq, reason)
        if state == RunState.RUNNING:
            self.change(thread, seq, state=RunState.CANCELLED, worker=0)
        return state


class AsksNobody(PlantedRuns):
    async def cancel_run(self, thread: str, seq: int, reason: str) -> RunState | None:
        state = await super().cancel_run(thread, seq, reason)
        if state == RunState.RUNNING:
            self.change(thread, seq, request=0)
        return state


class CancelsTheEnded(PlantedRuns):
    async def cancel_run(self, thread: str, seq: int, reason: str) -> RunState | None:
        state = await super().cancel_run(thread, seq, reason)
        if state is not None and state.is_ended:
            self.change(thread, seq, state=RunState.CANCELLED, error=reason)
        return state


class FindsByIdOnly(PlantedRuns):
    async def find_run(self, thread: str | int, seq: int) -> RunRow | None:
        return None if isinstance(thread, int) else await super().find_run(thread, seq)


class FindsTheLast(PlantedRuns):
    async def find_unfinished(self, thread: str) -> RunRow | None:
        stored = self.thread(thread)
        unfinished = stored.runs.unfinished if stored is not None else []
        return stored.runs.by_seq[unfinished[-1]].row if stored is not None and unfinished else None


class FindsTheEnded(PlantedRuns):
    async def find_unfinished(self, thread: str) -> RunRow | None:
        stored = self.thread(thread)
        return next((run.row for run in stored.runs.by_seq.values()), None) if stored is not None else None


class ListsOnePage(PlantedRuns):
    async def list_runs(self, **given: Any) -> list[RunRow]:
        return await super().list_runs(**given) if given.get("after") is None else []


class ListsByNumber(PlantedRuns):
    async def list_runs(self, **given: Any) -> list[RunRow]:
        return sorted(await super().list_runs(**given), key=lambda run: run.seq)


class ListsAllGraphs(PlantedRuns):
    async def list_runs(self, **given: Any) -> list[RunRow]:
        return await super().list_runs(**{**given, "graph": None})


class ListsAllStates(PlantedRuns):
    async def list_runs(self, **given: Any) -> list[RunRow]:
        return await super().list_runs(**{**given, "state": None})


class ListsAllThreads(PlantedRuns):
    async def list_runs(self, **given: Any) -> list[RunRow]:
        return await super().list_runs(**{**given, "thread": None})


class NamesNoWorkers(PlantedRuns):
    def _name_of(self, worker: int) -> str:
        return ""


class CountsOnlyUnfinishedRuns(PlantedRuns):
    async def queue_stats(self) -> list[QueueStats]:
        return [replace(stats, quarantined=0) for stats in await super().queue_stats()]


class CountsRunsBeforeTheirTime(PlantedRuns):
    async def queue_stats(self) -> list[QueueStats]:
        counted = []
        for stats in await super().queue_stats():
            due = [run.due for run in self.all_runs() if run.queue == stats.queue and run.state == RunState.READY]
            counted.append(replace(stats, oldest_due=min(due, default=0)))
        return counted


class KeepsRunsOfDeletedThreads(MemorySaver):
    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        before = self._threads.get(key_of(thread))
        is_gone = await super().delete_thread(thread, seen=seen)
        if before is not None:
            self._threads[key_of(thread)].runs = before.runs
        return is_gone


class ForgetsTheNumbersOfDeletedThreads(MemorySaver):
    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        is_gone = await super().delete_thread(thread, seen=seen, purge=purge)
        if key_of(thread) in self._threads:
            self._threads[key_of(thread)].runs.last = 0
        return is_gone


class CopiesRuns(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        await super().copy_thread(source, target)
        for seq, run in self._threads[key_of(source)].runs.by_seq.items():
            of_copy = StoredRun(replace(run.row, thread=target), run.input, run.options, run.context, run.token)
            self._threads[key_of(target)].runs.by_seq[seq] = of_copy
