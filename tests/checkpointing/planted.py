"""Savers with one bug each. A clause that passes on all of them proves nothing."""

import asyncio
from typing import Self

import msgspec

from durable_graph import MemorySaver
from durable_graph.checkpointing import rules, verify_page
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.digests import (
    checkpoint_digest,
    origin_of,
    record_digest,
    state_digest,
    value_digest,
)
from durable_graph.checkpointing.memory_rows import Rows, ThreadRows
from durable_graph.errors import (
    CheckpointerMisuseError,
    CorruptCheckpointError,
    StoreUnavailableError,
    UnknownThreadError,
)
from durable_graph.records import (
    CommitResult,
    Committed,
    CommitUnit,
    Conflict,
    HistoryPage,
    ListedStatus,
    Saved,
    SaveResult,
    StoredCheckpoint,
    StoredRecords,
    TaskRecord,
    ThreadInfo,
    ThreadRow,
    ValueKind,
    ValueRow,
    WritesBatch,
    WritesMoved,
)

replace = msgspec.structs.replace


class Trims(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        checkpoints = tuple(
            replace(new, row=replace(new.row, header=new.row.header.strip(b"\0"))) for new in unit.checkpoints
        )
        return await super().commit(replace(unit, checkpoints=checkpoints))


class ReturnsTheOutdatedThread(MemorySaver):
    """Returns the thread that the unit was made from."""

    async def commit(self, unit: CommitUnit) -> CommitResult:
        answer = await super().commit(unit)
        return Committed(answer.version, unit.base) if isinstance(answer, Committed) else answer

    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        answer = await super().save_writes(batch)
        return replace(answer, base=batch.base) if isinstance(answer, Saved) else answer


class TrustsTheBase(MemorySaver):
    """Takes the thread's row from the caller without comparing it with the stored row."""

    async def commit(self, unit: CommitUnit) -> CommitResult:
        if unit.base is not None and key_of(unit.thread) in self._threads:
            self._threads[key_of(unit.thread)].row = unit.base.row
        return await super().commit(unit)

    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        if batch.base is not None and key_of(batch.thread) in self._threads:
            self._threads[key_of(batch.thread)].row = batch.base.row
        return await super().save_writes(batch)


class FailsNeighbours(MemorySaver):
    conflict: Conflict | None = None

    async def commit(self, unit: CommitUnit) -> CommitResult:
        answer = self.conflict or await super().commit(unit)
        if isinstance(answer, Conflict):
            self.conflict = answer
        return answer


class RefusesGaps(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        if unit.checkpoints[0].row.no != unit.expected + 1:
            return Conflict(unit.expected)
        return await super().commit(unit)


class StoresTheFirstCheckpointOnly(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        return await super().commit(replace(unit, checkpoints=unit.checkpoints[:1]))


class ForkOverwrites(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        answer = await super().commit(unit)
        if unit.fork_of is not None and answer == Committed(unit.version):
            for rows in self._threads[key_of(unit.thread)].checkpoints.values():
                for no in [no for no in rows.order if unit.fork_of < no < unit.version]:
                    rows.remove_all([no])
        return answer


class DropsTheRecordsOfCommits(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        return await super().commit(replace(unit, records=()))


class ForgetsOlderRecords(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        if key_of(unit.thread) in self._threads:
            self._threads[key_of(unit.thread)].records.clear()
        return await super().commit(unit)


class IgnoresAbsence(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        checkpoints = tuple(
            replace(new, values=tuple(value for value in new.values if value.kind != ValueKind.ABSENT))
            for new in unit.checkpoints
        )
        return await super().commit(replace(unit, checkpoints=checkpoints))


class ReadsEverything(MemorySaver):
    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        found = await super().load(thread, ns, no)
        if found is None:
            return None
        stored = self._threads[key_of(thread)]
        values = (row for rows in stored.values.get(ns, {}).values() for row in rows.by_key.values())
        records = (record for rows in stored.records.values() for record in rows.by_key.values())
        return replace(found, values=tuple(values), records=tuple(records))


class InventsThreads(MemorySaver):
    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        found = await super().load(thread, ns, no)
        empty = ThreadRow(thread, 0, origin_of(thread, 0), 0, 0, 0, 0, 0, 0, "done", 0, b"")
        return found or StoredCheckpoint(empty, None)


class FallsBack(MemorySaver):
    """Loads the checkpoint before the newest one if the newest one is missing."""

    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        rows = self._threads[key_of(thread)].checkpoints.get(ns)
        numbers = rows.order if rows else []
        return await super().load(thread, ns, no or max(numbers, default=None))


class SignsWhatItReads(MemorySaver):
    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        found = await super().load(thread, ns, no)
        if found is None or found.checkpoint is None:
            return found
        origin = found.thread.origin
        values = tuple(replace(row, digest=value_digest(origin, ns, row)) for row in found.values)
        newest: dict[str, ValueRow] = {}
        for row in sorted(values, key=lambda row: row.no):
            newest[row.channel] = row
        checkpoint = replace(found.checkpoint, state_digest=state_digest(newest.values()))
        checkpoint = replace(checkpoint, digest=checkpoint_digest(origin, checkpoint))
        records = tuple(replace(record, digest=record_digest(origin, record)) for record in found.records)
        return StoredCheckpoint(found.thread, checkpoint, values, records)

    async def load_records(self, thread: str, ns: str) -> StoredRecords | None:
        found = await super().load_records(thread, ns)
        if found is None:
            return None
        origin = found.thread.origin
        records = tuple(replace(record, digest=record_digest(origin, record)) for record in found.records)
        return StoredRecords(found.thread, records)


class HidesDamage(MemorySaver):
    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        page = await super().history(thread, ns, before=before, limit=limit)
        assert page is not None
        try:
            verify_page(page)
        except CorruptCheckpointError:
            return HistoryPage(page.thread, (), (), {}, (), 0)
        return page


class HasOnePage(MemorySaver):
    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        page = await super().history(thread, ns, before=before, limit=limit)
        return replace(page, older=0) if page else None


class DropsTheBoundOfThePage(MemorySaver):
    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        page = await super().history(thread, ns, before=before, limit=limit)
        return replace(page, before=0, writes_digest=None) if page else None


class HidesMissingCheckpoints(MemorySaver):
    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        try:
            return await super().load(thread, ns, no)
        except CorruptCheckpointError:
            return StoredCheckpoint(self._threads[key_of(thread)].row, None)


class PagesByCounting(MemorySaver):
    count = 0

    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        checkpoints = self._threads[key_of(thread)].checkpoints.values()
        numbers = sorted((no for rows in checkpoints for no in rows.order), reverse=True)[self.count :]
        self.count += limit
        return await super().history(thread, ns, before=numbers[0] + 1, limit=limit)


class CountsTheBound(MemorySaver):
    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        return await super().history(thread, ns, before=before + 1 if before else None, limit=limit)


class ListsAsCreated(MemorySaver):
    async def list_threads(
        self,
        *,
        status: ListedStatus | None = None,
        limit: int = 100,
        after: ThreadInfo | str | None = None,
        before: int | None = None,
    ) -> list[ThreadInfo]:
        return [rules.thread_info(found.row) for found in self._threads.values()][:limit]


class IgnoresTheTimeWhenListing(MemorySaver):
    async def list_threads(
        self,
        *,
        status: ListedStatus | None = None,
        limit: int = 100,
        after: ThreadInfo | str | None = None,
        before: int | None = None,
    ) -> list[ThreadInfo]:
        return await super().list_threads(status=status, limit=limit, after=after)


class DeletesChangedThreads(MemorySaver):
    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        return await super().delete_thread(thread)


class IgnoresTheTimeWhenPruning(MemorySaver):
    async def prune(self, thread: str, *, keep_last: int = 1, before: int | None = None) -> int:
        return await super().prune(thread, keep_last=keep_last)


class AlwaysBumps(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        answer = await super().save_writes(batch)
        stored = self._threads[key_of(batch.thread)]
        stored.row = replace(stored.row, wseq=stored.row.wseq + 1)
        return answer


class ForgetsTheStatus(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        return await super().save_writes(replace(batch, status=None))


class AppliesRefusedBatches(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        answer = await super().save_writes(batch)
        if isinstance(answer, WritesMoved):
            await super().save_writes(replace(batch, wseq=None))
        return answer


class ReadsNamesLoosely(MemorySaver):
    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        return await super().load(thread, ns.rstrip("|"), no)


class KeepsTheRootsRecordsOnly(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        records = tuple(record for record in unit.records if record.ns == "")
        return await super().commit(replace(unit, records=records))


class NeedsACheckpoint(MemorySaver):
    async def load_records(self, thread: str, ns: str) -> StoredRecords | None:
        found = await super().load_records(thread, ns)
        if found is None or ns in self._threads[key_of(thread)].checkpoints:
            return found
        return replace(found, records=())


class ReversesRecords(MemorySaver):
    async def load_records(self, thread: str, ns: str) -> StoredRecords | None:
        found = await super().load_records(thread, ns)
        return replace(found, records=found.records[::-1]) if found else None


class MixesHistories(MemorySaver):
    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        return await super().history(thread, "", before=before, limit=limit)


class DeletesTheRootOnly(MemorySaver):
    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        stored = self._threads.get(key_of(thread))
        is_gone = await super().delete_thread(thread, seen=seen)
        if stored is not None:
            self._threads[key_of(thread)].records = {ns: rows for ns, rows in stored.records.items() if ns}
        return is_gone


class DeletesTheTombstone(MemorySaver):
    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        if key_of(thread) not in self._threads:
            raise UnknownThreadError(thread)
        del self._threads[key_of(thread)]
        return True


class ForgetsRequests(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        return await super().commit(replace(unit, request=None))


class StoresRequestsOfConflicts(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        answer = await super().commit(unit)
        if unit.request is not None:
            self._threads[key_of(unit.thread)].requests[unit.request.key] = unit.request
        return answer


class CopiesRequests(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        await super().copy_thread(source, target)
        self._threads[key_of(target)].requests = self._threads[key_of(source)].requests


class StaysCancelled(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        return await super().save_writes(replace(batch, status=None if batch.status == "running" else batch.status))


class PurgesNothing(MemorySaver):
    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        return await super().delete_thread(thread, seen=seen)


class ForgetsAtOnce(MemorySaver):
    async def forget_deleted(self, *, before: int, limit: int = 500) -> int:
        return await super().forget_deleted(before=1 << 62, limit=limit)


class ForgetsNothing(MemorySaver):
    async def forget_deleted(self, *, before: int, limit: int = 500) -> int:
        return 0


class CopyShares(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        await super().copy_thread(source, target)
        stored, copy = self._threads[key_of(source)], self._threads[key_of(target)]
        copy.values, copy.checkpoints = stored.values, stored.checkpoints


class CopyDropsRecords(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        await super().copy_thread(source, target)
        self._threads[key_of(target)].records.clear()


class CopyDropsNamespaces(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        await super().copy_thread(source, target)
        copy = self._threads[key_of(target)]
        copy.checkpoints = {ns: rows for ns, rows in copy.checkpoints.items() if ns == ""}


class CopyOverwrites(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        self._threads.pop(key_of(target), None)
        await super().copy_thread(source, target)


class NeverCloses(MemorySaver):
    async def aclose(self) -> None:
        """Do nothing."""


class StaysClosed(MemorySaver):
    async def __aenter__(self) -> Self:
        self._binding.check()
        return self


class BelongsToItsFirstLoop(MemorySaver):
    loop: asyncio.AbstractEventLoop | None = None

    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        self.loop = self.loop or asyncio.get_running_loop()
        if self.loop is not asyncio.get_running_loop():
            raise CheckpointerMisuseError("a saver", kind="loop")
        return await super().load(thread, ns, no)

    async def commit(self, unit: CommitUnit) -> CommitResult:
        self.loop = self.loop or asyncio.get_running_loop()
        return await super().commit(unit)


class IsHarmedByAnotherLoop(BelongsToItsFirstLoop):
    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        try:
            return await super().load(thread, ns, no)
        except CheckpointerMisuseError:
            self._threads.clear()
            raise


class TearsCommits(MemorySaver):
    """Writes the values a moment after the checkpoint, like a driver that is used without a transaction."""

    async def commit(self, unit: CommitUnit) -> CommitResult:
        before = self._threads.get(key_of(unit.thread))
        if before is not None and before.row.version >= unit.version:
            return await super().commit(unit)
        bare = tuple(replace(new, values=()) for new in unit.checkpoints)
        answer = await super().commit(replace(unit, checkpoints=bare))
        await asyncio.sleep(0)
        channels = self._threads[key_of(unit.thread)].values
        for new in unit.checkpoints:
            for row in new.values:
                channels[new.row.ns].setdefault(row.channel, Rows()).put(row.no, row)
        return answer


class TearsSaves(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        standing: tuple[TaskRecord, ...] = ()
        for record in batch.records:
            saved = await super().save_writes(replace(batch, records=(record,)))
            assert isinstance(saved, Saved)
            standing += saved.standing
            await asyncio.sleep(0)
        return Saved(1, bumped=True, standing=standing)


class TearsCopies(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        self._threads[key_of(target)] = ThreadRows(replace(self._threads[key_of(source)].row, thread=target))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del self._threads[key_of(target)]
        await super().copy_thread(source, target)


class StaysInsideTransactions(MemorySaver):
    """Leaves the connection inside a transaction after a cancelled read."""

    inside = False

    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        self.inside = True
        await asyncio.sleep(0)
        self.inside = False
        return await super().load(thread, ns, no)

    async def commit(self, unit: CommitUnit) -> CommitResult:
        if self.inside:
            raise StoreUnavailableError("the store", "cannot start a transaction within a transaction")
        return await super().commit(unit)


class ForgetsTheShield(MemorySaver):
    """Commits wait for one shared task, and a cancelled commit cancels it."""

    serving: asyncio.Task[None] | None = None

    async def commit(self, unit: CommitUnit) -> CommitResult:
        if self.serving is None or self.serving.done():
            self.serving = asyncio.create_task(self._serve())
        await self.serving
        return await super().commit(unit)

    async def _serve(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)


class DropsOnClose(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        for _ in range(3):
            await asyncio.sleep(0)
        return await super().commit(unit)
