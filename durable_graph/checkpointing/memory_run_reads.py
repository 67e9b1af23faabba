"""What a `MemorySaver` reads of the runs of its threads."""

import heapq
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress

import msgspec

from durable_graph.checkpointing import rules, run_rules
from durable_graph.checkpointing.binding import Binding
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.memory_lock import alone
from durable_graph.checkpointing.memory_parents import children_of, orphans
from durable_graph.checkpointing.memory_rows import ThreadRows
from durable_graph.errors import CorruptCheckpointError
from durable_graph.records import StoredCheckpoint
from durable_graph.run_records import NEVER, Message, QueueStats, RunRow, RunState


class Lease(msgspec.Struct, frozen=True, gc=False):
    """A worker and the end of its lease."""

    until: int
    name: str
    queues: tuple[str, ...] = ()


class MemoryRunReads:
    """The reading calls of `MemoryRuns`, and its clocks. See `RunStore`."""

    def __init__(
        self,
        threads: dict[int, ThreadRows],
        lock: AbstractContextManager[object],
        binding: Binding,
        workers: dict[int, Lease] | None = None,
    ) -> None:
        self.skew: int = 0
        self.lease_skew: int = 0
        self._threads = threads
        self._lock = lock
        self._binding = binding
        self._workers = {} if workers is None else workers

    # Calls

    @alone
    async def inbox(self, thread: str, topics: Collection[str]) -> list[Message]:
        """See `RunStore.inbox`."""
        return self._inbox(thread, topics)

    @alone
    async def find_run(self, thread: str | int, seq: int) -> RunRow | None:
        """See `RunStore.find_run`."""
        found = self._found(thread, seq)
        return self._named(found[1]) if found is not None else None

    @alone
    async def find_unfinished(self, thread: str) -> RunRow | None:
        """See `RunStore.find_unfinished`."""
        found = self._threads.get(key_of(thread))
        first = found.runs.first() if found is not None else None
        return self._named(first) if first is not None else None

    @alone
    async def find_children(self, thread: str | int, seq: int) -> list[RunRow]:
        """See `RunStore.find_children`."""
        key = thread if isinstance(thread, int) else key_of(thread)
        return [self._named(row) for row in children_of(self._threads, key, seq)]

    @alone
    async def find_orphans(self, *, limit: int = 50) -> list[tuple[str, int]]:
        """See `RunStore.find_orphans`."""
        rules.check_limit(limit)
        return orphans(self._threads, limit)

    @alone
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
        """See `RunStore.list_runs`."""
        rules.check_limit(limit)
        listed = [
            run.row
            for found in self._threads.values()
            for run in found.runs.by_seq.values()
            if graph in (None, run.row.graph)
            and state in (None, run.row.state)
            and thread in (None, run.row.thread)
            and run_rules.has_metadata(run.row, metadata)
        ]
        later = (run for run in listed if (run.thread, run.seq) > (after or ("", 0)))
        page = heapq.nsmallest(limit, later, key=lambda run: (run.thread, run.seq))
        return [self._named(run) for run in page]

    @alone
    async def load_many(self, threads: Collection[str], max_value_bytes: int) -> dict[str, StoredCheckpoint]:
        """See `RunStore.load_many`."""
        loaded: dict[str, StoredCheckpoint] = {}
        for thread in threads:
            found = self._threads.get(key_of(thread))
            if found is not None:
                # `load` raises the error, and the thread is left out here.
                with suppress(CorruptCheckpointError):
                    loaded[thread] = found.load(thread, "", None)
        return loaded

    @alone
    async def inboxes(self, topics: Mapping[str, Collection[str]]) -> dict[str, list[Message]]:
        """See `RunStore.inboxes`."""
        found = {thread: self._inbox(thread, wanted) for thread, wanted in topics.items()}
        return {thread: messages for thread, messages in found.items() if messages}

    @alone
    async def queue_stats(self) -> list[QueueStats]:
        """See `RunStore.queue_stats`."""
        now = self._now()
        rows = (run.row for stored in self._threads.values() for run in stored.runs.by_seq.values())
        return run_rules.stats_of(
            (row.queue, row.state, 1, row.due if run_rules.is_claimable(row, now) else None) for row in rows
        )

    @alone
    async def count_workers(self) -> int:
        """See `RunStore.count_workers`."""
        return sum(map(self._is_alive, self._workers))

    @alone
    async def next_due(self, queues: Sequence[str]) -> int | None:
        """See `RunStore.next_due`."""
        due = [run.due for _, run in self._first_runs(queues) if run_rules.waits_for_time(run)]
        return max(min(due) - self._now(), 0) if due else None

    @alone
    async def next_deadline(self) -> int | None:
        """See `RunStore.next_deadline`."""
        rows = (run.row for stored in self._threads.values() for run in stored.runs.by_seq.values())
        deadlines = [row.deadline for row in rows if row.deadline < NEVER and run_rules.is_overdue(row, NEVER)]
        return max(min(deadlines) - self._now(), 0) if deadlines else None

    # Rows and clocks

    def now(self) -> int:
        """The time of the clock by which runs are due."""
        return self._now()

    def is_alive(self, worker: int) -> bool:
        """Whether the lease of the worker has not ended."""
        return self._is_alive(worker)

    def living(self) -> list[Lease]:
        """The leases that have not ended."""
        return [lease for worker, lease in self._workers.items() if self._is_alive(worker)]

    def _found(self, thread: str | int, seq: int) -> tuple[ThreadRows, RunRow] | None:
        stored = self._threads.get(thread if isinstance(thread, int) else key_of(thread))
        run = stored.runs.by_seq.get(seq) if stored is not None else None
        return (stored, run.row) if stored is not None and run is not None else None

    def _inbox(self, thread: str, topics: Collection[str]) -> list[Message]:
        found = self._threads.get(key_of(thread))
        waiting = found.runs.inbox.waiting.values() if found is not None else ()
        return [message for message in waiting if message.topic in topics]

    def _first_runs(self, queues: Iterable[str]) -> Iterable[tuple[ThreadRows, RunRow]]:
        """The first run of each thread that has not ended, if it is in one of these queues."""
        firsts = ((stored, stored.runs.first()) for stored in self._threads.values())
        return ((stored, run) for stored, run in firsts if run is not None and run.queue in queues)

    def _runs_of(self, worker: int) -> list[tuple[ThreadRows, RunRow]]:
        """The runs that the worker executes. Each is the first of its thread that has not ended."""
        firsts = ((stored, stored.runs.first()) for stored in self._threads.values())
        return [
            (stored, run)
            for stored, run in firsts
            if run is not None and run.worker == worker and run.state == RunState.RUNNING
        ]

    def _is_alive(self, worker: int) -> bool:
        return worker in self._workers and self._workers[worker].until > self._lease_now()

    def _named(self, run: RunRow) -> RunRow:
        """The run with the name of the worker that holds it."""
        lease = self._workers.get(run.worker)
        return run if lease is None else msgspec.structs.replace(run, worker_name=lease.name)

    def _now(self) -> int:
        return time.time_ns() // 1000 + self.skew

    def _lease_now(self) -> int:
        return time.monotonic_ns() // 1000 + self.lease_skew
