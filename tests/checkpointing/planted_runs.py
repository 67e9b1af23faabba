"""Stores of runs with one bug each."""

import asyncio
import copy
import os
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from durable_graph.checkpointing import rules
from durable_graph.checkpointing.binding import Binding
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.memory_rows import RunRows, ThreadRows
from durable_graph.checkpointing.memory_run_reads import Lease
from durable_graph.checkpointing.memory_runs import MemoryRuns
from durable_graph.records import (
    RequestRow,
)
from durable_graph.run_records import (
    Accepted,
    Claim,
    Heartbeat,
    Message,
    NewMessage,
    NewRun,
    NewWorker,
    RunRow,
    RunState,
    Sent,
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
        return await super().accept(replace(run, if_busy="wait"))


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


class SettlesWithoutErrors(PlantedRuns):
    async def settle(self, settlement: Settlement) -> bool:
        return await super().settle(replace(settlement, error=None))


class ReleasesAtOnce(PlantedRuns):
    async def settle(self, settlement: Settlement) -> bool:
        return await super().settle(replace(settlement, delay=0))


# Messages


class IgnoresKeysOfMessages(PlantedRuns):
    async def send(self, message: NewMessage) -> Sent:
        return await super().send(replace(message, key=os.urandom(8).hex()))


class IgnoresTopicsOfKeys(PlantedRuns):
    async def send(self, message: NewMessage) -> Sent:
        stored = self.thread(message.thread)
        keys = {key for _, key in stored.runs.inbox.keys} if stored is not None else ()
        return Sent.KNOWN if message.key in keys else await super().send(message)


class FindsMessagesTooEarly(PlantedRuns):
    async def send(self, message: NewMessage) -> Sent:
        stored = self.thread(message.thread)
        is_known = stored is not None and (message.topic, message.key) in stored.runs.inbox.keys
        await asyncio.sleep(0)
        return Sent.KNOWN if is_known else await super().send(replace(message, key=os.urandom(8).hex()))


class ReadsAllTopics(PlantedRuns):
    async def inbox(self, thread: str, topics: Collection[str]) -> list[Message]:
        stored = self.thread(thread)
        return list(stored.runs.inbox.waiting.values()) if stored is not None else []


class ReadsByKey(PlantedRuns):
    async def inbox(self, thread: str, topics: Collection[str]) -> list[Message]:
        return (await super().inbox(thread, topics))[::-1]


class SendsToAnyThread(PlantedRuns):
    async def send(self, message: NewMessage) -> Sent:
        sent = await super().send(message)
        return sent if sent == Sent.KNOWN else Sent.NEW


class TellsNoCancellation(PlantedRuns):
    async def send(self, message: NewMessage) -> Sent:
        sent = await super().send(message)
        return Sent.NO_RUN if sent == Sent.CANCELLED else sent


class SendsWithoutWaking(PlantedRuns):
    async def send(self, message: NewMessage) -> Sent:
        stored = self.thread(message.thread)
        if stored is None:
            return Sent.NO_THREAD
        stored.runs.inbox.put(1, message)
        return Sent.NEW


class WakesByKnownMessages(PlantedRuns):
    async def send(self, message: NewMessage) -> Sent:
        sent, stored = await super().send(message), self.thread(message.thread)
        if sent == Sent.KNOWN and stored is not None:
            stored.runs.wake(1)
        return sent


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
