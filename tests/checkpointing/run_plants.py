"""Which clause of the stores of runs has to fail on which planted bug."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from durable_graph import MemorySaver
from durable_graph.checkpointing import pruning, rules, run_busy, run_rules, run_sweep
from durable_graph.checkpointing.memory_rows import RunRows
from durable_graph.checkpointing.memory_runs import MemoryRuns
from durable_graph.records import Committed, Conflict
from durable_graph.run_records import NEVER, RunState
from tests.checkpointing import planted_accept_and_claim as at_once
from tests.checkpointing import planted_run_control as control
from tests.checkpointing import planted_run_reads as reads
from tests.checkpointing import planted_runs as planted
from tests.checkpointing import planted_savers_of_runs as savers

replace = msgspec.structs.replace

Plant = Callable[[pytest.MonkeyPatch], type[MemorySaver]]


def ruled(name: str, rule: Callable[..., Any]) -> Plant:
    """A saver of which one rule is replaced; the replacement gets the right one first, then its arguments."""

    def plant(patch: pytest.MonkeyPatch) -> type[MemorySaver]:
        module = next(each for each in (rules, run_rules, run_sweep, run_busy, pruning) if hasattr(each, name))
        right = getattr(module, name)
        patch.setattr(module, name, lambda *args, **kwargs: rule(right, *args, **kwargs))
        return MemorySaver

    return plant


def rows_with(name: str, function: Callable[..., Any]) -> Plant:
    """A saver whose rows of runs have another method."""

    def plant(patch: pytest.MonkeyPatch) -> type[MemorySaver]:
        patch.setattr(RunRows, name, function)
        return MemorySaver

    return plant


def made(kind: type[MemorySaver]) -> Plant:
    return lambda patch: kind


def runs(kind: type[MemoryRuns]) -> Plant:
    """A saver with other runs."""

    class WithBug(MemorySaver):
        def __init__(self) -> None:
            super().__init__()
            self.runs = kind(self._threads, self._lock, self._binding)

    return lambda patch: WithBug


def after(state: RunState | None = None, /, **fields: Any) -> Plant:
    """A saver that makes a mistake in the row of a run that an update changes, by default by any update. A field is a
    value, or a function of the row before, the update and the right row."""

    def row_after(right: Callable[..., Any], run: Any, update: Any, at: int) -> Any:
        due = right(run, update, at)
        if state not in (None, update.state):
            return due
        made = {name: field(run, update, due) if callable(field) else field for name, field in fields.items()}
        return replace(due, **made)

    return ruled("row_after", row_after)


def refuses_first_commits(right: Callable[..., Any], unit: Any, thread: Any, *rest: Any) -> Any:
    is_accepted = thread is not None and not thread.commit_id
    return Conflict(0) if is_accepted else right(unit, thread, *rest)


_right_update = RunRows.update
draws_one_epoch = ruled("drawn_incarnation", lambda right: 77)
never_unblocks = rows_with("unblock", savers.unblocks_nothing)
ignores_the_counter = ruled("row_after", lambda right, run, update, at: right(run, replace(update, inbox=1 << 40), at))

PLANTS: Mapping[str, tuple[Plant, ...]] = {
    # Acceptance
    "an_accepted_run_is_durable": (runs(planted.ForgetsRuns),),
    "an_accepted_run_has_the_fields_of_its_call": (
        runs(planted.ForgetsTheContext),
        ruled("accepted_run", lambda right, *given, **named: replace(right(*given, **named), priority=2)),
        ruled("accepted_run", lambda right, *given, **named: replace(right(*given, **named), deadline=NEVER)),
    ),
    "a_thread_exists_once_its_first_run_is_accepted": (
        ruled("accepted_thread", lambda right, *given: replace(right(*given), graph=None)),
        ruled("accepted_thread", lambda right, *given: replace(right(*given), status="done")),
        ruled("decide", lambda right, unit, *rest: Committed(unit.version)),
    ),
    "a_thread_is_as_before_once_a_later_run_is_accepted": (runs(planted.FencesAtTheAcceptance),),
    "a_key_is_accepted_once": (runs(planted.IgnoresKeys),),
    "of_simultaneous_acceptances_of_a_key_one_is_new": (runs(planted.FindsKeysTooEarly),),
    "a_known_key_returns_the_digest_of_its_own_input": (runs(planted.ReturnsTheDigestOfTheCall),),
    "a_known_key_returns_its_run_after_the_end_of_the_run": (runs(planted.ForgetsKeysOfEndedRuns),),
    "a_key_of_a_commit_is_known": (runs(planted.KnowsOnlyKeysOfRuns),),
    "a_key_of_a_run_is_a_request_of_its_thread": (runs(planted.SignsNoRequests), made(savers.BeginsThreadsAnew)),
    "a_repeated_acceptance_is_idempotent": (runs(planted.IgnoresTokens),),
    "a_cancelled_acceptance_is_atomic": (runs(planted.TearsAcceptances),),
    "a_run_that_does_not_wait_is_refused_by_a_busy_thread": (runs(planted.AlwaysWaits),),
    "a_run_of_another_graph_is_refused": (
        ruled("is_of_another_graph", lambda right, run, stored: False),
        ruled("is_of_another_graph", lambda right, run, stored: right(replace(run, formerly=()), stored)),
    ),
    "a_run_of_any_graph_is_accepted_by_a_thread_without_one": (
        ruled("is_of_another_graph", lambda right, run, stored: stored != run.graph),
    ),
    "runs_of_a_thread_have_ascending_numbers": (made(savers.ForgetsTheNumbersOfDeletedThreads),),
    "runs_of_a_purged_thread_repeat_no_number": (ruled("next_seq", lambda right, last, now: last + 1),),
    "simultaneous_runs_of_a_thread_are_one_ready_and_others_blocked": (
        runs(planted.NeverBlocks),
        ruled("next_seq", lambda right, last, now: last or now),
    ),
    "many_threads_accept_runs_simultaneously": (runs(planted.AcceptsOneAtATime),),
    "a_run_of_a_deleted_thread_begins_another_thread": (
        ruled("accepted_thread", lambda right, run, grave, at: right(run, None, at)),
    ),
    "a_closed_saver_refuses_calls_of_its_runs": (runs(planted.NeverCloses),),
    # The order of a thread's runs
    "a_later_run_is_blocked_until_a_commit_ends_the_run_before_it": (
        never_unblocks,
        rows_with("unblock", savers.unblocks_all),
        runs(planted.NeverBlocks),
    ),
    "a_later_run_is_blocked_until_the_run_before_it_is_settled": (never_unblocks, runs(planted.NeverBlocks)),
    "a_later_run_is_blocked_until_the_run_before_it_is_cancelled": (never_unblocks, runs(planted.NeverBlocks)),
    "a_later_run_is_blocked_until_the_run_before_it_is_quarantined": (never_unblocks, runs(planted.NeverBlocks)),
    "a_later_run_is_blocked_while_the_run_before_it_waits": (rows_with("first", savers.first_that_does_not_wait),),
    "a_blocked_run_is_cancelled_alone": (
        runs(planted.CancelsAndUnblocks),
        ruled(
            "thread_after_cancel",
            lambda right, thread, run, *rest: right(thread, replace(run, state=RunState.READY), *rest),
        ),
    ),
    "a_retried_run_is_blocked_by_an_unfinished_run_before_it": (runs(planted.RetriesAtOnce),),
    "a_blocked_run_keeps_its_time": (rows_with("unblock", savers.unblocks_at_once),),
    # Claims
    "a_claimed_run_belongs_to_its_worker": (
        ruled("claimed", lambda right, run, *rest, **named: replace(right(run, *rest, **named), state=run.state)),
        ruled("claimed", lambda right, *given, **named: replace(right(*given, **named), worker=0)),
    ),
    "a_claim_fences_the_earlier_holder_of_a_new_thread": (
        draws_one_epoch,
        ruled("decide", refuses_first_commits),
    ),
    "a_claim_fences_the_earlier_writer_of_a_thread": (runs(planted.FencesOnlyNewThreads),),
    "only_a_worker_with_a_lease_claims_runs": (runs(planted.LeasesNeverEnd), runs(planted.ClaimsForAnybody)),
    "only_runs_of_the_given_queues_are_claimed": (runs(planted.ClaimsFromAllQueues),),
    "runs_are_claimed_by_priority_and_then_by_time": (
        runs(planted.ClaimsQueueByQueue),
        ruled("accepted_run", lambda right, *given, **named: replace(right(*given, **named), priority=2)),
        ruled("accepted_run", lambda right, *given, **named: replace(right(*given, **named), due=0)),
    ),
    "a_claim_returns_at_most_the_wanted_number": (runs(planted.ClaimsAll), runs(planted.ClaimsOfEachQueue)),
    "a_delayed_run_is_claimed_at_its_time": (
        ruled("is_claimable", lambda right, run, now: right(run, NEVER)),
        ruled("is_claimable", lambda right, run, now: right(run, run.accepted_at)),
    ),
    "the_time_until_the_next_due_run_is_known": (
        runs(planted.LooksAtOneQueue),
        runs(planted.CountsBackwards),
        ruled("waits_for_time", lambda right, run: True),
    ),
    "two_workers_share_the_runs": (runs(planted.ClaimsWhatItHasRead),),
    "workers_in_several_operating_system_threads_share_the_runs": (runs(planted.HasItsOwnThreadsBeside),),
    # Commits, saves and settlements
    "a_commit_changes_its_run": (
        made(savers.DropsRunsOfCommits),
        after(checkpoint=lambda run, update, due: update.checkpoint),
        after(first_checkpoint=lambda run, update, due: update.first_checkpoint),
        after(RunState.RUNNING, worker=0),
        after(RunState.DONE, worker=lambda run, update, due: run.worker),
        after(RunState.DONE, ended_at=0),
    ),
    "the_input_of_a_run_is_removed_once_it_is_a_checkpoint": (
        rows_with("update", lambda *given: savers.keeps_the_input(_right_update, *given)),
        rows_with("update", lambda *given: savers.removes_the_input(_right_update, *given)),
    ),
    "a_refused_commit_does_not_change_its_run": (made(savers.ChangesRunsOfRefusedCommits),),
    "a_refused_save_does_not_change_its_run": (made(savers.ChangesRunsOfRefusedSaves),),
    "a_repeated_commit_changes_its_run_once": (made(savers.ChangesRunsOfRepeatedCommits),),
    "a_save_fails_its_run": (made(savers.DropsRunsOfSaves), after(RunState.FAILED, error=None)),
    "a_save_makes_its_run_wait": (
        made(savers.DropsRunsOfSaves),
        after(RunState.WAITING, worker=lambda run, update, due: run.worker),
        after(RunState.WAITING, due=0),
    ),
    "commits_of_an_accepted_thread_are_as_those_of_any_thread": (
        ruled("begins_thread", lambda right, thread: thread is None),
    ),
    "a_waiting_run_is_claimed_at_its_time": (after(RunState.WAITING, due=NEVER), after(RunState.WAITING, due=0)),
    "a_waiting_run_is_claimed_at_its_deadline": (after(due=lambda run, update, due: update.due),),
    "a_message_wakes_a_waiting_run": (
        made(savers.WakesNobody),
        ruled("woken", lambda right, run, at: replace(right(run, at), due=run.due)),
        ruled("woken", lambda right, run, at: replace(right(run, at), inbox=run.inbox)),
    ),
    "a_message_that_is_refused_wakes_no_run": (made(savers.WakesByRefusedSaves),),
    "a_message_that_arrived_meanwhile_lets_no_run_wait": (
        ignores_the_counter,
        ruled("woken", lambda right, run, at: right(run, at) if run.state == RunState.WAITING else run),
        ruled("row_after", lambda right, run, update, at: right(run, replace(update, inbox=0), at)),
    ),
    "a_message_wakes_only_the_run_that_waits": (
        ruled("woken", lambda right, run, at: replace(right(run, at), state=RunState.READY)),
        ruled("woken", lambda right, run, at: right(run, at) if run.attempt else run),
    ),
    "a_message_that_wakes_a_run_has_its_records": (made(savers.WakesWithoutRecords),),
    "waiting_is_progress": (after(crashes=lambda run, update, due: run.crashes),),
    "a_settlement_ends_the_run_of_its_holder": (
        runs(planted.SettlesWithoutErrors),
        after(worker=lambda run, update, due: run.worker),
    ),
    "a_settlement_releases_the_run_for_later": (
        runs(planted.ReleasesAtOnce),
        after(RunState.READY, crashes=lambda run, update, due: run.crashes + 1),
    ),
    "a_settlement_suspends_the_run_unless_a_message_arrived": (ignores_the_counter,),
    "a_settlement_by_another_worker_is_refused": (
        ruled("is_held", lambda right, run, settlement: right(run, replace(settlement, worker=run.worker))),
    ),
    "a_settlement_by_an_earlier_claim_is_refused": (
        ruled("is_held", lambda right, run, settlement: right(run, replace(settlement, attempt=run.attempt))),
        ruled("is_held", lambda right, run, settlement: run.attempt == settlement.attempt),
    ),
    "a_settlement_of_an_ended_or_unknown_run_is_refused": (
        ruled(
            "is_held", lambda right, run, settlement: right(replace(run, state=RunState.RUNNING, worker=1), settlement)
        ),
    ),
    "a_repeated_settlement_is_accepted_and_changes_nothing": (
        ruled("was_settled", lambda right, *given: False),
        ruled("is_held", lambda right, run, settlement: run.attempt == settlement.attempt),
    ),
    "a_repeated_settlement_of_a_run_that_was_woken_is_accepted": (
        ruled("was_settled", lambda right, run, settlement: run.state == settlement.state),
        ruled("was_settled", lambda right, *given: True),
    ),
    "a_thread_ends_with_its_first_run_that_is_settled": (
        ruled("thread_after_settlement", lambda right, thread, *rest: thread),
        ruled("thread_after_settlement", lambda right, *given: replace(right(*given), error=None)),
        ruled("thread_after_settlement", lambda right, *given: replace(right(*given), status_since=0)),
    ),
    "a_thread_ends_with_its_run_that_has_begun": (
        ruled(
            "thread_after_settlement",
            lambda right, thread, run, *rest: right(thread, replace(run, first_checkpoint=0), *rest),
        ),
    ),
    "a_settlement_before_the_first_checkpoint_leaves_a_used_thread_as_it_was": (
        ruled(
            "thread_after_settlement",
            lambda right, thread, run, *rest: right(thread, replace(run, first_checkpoint=1), *rest),
        ),
    ),
    "a_failed_thread_is_running_again_once_its_run_is_retried": (
        ruled("reopens_thread", lambda right, state, thread: thread.status == "cancelled"),
        ruled("reopened_thread", lambda right, thread, at: replace(right(thread, at), error=thread.error)),
    ),
    # Messages
    "a_message_is_recorded_once_for_its_key": (runs(planted.IgnoresKeysOfMessages), runs(planted.IgnoresTopicsOfKeys)),
    "of_simultaneous_messages_with_a_key_one_is_recorded": (runs(planted.FindsMessagesTooEarly),),
    "messages_are_read_by_topic_in_the_order_of_their_arrival": (
        runs(planted.ReadsAllTopics),
        runs(planted.ReadsByKey),
    ),
    "a_message_needs_an_unfinished_run": (runs(planted.SendsToAnyThread), runs(planted.TellsNoCancellation)),
    "a_sent_message_wakes_the_run": (
        runs(planted.SendsWithoutWaking),
        runs(planted.WakesByKnownMessages),
        ignores_the_counter,
    ),
    "a_message_is_taken_with_the_save_of_its_record": (
        made(savers.TakesNoMessages),
        made(savers.TakesAllMessages),
        made(savers.ForgetsKeysOfTakenMessages),
    ),
    "a_refused_save_takes_no_message": (made(savers.TakesByRefusedSaves),),
    "a_new_run_has_the_messages_that_nobody_took": (
        ruled("accepted_run", lambda right, *given, **named: right(*given, **{**named, "inbox": 0})),
    ),
    "messages_are_deleted_with_their_thread_and_not_copied": (
        made(savers.KeepsMessagesOfDeletedThreads),
        made(savers.CopiesMessages),
    ),
    "a_loaded_thread_tells_its_unfinished_run": (
        made(savers.TellsNoRuns),
        made(savers.TellsRunsOfTheHeadOnly),
    ),
    # Workers
    "a_heartbeat_renews_the_lease": (runs(planted.NeverRenews),),
    "a_heartbeat_of_a_lost_lease_is_refused": (runs(planted.RegistersByHeartbeats), runs(planted.LeasesNeverEnd)),
    "workers_with_a_lease_are_counted": (runs(planted.CountsAllWorkers), runs(planted.UnregistersNobody)),
    "a_heartbeat_has_the_requests_to_the_runs_of_its_worker": (
        runs(planted.KeepsRequestsToItself),
        runs(planted.TellsRequestsToAll),
        runs(planted.TellsRequestsOnce),
    ),
    "a_release_gives_the_runs_back_without_a_crash": (
        runs(planted.ReleasesAreCrashes),
        runs(planted.ReleasesAll),
        ruled("released", lambda right, run, now: right(run, NEVER)),
    ),
    "an_unregistered_worker_releases_its_runs": (
        runs(planted.UnregistersWithoutARelease),
        runs(planted.UnregistersNobody),
    ),
    "a_lease_is_renewed_beside_the_event_loop": (runs(planted.HasItsOwnLeasesBeside),),
    "every_call_is_possible_beside_the_event_loop": (runs(planted.HasItsOwnThreadsBeside),),
    "a_sweep_frees_the_runs_of_dead_workers_once": (
        runs(planted.SweepsAgainAndAgain),
        runs(planted.SweepsTheLiving),
        ruled("after_sweep", lambda right, run, freed: replace(right(run, freed), crashes=run.crashes)),
    ),
    "a_worker_without_runs_is_swept": (runs(planted.SweepsOnlyHolders),),
    "a_freed_run_goes_on_from_its_checkpoint": (draws_one_epoch,),
    "crashes_are_counted_until_there_is_progress": (
        ruled("freed", lambda right, **given: right(**{**given, "has_moved": False})),
        ruled("freed", lambda right, **given: right(**{**given, "has_moved": True})),
        ruled("has_moved", lambda right, thread, version, writes: right(thread, 0, 0)),
    ),
    "recorded_results_are_progress": (
        ruled("has_moved", lambda right, thread, version, writes: thread.version > version),
    ),
    "progress_before_a_release_resets_the_count_of_crashes": (
        ruled("claimed", lambda right, run, *rest, **named: replace(right(run, *rest, **named), crashes=run.crashes)),
        ruled("claimed", lambda right, run, *rest, **named: replace(right(run, *rest, **named), crashes=0)),
    ),
    "a_first_crash_delays_no_claim": (ruled("pause_after", lambda right, crashes: planted.HOUR),),
    "repeated_crashes_delay_the_next_claim": (
        ruled("pause_after", lambda right, crashes: 0),
        ruled("pause_after", lambda right, crashes: right(min(crashes, 2))),
    ),
    "a_run_without_progress_is_quarantined": (
        ruled("freed", lambda right, **given: right(**{**given, "most": 1 << 40})),
        ruled("freed", lambda right, **given: right(**{**given, "most": given["most"] + 1})),
        ruled("freed", lambda right, **given: right(**{**given, "nodes": "[]"})),
        ruled("after_sweep", lambda right, run, freed: replace(right(run, freed), ended_at=0)),
    ),
    "a_freed_run_keeps_the_request_to_it": (
        ruled("after_sweep", lambda right, *given: replace(right(*given), request=0)),
        ruled("released", lambda right, *given: replace(right(*given), request=0)),
    ),
    "a_swept_worker_leaves_its_run_to_the_next_claim": (
        after(RunState.RUNNING, state=RunState.RUNNING),
        after(RunState.RUNNING, checkpoint=0),
    ),
    "a_swept_worker_does_not_change_a_quarantined_run": (
        ruled("row_after", lambda right, run, *rest: right(replace(run, state=RunState.RUNNING), *rest)),
    ),
    # Cancelling and retrying
    "a_run_that_has_not_begun_is_cancelled_with_its_new_thread": (
        ruled("thread_after_cancel", lambda right, thread, *rest: thread),
        ruled("thread_after_cancel", lambda right, thread, *rest: replace(right(thread, *rest), epoch=thread.epoch)),
    ),
    "a_run_that_has_not_begun_is_cancelled_without_its_older_thread": (
        ruled(
            "thread_after_cancel",
            lambda right, thread, run, *rest: right(thread, replace(run, first_checkpoint=1), *rest),
        ),
    ),
    "a_cancelled_run_is_fenced_from_a_worker_that_lost_it": (
        ruled("thread_after_cancel", lambda right, thread, run, *rest: right(thread, replace(run, attempt=0), *rest)),
    ),
    "a_waiting_run_is_cancelled_with_its_thread": (
        ruled("thread_after_cancel", lambda right, thread, *rest: thread),
        ruled("thread_after_cancel", lambda right, thread, *rest: replace(right(thread, *rest), epoch=thread.epoch)),
    ),
    "the_holder_of_a_running_run_is_asked_to_cancel_it": (
        runs(control.CancelsTheRunning),
        runs(control.AsksNobody),
        after(RunState.CANCELLED, request=lambda run, update, due: run.request),
        after(RunState.RUNNING, request=0),
    ),
    "a_cancelled_run_has_the_reason_of_the_first_caller": (
        after(RunState.CANCELLED, error=lambda run, update, due: update.error),
        after(RunState.READY, error=None),
        ruled("asked_to_cancel", lambda right, run, reason: replace(right(run, reason), error=reason)),
    ),
    "a_run_that_is_done_before_its_cancellation_has_no_reason": (
        after(RunState.DONE, error=lambda run, update, due: run.error),
    ),
    "an_ended_or_unknown_run_is_not_cancelled": (runs(control.CancelsTheEnded),),
    "a_failed_run_is_retried": (
        ruled("can_be_retried", lambda right, run, last: run.state == RunState.CANCELLED),
        ruled("retried", lambda right, run, *rest, **named: replace(right(run, *rest, **named), deadline=run.deadline)),
        ruled("retried", lambda right, run, *rest, **named: replace(right(run, *rest, **named), error=run.error)),
        ruled("retried", lambda right, run, *rest, **named: replace(right(run, *rest, **named), ended_at=run.ended_at)),
    ),
    "a_cancelled_run_is_retried_with_its_thread": (
        ruled("reopens_thread", lambda right, state, thread: False),
        ruled("retried", lambda right, *given, **named: replace(right(*given, **named), request=1)),
    ),
    "a_quarantined_run_is_retried": (
        ruled("can_be_retried", lambda right, run, last: run.state != RunState.QUARANTINED and right(run, last)),
        ruled("retried", lambda right, run, *rest, **named: replace(right(run, *rest, **named), crashes=run.crashes)),
    ),
    "only_a_run_without_a_result_is_retried": (
        ruled("can_be_retried", lambda right, run, last: run.state.is_ended and run.seq == last),
        ruled("can_be_retried", lambda right, run, last: run.state == RunState.RUNNING or right(run, last)),
    ),
    "only_the_last_run_of_a_thread_is_retried": (
        ruled("can_be_retried", lambda right, run, last: right(run, run.seq)),
    ),
    # Listings and deletions
    "a_run_is_found_by_the_id_or_the_key_of_its_thread": (runs(control.FindsByIdOnly),),
    "the_first_unfinished_run_of_a_thread_is_found": (runs(control.FindsTheLast), runs(control.FindsTheEnded)),
    "runs_are_listed_by_thread_and_number": (
        runs(control.ListsOnePage),
        runs(control.ListsByNumber),
        ruled("check_limit", lambda right, limit: None),
    ),
    "runs_are_listed_by_graph_state_and_thread": (
        runs(control.ListsAllGraphs),
        runs(control.ListsAllStates),
        runs(control.ListsAllThreads),
    ),
    "runs_are_listed_by_metadata": (
        ruled("has_metadata", lambda right, run, sought: True),
        ruled("has_metadata", lambda right, run, sought: right(run, sought) or "true" in (run.metadata or "")),
        ruled("has_metadata", control.has_any_of),
        ruled("has_metadata", control.has_equal_values),
        ruled("accepted_run", lambda right, *given, **named: replace(right(*given, **named), metadata=None)),
    ),
    "a_run_has_the_name_of_its_worker": (
        runs(control.NamesNoWorkers),
        runs(control.NamesWorkersInListingsOnly),
    ),
    "runs_are_counted_by_queue_and_state": (
        runs(control.CountsOnlyUnfinishedRuns),
        runs(control.CountsRunsBeforeTheirTime),
    ),
    "a_woken_or_released_run_is_due_since_then": (
        ruled("woken", lambda right, run, at: right(run, 0)),
        ruled("released", lambda right, run, now: right(run, 0)),
    ),
    # Runs that are accepted and claimed in one call
    "an_accepted_run_is_claimed_by_its_worker": (runs(at_once.AcceptsOnly), runs(at_once.LeavesTheRunReady)),
    "a_run_of_a_used_thread_is_claimed_and_fences_its_writers": (
        runs(at_once.FencesNobody),
        runs(at_once.ForgetsTheVersion),
    ),
    "a_run_that_is_claimed_at_once_after_a_first_run_that_failed_has_the_row_of_its_thread": (
        runs(at_once.TellsTheRowOfItsOwn),
        ruled("thread_after_settlement", lambda right, thread, *rest: thread),
    ),
    "a_run_that_is_claimed_at_once_is_released_once_its_worker_is_dead": (
        runs(at_once.ForgetsTheWorker),
        draws_one_epoch,
    ),
    "a_run_that_its_worker_cannot_claim_now_is_accepted_only": (
        runs(at_once.ClaimsForTheDead),
        runs(at_once.ClaimsBeforeTheTime),
    ),
    "a_refused_run_is_not_claimed": (runs(at_once.FencesByRefusedRuns),),
    "a_repeated_acceptance_with_a_claim_is_one_run_and_one_claim": (
        runs(at_once.ClaimsAgain),
        runs(at_once.FencesByRefusedRuns),
    ),
    "many_runs_are_accepted_and_claimed_simultaneously": (
        runs(at_once.AcceptsOnly),
        runs(at_once.ClaimsTheBlocked),
    ),
    # Reads for many runs
    "many_threads_are_loaded_as_each_of_them_is": (
        runs(reads.LoadsOneThread),
        runs(reads.LoadsWithoutRecords),
        runs(reads.LoadsAllThreads),
    ),
    "a_loaded_thread_has_the_epoch_of_the_newest_claim": (runs(reads.LoadsWhatItLoadedBefore),),
    "no_threads_are_loaded_and_no_inboxes_are_read": (runs(reads.LoadsAllThreads),),
    "the_inboxes_of_many_threads_are_read_as_each_of_them_is": (
        runs(reads.ReadsAllTopicsOfMany),
        runs(reads.ReadsOneInbox),
        runs(reads.ReadsEmptyInboxes),
    ),
    "the_claim_of_a_new_thread_has_its_row": (runs(reads.TellsNoRequests), runs(reads.TellsNoRow)),
    "the_first_commit_is_made_on_the_row_that_the_claim_has": (
        runs(reads.TellsNoRow),
        ruled("decide", refuses_first_commits),
    ),
    "the_claim_of_a_thread_whose_row_has_to_be_loaded_has_none": (runs(reads.TellsAnyRow),),
    "a_deleted_thread_has_no_runs": (made(savers.KeepsRunsOfDeletedThreads),),
    "runs_are_not_copied": (made(savers.CopiesRuns),),
}
"""Which savers each clause has to fail on, by the clause's name without `test_`."""
