"""Stores of schedules with one bug each."""

import asyncio
from collections.abc import Sequence

import msgspec

from durable_graph.checkpointing.memory_schedules import MemorySchedules
from durable_graph.checkpointing.schedule_store import (
    NEVER,
    Cause,
    DueSchedules,
    Fate,
    Fired,
    Firing,
    FoundSchedule,
    SchedulePage,
    ScheduleRow,
)

replace = msgspec.structs.replace


class LosesColumns(MemorySchedules):
    async def create(self, row: ScheduleRow) -> ScheduleRow:
        await super().create(replace(row, metadata="{}"))
        return row


class FindsNoIds(MemorySchedules):
    async def find(self, schedule: str | int) -> FoundSchedule:
        found = await super().find(schedule)
        return found if isinstance(schedule, str) else replace(found, row=None)


class HasAClockOfItsOwn(MemorySchedules):
    async def find(self, schedule: str | int) -> FoundSchedule:
        return replace(await super().find(schedule), now=7)


class ReplacesByCreating(MemorySchedules):
    async def create(self, row: ScheduleRow) -> ScheduleRow:
        found = (await self.find(row.name)).row
        if found is not None:
            del self._rows[found.id]
        return await super().create(row)


class CreatesAtOnce(MemorySchedules):
    async def create(self, row: ScheduleRow) -> ScheduleRow:
        found = (await self.find(row.name)).row
        await asyncio.sleep(0)
        if found is None:
            self._rows[row.id] = found = row
        return found


class ListsByAge(MemorySchedules):
    async def list_schedules(self, *, limit: int = 100, after: str = "") -> SchedulePage:
        page = await super().list_schedules(limit=1000, after=after)
        return SchedulePage([row for row in self._rows.values() if row in page.rows][:limit], page.now)


class ListsThePageBeforeAgain(MemorySchedules):
    async def list_schedules(self, *, limit: int = 100, after: str = "") -> SchedulePage:
        return await super().list_schedules(limit=limit)


class ReplacesAnyRevision(MemorySchedules):
    async def replace(self, row: ScheduleRow) -> bool:
        self._rows[row.id] = row
        return True


class RefusesRepetitions(MemorySchedules):
    async def replace(self, row: ScheduleRow) -> bool:
        return self._rows.get(row.id) != row and await super().replace(row)


class DeletesTwice(MemorySchedules):
    async def delete(self, id_: int) -> bool:
        await super().delete(id_)
        return True


class KeepsDeletedNames(MemorySchedules):
    async def delete(self, id_: int) -> bool:
        found = self._rows.get(id_)
        if found is None or found.due == NEVER:
            return False
        self._rows[id_] = replace(found, due=NEVER)
        return True


class FindsAllGraphs(MemorySchedules):
    async def due(self, graphs: Sequence[str], *, limit: int) -> DueSchedules:
        return await super().due([row.graph for row in self._rows.values()], limit=limit)


class FindsInAnyOrder(MemorySchedules):
    async def due(self, graphs: Sequence[str], *, limit: int) -> DueSchedules:
        found = await super().due(graphs, limit=1000)
        return replace(found, rows=found.rows[::-1][:limit])


class WaitsForAnySchedule(MemorySchedules):
    async def due(self, graphs: Sequence[str], *, limit: int) -> DueSchedules:
        found = await super().due(graphs, limit=limit)
        return replace(found, wait=0 if found.wait is None and not found.rows else found.wait)


class WaitsForTheLast(MemorySchedules):
    async def due(self, graphs: Sequence[str], *, limit: int) -> DueSchedules:
        found = await super().due(graphs, limit=limit)
        last = max((row.due for row in self._rows.values() if row.due < NEVER), default=0)
        return found if found.wait is None else replace(found, wait=last - found.now)


class FiresAnyRevision(MemorySchedules):
    async def fire(self, firing: Firing) -> Fired:
        row = self._rows.get(firing.id)
        return await super().fire(firing if row is None else replace(firing, revision=row.revision))


class FiresAtOnce(MemorySchedules):
    async def fire(self, firing: Firing) -> Fired:
        row = self._rows.get(firing.id)
        await asyncio.sleep(0)
        if row is None or row.revision != firing.revision:
            return Fired(Fate.STALE)
        return await super().fire(replace(firing, revision=self._rows[firing.id].revision))


class FiresWhatWasDeleted(MemorySchedules):
    async def fire(self, firing: Firing) -> Fired:
        if firing.id in self._rows or firing.run is None:
            return await super().fire(firing)
        accepted = await self._runs.accept(firing.run)
        return Fired(Fate.FIRED, firing.run.thread, accepted.seq)


class ForgetsTheRun(MemorySchedules):
    async def fire(self, firing: Firing) -> Fired:
        fired = await super().fire(replace(firing, run=None))
        row = self._rows[firing.id]
        self._rows[firing.id] = replace(row, fired=1, last=firing.at)
        return Fired(Fate.FIRED, "thread", 1) if fired.fate is Fate.PASSED else fired


class StaysAtTheOccurrence(MemorySchedules):
    async def fire(self, firing: Firing) -> Fired:
        before = self._rows[firing.id]
        fired = await super().fire(firing)
        self._rows[firing.id] = replace(self._rows[firing.id], next=before.next)
        return fired


class ForgetsMissedOccurrences(MemorySchedules):
    async def fire(self, firing: Firing) -> Fired:
        return await super().fire(replace(firing, skipped=0))


class ForgetsTheReason(MemorySchedules):
    async def fire(self, firing: Firing) -> Fired:
        return await super().fire(replace(firing, error=None))


class KeepsTheReason(MemorySchedules):
    async def fire(self, firing: Firing) -> Fired:
        before = self._rows[firing.id]
        fired = await super().fire(firing)
        row = self._rows[firing.id]
        self._rows[firing.id] = replace(row, error=row.error or before.error)
        return fired


class MovesOnByATrigger(MemorySchedules):
    async def fire(self, firing: Firing) -> Fired:
        fired = await super().fire(firing)
        if firing.cause is Cause.TRIGGER:
            self._rows[firing.id] = replace(self._rows[firing.id], next=firing.next + 1)
        return fired


class WakesPausedSchedules(MemorySchedules):
    async def fire(self, firing: Firing) -> Fired:
        fired = await super().fire(firing)
        self._rows[firing.id] = replace(self._rows[firing.id], due=firing.due)
        return fired


class ForgetsTriggeredRuns(MemorySchedules):
    async def fire(self, firing: Firing) -> Fired:
        before = self._rows[firing.id]
        fired = await super().fire(firing)
        if firing.cause is Cause.TRIGGER:
            self._rows[firing.id] = replace(self._rows[firing.id], runs=before.runs)
        return fired


class CancelsNothing(MemorySchedules):
    async def fire(self, firing: Firing) -> Fired:
        row = self._rows[firing.id]
        self._rows[firing.id] = replace(row, overlap="parallel")
        fired = await super().fire(firing)
        self._rows[firing.id] = replace(self._rows[firing.id], overlap=row.overlap)
        return fired


class PollsLate(MemorySchedules):
    async def fire(self, firing: Firing) -> Fired:
        return await super().fire(replace(firing, poll=firing.due))
