"""`MemorySaver.schedules`: the schedules of the saver's runs."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from durable_graph.checkpointing import schedule_rules
from durable_graph.checkpointing.binding import Binding
from durable_graph.checkpointing.memory_lock import alone
from durable_graph.checkpointing.memory_runs import MemoryRuns
from durable_graph.checkpointing.rules import check_limit
from durable_graph.checkpointing.schedule_rules import Ref
from durable_graph.checkpointing.schedule_store import (
    NEVER,
    DueSchedules,
    Fate,
    Fired,
    Firing,
    FoundSchedule,
    SchedulePage,
    ScheduleRow,
)


class MemorySchedules:
    """The schedules of a `MemorySaver`. See `ScheduleStore`. Their clock is that of the runs."""

    def __init__(
        self,
        runs: MemoryRuns,
        lock: AbstractContextManager[object],
        binding: Binding,
        rows: dict[int, ScheduleRow] | None = None,
    ) -> None:
        self._runs = runs
        self._lock = lock
        self._binding = binding
        self._rows = {} if rows is None else rows

    @alone
    async def create(self, row: ScheduleRow) -> ScheduleRow:
        """See `ScheduleStore.create`."""
        found = self._named(row.name)
        if found is None:
            found = self._rows[row.id] = row
        return found

    @alone
    async def find(self, schedule: str | int) -> FoundSchedule:
        """See `ScheduleStore.find`."""
        row = self._rows.get(schedule) if isinstance(schedule, int) else self._named(schedule)
        return FoundSchedule(row, self._runs.now())

    @alone
    async def list_schedules(self, *, limit: int = 100, after: str = "") -> SchedulePage:
        """See `ScheduleStore.list_schedules`."""
        check_limit(limit)
        # By the bytes of their names, as the databases sort them.
        found = sorted(self._rows.values(), key=lambda row: row.name.encode())
        rows = [row for row in found if row.name.encode() > after.encode()]
        return SchedulePage(rows[:limit], self._runs.now())

    @alone
    async def replace(self, row: ScheduleRow) -> bool:
        """See `ScheduleStore.replace`."""
        found = self._rows.get(row.id)
        if found is not None and found.revision == row.revision - 1:
            self._rows[row.id] = row
            return True
        return found == row

    @alone
    async def delete(self, id_: int) -> bool:
        """See `ScheduleStore.delete`."""
        return self._rows.pop(id_, None) is not None

    @alone
    async def due(self, graphs: Sequence[str], *, limit: int) -> DueSchedules:
        """See `ScheduleStore.due`."""
        found = [row for row in self._rows.values() if row.graph in graphs and row.due < NEVER]
        if not found:
            return DueSchedules([], 0, None)
        found.sort(key=lambda row: (row.due, row.id))
        now = self._runs.now()
        rows = [row for row in found if row.due <= now][:limit]
        return DueSchedules(rows, now, None if rows else found[0].due - now)

    @alone
    async def fire(self, firing: Firing) -> Fired:
        """See `ScheduleStore.fire`."""
        row = self._rows.get(firing.id)
        unfinished = [] if row is None else [ref for ref in schedule_rules.runs_in(row) if await self._is_open(ref)]
        fate = schedule_rules.fate_of(row, firing, is_busy=bool(unfinished))
        if row is None or fate is Fate.STALE:
            return Fired(Fate.STALE)
        fired = Fired(fate)
        if fate is Fate.FIRED and firing.run is not None:
            for thread, seq in schedule_rules.cancelled_by(row, firing, unfinished):
                await self._runs.cancel_run(thread, seq, schedule_rules.CANCELLED)
            fired = schedule_rules.fired_by(firing.run, await self._runs.accept(firing.run))
            if fired.stored_graph is not None:
                firing = schedule_rules.refused(firing, firing.run, fired.stored_graph)
        self._rows[row.id] = schedule_rules.after_firing(row, firing, fired, unfinished, self._runs.now())
        return fired

    def _named(self, name: str) -> ScheduleRow | None:
        return next((row for row in self._rows.values() if row.name == name), None)

    async def _is_open(self, ref: Ref) -> bool:
        run = await self._runs.find_run(*ref)
        return run is not None and not run.state.is_ended
