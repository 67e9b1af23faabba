"""Savers that treat runs and messages wrongly in one way each, and methods of their rows that do."""

from typing import Any

import msgspec

from durable_graph import MemorySaver
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.memory_rows import RunRows, StoredRun
from durable_graph.records import (
    CommitResult,
    Committed,
    CommitUnit,
    Saved,
    SaveResult,
    StoredCheckpoint,
    ThreadInfo,
    WritesBatch,
)
from durable_graph.run_records import RunRow, RunState

replace = msgspec.structs.replace


def unblocks_all(runs: RunRows) -> None:
    """In the place of `RunRows.unblock`."""
    for seq, run in runs.by_seq.items():
        if run.row.state == RunState.BLOCKED:
            runs.by_seq[seq] = replace(run, row=replace(run.row, state=RunState.READY))


def unblocks_at_once(runs: RunRows) -> None:
    """In the place of `RunRows.unblock`: the time of the run is forgotten."""
    first = runs.first()
    if first is not None and first.state == RunState.BLOCKED:
        runs.change(replace(first, state=RunState.READY, due=0))


def unblocks_nothing(runs: RunRows) -> None:
    """In the place of `RunRows.unblock`."""


def first_that_does_not_wait(runs: RunRows) -> RunRow | None:
    """In the place of `RunRows.first`."""
    rows = [runs.by_seq[seq].row for seq in runs.unfinished]
    rows = [row for row in rows if row.state != RunState.WAITING]
    return rows[0] if rows else None


class DropsRunsOfCommits(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        return await super().commit(replace(unit, run=None))


class ChangesRunsOfRefusedCommits(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        answer = await super().commit(unit)
        if not isinstance(answer, Committed) and unit.run is not None:
            self._threads[key_of(unit.thread)].runs.update(unit.run, unit.at)
        return answer


class ChangesRunsOfRepeatedCommits(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        before = self._threads.get(key_of(unit.thread))
        is_repeated = before is not None and before.row.version >= unit.version
        answer = await super().commit(unit)
        if is_repeated and unit.run is not None:
            self._threads[key_of(unit.thread)].runs.update(unit.run, unit.at)
        return answer


class BeginsThreadsAnew(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        before = self._threads.get(key_of(unit.thread))
        if before is not None and not before.row.head:
            before.requests.clear()
        return await super().commit(unit)


class DropsRunsOfSaves(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        return await super().save_writes(replace(batch, run=None))


class ChangesRunsOfRefusedSaves(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        answer = await super().save_writes(batch)
        if not isinstance(answer, Saved) and batch.run is not None:
            self._threads[key_of(batch.thread)].runs.update(batch.run, batch.at)
        return answer


class WakesNobody(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        return await super().save_writes(replace(batch, wakes_run=False))


class WakesByRefusedSaves(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        answer = await super().save_writes(batch)
        if not isinstance(answer, Saved) and batch.wakes_run:
            self._threads[key_of(batch.thread)].runs.wake(batch.at)
        return answer


class WakesWithoutRecords(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        return await super().save_writes(replace(batch, records=()) if batch.wakes_run else batch)


def keeps_the_input(right: Any, runs: RunRows, update: Any, at: int) -> None:
    """In the place of `RunRows.update`."""
    before = runs.by_seq[update.seq].input
    right(runs, update, at)
    runs.by_seq[update.seq] = replace(runs.by_seq[update.seq], input=before)


def removes_the_input(right: Any, runs: RunRows, update: Any, at: int) -> None:
    """In the place of `RunRows.update`."""
    right(runs, update, at)
    runs.by_seq[update.seq] = replace(runs.by_seq[update.seq], options=b"", context=b"")


class TakesNoMessages(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        return await super().save_writes(replace(batch, taken=()))


class TakesAllMessages(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        waiting = tuple(self._threads[key_of(batch.thread)].runs.inbox.waiting)
        return await super().save_writes(replace(batch, taken=waiting if batch.taken else ()))


class ForgetsKeysOfTakenMessages(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        if batch.taken:
            self._threads[key_of(batch.thread)].runs.inbox.keys.clear()
        return await super().save_writes(batch)


class TakesByRefusedSaves(MemorySaver):
    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        for seq in batch.taken:
            self._threads[key_of(batch.thread)].runs.inbox.waiting.pop(seq, None)
        return await super().save_writes(batch)


class KeepsMessagesOfDeletedThreads(MemorySaver):
    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        before = self._threads.get(key_of(thread))
        is_gone = await super().delete_thread(thread, seen=seen)
        if before is not None:
            self._threads[key_of(thread)].runs.inbox = before.runs.inbox
        return is_gone


class CopiesMessages(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        await super().copy_thread(source, target)
        self._threads[key_of(target)].runs.inbox = self._threads[key_of(source)].runs.inbox


class TellsNoRuns(MemorySaver):
    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        found = await super().load(thread, ns, no)
        return replace(found, unfinished_run=0) if found is not None else None


class TellsRunsOfTheHeadOnly(MemorySaver):
    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        found = await super().load(thread, ns, no)
        return replace(found, unfinished_run=0) if found is not None and (ns or no) else found


class KeepsRunsOfDeletedThreads(MemorySaver):
    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        before = self._threads.get(key_of(thread))
        is_gone = await super().delete_thread(thread, seen=seen)
        if before is not None:
            self._threads[key_of(thread)].runs = before.runs
        return is_gone


class ForgetsTheNumbersOfDeletedThreads(MemorySaver):
    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        is_gone = await super().delete_thread(thread, seen=seen, purge=purge)
        if key_of(thread) in self._threads:
            self._threads[key_of(thread)].runs.last = 0
        return is_gone


class CopiesRuns(MemorySaver):
    async def copy_thread(self, source: str, target: str) -> None:
        await super().copy_thread(source, target)
        for seq, run in self._threads[key_of(source)].runs.by_seq.items():
            of_copy = StoredRun(replace(run.row, thread=target), run.input, run.options, run.context, run.token)
            self._threads[key_of(target)].runs.by_seq[seq] = of_copy
