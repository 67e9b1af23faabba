"""Which clause of the retention of runs, and of runs that cancel others, has to fail on which planted bug."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from durable_graph.checkpointing import pruning
from durable_graph.run_records import NEVER, RunState
from tests.checkpointing import planted_run_retention as retention
from tests.checkpointing.run_plants import Plant, after, draws_one_epoch, made, ruled, runs

replace = msgspec.structs.replace


def begins_from(rule: Callable[..., Any]) -> Plant:
    """A saver whose new runs begin from a wrong checkpoint if they cancel others."""
    return ruled("_begins_from", rule)


def _fenced(way: Any) -> Any:
    return way._replace(thread=replace(way.thread, epoch=way.thread.epoch + 1))


def _late(right: Callable[..., Any], run: Any, now: int) -> bool:
    return bool(right(run, now)) and run.state != RunState.BLOCKED


def _executed(right: Callable[..., Any], run: Any, now: int) -> bool:
    return run.deadline <= now and not run.state.is_ended


def _fails_the_thread(right: Callable[..., Any], thread: Any, run: Any, epoch: int, at: int) -> Any:
    return right(thread, replace(run, state=RunState.READY, first_checkpoint=1), epoch, at)


RETENTION_PLANTS: Mapping[str, tuple[Plant, ...]] = {
    # Deadlines
    "a_deadline_counts_from_the_time_at_which_the_run_is_due": (
        ruled(
            "accepted_run",
            lambda right, run, *given, **named: replace(
                right(run, *given, **named), deadline=right(run, *given, **named).deadline - run.delay
            ),
        ),
    ),
    "the_next_deadline_is_that_of_the_runs_that_no_worker_executes": (
        ruled("is_overdue", _late),
        ruled("is_overdue", _executed),
        runs(retention.HasNoNextDeadline),
    ),
    "a_blocked_run_fails_at_its_deadline": (
        ruled("is_overdue", _late),
        ruled("thread_after_deadline", _fails_the_thread),
        ruled("failed_by_deadline", lambda right, run: replace(right(run), error=None)),
    ),
    "a_run_that_is_ready_or_waits_fails_at_its_deadline_with_its_thread": (
        ruled("thread_after_deadline", lambda right, thread, *given: thread),
        ruled("is_overdue", lambda right, run, now: run.state == RunState.BLOCKED and right(run, now)),
        ruled("is_overdue", lambda right, run, now: right(run, NEVER - 1)),
    ),
    "a_waiting_run_fails_at_its_deadline_and_its_holder_is_fenced": (
        ruled("thread_after_deadline", lambda right, thread, run, epoch, at: right(thread, run, thread.epoch, at)),
        ruled("is_overdue", lambda right, run, now: run.state != RunState.WAITING and right(run, now)),
    ),
    "a_run_that_a_worker_executes_and_one_that_has_ended_are_left": (
        ruled("is_overdue", _executed),
        ruled("is_overdue", lambda right, run, now: run.deadline <= now and run.state != RunState.RUNNING),
    ),
    "the_earliest_deadlines_are_applied_first": (
        runs(retention.FailsTheLatestFirst),
        ruled("check_limit", lambda right, limit: None),
    ),
    # Retention and repairs
    "an_ended_run_is_deleted_after_its_time": (
        ruled("is_expired", lambda right, run, before: False),
        ruled("is_expired", lambda right, run, before: right(run, NEVER)),
        ruled("is_expired", lambda right, run, before: run.state == RunState.DONE and right(run, before)),
        made(retention.ForgetsThreads),
    ),
    "unfinished_and_quarantined_runs_are_not_deleted": (
        ruled("is_expired", lambda right, run, before: run.ended_at <= before),
        ruled("is_expired", lambda right, run, before: run.state.is_ended and run.ended_at <= before),
    ),
    "the_runs_that_ended_first_are_deleted_first": (
        runs(retention.ForgetsAll),
        runs(retention.ForgetsTheNewest),
        ruled("check_limit", lambda right, limit: None),
    ),
    "a_run_whose_worker_has_a_wrong_clock_is_not_deleted_early": (
        ruled("is_expired", lambda right, run, before: right(replace(run, accepted_at=0), before)),
    ),
    "a_key_is_deleted_with_its_run": (runs(retention.KeepsRequests), runs(retention.ForgetsAllRequests)),
    "a_run_that_has_ended_is_deleted_alone": (
        runs(retention.DeletesUnfinishedRuns),
        runs(retention.DeletesAllRunsOfTheThread),
        runs(retention.DeletesNoRun),
        runs(retention.DeletesWithoutRequests),
    ),
    "a_quarantined_run_is_not_deleted": (runs(retention.DeletesUnfinishedRuns),),
    "the_number_of_a_deleted_message_is_not_used_again": (runs(retention.CountsTheMessagesThatItHas),),
    "the_key_of_a_message_that_was_taken_long_ago_is_deleted": (
        runs(retention.KeepsKeysOfMessages),
        runs(retention.ForgetsKeysOfMessages),
    ),
    "a_prune_keeps_the_results_of_runs": (
        ruled("needed_by", lambda right, given: right([])),
        ruled("needed_by", lambda right, given: right((4, *each[1:]) for each in [*given, (4, 1, None)])),
        ruled("needed_values", lambda right, keys, keeps: right(keys, keeps._replace(results=()))),
    ),
    "a_prune_keeps_the_result_of_a_run_on_another_branch": (
        ruled("needed_by", lambda right, given: right([])),
        ruled("kept", retention.keeps_no_other_branches),
        ruled("_results", lambda right, ordered, results, root: tuple(sorted(set(results) - root))),
    ),
    "a_listed_thread_with_an_unfinished_run_is_not_deleted": (made(retention.DeletesWhatItListed),),
    "a_run_that_waits_for_a_message_in_the_inbox_is_repaired": (
        ruled("is_stuck", lambda right, run, unread, *, is_first: right(run, (), is_first=is_first)),
        ruled("repaired", lambda right, run, now: replace(right(run, now), due=run.due)),
    ),
    "a_run_that_waits_for_other_messages_is_not_repaired": (
        ruled("is_stuck", lambda right, run, unread, *, is_first: bool(unread)),
        ruled("is_stuck", lambda right, run, *rest, **named: run.waits_on is None or right(run, *rest, **named)),
    ),
    "a_blocked_run_without_an_earlier_one_is_repaired": (
        ruled("is_stuck", lambda right, run, unread, *, is_first: right(run, unread, is_first=False)),
        ruled("is_stuck", lambda right, run, unread, *, is_first: right(run, unread, is_first=True)),
        ruled("repaired", lambda right, run, now: replace(right(run, now), due=now)),
        ruled("check_limit", lambda right, limit: None),
        runs(retention.RepairsAll),
    ),
    "a_waiting_run_shows_what_it_waits_for": (
        after(waits_on=None),
        ruled("settled", lambda right, *given: replace(right(*given), waits_on=None)),
        after(RunState.CANCELLED, waits_on=lambda run, update, due: run.waits_on),
    ),
    "a_run_whose_holder_was_asked_to_cancel_it_does_not_wait": (
        ruled(
            "row_after",
            lambda right, run, *rest: replace(right(replace(run, request=0), *rest), request=run.request),
        ),
    ),
    "a_fenced_writer_does_not_end_a_repaired_run": (draws_one_epoch,),
    # Runs that cancel others
    "a_run_cancels_the_runs_before_it_that_no_worker_executes": (
        runs(retention.WaitsForOthers),
        runs(retention.CancelsOnlyTheFirst),
        ruled("way_for", lambda right, *given: right(*given)._replace(is_free=False)),
        ruled("reason_of", lambda right, run: ""),
    ),
    "a_run_requests_the_worker_of_the_run_before_it_to_cancel": (
        runs(retention.WaitsForOthers),
        ruled("way_for", lambda right, *given: right(*given)._replace(is_free=True)),
        ruled("way_for", lambda right, run, thread, *rest: _fenced(right(run, thread, *rest))),
    ),
    "a_run_fences_the_writers_of_a_run_that_it_cancels": (
        ruled("way_for", lambda right, run, thread, *rest: right(run, thread, *rest)._replace(thread=thread)),
    ),
    "a_run_begins_from_the_checkpoint_before_the_run_that_it_rolls_back": (
        begins_from(lambda right, run, thread, unfinished, parent: None),
        begins_from(lambda right, run, thread, unfinished, parent: unfinished[0].first_checkpoint),
        begins_from(lambda right, run, thread, unfinished, parent: thread.head),
    ),
    "a_run_rolls_back_a_run_that_has_not_begun_yet": (
        begins_from(lambda right, run, thread, unfinished, parent: parent or None),
        begins_from(lambda right, run, thread, unfinished, parent: parent),
    ),
    "a_run_that_rolls_back_the_first_run_of_its_thread_begins_from_an_empty_state": (
        begins_from(lambda right, run, thread, unfinished, parent: parent or None),
        ruled("new_branch", lambda right, unit, thread: right(replace(unit, fork_of=unit.fork_of or None), thread)),
    ),
    "a_branch_from_an_empty_state_begins_in_a_pruned_thread": (
        ruled("decide", retention.refuses_branches_from_nothing),
    ),
    "a_run_takes_over_the_rollback_of_a_run_that_it_cancels": (
        begins_from(lambda right, run, thread, unfinished, parent: parent or None),
        begins_from(
            lambda right, run, thread, unfinished, parent: (
                None if run.if_busy == "interrupt" else right(run, thread, unfinished, parent)
            )
        ),
    ),
    "a_known_key_cancels_no_run": (runs(retention.CancelsForKnownKeys),),
    "a_repeated_acceptance_cancels_no_run": (runs(retention.CancelsForKnownTokens),),
    "a_run_cannot_roll_back_to_a_pruned_checkpoint": (
        ruled("can_be_rolled_back_to", lambda right, parent, oldest_kept: True),
        runs(retention.CancelsBeforeItRefuses),
    ),
    "a_prune_keeps_the_checkpoint_that_a_run_begins_from": (
        ruled("needed_by", lambda right, given: right([])),
        ruled("needed_by", lambda right, given: pruning.Needed(frozenset({3}))),
    ),
    "a_run_on_a_free_thread_cancels_nothing": (runs(retention.FencesFreeThreads),),
}
"""Which savers each clause has to fail on, by the clause's name without `test_`."""
