"""The protocol of a store of runs: a second power of a saver, which `isinstance(saver, KeepsRuns)` finds."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

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


@runtime_checkable
class RunStore(Protocol):
    """A store of runs, in the same place as their threads.

    Every method may be called again with the same arguments: it does no harm, and has the same effect as one call. A
    call that has started runs to its end, whoever is cancelled. All times are by the store's clock.
    """

    skew: int
    """Microseconds that are added to the clock by which runs are due. Tests move it."""
    lease_skew: int
    """Microseconds that are added to the clock of leases. Tests move it."""

    async def accept(self, run: NewRun) -> Accepted:
        """Record a run: durable when this returns, and once for each key. A thread that does not exist gets a row of
        version 0, so that a claim can fence it.

        Runs of a thread are executed in the order in which they were accepted.
        """
        ...

    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        """As `accept`, and claims the run in the same transaction if the worker could claim it now. The claim is None
        if it could not, and for a repeated call: the run is claimed as every run is then.

        If a run is accepted as RUNNING without a claim, an earlier attempt at this call had claimed it, and the worker
        has to release it.
        """
        ...

    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        """Up to `most` due runs of these queues for the worker, by priority and time.

        A run is claimed once at a time: its thread's epoch changes, so that the commits of earlier holders are refused.
        A worker whose lease has ended gets none.
        """
        ...

    async def next_due(self, queues: Sequence[str]) -> int | None:
        """The microseconds until the next run of these queues is due, 0 if one is. None if nothing waits for a time."""
        ...

    async def next_deadline(self) -> int | None:
        """The microseconds until the next deadline of a run that no worker executes, 0 if one has passed. None if no
        such run has a deadline."""
        ...

    async def fail_overdue(self, *, limit: int = 50) -> list[tuple[str, int]]:
        """Fail up to `limit` runs whose deadline has passed and that no worker executes: they are ready, wait or are
        blocked. Returns their threads and numbers.

        A thread fails with its run, if the run has begun or is its first one. Raises `InvalidOptionError` for a limit
        below 1.
        """
        ...

    async def register(self, worker: NewWorker) -> None:
        """Begin the lease of a worker."""
        ...

    async def heartbeat(self, worker: int, ttl: int) -> Heartbeat | None:
        """Renew the lease for `ttl` microseconds. None if it had ended: the worker has lost its runs."""
        ...

    async def release(self, worker: int) -> int:
        """Give back all runs of the worker: they are READY, and it counts as no crash. Returns their number."""
        ...

    async def unregister(self, worker: int) -> None:
        """Release the runs of the worker, and end its lease."""
        ...

    async def sweep(self, max_crashes: int) -> Swept:
        """Free the runs of workers whose lease has ended, and remove these workers, in one transaction.

        A run that has made no progress since its claim counts one crash more; from the second on it is due later, 0.1 s
        doubled for each. With `max_crashes` crashes it is quarantined. A commit is progress, and so is a recorded
        result: the count starts anew with the crash, or with the claim after a release.
        """
        ...

    async def repair(self, *, limit: int = 50) -> int:
        """Make READY up to `limit` runs whose wake-up was lost: those that wait for a message that is in the inbox, and
        those that are blocked although no earlier run of their thread is unfinished. Returns their number.

        No call of a store leaves such a run. A restored backup or a manual change of the tables may.
        """
        ...

    async def delete_ended(self, *, keep: int, limit: int = 50) -> int:
        """Delete up to `limit` runs that ended more than `keep` microseconds ago by the store's clock, in the order of
        their ends, with their requests and events, and with the keys of messages of their threads that were taken that
        long ago. Returns their number. A quarantined run stays.

        An index finds the runs. Threads that another transaction has locked are left for the next call.
        Raises `InvalidOptionError` for a limit below 1.
        """
        ...

    async def delete_run(self, thread: str, seq: int) -> RunState | None:
        """Delete a run that has ended, with its request and its events, now. Returns its state before, None for an
        unknown run. A run that has not ended stays, and so does a quarantined one."""
        ...

    async def settle(self, settlement: Settlement) -> bool:
        """Record the end or the suspension of a run that no commit carries. False if the worker does not hold it, and
        has not settled it so before.

        A thread fails or is cancelled with its run, if the run has begun or is its first one.
        """
        ...

    async def find_run(self, thread: str | int, seq: int) -> RunRow | None:
        """A run by its thread and its number. `thread` is the thread's id or its key."""
        ...

    async def find_unfinished(self, thread: str) -> RunRow | None:
        """The first run of the thread that has not ended."""
        ...

    async def find_children(self, thread: str | int, seq: int) -> list[RunRow]:
        """The runs that this run started and that have not ended, by thread and number. `thread` is the id or the key
        of the run's thread.

        The end of a child, by a commit, a save or any other call, also by the deletion of its thread, is a message in
        the inbox of its parent's thread, in the same transaction: of the topic `child:<key>.<seq>`, with the key of the
        child's thread and its number. It wakes the parent. A parent that is done gets none.
        """
        ...

    async def find_orphans(self, *, limit: int = 50) -> list[tuple[str, int]]:
        """The threads and numbers of up to `limit` unfinished runs that are to be cancelled, because the run that
        started them was cancelled, and that nobody has been asked to cancel yet.

        Raises `InvalidOptionError` for a limit below 1.
        """
        ...

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
        """Runs by thread and number. `after` is the thread and the number of the last run of the page before.

        `metadata` is a JSON object of texts, whole numbers, bools and nulls, all of which the metadata of a run must
        have.
        """
        ...

    async def cancel_run(self, thread: str, seq: int, reason: str) -> RunState | None:
        """Cancel a run that no worker holds, and its thread with it, or ask the worker that holds it.

        The error of the run is then the first caller's reason, unless it ends otherwise before. Returns the state
        afterwards, RUNNING if the worker has been asked. None for an unknown run.
        """
        ...

    async def retry_run(self, thread: str, seq: int) -> RunState | None:
        """Make a failed, cancelled or quarantined run READY, if it is the last of its thread. Returns the state
        afterwards, None for an unknown run."""
        ...

    async def send(self, message: NewMessage) -> Sent:
        """Record a message for the unfinished run of a thread, once for each key of a topic, and wake the run.

        It stays in the inbox until a run takes it: in the save that records what became of it (`WritesBatch.taken`).
        """
        ...

    async def discard(self, thread: str, topic: str, key: str) -> Discarded:
        """Take a message out of the inbox that no run is to take, unless a worker executes the thread's run.

        Its key stays known, as that of a message that a run has taken. The thread's epoch changes, so that a worker
        whose lease has ended cannot take it afterwards.
        """
        ...

    async def inbox(self, thread: str, topics: Collection[str]) -> list[Message]:
        """The messages of these topics that no run has taken yet, in the order of their arrival."""
        ...

    async def load_many(self, threads: Collection[str], max_value_bytes: int) -> dict[str, StoredCheckpoint]:
        """The heads of these threads in one call, each as `Checkpointer.load` returns it.

        A thread that does not exist is left out, and so is one that cannot be loaded, because a row of it is damaged or
        above `max_value_bytes`: `load` raises its error.
        """
        ...

    async def inboxes(self, topics: Mapping[str, Collection[str]]) -> dict[str, list[Message]]:
        """The messages of several threads in one call, each as `inbox` returns them: `topics` has the topics of each
        thread. A thread without such messages is left out."""
        ...

    async def queue_stats(self) -> list[QueueStats]:
        """The numbers of runs, by queue."""
        ...

    async def count_workers(self) -> int:
        """The number of workers whose lease has not ended."""
        ...

    def beside(self) -> "AbstractAsyncContextManager[RunStore]":
        """The same store with a connection of its own, for an event loop in another thread: for heartbeats, which must
        not wait for the connections, nor the event loop, that execute nodes."""
        ...


@runtime_checkable
class KeepsRuns(Protocol):
    """A saver with the power to keep runs: `isinstance(saver, KeepsRuns)`."""

    @property
    def runs(self) -> RunStore:
        """The runs of the saver's threads."""
        ...
