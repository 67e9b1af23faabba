"""Which clause about updates of running graphs has to fail on which planted bug."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from durable_graph import MemorySaver
from durable_graph.checkpointing import run_rules
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.memory_rows import RunRows
from durable_graph.records import CommitResult, Committed, CommitUnit
from durable_graph.run_records import Discarded, RequestOfRun, RunState
from tests.checkpointing.planted_runs import PlantedRuns, TellsRequestsOnce
from tests.checkpointing.run_plants import Plant, made, rows_with, ruled, runs

replace = msgspec.structs.replace


def asks_the_first(rows: RunRows) -> None:
    """In the place of `RunRows.ask_to_apply_updates`."""
    first = rows.first()
    if first is not None:
        rows.change(run_rules.asked_to_apply_updates(first))


def ends_the_request_early(rows: RunRows, messages: Iterable[int], at: int, *, updates: bool = False) -> None:
    """In the place of `RunRows.take`: the first update that is taken counts as the last."""
    for message in messages:
        rows.inbox.take(message, at)
    for seq in rows.unfinished if updates else ():
        rows.change(run_rules.after_updates(rows.by_seq[seq].row))


def ends_the_request_of_the_first(rows: RunRows, messages: Iterable[int], at: int, *, updates: bool = False) -> None:
    """In the place of `RunRows.take`."""
    for message in messages:
        rows.inbox.take(message, at)
    first = rows.first()
    if updates and not rows.inbox.has_updates and first is not None:
        rows.change(run_rules.after_updates(first))


class CancelsAfterTheUpdate(PlantedRuns):
    async def cancel_run(self, thread: str, seq: int, reason: str) -> RunState | None:
        before = await self.find_run(thread, seq)
        state = await super().cancel_run(thread, seq, reason)
        if before is not None and before.request == RequestOfRun.APPLY_UPDATES:
            self.change(thread, seq, request=before.request)
        return state


class TakesNoUpdates(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        return await super().commit(replace(unit, taken=()))


class TakesAllUpdates(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        if unit.taken:
            found = self._threads[key_of(unit.thread)].runs.inbox
            unit = replace(unit, taken=tuple(found.waiting))
        return await super().commit(unit)


class TakesByRefusedCommits(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        answer = await super().commit(unit)
        if not isinstance(answer, Committed):
            self._threads[key_of(unit.thread)].runs.take(unit.taken, unit.at, updates=True)
        return answer


class TakesAfterTheChange(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        answer = await super().commit(replace(unit, taken=()))
        if isinstance(answer, Committed):
            self._threads[key_of(unit.thread)].runs.take(unit.taken, unit.at, updates=True)
        return answer


class DiscardsNothing(PlantedRuns):
    async def discard(self, thread: str, topic: str, key: str) -> Discarded:
        return Discarded.NO_THREAD if self.thread(thread) is None else Discarded.DISCARDED


class DiscardsWithoutAFence(PlantedRuns):
    async def discard(self, thread: str, topic: str, key: str) -> Discarded:
        return self._threads[key_of(thread)].runs.discard(topic, key, 1)


class DiscardsForRunsThatHaveNotEnded(PlantedRuns):
    async def discard(self, thread: str, topic: str, key: str) -> Discarded:
        if await self.find_unfinished(thread) is None:
            return Discarded.NO_MESSAGE
        return await super().discard(thread, topic, key)


def discards_without_a_key(rows: RunRows, topic: str, key: str, at: int) -> Discarded:
    """In the place of `RunRows.discard`."""
    seq = rows.inbox.keys.pop((topic, key), None)
    if seq is None:
        return Discarded.NO_MESSAGE
    rows.take((seq,), at, updates=True)
    return Discarded.DISCARDED


class ForgetsKeysOfTakenUpdates(MemorySaver):
    async def commit(self, unit: CommitUnit) -> CommitResult:
        answer = await super().commit(unit)
        if unit.taken:
            self._threads[key_of(unit.thread)].runs.inbox.keys.clear()
        return answer


def overrides(right: Any, run: Any) -> Any:
    return replace(run, request=int(RequestOfRun.APPLY_UPDATES))


def ends_without_looking(right: Any, run: Any, update: Any, at: int) -> Any:
    return right(replace(run, request=0) if update.state == RunState.DONE else run, update, at)


def leaves_threads_of_done_runs(right: Any, thread: Any, run: Any, settlement: Any, *given: Any) -> Any:
    return thread if settlement.state == RunState.DONE else right(thread, run, settlement, *given)


UPDATE_PLANTS: Mapping[str, tuple[Plant, ...]] = {
    "an_update_sets_a_request_in_each_unfinished_run_of_its_thread": (
        rows_with("ask_to_apply_updates", asks_the_first),
        rows_with("ask_to_apply_updates", lambda rows: None),
        ruled("woken", lambda right, run, at: overrides(right, right(run, at))),
    ),
    "a_heartbeat_returns_the_request_of_an_update": (
        rows_with("ask_to_apply_updates", lambda rows: None),
        runs(TellsRequestsOnce),
    ),
    "an_update_leaves_a_request_to_cancel": (
        ruled("asked_to_apply_updates", overrides),
        ruled("after_updates", lambda right, run: replace(run, request=0)),
    ),
    "a_cancellation_replaces_the_request_of_an_update": (runs(CancelsAfterTheUpdate),),
    "an_update_is_taken_with_the_commit_that_applies_it": (
        made(TakesNoUpdates),
        made(TakesAllUpdates),
        made(ForgetsKeysOfTakenUpdates),
        rows_with("take", ends_the_request_early),
        ruled("after_updates", lambda right, run: run),
    ),
    "a_refused_commit_takes_no_update": (made(TakesByRefusedCommits),),
    "a_run_with_an_update_left_is_ready_again_instead_of_done": (
        ruled("row_after", ends_without_looking),
        ruled("row_after", lambda right, run, update, at: replace(right(run, update, at), request=0)),
        made(TakesAfterTheChange),
        ruled("was_settled", lambda right, run, settlement: right(run, settlement) and run.state == settlement.state),
        rows_with("with_status_of_run", lambda rows, unit: unit),
    ),
    "a_run_whose_last_update_was_discarded_is_done_by_its_settlement": (
        ruled("thread_after_settlement", leaves_threads_of_done_runs),
        rows_with("with_status_of_run", lambda rows, unit: unit),
    ),
    "a_run_that_fails_leaves_the_update_to_its_retry": (
        ruled("retried", lambda right, run, state, now, **named: right(run, state, now)),
    ),
    "a_new_run_has_the_updates_that_no_run_took": (
        ruled("accepted_run", lambda right, *given, **named: right(*given, **{**named, "has_updates": False})),
        rows_with("take", ends_the_request_of_the_first),
    ),
    "a_discarded_update_is_in_no_inbox_and_its_key_stays_known": (
        runs(DiscardsNothing),
        rows_with("discard", discards_without_a_key),
        rows_with("take", ends_the_request_early),
    ),
    "only_an_update_that_is_in_the_inbox_is_discarded": (
        runs(DiscardsNothing),
        rows_with("discard", discards_without_a_key),
    ),
    "a_holder_that_was_released_cannot_take_a_discarded_update": (runs(DiscardsWithoutAFence),),
    "the_update_of_a_run_that_failed_is_discarded": (runs(DiscardsForRunsThatHaveNotEnded),),
    "a_run_that_waits_is_woken_by_an_update": (
        ruled("woken", lambda right, run, at: run),
        rows_with("ask_to_apply_updates", lambda rows: None),
    ),
}
