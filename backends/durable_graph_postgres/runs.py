"""`PostgresSaver.runs`: the runs in the saver's schema, and the leases of the workers that execute them."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from durable_graph.checkpointing import run_retention, run_transactions
from durable_graph.checkpointing.columns import Columns, key_of
from durable_graph.checkpointing.fresh_threads import claim_from
from durable_graph.checkpointing.rules import check_limit, drawn_incarnation
from durable_graph.checkpointing.run_changes import heartbeat_of, run_from
from durable_graph.checkpointing.run_rules import ends_thread, stats_of
from durable_graph.checkpointing.run_sweep import Freed, freed
from durable_graph.checkpointing.run_transactions import Clock
from durable_graph.checkpointing.transactions import Wanted
from durable_graph.records import StoredCheckpoint
from durable_graph.run_records import (
    UPDATES,
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
from durable_graph_postgres import run_statements
from durable_graph_postgres.acceptances import NOBODY, Claimer, Made
from durable_graph_postgres.identifiers import check_message, check_reason, check_run, check_thread
from durable_graph_postgres.keyed_acceptance import answer_of
from durable_graph_postgres.opened import Opened
from durable_graph_postgres.reading import loaded_from
from durable_graph_postgres.run_statements import rows
from durable_graph_postgres.session import BEGIN, Session

T = TypeVar("T")

_SHORTEST_WAIT_FOR_AN_ANSWER = 1.0
_ATTEMPTS = 2


class PostgresRuns:
    """The runs of a schema. See `RunStore`.

    All times are by the server's clock. `skew` is added to it for the times when runs are due, and `lease_skew` for
    leases, in microseconds: tests move them.
    """

    def __init__(self, opened: Callable[[], Awaitable[Opened]], opened_beside: Callable[[], Awaitable[Opened]]) -> None:
        self.skew: int = 0
        self.lease_skew: int = 0
        self._opened = opened
        self._opened_beside = opened_beside

    # One run

    async def accept(self, run: NewRun) -> Accepted:
        """See `RunStore.accept`. Raises `InvalidOptionError` for a name that PostgreSQL cannot store."""
        check_run(run)
        opened = await self._opened()
        accepted, _ = await opened.finish(self._accepted(opened, run, NOBODY))
        return accepted

    async def _accepted_with_key(self, opened: Opened, run: NewRun, claimer: Claimer) -> Made | None:
        found = await self._read("find_acceptance", thread_key=key_of(run.thread), token=run.token, key=run.key)
        answer = answer_of(run, found[0]) if found else None
        if isinstance(answer, Accepted):
            return answer, None
        return None if answer is None else await opened.acceptances.accept(run, self.skew, claimer, answer)

    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        """See `RunStore.accept_and_claim`. Raises as `accept`."""
        check_run(run)
        opened = await self._opened()
        return await opened.finish(self._accepted(opened, run, Claimer(worker, self.lease_skew)))

    async def _accepted(self, opened: Opened, run: NewRun, claimer: Claimer) -> Made:
        made = await opened.acceptances.accept(run, self.skew, claimer)
        if made is None and run.key is not None:
            made = await self._accepted_with_key(opened, run, claimer)
        if made is None:
            accepted = await opened.writes.begin(run.thread, lambda: run_transactions.accept(run, self._clock()))
            made = accepted, None
        return made

    async def settle(self, settlement: Settlement) -> bool:
        """See `RunStore.settle`."""
        if not ends_thread(settlement.state):
            decided = await self._decided(lambda db: run_statements.settle(db, settlement, self.skew))
            if decided is not None:
                return decided
        epoch = drawn_incarnation()
        held: bool = await self._write(
            settlement.thread, lambda: run_transactions.settle(settlement, epoch, self._clock())
        )
        return held

    async def cancel_run(self, thread: str, seq: int, reason: str) -> RunState | None:
        """See `RunStore.cancel_run`. Raises `InvalidOptionError` for a text that PostgreSQL cannot store."""
        check_thread(thread)
        check_reason(reason)
        epoch = drawn_incarnation()
        state: RunState | None = await self._write(
            thread, lambda: run_transactions.cancel_run(thread, seq, reason, epoch, self._clock())
        )
        return state

    async def retry_run(self, thread: str, seq: int) -> RunState | None:
        """See `RunStore.retry_run`."""
        check_thread(thread)
        state: RunState | None = await self._write(
            thread, lambda: run_transactions.retry_run(thread, seq, self._clock())
        )
        return state

    async def send(self, message: NewMessage) -> Sent:
        """See `RunStore.send`. Raises `InvalidOptionError` for a name that PostgreSQL cannot store."""
        check_message(message)
        # An update also sets the request APPLY_UPDATES: that is a second change of the run.
        if message.topic != UPDATES:
            decided = await self._decided(lambda db: run_statements.send(db, message, self.skew))
            if decided is not None:
                return decided
        sent: Sent = await self._write(message.thread, lambda: run_transactions.send(message, self._clock()))
        return sent

    async def discard(self, thread: str, topic: str, key: str) -> Discarded:
        """See `RunStore.discard`. Raises `InvalidOptionError` for a name that PostgreSQL cannot store."""
        check_message(NewMessage(thread, topic, key, b""))
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
        check_thread(thread)
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
        found = await self._read("find_inbox", thread_key=key_of(thread), topics=list(topics))
        return [Message(*each) for each in found]

    async def find_run(self, thread: str | int, seq: int) -> RunRow | None:
        """See `RunStore.find_run`."""
        key = thread if isinstance(thread, int) else key_of(thread)
        found = await self._read("find_run", thread_key=key, seq=seq)
        return run_from(found[0]) if found else None

    async def find_unfinished(self, thread: str) -> RunRow | None:
        """See `RunStore.find_unfinished`."""
        found = await self._read("find_unfinished_run", thread_key=key_of(thread))
        return run_from(found[0]) if found else None

    async def find_children(self, thread: str | int, seq: int) -> list[RunRow]:
        """See `RunStore.find_children`."""
        key = thread if isinstance(thread, int) else key_of(thread)
        return [run_from(each) for each in await self._read("find_children", thread_key=key, seq=seq)]

    async def find_orphans(self, *, limit: int = 50) -> list[tuple[str, int]]:
        """See `RunStore.find_orphans`."""
        check_limit(limit)
        return [(each[0], each[1]) for each in await self._read("find_orphans", limit=limit)]

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
        sought: dict[str, Any] = {"graph": graph, "state": state, "metadata": metadata}
        sought |= {"after": name, "after_seq": seq, "limit": limit}
        if thread is None:
            found = await self._read("list_runs", **sought)
        else:
            found = await self._read("list_runs_of_thread", thread_key=key_of(thread), **sought)
        return [run_from(each) for each in found]

    async def load_many(self, threads: Collection[str], max_value_bytes: int) -> dict[str, StoredCheckpoint]:
        """See `RunStore.load_many`."""
        by_key = {key_of(thread): thread for thread in threads}
        found = await self._change("load_many", thread_keys=list(by_key), most=max_value_bytes)
        return loaded_from(by_key, found, max_value_bytes)

    async def inboxes(self, topics: Mapping[str, Collection[str]]) -> dict[str, list[Message]]:
        """See `RunStore.inboxes`."""
        by_key = {key_of(thread): thread for thread in topics}
        sought = [(key, topic) for key, thread in by_key.items() for topic in topics[thread]]
        keys, names = [key for key, _ in sought], [topic for _, topic in sought]
        inboxes: dict[str, list[Message]] = {}
        for key, *message in await self._change("find_inboxes", thread_keys=keys, topics=names):
            inboxes.setdefault(by_key[key], []).append(Message(*message))
        return inboxes

    async def queue_stats(self) -> list[QueueStats]:
        """See `RunStore.queue_stats`."""
        return stats_of(await self._read("count_runs", skew=self.skew))

    async def count_workers(self) -> int:
        """See `RunStore.count_workers`."""
        ((number,),) = await self._read("count_workers", lease_skew=self.lease_skew)
        return int(number)

    async def next_due(self, queues: Sequence[str]) -> int | None:
        """See `RunStore.next_due`."""
        ((wait,),) = await self._change("find_next_due", queues=list(queues), skew=self.skew)
        return None if wait is None else max(wait, 0)

    async def next_deadline(self) -> int | None:
        """See `RunStore.next_deadline`."""
        ((wait,),) = await self._change("find_next_deadline", skew=self.skew)
        return None if wait is None else max(wait, 0)

    # Workers

    async def register(self, worker: NewWorker) -> None:
        """See `RunStore.register`."""
        given: dict[str, Any] = {"worker": worker.id, "name": worker.name, "queues": json.dumps(worker.queues)}
        await self._change("add_worker", **given, ttl=worker.ttl, lease_skew=self.lease_skew)

    async def heartbeat(self, worker: int, ttl: int) -> Heartbeat | None:
        """See `RunStore.heartbeat`. A connection without an answer for a third of `ttl` is replaced."""
        answer = max(ttl / 3_000_000, _SHORTEST_WAIT_FOR_AN_ANSWER)
        found = await self._change("renew_lease", answer=answer, worker=worker, ttl=ttl, lease_skew=self.lease_skew)
        return heartbeat_of([each for each in found if each[0] is not None]) if found else None

    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        """See `RunStore.claim`. Runs and threads that another transaction has locked are left for the next claim."""
        sought = {
            "worker": worker,
            "queues": list(dict.fromkeys(queues)),
            "epochs": [drawn_incarnation() for _ in range(most)],
            "most": most,
            "skew": self.skew,
            "lease_skew": self.lease_skew,
        }
        is_repeated = False

        async def attempt(db: Session) -> list[Columns]:
            nonlocal is_repeated
            if not is_repeated:
                is_repeated = True
                return await rows(db, "claim_runs", sought)
            async with db.transaction(BEGIN):
                # An attempt whose answer was lost may have claimed runs, that no worker knows.
                await rows(db, "lock_worker", sought)
                return await rows(db, "find_claims", sought) or await rows(db, "claim_runs", sought)

        return [claim_from(columns) for columns in await self._call(attempt)] if most > 0 else []

    async def release(self, worker: int) -> int:
        """See `RunStore.release`."""
        return len(await self._change("release_runs", worker=worker, skew=self.skew))

    async def unregister(self, worker: int) -> None:
        """See `RunStore.unregister`."""

        async def attempt(db: Session) -> None:
            async with db.transaction(BEGIN):
                for name in ("lock_worker", "release_runs", "remove_worker"):
                    await rows(db, name, {"worker": worker, "skew": self.skew})

        await self._call(attempt)

    async def sweep(self, max_crashes: int) -> Swept:
        """See `RunStore.sweep`."""

        async def attempt(db: Session) -> Swept:
            if not await rows(db, "has_dead_workers", {"lease_skew": self.lease_skew}):
                return Swept()
            async with db.transaction(BEGIN):
                return await _swept(db, max_crashes, self.skew, self.lease_skew)

        return await self._call(attempt)

    @asynccontextmanager
    async def beside(self) -> AsyncIterator["PostgresRuns"]:
        """See `RunStore.beside`."""
        opened = await self._opened_beside()

        async def get() -> Opened:
            return opened

        other = PostgresRuns(get, self._opened_beside)
        other.skew, other.lease_skew = self.skew, self.lease_skew
        try:
            yield other
        finally:
            await opened.close()

    # Connections

    def _clock(self) -> Clock:
        return Clock(None, self.skew)

    async def _write(self, thread: str, wanted: Wanted) -> Any:
        opened = await self._opened()
        return await opened.writes.begin(thread, wanted)

    async def _decided(self, statement: Callable[[Session], Awaitable[T | None]]) -> T | None:
        """The result of a change that is one statement. None if it was not made, because it waited for a write of the
        same thread: a transaction makes it then."""
        opened = await self._opened()
        for _ in range(_ATTEMPTS):
            decided = await opened.finish(opened.database.change(statement))
            if decided is not None:
                return decided
        return None

    async def _read(self, name: str, /, **sought: object) -> list[Columns]:
        opened = await self._opened()
        return await opened.finish(opened.database.read(lambda db: rows(db, name, sought), statements=1))

    async def _change(self, name: str, /, *, answer: float | None = None, **sought: object) -> list[Columns]:
        return await self._call(lambda db: rows(db, name, sought), answer)

    async def _call(self, function: Callable[[Session], Awaitable[T]], answer: float | None = None) -> T:
        opened = await self._opened()
        return await opened.finish(opened.runs.change(function, answer=answer))


async def _swept(db: Session, most: int, skew: int, lease_skew: int) -> Swept:
    found = await rows(db, "lock_dead_workers", {"lease_skew": lease_skew})
    dead = {"workers": [worker for (worker,) in found]}
    # The threads first, as every commit: the runs are read once nobody else can change them.
    await rows(db, "lock_threads_of_workers", dead)
    ((now,),) = await rows(db, "store_time", {})
    runs = []
    for key, seq, crashes, has_moved, nodes in await rows(db, "find_runs_of_workers", dead):
        run = freed(crashes=crashes, has_moved=has_moved, nodes=nodes, most=most, now=now + skew)
        runs.append((key, seq, run))
    if runs:
        await db.rows("free_runs", *map(list, zip(*(_columns(*each) for each in runs), strict=True)))
    quarantined = [key for key, _, run in runs if run.state is RunState.QUARANTINED]
    for key in quarantined:
        await rows(db, "unblock_run", {"thread_key": key})
    await rows(db, "remove_workers", dead)
    return Swept(len(dead["workers"]), len(runs) - len(quarantined), len(quarantined))


def _columns(key: int, seq: int, run: Freed) -> Columns:
    return (key, seq, int(run.state), run.crashes, run.due, run.ended_at, run.error)
