"""Stores of runs that cancel, retry, find, list or count runs wrongly in one way each."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from durable_graph.run_records import QueueStats, RunRow, RunState
from tests.checkpointing.planted_runs import PlantedRuns

replace = msgspec.structs.replace


class CancelsTheRunning(PlantedRuns):
    async def cancel_run(self, thread: str, seq: int, reason: str) -> RunState | None:
        state = await super().cancel_run(thread, seq, reason)
        if state == RunState.RUNNING:
            self.change(thread, seq, state=RunState.CANCELLED, worker=0)
        return state


class AsksNobody(PlantedRuns):
    async def cancel_run(self, thread: str, seq: int, reason: str) -> RunState | None:
        state = await super().cancel_run(thread, seq, reason)
        if state == RunState.RUNNING:
            self.change(thread, seq, request=0)
        return state


class CancelsTheEnded(PlantedRuns):
    async def cancel_run(self, thread: str, seq: int, reason: str) -> RunState | None:
        state = await super().cancel_run(thread, seq, reason)
        if state is not None and state.is_ended:
            self.change(thread, seq, state=RunState.CANCELLED, error=reason)
        return state


class FindsByIdOnly(PlantedRuns):
    async def find_run(self, thread: str | int, seq: int) -> RunRow | None:
        return None if isinstance(thread, int) else await super().find_run(thread, seq)


class FindsTheLast(PlantedRuns):
    async def find_unfinished(self, thread: str) -> RunRow | None:
        stored = self.thread(thread)
        unfinished = stored.runs.unfinished if stored is not None else []
        return stored.runs.by_seq[unfinished[-1]].row if stored is not None and unfinished else None


class FindsTheEnded(PlantedRuns):
    async def find_unfinished(self, thread: str) -> RunRow | None:
        stored = self.thread(thread)
        return next((run.row for run in stored.runs.by_seq.values()), None) if stored is not None else None


class ListsOnePage(PlantedRuns):
    async def list_runs(self, **given: Any) -> list[RunRow]:
        return await super().list_runs(**given) if given.get("after") is None else []


class ListsByNumber(PlantedRuns):
    async def list_runs(self, **given: Any) -> list[RunRow]:
        return sorted(await super().list_runs(**given), key=lambda run: run.seq)


class ListsAllGraphs(PlantedRuns):
    async def list_runs(self, **given: Any) -> list[RunRow]:
        return await super().list_runs(**{**given, "graph": None})


class ListsAllStates(PlantedRuns):
    async def list_runs(self, **given: Any) -> list[RunRow]:
        return await super().list_runs(**{**given, "state": None})


class ListsAllThreads(PlantedRuns):
    async def list_runs(self, **given: Any) -> list[RunRow]:
        return await super().list_runs(**{**given, "thread": None})


class NamesNoWorkers(PlantedRuns):
    def _named(self, run: RunRow) -> RunRow:
        return run


class NamesWorkersInListingsOnly(PlantedRuns):
    async def find_run(self, thread: str | int, seq: int) -> RunRow | None:
        found = await super().find_run(thread, seq)
        return replace(found, worker_name="") if found is not None else None


class CountsOnlyUnfinishedRuns(PlantedRuns):
    async def queue_stats(self) -> list[QueueStats]:
        return [replace(stats, quarantined=0) for stats in await super().queue_stats()]


class CountsRunsBeforeTheirTime(PlantedRuns):
    async def queue_stats(self) -> list[QueueStats]:
        counted = []
        for stats in await super().queue_stats():
            due = [run.due for run in self.all_runs() if run.queue == stats.queue and run.state == RunState.READY]
            counted.append(replace(stats, oldest_due=min(due, default=0)))
        return counted


def has_any_of(right: Callable[..., bool], run: RunRow, sought: str | None) -> bool:
    if sought is None:
        return True
    found = msgspec.json.decode(run.metadata or "{}")
    pairs: Sequence[tuple[str, Any]] = list(msgspec.json.decode(sought).items())
    return any(key in found and (type(found[key]), found[key]) == (type(value), value) for key, value in pairs)


def has_equal_values(right: Callable[..., bool], run: RunRow, sought: str | None) -> bool:
    if sought is None:
        return True
    found = msgspec.json.decode(run.metadata or "{}")
    return all(found.get(key) == value for key, value in msgspec.json.decode(sought).items())
