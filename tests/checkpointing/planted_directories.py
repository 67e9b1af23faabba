"""Directories with one bug each."""

import asyncio
from typing import Any

import msgspec

from durable_graph import MemorySaver
from durable_graph.checkpointing import directory_rules, rules
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.directory import (
    CreatedThread,
    DeletedThread,
    NewThread,
    SortKey,
    ThreadEntry,
    ThreadQuery,
)
from durable_graph.checkpointing.directory_rules import NO_METADATA, stored_metadata
from durable_graph.checkpointing.memory_directory import MemoryDirectory
from durable_graph.checkpointing.memory_rows import ThreadRows
from durable_graph.checkpointing.transfer import ExportedThread
from durable_graph.records import CommitResult, CommitUnit, ThreadInfo

replace = msgspec.structs.replace


class PlantedDirectory(MemoryDirectory):
    """What bugs need."""

    def rows(self, thread: str) -> ThreadRows | None:
        return self._threads.get(key_of(thread))


# Creating


class CreatesWithoutMetadata(PlantedDirectory):
    async def create(self, new: NewThread) -> CreatedThread:
        return await super().create(replace(new, metadata="{}"))


class CreatesNoRow(PlantedDirectory):
    async def create(self, new: NewThread) -> CreatedThread:
        created = await super().create(new)
        rows = self.rows(new.thread)
        if rows is not None and created.is_new:
            rows.row = replace(rows.row, status="running")
        return created


class CreatesAgain(PlantedDirectory):
    async def create(self, new: NewThread) -> CreatedThread:
        if self.rows(new.thread) is not None:
            await super().update(new.thread, new.metadata)
        return await super().create(new)


class CountsRepeatedCreationsAsOld(PlantedDirectory):
    async def create(self, new: NewThread) -> CreatedThread:
        is_there = await super().find(new.thread) is not None
        return replace(await super().create(new), is_new=not is_there)


class CreatesAgainAtOnce(PlantedDirectory):
    async def create(self, new: NewThread) -> CreatedThread:
        known = await super().find(new.thread)
        await asyncio.sleep(0)
        if known is None:
            self._threads.pop(key_of(new.thread), None)
        return await super().create(new)


class FindsCheckpointsOnly(PlantedDirectory):
    async def find(self, thread: str) -> ThreadEntry | None:
        rows = self.rows(thread)
        return await super().find(thread) if rows is not None and rows.metadata.updated_at else None


class FindsTombstones(PlantedDirectory):
    async def find(self, thread: str) -> ThreadEntry | None:
        rows = self.rows(thread)
        if rows is None or rows.row.status != "deleted":
            return await super().find(thread)
        info = ThreadInfo(thread, "done")
        return directory_rules.entry_of(info, NO_METADATA, None, None)


class KeepsTheIncarnation(PlantedDirectory):
    async def create(self, new: NewThread) -> CreatedThread:
        grave = self.rows(new.thread)
        if grave is not None and grave.row.status == "deleted":
            before = grave.row
            new = replace(new, incarnation=before.incarnation, origin=before.origin, epoch=before.epoch - 1)
            grave.row = replace(before, version=before.version - 1)
        return await super().create(new)


class KeepsTheGraph(PlantedDirectory):
    async def create(self, new: NewThread) -> CreatedThread:
        created = await super().create(new)
        rows = self.rows(new.thread)
        if rows is not None and created.is_new:
            rows.row = replace(rows.row, graph="")
        return created


class CommitsForgetMetadata(MemorySaver):
    def commit(self, unit: CommitUnit) -> Any:
        result: Any = super().commit(unit)
        self._threads[key_of(unit.thread)].metadata = NO_METADATA
        return result


class CommitsMakeNewThreads(MemorySaver):
    def _commit(self, unit: CommitUnit) -> CommitResult:
        found = self._threads.get(key_of(unit.thread))
        if found is not None and not found.row.commit_id:
            return super()._commit(replace(unit, expected=1))
        return super()._commit(unit)


class AcceptancesForgetMetadata(MemorySaver):
    def __init__(self) -> None:
        super().__init__()
        accepts = self.runs.accept

        async def accept(run: Any) -> Any:
            accepted = await accepts(run)
            self._threads[key_of(run.thread)].metadata = NO_METADATA
            return accepted

        self.runs.accept = accept  # type: ignore[method-assign]  # the bug


class DeletionsKeepMetadata(MemorySaver):
    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[int, Any] = {}
        creates = self.directory.create

        async def create(new: NewThread) -> CreatedThread:
            created = await creates(new)
            rows = self._threads[key_of(new.thread)]
            if key_of(new.thread) in self.kept:
                rows.metadata = self.kept[key_of(new.thread)]
            return created

        self.directory.create = create  # type: ignore[method-assign]  # the bug

    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        found = self._threads.get(key_of(thread))
        if found is not None:
            self.kept[key_of(thread)] = found.metadata
        return await super().delete_thread(thread, seen=seen, purge=purge)


# Updating


class ReplacesAll(PlantedDirectory):
    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        rows = self.rows(thread)
        if rows is not None:
            rows.metadata = NO_METADATA
        return await super().update(thread, metadata)


class MergesDeeply(PlantedDirectory):
    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        rows = self.rows(thread)
        before = {} if rows is None else msgspec.json.decode(rows.metadata.text)
        changes = msgspec.json.decode(metadata)
        for key, value in changes.items():
            if isinstance(value, dict) and isinstance(before.get(key), dict):
                changes[key] = {**before[key], **value}
        return await super().update(thread, msgspec.json.encode(changes).decode())


class KeepsOldEntries(PlantedDirectory):
    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        rows = self.rows(thread)
        before = NO_METADATA if rows is None else rows.metadata
        entry = await super().update(thread, metadata)
        if rows is not None:
            rows.metadata = replace(rows.metadata, entries=rows.metadata.entries | before.entries)
        return entry


class KeepsTheTime(PlantedDirectory):
    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        rows = self.rows(thread)
        before = NO_METADATA if rows is None else rows.metadata
        await super().update(thread, metadata)
        if rows is not None:
            rows.metadata = replace(rows.metadata, updated_at=before.updated_at)
        return await super().find(thread)


class UpdatesCreatedThreadsOnly(PlantedDirectory):
    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        rows = self.rows(thread)
        if rows is not None and not rows.metadata.updated_at:
            return await super().find(thread)
        return await super().update(thread, metadata)


class UpdatesCreateThreads(PlantedDirectory):
    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        if await super().find(thread) is None:
            incarnation = rules.drawn_incarnation()
            await super().create(NewThread(thread, metadata, incarnation, b"", incarnation))
            return None
        return await super().update(thread, metadata)


class UpdatesFence(PlantedDirectory):
    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        rows = self.rows(thread)
        if rows is not None:
            rows.row = replace(rows.row, epoch=rows.row.epoch + 1)
        return await super().update(thread, metadata)


class UpdatesMoveWrites(PlantedDirectory):
    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        rows = self.rows(thread)
        if rows is not None:
            rows.row = replace(rows.row, wseq=rows.row.wseq + 1)
        return await super().update(thread, metadata)


class LosesUpdates(PlantedDirectory):
    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        rows = self.rows(thread)
        if rows is None:
            return None
        merged = directory_rules.merged_metadata(thread, rows.metadata.text, metadata)
        await asyncio.sleep(0)
        rows.metadata = stored_metadata(merged, rows.metadata.updated_at + 1)
        return await super().find(thread)


class StoresWhatItRefuses(PlantedDirectory):
    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        rows = self.rows(thread)
        try:
            return await super().update(thread, metadata)
        except Exception:
            if rows is not None:
                rows.metadata = stored_metadata(metadata, rows.metadata.updated_at)
            raise


# Deleting, copying, moving


class DeletesNothing(PlantedDirectory):
    async def delete(self, thread: str) -> DeletedThread:
        return DeletedThread(is_deleted=await super().find(thread) is not None)


class LeavesNoTombstones(PlantedDirectory):
    async def delete(self, thread: str) -> DeletedThread:
        deleted = await super().delete(thread)
        if deleted.is_deleted:
            del self._threads[key_of(thread)]
        return deleted


class DeletesBusyThreads(PlantedDirectory):
    async def delete(self, thread: str) -> DeletedThread:
        rows = self.rows(thread)
        if rows is not None:
            rows.runs.unfinished.clear()
        return await super().delete(thread)


class DeletesUnknownThreads(PlantedDirectory):
    async def delete(self, thread: str) -> DeletedThread:
        deleted = await super().delete(thread)
        return deleted if deleted.busy_seq else DeletedThread(is_deleted=True)


class CopiesWithoutMetadata(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        await super().copy_thread(source, target)
        self._threads[key_of(target)].metadata = NO_METADATA


class CopiesWithoutEntries(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        await super().copy_thread(source, target)
        rows = self._threads[key_of(target)]
        rows.metadata = replace(rows.metadata, entries=frozenset())


class ExportsWithoutMetadata(MemorySaver):
    async def export_thread(self, thread: str) -> ExportedThread | None:
        exported = await super().export_thread(thread)
        return exported and replace(exported, tables={**exported.tables, "thread_metadata": []})


class ImportsWithoutEntries(MemorySaver):
    async def import_thread(self, exported: ExportedThread) -> None:
        await super().import_thread(exported)
        rows = self._threads[key_of(exported.thread)]
        rows.metadata = replace(rows.metadata, entries=frozenset())


class ExpiresThreadsWithRuns(MemorySaver):
    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        return await super().delete_thread(thread, purge=purge)

    def __init__(self) -> None:
        super().__init__()

        async def none_unfinished(thread: str) -> None:
            return None

        self.runs.find_unfinished = none_unfinished  # type: ignore[method-assign]  # the bug


# Searching


class PlantedSearch(PlantedDirectory):
    """A directory that searches and counts with another query."""

    def changed(self, query: ThreadQuery) -> ThreadQuery:
        """The other query. A plant that keeps this one has no bug, so its clause does not fail."""
        return query

    async def search(
        self, query: ThreadQuery, *, sort_by: SortKey, descending: bool, limit: int, offset: int
    ) -> list[ThreadEntry]:
        query = self.changed(query)
        return await super().search(query, sort_by=sort_by, descending=descending, limit=limit, offset=offset)

    async def count(self, query: ThreadQuery) -> int:
        return await super().count(self.changed(query))


class SearchesByOneEntry(PlantedSearch):
    def changed(self, query: ThreadQuery) -> ThreadQuery:
        return replace(query, entries=query.entries[:1])


class SearchesBelowThePrefix(PlantedSearch):
    def changed(self, query: ThreadQuery) -> ThreadQuery:
        return replace(query, prefix=f"{query.prefix}/" if query.prefix else "")


class IgnoresPrefixesOfIds(PlantedSearch):
    def changed(self, query: ThreadQuery) -> ThreadQuery:
        return query if query.ids is None else replace(query, prefix="")


class FindsAllForNoIds(PlantedSearch):
    def changed(self, query: ThreadQuery) -> ThreadQuery:
        return replace(query, ids=query.ids or None)


class IgnoresTheGraph(PlantedSearch):
    def changed(self, query: ThreadQuery) -> ThreadQuery:
        return replace(query, graph=None)


class IgnoresTheStatusOfIds(PlantedSearch):
    def changed(self, query: ThreadQuery) -> ThreadQuery:
        return query if query.ids is None else replace(query, status=None)


class IgnoresIds(PlantedSearch):
    def changed(self, query: ThreadQuery) -> ThreadQuery:
        return replace(query, ids=None)


class IgnoresTheStatus(PlantedSearch):
    def changed(self, query: ThreadQuery) -> ThreadQuery:
        return replace(query, status=None)


class SearchesTombstones(PlantedDirectory):
    async def search(
        self, query: ThreadQuery, *, sort_by: SortKey, descending: bool, limit: int, offset: int
    ) -> list[ThreadEntry]:
        found = await super().search(query, sort_by=sort_by, descending=descending, limit=limit, offset=offset)
        deleted = [rows for rows in self._threads.values() if rows.row.status == "deleted"]
        entry = directory_rules.entry_of(ThreadInfo("thread", "done"), NO_METADATA, None, None)
        return found + [entry] * len(deleted)


class SortsByIdOnly(PlantedDirectory):
    async def search(
        self, query: ThreadQuery, *, sort_by: SortKey, descending: bool, limit: int, offset: int
    ) -> list[ThreadEntry]:
        return await super().search(query, sort_by="thread_id", descending=descending, limit=limit, offset=offset)


class SortsAscending(PlantedDirectory):
    async def search(
        self, query: ThreadQuery, *, sort_by: SortKey, descending: bool, limit: int, offset: int
    ) -> list[ThreadEntry]:
        return await super().search(query, sort_by=sort_by, descending=False, limit=limit, offset=offset)


class SortsIdsAscendingOnly(PlantedDirectory):
    async def search(
        self, query: ThreadQuery, *, sort_by: SortKey, descending: bool, limit: int, offset: int
    ) -> list[ThreadEntry]:
        found = await super().search(query, sort_by=sort_by, descending=descending, limit=1000, offset=0)
        if descending and sort_by == "status":
            found = sorted(sorted(found, key=lambda each: each.thread), key=lambda each: each.status, reverse=True)
        return found[offset : offset + limit]


class IgnoresTheOffset(PlantedDirectory):
    async def search(
        self, query: ThreadQuery, *, sort_by: SortKey, descending: bool, limit: int, offset: int
    ) -> list[ThreadEntry]:
        return await super().search(query, sort_by=sort_by, descending=descending, limit=limit, offset=0)


class IgnoresTheLimit(PlantedDirectory):
    async def search(
        self, query: ThreadQuery, *, sort_by: SortKey, descending: bool, limit: int, offset: int
    ) -> list[ThreadEntry]:
        rules.check_limit(limit)
        return await super().search(query, sort_by=sort_by, descending=descending, limit=1000, offset=offset)


class CountsAll(PlantedDirectory):
    async def count(self, query: ThreadQuery) -> int:
        return await super().count(ThreadQuery())


class ReadsInTwoSteps(PlantedDirectory):
    async def search(
        self, query: ThreadQuery, *, sort_by: SortKey, descending: bool, limit: int, offset: int
    ) -> list[ThreadEntry]:
        found = await super().search(query, sort_by=sort_by, descending=descending, limit=limit, offset=offset)
        await asyncio.sleep(0)
        again = [await super(ReadsInTwoSteps, self).find(each.thread) for each in found]
        return [each for each in again if each is not None]
