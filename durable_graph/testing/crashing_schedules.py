"""The schedules of a `CrashingSaver`: calls of the schedules count as calls of the store, and crash like them."""

from collections.abc import Sequence

from durable_graph.checkpointing.schedule_store import (
    DueSchedules,
    Fired,
    Firing,
    FoundSchedule,
    SchedulePage,
    ScheduleRow,
    ScheduleStore,
)
from durable_graph.testing.crashing_runs import Passes


class CrashingSchedules:
    """Passes calls to the schedules of the inner saver, by way of `through`.

    The looks of a worker's clock go by way of `uncounted`: they are made at certain times, so they would move the crash
    point from one execution to the next.
    """

    def __init__(self, inner: ScheduleStore, through: Passes, uncounted: Passes) -> None:
        self.inner = inner
        self._call = through
        self._uncounted = uncounted

    async def create(self, row: ScheduleRow) -> ScheduleRow:
        return await self._call("create", lambda: self.inner.create(row))

    async def find(self, schedule: str | int) -> FoundSchedule:
        return await self._call("find", lambda: self.inner.find(schedule))

    async def list_schedules(self, *, limit: int = 100, after: str = "") -> SchedulePage:
        return await self._call("list_schedules", lambda: self.inner.list_schedules(limit=limit, after=after))

    async def replace(self, row: ScheduleRow) -> bool:
        return await self._call("replace", lambda: self.inner.replace(row))

    async def delete(self, id_: int) -> bool:
        return await self._call("delete", lambda: self.inner.delete(id_))

    async def due(self, graphs: Sequence[str], *, limit: int) -> DueSchedules:
        return await self._uncounted("due", lambda: self.inner.due(graphs, limit=limit))

    async def fire(self, firing: Firing) -> Fired:
        return await self._call("fire", lambda: self.inner.fire(firing))
