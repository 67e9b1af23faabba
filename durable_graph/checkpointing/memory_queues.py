"""`MemorySaver.queues`: the queues with limits of the saver's runs."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager

import msgspec

from durable_graph.checkpointing import queue_rules, run_rules
from durable_graph.checkpointing.binding import Binding
from durable_graph.checkpointing.memory_claims import claimed
from durable_graph.checkpointing.memory_lock import alone
from durable_graph.checkpointing.memory_rows import ThreadRows
from durable_graph.checkpointing.memory_runs import MemoryRuns
from durable_graph.checkpointing.queue_rules import Candidate, Queue
from durable_graph.checkpointing.queue_store import QueueClaims, QueueInfo
from durable_graph.queue_records import QueueLimits
from durable_graph.run_records import Claim, RunRow, RunState

_Found = tuple[int, ThreadRows, RunRow]
"""A run with its thread, and the key of this."""


class MemoryQueues:
    """The queues of a `MemorySaver`. See `QueueStore`."""

    def __init__(
        self,
        threads: dict[int, ThreadRows],
        lock: AbstractContextManager[object],
        binding: Binding,
        runs: MemoryRuns,
        queues: dict[str, tuple[Queue, int]] | None = None,
    ) -> None:
        """`runs` has the clock and the workers, `queues` the rows with the times of their declarations."""
        self._threads = threads
        self._lock = lock
        self._binding = binding
        self._runs = runs
        self._queues = {} if queues is None else queues

    @alone
    async def declare(self, limits: Sequence[QueueLimits]) -> None:
        """See `QueueStore.declare`."""
        for each in limits:
            row, at = self._queues.get(each.queue, (Queue(each), self._runs.now()))
            if row.limits != each:
                at = self._runs.now()
            self._queues[each.queue] = msgspec.structs.replace(row, limits=each), at

    @alone
    async def claim(self, worker: int, queues: Sequence[str], graphs: Sequence[str], most: int) -> QueueClaims:
        """See `QueueStore.claim`."""
        claims: list[Claim] = []
        waits: list[int] = []
        for queue in queues:
            if most <= 0 or queue not in self._queues or not self._runs.is_alive(worker):
                continue
            found = self._claim(worker, queue, graphs, most - len(claims))
            claims += found.claims
            if found.wait is not None:
                waits.append(found.wait)
        return QueueClaims(claims, min(waits, default=None))

    def _claim(self, worker: int, queue: str, graphs: Collection[str], most: int) -> QueueClaims:
        row, declared_at = self._queues[queue]
        now, waiting, running = self._runs.now(), list[_Found](), dict[int, int]()
        for found in self._unfinished(queue):
            limit_key, run = _key(found), found[2]
            if run.state is RunState.RUNNING:
                running[limit_key] = running.get(limit_key, 0) + 1
            elif run.graph in graphs:
                waiting.append(found)
        due = {(found[0], found[2].seq): found for found in waiting if run_rules.is_claimable(found[2], now)}
        free = queue_rules.free_slots(row, running, now, most)
        taken = queue_rules.chosen(row, running, _candidates(due.values()), free)
        claims = [claimed(*due[each.thread_key, each.seq][1:], worker, now) for each in taken]
        after = queue_rules.after_claim(row, taken, now, len(claims))
        self._queues[queue] = after, declared_at
        is_decided, wait = queue_rules.wait_after(after, running, now, most, len(claims))
        if not is_decided:
            later = (run.due for _, _, run in waiting if run_rules.waits_for_time(run) and run.due > now)
            wait = queue_rules.wait_until(min(later, default=None), now)
        return QueueClaims([msgspec.structs.replace(each, queue=queue) for each in claims], wait)

    def _unfinished(self, queue: str) -> Iterator[_Found]:
        """The runs of the queue that can be claimed, or are. Each is the first of its thread that has not ended."""
        for key, stored in self._threads.items():
            run = stored.runs.first()
            if run is not None and run.queue == queue and _key((key, stored, run)):
                yield key, stored, run

    @alone
    async def describe(self) -> list[QueueInfo]:
        """See `QueueStore.describe`."""
        declared = {name: (row.limits, at) for name, (row, at) in self._queues.items()}
        return queue_rules.infos(declared, [lease.queues for lease in self._runs.living()])


def _key(found: _Found) -> int:
    _, stored, run = found
    return stored.runs.by_seq[run.seq].limit_key


def _candidates(found: Collection[_Found]) -> list[Candidate]:
    ordered = sorted(found, key=lambda each: (each[2].due, each[0]))
    return [Candidate(each[2].priority, _key(each), each[0], each[2].seq) for each in ordered]
