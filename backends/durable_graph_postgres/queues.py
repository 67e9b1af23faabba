"""`PostgresSaver.queues`: the queues with limits of the saver's runs."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from durable_graph.checkpointing import queue_transactions
from durable_graph.checkpointing.columns import Columns
from durable_graph.checkpointing.fresh_threads import claim_from
from durable_graph.checkpointing.queries import Query
from durable_graph.checkpointing.queue_rules import Candidate
from durable_graph.checkpointing.queue_store import QueueClaims, QueueInfo
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.checkpointing.transactions import Part
from durable_graph.errors import DamagedRowError
from durable_graph.queue_records import QueueLimits
from durable_graph.run_records import Claim
from durable_graph_postgres.opened import Opened
from durable_graph_postgres.run_statements import rows
from durable_graph_postgres.runs import PostgresRuns
from durable_graph_postgres.session import BEGIN, Session

T = TypeVar("T")


class PostgresQueues:
    """The queues of a schema. See `QueueStore`."""

    def __init__(self, opened: Callable[[], Awaitable[Opened]], runs: PostgresRuns) -> None:
        """`runs` has the clocks."""
        self._opened = opened
        self._runs = runs

    async def declare(self, limits: Sequence[QueueLimits]) -> None:
        """See `QueueStore.declare`."""

        async def attempt(db: Session) -> None:
            for each in sorted(limits, key=lambda limits: limits.queue):
                await rows(db, "declare_queue", {**queue_transactions.columns_of(each), **self._skews()})

        await self._call(attempt)

    async def claim(self, worker: int, queues: Sequence[str], graphs: Sequence[str], most: int) -> QueueClaims:
        """See `QueueStore.claim`. Runs and threads that another transaction has locked are left for the next claim."""
        if not queues or most <= 0:
            return QueueClaims()
        found = await self._call(lambda db: rows(db, "find_due_queues", {"queues": list(queues), **self._skews()}))
        waits = {queue: wait for queue, wait in found if wait is not None}
        claims: list[Claim] = []
        for queue in queues:
            if waits.get(queue, 1) <= 0 and len(claims) < most:
                try:
                    made = await self._claim(worker, queue, graphs, most - len(claims))
                except DamagedRowError:
                    if claims:
                        # Those of the queues before it are claimed. The next call raises.
                        return QueueClaims(claims, 0)
                    raise
                claims += made.claims
                del waits[queue]
                if made.wait is not None:
                    waits[queue] = made.wait
        return QueueClaims(claims, max(min(waits.values()), 0) if waits else None)

    async def _claim(self, worker: int, queue: str, graphs: Sequence[str], most: int) -> QueueClaims:
        epochs = [drawn_incarnation() for _ in range(most)]
        is_repeated = False

        def find(pairs: Sequence[Columns], now: int, each: int) -> Part[list[Columns]]:
            if not pairs:
                return []
            priorities, keys = map(list, zip(*pairs, strict=True))
            sought = {"queue": queue, "now": now, "graphs": list(graphs)}
            found = yield Query("find_runs_of_keys", {**sought, "priorities": priorities, "keys": keys, "most": each})
            return list(found)

        def take(chosen: Sequence[Candidate], now: int) -> Part[list[Claim]]:
            if not chosen:
                return []
            thread_keys, seqs = [each.thread_key for each in chosen], [each.seq for each in chosen]
            given = {"worker": worker, "epochs": epochs, "thread_keys": thread_keys, "seqs": seqs, "now": now}
            return [claim_from(columns) for columns in (yield Query("claim_chosen", given))]

        def begin() -> Part[QueueClaims]:
            return queue_transactions.claim(
                queue, worker, graphs, most, find=find, take=take, clock=None, as_list=list, given=self._skews()
            )

        async def attempt(db: Session) -> QueueClaims:
            nonlocal is_repeated
            async with db.transaction(BEGIN):
                if is_repeated:
                    # An attempt whose reply was lost may have claimed runs that no worker knows.
                    sought = {"worker": worker, "epochs": epochs, **self._skews()}
                    await rows(db, "lock_worker", sought)
                    if held := await rows(db, "find_claims", sought):
                        return queue_transactions.claims_of([claim_from(columns) for columns in held], queue)
                is_repeated = True
                return await db.run(begin())

        return await self._call(attempt)

    async def describe(self) -> list[QueueInfo]:
        """See `QueueStore.describe`."""

        async def read(db: Session) -> list[QueueInfo]:
            declared = await rows(db, "list_queues", {})
            return queue_transactions.infos_from(declared, await rows(db, "find_served_queues", self._skews()))

        return await self._call(read)

    def _skews(self) -> dict[str, Any]:
        return {"skew": self._runs.skew, "lease_skew": self._runs.lease_skew}

    async def _call(self, function: Callable[[Session], Awaitable[T]]) -> T:
        opened = await self._opened()
        return await opened.finish(opened.runs.change(function))
