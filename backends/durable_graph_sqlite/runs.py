"""`SqliteSaver.runs`: the runs in the saver's file, and the leases of the workers that execute them."""

import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from durable_graph.checkpointing import run_acceptance, run_retention, run_transactions
from durable_graph.checkpointing.columns import Columns, key_of
from durable_graph.checkpointing.fresh_threads import claim_from
from durable_graph.checkpointing.rules import check_limit, drawn_incarnation
from durable_graph.checkpointing.run_changes import heartbeat_of, run_from
from durable_graph.checkpointing.run_rules import stats_of
from durable_graph.checkpointing.run_sweep import freed
from durable_graph.checkpointing.run_transactions import Clock
from durable_graph.checkpointing.transactions import Wanted, begun
from durable_graph.errors import CorruptCheckpointError, ValueTooLargeError
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
from durable_graph_sqlite import reading
from durable_graph_sqlite.connection import Connection
from durable_graph_sqlite.failures import told_in_ours
from durable_graph_sqlite.retry import Retry
from durable_graph_sqlite.statements import SQL, rows, run

T = TypeVar("T")

_PRIORITIES = range(5)


def _boot_id() -> bytes:
    """What tells this start of the machine from others. Elsewhere than on Linux it is empty: there, a lease from before
    the machine's last start ends once the machine has been up for as long as it was then."""
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip().replace("-", ""))
    except OSError:
        return b""


_BOOT_ID = _boot_id()


class SqliteRuns:
    """The runs of a file. See `RunStore`.

    Leases count the time since the machine started, which nobody sets: all processes that share a file are on one
    machine. A lease from before its last start has ended. Times when runs are due are those of the wall clock. `skew`
    is added to the wall clock, and `lease_skew` to that of leases, in microseconds: tests move them.
    """

    def __init__(
        self,
        path: Path,
        retry: Retry,
        opened: Callable[[], Awaitable[Connection]],
        write: Callable[[str, Wanted], Awaitable[Any]],
    ) -> None:
        self.skew: int = 0
        self.lease_skew: int = 0
        self._path, self._retry = path, retry
        self._opened = opened
        self._write = write

    # One run

    async def accept(self, run: NewRun) -> Accepted:
        """See `RunStore.accept`."""
        accepted: Accepted = await self._write(run.thread, lambda: run_transactions.accept(run, self._clock()))
        return accepted

    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        """See `RunStore.accept_and_claim`."""
        epoch = drawn_incarnation()
        made: tuple[Accepted, Claim | None] = await self._write(
            run.thread, lambda: run_acceptance.accept_and_claim(run, worker, epoch, self.lease(), self._clock())
        )
        return made

    async def settle(self, settlement: Settlement) -> bool:
        """See `RunStore.settle`."""
        epoch = drawn_incarnation()
        held: bool = await self._write(
            settlement.thread, lambda: run_transactions.settle(settlement, epoch, self._clock())
        )
        return held

    async def cancel_run(self, thread: str, seq: int, reason: str) -> RunState | None:
        """See `RunStore.cancel_run`."""
        epoch = drawn_incarnation()
        state: RunState | None = await self._write(
            thread, lambda: run_transactions.cancel_run(thread, seq, reason, epoch, self._clock())
        )
        return state

    async def retry_run(self, thread: str, seq: int) -> RunState | None:
        """See `RunStore.retry_run`."""
        state: RunState | None = await self._write(
            thread, lambda: run_transactions.retry_run(thread, seq, self._clock())
        )
        return state

    async def send(self, message: NewMessage) -> Sent:
        """See `RunStore.send`."""
        sent: Sent = await self._write(message.thread, lambda: run_transactions.send(message, self._clock()))
        return sent

    async def discard(self, thread: str, topic: str, key: str) -> Discarded:
        """See `RunStore.discard`."""
        epoch = drawn_incarnation()
        discarded: Discarded = await self._write(
            thread, lambda: run_transactions.discard(thread, topic, key, epoch, self._clock())
        )
        return discarded

    # Upkeep

    async def delete_ended(self, *, keep: int, limit: int = 50) -> int:
        """See `RunStore.delete_ended`."""
        check_limit(limit)
        # The write belongs to no thread: the empty id is no thread's.
        forgotten: int = await self._write("", lambda: run_retention.delete_ended(keep, limit, self._clock()))
        return forgotten

    async def delete_run(self, thread: str, seq: int) -> RunState | None:
        """See `RunStore.delete_run`."""
        state: RunState | None = await self._write(thread, lambda: run_retention.delete_run(thread, seq))
        return state

    async def fail_overdue(self, *, limit: int = 50) -> list[tuple[str, int]]:
        """See `RunStore.fail_overdue`."""
        check_limit(limit)
        epoch = drawn_incarnation()
        failed: list[tuple[str, int]] = await self._write(
            "", lambda: run_retention.fail_overdue(limit, epoch, self._clock())
        )
        return failed

    async def repair(self, *, limit: int = 50) -> int:
        """See `RunStore.repair`."""
        check_limit(limit)
        repaired: int = await self._write("", lambda: run_retention.repair(limit, self._clock()))
        return repaired

    # Reading

    async def inbox(self, thread: str, topics: Collection[str]) -> list[Message]:
        """See `RunStore.inbox`."""
        return await self.read(lambda db: _inbox(db, thread, topics))

    async def find_run(self, thread: str | int, seq: int) -> RunRow | None:
        """See `RunStore.find_run`."""
        key = thread if isinstance(thread, int) else key_of(thread)
        found = await self.read(lambda db: rows(db, "find_run", {"thread_key": key, "seq": seq}))
        return run_from(found[0]) if found else None

    async def find_unfinished(self, thread: str) -> RunRow | None:
        """See `RunStore.find_unfinished`."""
        found = await self.read(lambda db: rows(db, "find_unfinished_run", {"thread_key": key_of(thread)}))
        return run_from(found[0]) if found else None

    async def find_children(self, thread: str | int, seq: int) -> list[RunRow]:
        """See `RunStore.find_children`."""
        key = thread if isinstance(thread, int) else key_of(thread)
        found = await self.read(lambda db: rows(db, "find_children", {"thread_key": key, "seq": seq}))
        return [run_from(each) for each in found]

    async def find_orphans(self, *, limit: int = 50) -> list[tuple[str, int]]:
        """See `RunStore.find_orphans`."""
        check_limit(limit)
        return [(each[0], each[1]) for each in await self.read(lambda db: rows(db, "find_orphans", {"limit": limit}))]

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
        check_limit(limit)
        name, seq = after or ("", 0)
        sought: dict[str, Any] = {"graph": graph, "state": state, "thread": thread, "metadata": metadata}
        sought |= {"after": name, "after_seq": seq, "limit": limit}
        return [run_from(each) for each in await self.read(lambda db: rows(db, "list_runs", sought))]

    async def load_many(self, threads: Collection[str], max_value_bytes: int) -> dict[str, StoredCheckpoint]:
        """See `RunStore.load_many`."""

        def load(db: sqlite3.Connection) -> dict[str, StoredCheckpoint]:
            loaded: dict[str, StoredCheckpoint] = {}
            for thread in threads:
                # `load` raises the error, and the thread is left out here.
                with suppress(CorruptCheckpointError, ValueTooLargeError):
                    found = run(db, reading.load(thread, "", None, max_value_bytes))
                    if found is not None:
                        loaded[thread] = found
            return loaded

        return await self.read(load)

    async def inboxes(self, topics: Mapping[str, Collection[str]]) -> dict[str, list[Message]]:
        """See `RunStore.inboxes`."""

        def look(db: sqlite3.Connection) -> dict[str, list[Message]]:
            found = {thread: _inbox(db, thread, wanted) for thread, wanted in topics.items()}
            return {thread: messages for thread, messages in found.items() if messages}

        return await self.read(look)

    async def queue_stats(self) -> list[QueueStats]:
        """See `RunStore.queue_stats`."""
        return stats_of(await self.read(lambda db: rows(db, "count_runs", {"now": self.now()})))

    async def count_workers(self) -> int:
        """See `RunStore.count_workers`."""
        found = await self.read(lambda db: rows(db, "count_workers", self.lease()))
        number: int = found[0][0]
        return number

    async def next_due(self, queues: Sequence[str]) -> int | None:
        """See `RunStore.next_due`."""

        def look(db: sqlite3.Connection) -> int | None:
            due = first_due(db, queues)
            return None if due is None else max(due - self.now(), 0)

        return await self.read(look)

    async def next_deadline(self) -> int | None:
        """See `RunStore.next_deadline`."""
        ((deadline,),) = await self.read(lambda db: rows(db, "find_next_deadline", {}))
        return None if deadline is None else max(deadline - self.now(), 0)

    # Workers

    async def register(self, worker: NewWorker) -> None:
        """See `RunStore.register`."""
        given = {"worker": worker.id, "name": worker.name, "queues": json.dumps(worker.queues)}
        # The time is read on the connection's thread, because the machine's boot id is read from a file.
        await self.change(lambda db: rows(db, "add_worker", {**self.lease(worker.ttl), **given}))

    async def heartbeat(self, worker: int, ttl: int) -> Heartbeat | None:
        """See `RunStore.heartbeat`."""

        def renew(db: sqlite3.Connection) -> Heartbeat | None:
            if not rows(db, "renew_lease", {**self.lease(ttl), "worker": worker}):
                return None
            return heartbeat_of(columns[:4] for columns in rows(db, "find_asked_runs", {"worker": worker}))

        return await self.change(renew)

    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        """See `RunStore.claim`."""
        return await self.change(lambda db: self._claimed(db, worker, queues, most))

    def _claimed(self, db: sqlite3.Connection, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        if not rows(db, "is_worker_alive", {**self.lease(), "worker": worker}):
            return []
        now = self.now()
        claims: list[Claim] = []
        for key, seq, _ in _due_runs(db, queues, most, now):
            epoch = drawn_incarnation()
            ((version, writes, *fresh),) = rows(db, "fence_thread", {"thread_key": key, "epoch": epoch})
            own = {"thread_key": key, "seq": seq, "worker": worker, "version": version, "writes": writes}
            (columns,) = rows(db, "claim_run", own)
            claims.append(claim_from((*columns[:-2], epoch, version, now, *columns[-2:], *fresh)))
        return claims

    async def release(self, worker: int) -> int:
        """See `RunStore.release`."""
        held = {"worker": worker, "now": self.now()}
        return await self.change(lambda db: len(rows(db, "release_runs", held)))

    async def unregister(self, worker: int) -> None:
        """See `RunStore.unregister`."""

        def remove(db: sqlite3.Connection) -> None:
            rows(db, "release_runs", {"worker": worker, "now": self.now()})
            rows(db, "remove_worker", {"worker": worker})

        await self.change(remove)

    async def sweep(self, max_crashes: int) -> Swept:
        """See `RunStore.sweep`."""
        return await self.change(lambda db: self._swept(db, max_crashes))

    def _swept(self, db: sqlite3.Connection, max_crashes: int) -> Swept:
        now, ready, quarantined = self.now(), 0, 0
        dead = rows(db, "find_dead_workers", self.lease())
        for (worker,) in dead:
            for key, seq, crashes, has_moved, nodes in rows(db, "find_runs_of_worker", {"worker": worker}):
                after = freed(crashes=crashes, has_moved=bool(has_moved), nodes=nodes, most=max_crashes, now=now)
                db.execute(
                    SQL["free_run"],
                    {
                        "thread_key": key,
                        "seq": seq,
                        "state": int(after.state),
                        "crashes": after.crashes,
                        "due": after.due,
                        "ended_at": after.ended_at,
                        "error": after.error,
                    },
                )
                if after.state.is_ended:
                    db.execute(SQL["unblock_run"], {"thread_key": key})
                ready += after.state is RunState.READY
                quarantined += after.state is RunState.QUARANTINED
            db.execute(SQL["remove_worker"], {"worker": worker})
        return Swept(len(dead), ready, quarantined)

    @asynccontextmanager
    async def beside(self) -> AsyncIterator["SqliteRuns"]:
        """See `RunStore.beside`."""
        connection = await Connection.opened(self._path, self._retry)

        async def opened() -> Connection:
            return connection

        async def write(thread: str, wanted: Wanted) -> Any:
            with told_in_ours(str(self._path), thread):
                return await connection.write(lambda db: run(db, begun(wanted)).result)

        other = SqliteRuns(self._path, self._retry, opened, write)
        other.skew, other.lease_skew = self.skew, self.lease_skew
        try:
            yield other
        finally:
            await connection.close()

    # Clocks and transactions

    def now(self) -> int:
        """The time of the clock by which runs are due."""
        return time.time_ns() // 1000 + self.skew

    def _clock(self) -> Clock:
        return Clock(self.now())

    def lease(self, ttl: int = 0) -> dict[str, Any]:
        """The time of leases now, and after `ttl` microseconds."""
        now = time.monotonic_ns() // 1000 + self.lease_skew
        return {"now": now, "until": now + ttl, "boot_id": _BOOT_ID}

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """The result of a function that reads."""
        connection = await self._opened()
        with told_in_ours(str(self._path), None):
            return await connection.read(function)

    async def change(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """The result of a function that writes, in one transaction."""
        connection = await self._opened()
        with told_in_ours(str(self._path), None):
            return await connection.write(function)


def _inbox(db: sqlite3.Connection, thread: str, topics: Collection[str]) -> list[Message]:
    sought = {"thread_key": key_of(thread), "topics": json.dumps(sorted(topics))}
    return [Message(*each) for each in rows(db, "find_inbox", sought)]


def first_due(db: sqlite3.Connection, queues: Iterable[str]) -> int | None:
    """When the first run of these queues is due that can be claimed at a time, None if there is none."""
    found = [rows(db, "find_next_due", {"queue": queue})[0][0] for queue in queues]
    return min((due for due in found if due is not None), default=None)


def _due_runs(db: sqlite3.Connection, queues: Sequence[str], most: int, now: int) -> list[Columns]:
    """The key, number and time of up to `most` due runs, by priority and time."""
    found: list[Columns] = []
    for priority in _PRIORITIES:
        wanted = most - len(found)
        if wanted <= 0:
            break
        of_priority: list[Columns] = []
        for queue in dict.fromkeys(queues):
            sought = {"queue": queue, "priority": priority, "now": now, "most": wanted}
            of_priority += rows(db, "find_due_runs", sought)
        # The rows are sorted within each queue. Without this, the runs of the first queue would precede all others.
        of_priority.sort(key=lambda columns: columns[2])
        found += of_priority[:wanted]
    return found
