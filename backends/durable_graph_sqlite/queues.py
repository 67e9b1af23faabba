"""`SqliteSaver.queues`: the queues with limits of the saver's runs."""

import json
import sqlite3
from collections.abc import Sequence

from durable_graph.checkpointing import queue_transactions
from durable_graph.checkpointing.columns import Columns
from durable_graph.checkpointing.fresh_threads import claim_from
from durable_graph.checkpointing.queries import Query
from durable_graph.checkpointing.queue_rules import Candidate
from durable_graph.checkpointing.queue_store import QueueClaims, QueueInfo
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.checkpointing.transactions import Part
from durable_graph.queue_records import QueueLimits
from durable_graph.run_records import Claim
from durable_graph_sqlite.runs import SqliteRuns
from durable_graph_sqlite.statements import rows, run


class SqliteQueues:
    """The queues of a file. See `QueueStore`."""

    def __init__(self, runs: SqliteRuns) -> None:
        """`runs` has the clocks and the connection."""
        self._runs = runs

    async def declare(self, limits: Sequence[QueueLimits]) -> None:
        """See `QueueStore.declare`."""

        def change(db: sqlite3.Connection) -> None:
            for each in limits:
                rows(db, "declare_queue", {**queue_transactions.columns_of(each), "now": self._runs.now()})

        await self._runs.change(change)

    async def claim(self, worker: int, queues: Sequence[str], graphs: Sequence[str], most: int) -> QueueClaims:
        """See `QueueStore.claim`."""
        if not queues or most <= 0:
            return QueueClaims()

        def change(db: sqlite3.Connection) -> QueueClaims:
            claims: list[Claim] = []
            waits: list[int] = []
            if not rows(db, "is_worker_alive", {**self._runs.lease(), "worker": worker}):
                return QueueClaims()
            for queue in queues:
                ((due,),) = rows(db, "find_next_due", {"queue": queue})
                wait = None if due is None else due - self._runs.now()
                if wait is None or wait > 0:
                    # Nothing is due, so the keys of sleeping runs need no look.
                    waits += [] if wait is None else [wait]
                    continue
                made = run(db, self._claim(worker, queue, graphs, most - len(claims)))
                claims += made.claims
                if made.wait is not None:
                    waits.append(made.wait)
            return QueueClaims(claims, min(waits, default=None))

        return await self._runs.change(change)

    def _claim(self, worker: int, queue: str, graphs: Sequence[str], most: int) -> Part[QueueClaims]:
        sought = {"queue": queue, "graphs": json.dumps(list(graphs))}

        def find(pairs: Sequence[Columns], now: int, each: int) -> Part[list[Columns]]:
            found: list[Columns] = []
            for priority, key in pairs:
                of_key = {"priority": priority, "key": key, "now": now, "most": each}
                found += yield Query("find_runs_of_key", {**sought, **of_key})
            return found

        def take(chosen: Sequence[Candidate], now: int) -> Part[list[Claim]]:
            claims: list[Claim] = []
            for each in chosen:
                epoch, own = drawn_incarnation(), {"thread_key": each.thread_key, "seq": each.seq}
                ((version, writes, *fresh),) = yield Query("fence_thread", {**own, "epoch": epoch})
                given = {**own, "worker": worker, "version": version, "writes": writes}
                (columns,) = yield Query("claim_run", given)
                claims.append(claim_from((*columns[:-1], epoch, version, now, columns[-1], *fresh)))
            return claims

        return queue_transactions.claim(
            queue, worker, graphs, most, find=find, take=take, clock=self._runs.now, as_list=json.dumps
        )

    async def describe(self) -> list[QueueInfo]:
        """See `QueueStore.describe`."""

        def read(db: sqlite3.Connection) -> list[QueueInfo]:
            declared = rows(db, "list_queues", {})
            return queue_transactions.infos_from(declared, rows(db, "find_served_queues", self._runs.lease()))

        return await self._runs.read(read)
