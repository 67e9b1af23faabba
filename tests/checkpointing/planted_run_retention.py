"""Stores with one bug each in deleting, keeping, repairing or cancelling runs."""

from collections.abc import Callable
from typing import Any

import msgspec

from durable_graph import MemorySaver
from durable_graph.checkpointing import rules
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.memory_runs import MemoryRuns
from durable_graph.checkpointing.pruning import Kept
from durable_graph.records import Conflict, ThreadInfo
from durable_graph.run_records import Accepted, NewMessage, NewRun, RunState, Sent
from tests.checkpointing.planted_runs import PlantedRuns

replace = msgspec.structs.replace


class _ForgetsThreads(MemoryRuns):
    async def delete_ended(self, *, keep: int, limit: int = 50) -> int:
        count = await super().delete_ended(keep=keep, limit=limit)
        if count:
            self._threads.clear()
        return count


class ForgetsThreads(MemorySaver):
    def __init__(self) -> None:
        super().__init__()
        self.runs = _ForgetsThreads(self._threads, self._lock, self._binding)


class ForgetsAll(PlantedRuns):
    async def delete_ended(self, *, keep: int, limit: int = 50) -> int:
        rules.check_limit(limit)
        return await super().delete_ended(keep=keep, limit=1 << 40)


class ForgetsTheNewest(PlantedRuns):
    async def delete_ended(self, *, keep: int, limit: int = 50) -> int:
        before = sorted(self.all_runs(), key=lambda run: run.ended_at)
        count = await super().delete_ended(keep=keep, limit=limit)
        stored = self.thread("thread")
        if stored is not None and count == 1:
            kept = stored.runs.by_seq.pop(before[-1].seq)
            stored.runs.put(replace(kept, row=before[0]))
        return count


class HasNoNextDeadline(PlantedRuns):
    async def next_deadline(self) -> int | None:
        return None


class FailsTheLatestFirst(PlantedRuns):
    async def fail_overdue(self, *, limit: int = 50) -> list[tuple[str, int]]:
        rules.check_limit(limit)
        return list(reversed(await super().fail_overdue(limit=1 << 40)))


class CountsTheMessagesThatItHas(PlantedRuns):
    async def send(self, message: NewMessage) -> Sent:
        sent = await super().send(message)
        inbox = self._threads[key_of(message.thread)].runs.inbox
        last = inbox.waiting.pop(max(inbox.waiting))
        seq = 1 + max((each for each in inbox.keys.values() if each != last.seq), default=0)
        inbox.keys[message.topic, message.key] = seq
        inbox.waiting[seq] = replace(last, seq=seq)
        return sent


class KeepsRequests(PlantedRuns):
    async def delete_ended(self, *, keep: int, limit: int = 50) -> int:
        before = {key: dict(stored.requests) for key, stored in self._threads.items()}
        count = await super().delete_ended(keep=keep, limit=limit)
        for key, requests in before.items():
            self._threads[key].requests = requests
        return count


class ForgetsAllRequests(PlantedRuns):
    async def delete_ended(self, *, keep: int, limit: int = 50) -> int:
        count = await super().delete_ended(keep=keep, limit=limit)
        for stored in self._threads.values():
            stored.requests.clear()
        return count


class DeletesUnfinishedRuns(PlantedRuns):
    async def delete_run(self, thread: str, seq: int) -> RunState | None:
        run = await self.find_run(thread, seq)
        if run is None:
            return None
        self._threads[key_of(thread)].delete_run(seq)
        return run.state


class DeletesAllRunsOfTheThread(PlantedRuns):
    async def delete_run(self, thread: str, seq: int) -> RunState | None:
        for other in (await super().list_runs(thread=thread))[1:]:
            await super().delete_run(thread, other.seq)
        return await super().delete_run(thread, seq)


class DeletesNoRun(PlantedRuns):
    async def delete_run(self, thread: str, seq: int) -> RunState | None:
        run = await self.find_run(thread, seq)
        return None if run is None else run.state


class DeletesWithoutRequests(PlantedRuns):
    async def delete_run(self, thread: str, seq: int) -> RunState | None:
        before = {key: dict(stored.requests) for key, stored in self._threads.items()}
        state = await super().delete_run(thread, seq)
        for key, requests in before.items():
            self._threads[key].requests = requests
        return state


class KeepsKeysOfMessages(PlantedRuns):
    async def delete_ended(self, *, keep: int, limit: int = 50) -> int:
        before = {key: dict(stored.runs.inbox.keys) for key, stored in self._threads.items()}
        count = await super().delete_ended(keep=keep, limit=limit)
        for key, keys in before.items():
            self._threads[key].runs.inbox.keys = keys
        return count


class ForgetsKeysOfMessages(PlantedRuns):
    async def delete_ended(self, *, keep: int, limit: int = 50) -> int:
        count = await super().delete_ended(keep=keep, limit=limit)
        for stored in self._threads.values():
            stored.runs.inbox.keys.clear()
        return count


class RepairsAll(PlantedRuns):
    async def repair(self, *, limit: int = 50) -> int:
        rules.check_limit(limit)
        return await super().repair(limit=1 << 40)


class DeletesWhatItListed(MemorySaver):
    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        stored = self._threads.get(key_of(thread))
        if stored is not None and rules.is_to_be_deleted(stored.row, seen):
            stored.runs.unfinished.clear()
        return await super().delete_thread(thread, seen=seen, purge=purge)


class WaitsForOthers(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        return await super().accept(replace(run, if_busy="wait"))


class CancelsOnlyTheFirst(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        stored = self.thread(run.thread)
        last = [] if stored is None else stored.runs.unfinished[1:]
        accepted = await super().accept(run)
        for seq in last if run.if_busy in ("interrupt", "rollback") else ():
            self.change(run.thread, seq, state=RunState.BLOCKED)
        return accepted


async def _cancel_all(runs: PlantedRuns, run: NewRun) -> None:
    stored = runs.thread(run.thread)
    for seq in () if stored is None or run.if_busy == "wait" else tuple(stored.runs.unfinished):
        await MemoryRuns.cancel_run(runs, run.thread, seq, "reason")


class CancelsForKnownKeys(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        accepted = await super().accept(run)
        if not accepted.is_new:
            await _cancel_all(self, run)
        return accepted


class CancelsForKnownTokens(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        stored = self.thread(run.thread)
        tokens = [] if stored is None else [each.token for each in stored.runs.by_seq.values()]
        if run.token in tokens:
            await _cancel_all(self, run)
        return await super().accept(run)


class CancelsBeforeItRefuses(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        accepted = await super().accept(run)
        if accepted.lost_before:
            await _cancel_all(self, run)
        return accepted


class FencesFreeThreads(PlantedRuns):
    async def accept(self, run: NewRun) -> Accepted:
        accepted = await super().accept(run)
        stored = self.thread(run.thread)
        if stored is not None and run.if_busy != "wait":
            stored.row = replace(stored.row, epoch=run.epoch)
        return accepted


# Wrong rules. The first argument of each is the right rule.


def keeps_no_other_branches(right: Callable[..., Kept | None], *given: Any) -> Kept | None:
    kept = right(*given)
    return kept and kept._replace(branches=frozenset(lo for lo, _ in kept.intervals))


def refuses_branches_from_nothing(right: Callable[..., Any], unit: Any, thread: Any, *rest: Any) -> Any:
    if unit.fork_of is not None and thread is not None and unit.fork_of < thread.floor:
        return Conflict(thread.version)
    return right(unit, thread, *rest)
