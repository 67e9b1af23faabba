"""Queues with one bug each."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from durable_graph.checkpointing import queue_rules
from durable_graph.checkpointing.memory_queues import MemoryQueues
from durable_graph.checkpointing.memory_rows import ThreadRows
from durable_graph.checkpointing.memory_runs import MemoryRuns
from durable_graph.checkpointing.queue_rules import NO_KEY, Candidate, Queue, Starts
from durable_graph.checkpointing.queue_store import QueueClaims, QueueInfo
from durable_graph.queue_records import QueueLimits, Rate
from durable_graph.run_records import Accepted, Claim, NewRun, RunRow, RunState

replace = msgspec.structs.replace

Found = tuple[int, ThreadRows, RunRow]


# Rules that get the right one first


def free_without_concurrency(right: Any, queue: Queue, running: Mapping[int, int], now: int, most: int) -> int:
    return right(replace(queue, limits=replace(queue.limits, concurrency=None)), running, now, most)  # type: ignore[no-any-return]  # as the right one


def free_by_running_runs(right: Any, queue: Queue, running: Mapping[int, int], now: int, most: int) -> int:
    return most if queue.limits.rate is None else min(most, queue.limits.rate.number - sum(running.values()))


def full_without_keys(right: Any, limits: QueueLimits, key: int, begun: Mapping[int, int]) -> bool:
    return limits.per_key is not None and begun.get(key, 0) >= limits.per_key


def chosen_by_time(right: Any, queue: Queue, running: Any, found: Iterable[Candidate], free: int) -> Any:
    return sorted(found, key=lambda each: each.priority)[:free]


def chosen_of_the_first(right: Any, queue: Queue, running: Any, found: Iterable[Candidate], free: int) -> Any:
    return right(queue, running, sorted(found, key=lambda each: each.priority)[:free], free)


def chosen_by_priority_alone(right: Any, queue: Queue, running: Any, found: Iterable[Candidate], free: int) -> Any:
    candidates, taken = list(found), list[Candidate]()
    for priority in range(5):
        of_priority = [each for each in candidates if each.priority == priority]
        taken += right(queue, running, of_priority, free - len(taken))
    return taken


def chosen_without_priority(right: Any, queue: Queue, running: Any, found: Iterable[Candidate], free: int) -> Any:
    return right(queue, running, [replace(each, priority=0) for each in found], free)


def chosen_with_turns_without_keys(
    right: Any, queue: Queue, running: Any, found: Iterable[Candidate], free: int
) -> Any:
    own = [replace(each, key=-number) if each.key == NO_KEY else each for number, each in enumerate(found)]
    return right(queue, running, own, free)


def chosen_backwards(right: Any, queue: Queue, running: Any, found: Iterable[Candidate], free: int) -> Any:
    return right(queue, running, list(found)[::-1], free)


def starts_in_half_the_window(right: Any, starts: Starts, rate: Rate | None, now: int) -> Starts:
    return right(starts, None if rate is None else Rate(rate.number, rate.per / 2), now)  # type: ignore[no-any-return]  # as the right one


def starts_for_ever(right: Any, starts: Starts, rate: Rate | None, now: int) -> Starts:
    return starts


def starts_of_the_future(right: Any, starts: Starts, rate: Rate | None, now: int) -> Starts:
    return starts if rate is None else tuple(each for each in starts if now - each[0] <= rate.window)


def starts_with_the_first_time(right: Any, starts: Starts, rate: Rate | None, now: int, number: int) -> Starts:
    after: Starts = right(starts, rate, now, number)
    return (*after[:-1], (starts[-1][0], after[-1][1])) if starts and len(after) == len(starts) else after


# Queues


class PlantedQueues(MemoryQueues):
    """What bugs need."""

    def firsts(self) -> Iterator[Found]:
        for key, stored in self._threads.items():
            run = stored.runs.first()
            if run is not None:
                yield key, stored, run


class CountsWaitingRuns(PlantedQueues):
    def _unfinished(self, queue: str) -> Iterator[Found]:
        for key, stored, run in super()._unfinished(queue):
            yield key, stored, replace(run, state=RunState.RUNNING) if run.state is RunState.WAITING else run


class CountsLostRuns(PlantedQueues):
    def _unfinished(self, queue: str) -> Iterator[Found]:
        for key, stored, run in super()._unfinished(queue):
            yield key, stored, replace(run, state=RunState.RUNNING) if run.attempt else run


class CountsBeforeItWaits(PlantedQueues):
    async def claim(self, worker: int, queues: Sequence[str], graphs: Sequence[str], most: int) -> QueueClaims:
        (queue,) = queues
        row, at = self._queues[queue]
        running = sum(run.state is RunState.RUNNING for _, _, run in self._unfinished(queue))
        await asyncio.sleep(0)
        free = queue_rules.free_slots(row, {0: running}, 0, most)
        self._queues[queue] = replace(row, limits=QueueLimits(queue)), at
        found = await super().claim(worker, queues, graphs, free)
        self._queues[queue] = row, at
        return found


class LimitsFirstAttempts(PlantedQueues):
    def _claim(self, worker: int, queue: str, graphs: Collection[str], most: int) -> QueueClaims:
        row, at = self._queues[queue]
        if any(run.attempt for _, _, run in self.firsts()):
            self._queues[queue] = Queue(QueueLimits(queue)), at
        found = super()._claim(worker, queue, graphs, most)
        self._queues[queue] = replace(self._queues[queue][0], limits=row.limits), at
        return found


class KeepsTheFirstDeclaration(PlantedQueues):
    async def declare(self, limits: Sequence[QueueLimits]) -> None:
        await super().declare([each for each in limits if each.queue not in self._queues])


class ForgetsStarts(PlantedQueues):
    async def declare(self, limits: Sequence[QueueLimits]) -> None:
        await super().declare(limits)
        for each in limits:
            self._queues[each.queue] = Queue(each), self._queues[each.queue][1]


class DeclaresAnew(PlantedQueues):
    async def declare(self, limits: Sequence[QueueLimits]) -> None:
        await super().declare(limits)
        for each in limits:
            self._queues[each.queue] = self._queues[each.queue][0], self._runs.now()


class ListsDeadWorkers(PlantedQueues):
    async def describe(self) -> list[QueueInfo]:
        declared = {name: (row.limits, at) for name, (row, at) in self._queues.items()}
        return queue_rules.infos(declared, [lease.queues for lease in self._runs._workers.values()])


class DeclaresByItself(PlantedQueues):
    async def claim(self, worker: int, queues: Sequence[str], graphs: Sequence[str], most: int) -> QueueClaims:
        for queue in queues:
            self._queues.setdefault(queue, (Queue(QueueLimits(queue)), 0))
        return await super().claim(worker, queues, graphs, most)


class ClaimsBlockedRuns(PlantedQueues):
    def _unfinished(self, queue: str) -> Iterator[Found]:
        for key, stored in self._threads.items():
            for seq in stored.runs.unfinished:
                run = stored.runs.by_seq[seq].row
                if run.queue == queue:
                    yield key, stored, replace(run, state=RunState.READY) if run.state is RunState.BLOCKED else run


class ClaimsWithoutAQueue(PlantedQueues):
    async def claim(self, worker: int, queues: Sequence[str], graphs: Sequence[str], most: int) -> QueueClaims:
        found = await super().claim(worker, queues, graphs, most)
        return replace(found, claims=[replace(each, queue="") for each in found.claims])


class KeepsTheEpoch(PlantedQueues):
    def _claim(self, worker: int, queue: str, graphs: Collection[str], most: int) -> QueueClaims:
        before = {key: stored.row.epoch for key, stored, _ in self.firsts()}
        found = super()._claim(worker, queue, graphs, most)
        for key, stored, _ in self.firsts():
            stored.row = replace(stored.row, epoch=before[key])
        return found


class ClaimsEveryGraph(PlantedQueues):
    def _claim(self, worker: int, queue: str, graphs: Collection[str], most: int) -> QueueClaims:
        return super()._claim(worker, queue, {run.graph for _, _, run in self.firsts()}, most)


class ClaimsFromEveryQueue(PlantedQueues):
    def _unfinished(self, queue: str) -> Iterator[Found]:
        return self.firsts()


class ClaimsFromQueuesOfGraphs(PlantedQueues):
    def _unfinished(self, queue: str) -> Iterator[Found]:
        return (found for found in self.firsts() if found[2].queue == queue)


class ClaimsFromEachQueue(PlantedQueues):
    async def claim(self, worker: int, queues: Sequence[str], graphs: Sequence[str], most: int) -> QueueClaims:
        claims: list[Claim] = []
        for queue in queues:
            claims += (await super().claim(worker, [queue], graphs, most)).claims
        return QueueClaims(claims, 0)


# Runs


class ClaimsAtOnce(MemoryRuns):
    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        return await super().accept_and_claim(replace(run, limit_key=0), worker)


class LivesForEver(MemoryRuns):
    def is_alive(self, worker: int) -> bool:
        return True


class LosesTheKey(MemoryRuns):
    def _accept(self, run: NewRun) -> Accepted:
        return super()._accept(run if run.if_busy == "wait" else replace(run, limit_key=NO_KEY))
