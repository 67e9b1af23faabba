"""Event logs with one bug each."""

from collections.abc import Sequence

import msgspec

from durable_graph import MemorySaver
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.event_log import FIRST_ROW, EventPage, Follow, Followed, OpenEvents
from durable_graph.checkpointing.memory_events import MemoryEvents
from durable_graph.checkpointing.memory_rows import RunRows, ThreadRows
from durable_graph.checkpointing.memory_runs import MemoryRuns
from durable_graph.records import CommitResult, CommitUnit, SaveResult, ThreadInfo, WritesBatch
from durable_graph.run_records import EventKind, EventRow, RunState

replace = msgspec.structs.replace


class PlantedEvents(MemoryEvents):
    """What bugs need."""

    def runs(self, thread: str) -> RunRows:
        return self._threads[key_of(thread)].runs


# Appending


class ReadsInTheOrderOfArrival(PlantedEvents):
    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        page = await super().tail(thread, seq, after, limit)
        if page is None:
            return None
        arrived = list(self.runs(thread).events.by_key)
        rows = sorted(page.rows, key=lambda each: arrived.index((each.row.version, each.row.position)))
        return replace(page, rows=tuple(rows))


class AppendsAgain(PlantedEvents):
    async def append(self, thread: str, epoch: int, rows: Sequence[EventRow]) -> bool:
        known = len(self.runs(thread).events.by_key)
        return await super().append(thread, epoch, [replace(row, position=row.position + known) for row in rows])


class AppendsForAnybody(PlantedEvents):
    async def append(self, thread: str, epoch: int, rows: Sequence[EventRow]) -> bool:
        return await super().append(thread, self._threads[key_of(thread)].row.epoch, rows)


class AppendsOnlyToRunningRuns(PlantedEvents):
    async def append(self, thread: str, epoch: int, rows: Sequence[EventRow]) -> bool:
        run = self._threads[key_of(thread)].runs.by_seq[rows[0].seq].row
        return run.state == RunState.RUNNING and await super().append(thread, epoch, rows)


class AppendsToRunsThatDoNotRun(PlantedEvents):
    async def append(self, thread: str, epoch: int, rows: Sequence[EventRow]) -> bool:
        if key_of(thread) in self._threads and self._threads[key_of(thread)].row.epoch == epoch:
            self.runs(thread).log(rows)
            return True
        return await super().append(thread, epoch, rows)


class ReadsNoRecords(PlantedEvents):
    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        page = await super().tail(thread, seq, after, limit)
        return page and replace(page, rows=tuple(replace(each, record=None) for each in page.rows))


# Reading


class ReadsOfTheOutermostGraphOnly(PlantedEvents):
    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        page = await super().tail(thread, seq, after, limit)
        return page and replace(page, checkpoints=tuple(made for made in page.checkpoints if not made.ns))


class ReadsWithoutALimit(PlantedEvents):
    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        return await super().tail(thread, seq, after, 1000)


class ReadsCheckpointsAgain(PlantedEvents):
    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        page, again = await super().tail(thread, seq, after, limit), await super().tail(thread, seq, 0, limit)
        return page and again and replace(page, checkpoints=again.checkpoints)


class ReadsTheLastRowAgain(PlantedEvents):
    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        return await super().tail(thread, seq, max(after - 1, 0), limit)


class ReadsAnyRun(PlantedEvents):
    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        known = self._threads.get(key_of(thread))
        return await super().tail(thread, min(known.runs.by_seq) if known and known.runs.by_seq else seq, after, limit)


class ReadsCheckpointsOfEarlierRuns(PlantedEvents):
    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        page = await super().tail(thread, seq, after, limit)
        earlier = await super().tail(thread, min(self.runs(thread).by_seq), 0, limit) if page else None
        return page and earlier and replace(page, checkpoints=earlier.checkpoints)


class KnowsNoLaterRun(PlantedEvents):
    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        page = await super().tail(thread, seq, after, limit)
        return page and replace(page, until=0)


class KnowsAllResults(PlantedEvents):
    async def results(self, thread: str, seq: int, until: int) -> list[tuple[str, int, int]]:
        return await super().results(thread, seq, 1 << 62)


class KnowsResultsOfAllRuns(PlantedEvents):
    async def results(self, thread: str, seq: int, until: int) -> list[tuple[str, int, int]]:
        known = self._threads.get(key_of(thread))
        return await super().results(thread, min(known.runs.by_seq) if known and known.runs.by_seq else seq, until)


class KnowsVoidEvents(PlantedEvents):
    async def open_events(self, thread: str, seq: int) -> OpenEvents | None:
        found = await super().open_events(thread, seq)
        rows = self.runs(thread).events.by_key.values() if found else ()
        return found and replace(found, tasks=frozenset(row.task for row in rows if row.version == found.version))


class KnowsEventsOfCommittedTasks(PlantedEvents):
    async def open_events(self, thread: str, seq: int) -> OpenEvents | None:
        found = await super().open_events(thread, seq)
        rows = self.runs(thread).events.by_key.values() if found else ()
        void = {row.task for row in rows if row.kind is EventKind.RETRACTED and row.task != "c"}
        return found and replace(found, tasks=frozenset(row.task for row in rows) - void)


class ContinuesAtTheFirstPlace(PlantedEvents):
    async def open_events(self, thread: str, seq: int) -> OpenEvents | None:
        found = await super().open_events(thread, seq)
        return found and replace(found, position=FIRST_ROW - 1)


# Following


class TellsNoWorker(PlantedEvents):
    async def follow(self, follow: Follow) -> Followed:
        found = await super().follow(follow)
        if found is Followed.HELD:
            self.runs(follow.thread).followed.clear()
        return found


class TellsWorkersOnce(PlantedEvents):
    async def append(self, thread: str, epoch: int, rows: Sequence[EventRow]) -> bool:
        before = dict(self.runs(thread).followed)
        appended = await super().append(thread, epoch, rows)
        self.runs(thread).followed = before
        return appended


class DropsWhatIsRecorded(PlantedEvents):
    async def follow(self, follow: Follow) -> Followed:
        return await super().follow(replace(follow, rows=()))


class FollowsAnew(PlantedEvents):
    async def follow(self, follow: Follow) -> Followed:
        if key_of(follow.thread) in self._threads:
            self.runs(follow.thread).followed.clear()
        return await super().follow(follow)


def _as_it_is(found: ThreadRows, follow: Follow, field: str) -> Follow:
    return replace(follow, **{field: getattr(found.row, field)})


def ignoring(field: str) -> type[MemoryEvents]:
    """A log that does not compare a field of the thread that the follower saw."""

    class Ignoring(PlantedEvents):
        async def follow(self, follow: Follow) -> Followed:
            found = self._threads.get(key_of(follow.thread))
            return await super().follow(follow if found is None else _as_it_is(found, follow, field))

    return Ignoring


class FollowsAnything(PlantedEvents):
    async def follow(self, follow: Follow) -> Followed:
        found = await super().follow(follow)
        return Followed.KNOWN if found is Followed.NO_RUN else found


class RemovesTheEventsOfAllRuns(PlantedEvents):
    async def remove_events(self, thread: str, seq: int) -> int:
        if key_of(thread) not in self._threads:
            return 0
        removed = len(self.runs(thread).events.by_key)
        self.runs(thread).events.remove_all(list(self.runs(thread).events.by_key))
        return removed


class RemovesNothing(PlantedEvents):
    async def remove_events(self, thread: str, seq: int) -> int:
        found = self._threads.get(key_of(thread))
        return 0 if found is None else sum(row.seq == seq for row in found.runs.events.by_key.values())


# Savers


class DropsEventsOfSaves(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        return await super().save_writes(replace(batch, events=()))


class DropsEventsOfCommits(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        return await super().commit(replace(unit, events=()))


class StoresEventsOfRefusedSaves(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        self._threads[key_of(batch.thread)].runs.log(batch.events)
        return await super().save_writes(batch)


class StoresEventsOfRefusedCommits(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        if key_of(unit.thread) in self._threads:
            self._threads[key_of(unit.thread)].runs.log(unit.events)
        return await super().commit(unit)


class NotesNoEventsOfSaves(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        saved = await super().save_writes(batch)
        self._threads[key_of(batch.thread)].runs.followed.clear()
        return saved


class NotesNoEventsOfCommits(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        committed = await super().commit(unit)
        self._threads[key_of(unit.thread)].runs.followed.clear()
        return committed


class KeepsEventsOfDeletedThreads(MemorySaver):
    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        before = self._threads.get(key_of(thread))
        is_gone = await super().delete_thread(thread, seen=seen)
        if before is not None:
            self._threads[key_of(thread)].runs.events = before.runs.events
        return is_gone


class CopiesEvents(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        await super().copy_thread(source, target)
        events = self._threads[key_of(source)].runs.events
        self._threads[key_of(target)].runs.events = events
        # As if the copied run had the same number.
        self._threads[key_of(target)].runs.last = min(self._threads[key_of(source)].runs.by_seq) - 1


class _KeepingRuns(MemoryRuns):
    async def delete_ended(self, *, keep: int, limit: int = 50) -> int:
        before = {key: stored.runs.events.copy() for key, stored in self._threads.items()}
        forgotten = await super().delete_ended(keep=keep, limit=limit)
        for key, events in before.items():
            self._threads[key].runs.events = events
        return forgotten


class _ForgettingRuns(MemoryRuns):
    async def delete_ended(self, *, keep: int, limit: int = 50) -> int:
        for stored in self._threads.values():
            stored.runs.events.remove_all(list(stored.runs.events.by_key))
        return await super().delete_ended(keep=keep, limit=limit)


class KeepsEventsOfForgottenRuns(MemorySaver):
    def __init__(self) -> None:
        super().__init__()
        self.runs = _KeepingRuns(self._threads, self._lock, self._binding)


class ForgetsTheEventsOfAllRuns(MemorySaver):
    def __init__(self) -> None:
        super().__init__()
        self.runs = _ForgettingRuns(self._threads, self._lock, self._binding)
