"""Stores of runs with one bug each in the reads of many runs, or in the row of a new thread that a claim has."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from durable_graph.records import StoredCheckpoint
from durable_graph.run_records import Claim, FreshThread, Message
from tests.checkpointing.planted_runs import PlantedRuns

replace = msgspec.structs.replace


class LoadsOneThread(PlantedRuns):
    async def load_many(self, threads: Collection[str], max_value_bytes: int) -> dict[str, StoredCheckpoint]:
        return await super().load_many(list(threads)[:1], max_value_bytes)


class LoadsWithoutRecords(PlantedRuns):
    async def load_many(self, threads: Collection[str], max_value_bytes: int) -> dict[str, StoredCheckpoint]:
        found = await super().load_many(threads, max_value_bytes)
        return {thread: replace(each, records=()) for thread, each in found.items()}


class LoadsWhatItLoadedBefore(PlantedRuns):
    _loaded: Mapping[str, StoredCheckpoint] | None = None

    async def load_many(self, threads: Collection[str], max_value_bytes: int) -> dict[str, StoredCheckpoint]:
        if self._loaded is None:
            self._loaded = await super().load_many(threads, max_value_bytes)
        return dict(self._loaded)


class LoadsAllThreads(PlantedRuns):
    async def load_many(self, threads: Collection[str], max_value_bytes: int) -> dict[str, StoredCheckpoint]:
        return await super().load_many([each.row.thread for each in self._threads.values()], max_value_bytes)


class ReadsAllTopicsOfMany(PlantedRuns):
    async def inboxes(self, topics: Mapping[str, Collection[str]]) -> dict[str, list[Message]]:
        wanted = {topic for each in topics.values() for topic in each}
        return await super().inboxes(dict.fromkeys(topics, wanted))


class ReadsOneInbox(PlantedRuns):
    async def inboxes(self, topics: Mapping[str, Collection[str]]) -> dict[str, list[Message]]:
        return await super().inboxes(dict(list(topics.items())[:1]))


class ReadsEmptyInboxes(PlantedRuns):
    async def inboxes(self, topics: Mapping[str, Collection[str]]) -> dict[str, list[Message]]:
        return {thread: await self.inbox(thread, wanted) for thread, wanted in topics.items()}


class _Claims(PlantedRuns):
    """Claims whose fresh threads have these fields."""

    fields: Mapping[str, Any]

    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        found = await super().claim(worker, queues, most)
        return [replace(each, fresh=each.fresh and self._fresh(each.fresh)) for each in found]

    def _fresh(self, fresh: FreshThread) -> FreshThread | None:
        return replace(fresh, **self.fields)


class TellsNoRequests(_Claims):
    fields: Mapping[str, Any] = {"requests_digest": bytes(16)}


class TellsNoRow(_Claims):
    def _fresh(self, fresh: FreshThread) -> FreshThread | None:
        return None


class TellsAnyRow(PlantedRuns):
    """Claims have the row that the acceptance of a first run would make, whatever has become of the thread since."""

    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        found = await super().claim(worker, queues, most)
        return [replace(each, fresh=self._as_accepted(each)) for each in found]

    def _as_accepted(self, claim: Claim) -> FreshThread:
        stored = self.thread(claim.thread)
        assert stored is not None
        row = replace(stored.row, wseq=0, version=0, head=0, status="running", status_since=1, created_at=1)
        stored.row, before = replace(row, updated_at=1, commit_id=b"", graph=claim.graph), stored.row
        signed, stored.row = stored.signed, before
        return FreshThread(row.incarnation, 1, signed.sums.requests, signed.digest)
