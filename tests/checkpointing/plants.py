"""The planted bugs on which each clause has to fail."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from durable_graph import MemorySaver
from durable_graph.checkpointing import pruning, rules
from durable_graph.records import CommitResult, Committed, CommitUnit, Conflict, WritesMoved
from tests.checkpointing import planted

replace = msgspec.structs.replace

Plant = Callable[[pytest.MonkeyPatch], MemorySaver]


def ruled(name: str, rule: Callable[..., Any]) -> Plant:
    """A saver with one replaced rule. The replacement receives the original rule and then its arguments."""

    def plant(patch: pytest.MonkeyPatch) -> MemorySaver:
        module = rules if hasattr(rules, name) else pruning
        right = getattr(module, name)
        patch.setattr(module, name, lambda *args, **kwargs: rule(right, *args, **kwargs))
        return MemorySaver()

    return plant


def made(kind: type[MemorySaver]) -> Plant:
    return lambda patch: kind()


def answer_turned(wrong: type, into: CommitResult | None) -> Plant:
    """A saver whose commits return `into` instead of a result of the class `wrong`."""

    def decide(right: Callable[..., Any], unit: CommitUnit, *rest: Any) -> CommitResult | None:
        due: CommitResult | None = right(unit, *rest)
        return into if isinstance(due, wrong) else due

    return ruled("decide", decide)


def is_of_child(right: Callable[..., Any], unit: CommitUnit, *rest: Any) -> CommitResult | None:
    due: CommitResult | None = right(unit, *rest)
    return None if unit.checkpoints[0].row.ns else due


def prunes_needed_rows(right: Callable[..., Any], keys: Any, kept: pruning.Kept) -> set[tuple[str, str, int]]:
    numbers = {no for _, no in kept.checkpoints}
    return {key[:3] for key in right(keys, kept) if key[2] in numbers}


ignores_the_count = ruled("accepts", lambda right, batch, thread: right(replace(batch, wseq=None), thread))
never_conflicts = answer_turned(Conflict, None)
forgets_what_it_applied = answer_turned(Committed, Conflict(0))
signs_what_it_reads = made(planted.SignsWhatItReads)

PLANTS: Mapping[str, tuple[Plant, ...]] = {
    "a_commit_round_trips": (made(planted.Trims),),
    "of_two_writers_at_one_head_one_commits": (never_conflicts,),
    "of_two_writers_of_a_new_thread_one_commits": (never_conflicts,),
    "writers_of_different_namespaces_conflict": (ruled("decide", is_of_child),),
    "a_repeated_commit_is_idempotent": (forgets_what_it_applied,),
    "a_repeated_commit_is_idempotent_after_later_commits": (ruled("needs_read_back", lambda right, *args: False),),
    "the_first_commit_repeated_is_not_a_conflict": (forgets_what_it_applied,),
    "another_epoch_is_a_conflict": (never_conflicts,),
    "a_commit_that_misses_a_task_record_is_writes_moved": (answer_turned(WritesMoved, None),),
    "the_thread_that_comes_back_is_the_thread_as_it_is_stored": (made(planted.ReturnsTheOutdatedThread),),
    "an_outdated_base_changes_no_result": (made(planted.TrustsTheBase),),
    "a_conflict_does_not_fail_concurrent_commits": (made(planted.FailsNeighbours),),
    "checkpoint_numbers_may_have_gaps": (made(planted.RefusesGaps),),
    "one_unit_may_hold_several_checkpoints_of_several_namespaces": (made(planted.StoresTheFirstCheckpointOnly),),
    "a_fork_reads_the_values_of_its_own_branch": (ruled("lineage", lambda right, parents, no: [(1, no)]),),
    "a_fork_keeps_the_old_branch_readable": (made(planted.ForkOverwrites),),
    "a_long_chain_of_updates_is_read_in_few_rows": (made(planted.ReadsEverything),),
    "task_records_are_loaded_with_their_checkpoint": (made(planted.ReadsEverything),),
    "the_first_recorded_result_stands": (ruled("standing", lambda right, before, offered: offered),),
    "a_more_final_result_replaces_a_less_final_one": (
        ruled("standing", lambda right, before, offered: before or offered),
        ruled("standing", lambda right, before, offered: offered),
    ),
    "a_done_record_is_never_replaced": (
        ruled("finality", lambda right, rank, revision: (right(rank, revision)[0], revision)),
    ),
    "equally_final_results_do_not_replace_each_other": (ruled("standing", lambda right, before, offered: offered),),
    "a_repeated_save_is_idempotent": (made(planted.AlwaysBumps),),
    "a_repeated_save_is_idempotent_after_later_commits": (
        ruled("answer_to_late_save", lambda right, batch, thread, stood: Conflict(thread.version)),
    ),
    "records_for_another_checkpoint_are_refused": (ruled("accepts", lambda right, batch, thread: True),),
    "a_refused_record_does_not_change_the_status": (
        ruled("thread_after_save", lambda right, batch, thread, stood, bumped: replace(thread, status=batch.status)),
    ),
    "a_status_can_be_saved_without_records": (made(planted.ForgetsTheStatus),),
    "records_in_a_commit_are_stored": (made(planted.DropsTheRecordsOfCommits),),
    "replanned_tasks_keep_their_records": (made(planted.ForgetsOlderRecords),),
    "of_two_concurrent_answers_one_is_recorded": (ignores_the_count,),
    "a_refused_batch_writes_nothing": (made(planted.AppliesRefusedBatches),),
    "saving_a_status_alone_can_compare_and_swap": (ignores_the_count,),
    "a_batch_that_expects_another_status_is_refused": (
        ruled("accepts", lambda right, batch, thread: right(replace(batch, if_status=None), thread)),
    ),
    "a_repeated_answer_is_idempotent": (
        ruled("answer_to_late_save", lambda right, batch, thread, stood: right(batch, thread, ())),
    ),
    "an_answer_to_another_checkpoint_is_a_conflict": (
        ruled("answer_to_late_save", lambda right, batch, thread, stood: WritesMoved(thread.wseq)),
        ruled("_is_at", lambda right, batch, thread: True),
    ),
    "interrupted_threads_are_listed_until_they_are_answered": (made(planted.ForgetsTheStatus),),
    "missing_threads_and_checkpoints_are_not_found": (made(planted.InventsThreads),),
    "an_older_checkpoint_has_its_own_values": (made(planted.ReadsEverything),),
    "a_removed_value_stays_removed": (made(planted.IgnoresAbsence),),
    "history_is_complete_page_by_page": (made(planted.HasOnePage),),
    "history_pages_are_consistent_during_concurrent_writes": (made(planted.PagesByCounting),),
    "a_page_before_the_first_checkpoint_is_empty": (made(planted.CountsTheBound),),
    "a_page_size_below_one_is_refused": (ruled("check_limit", lambda right, limit: None),),
    "threads_are_listed_by_id_page_by_page": (made(planted.ListsAsCreated),),
    "threads_are_listed_by_status": (ruled("is_listed", lambda right, thread, status, before: True),),
    "threads_are_listed_by_the_time_of_their_status": (made(planted.IgnoresTheTimeWhenListing),),
    "threads_of_a_status_are_paged_in_order_of_its_time": (
        made(planted.ListsAsCreated),
        ruled("check_listing", lambda right, *given: None),
    ),
    "an_unknown_status_is_refused": (ruled("check_listing", lambda right, *given: None),),
    "a_listing_has_the_fields_of_the_last_commit": (
        ruled("thread_after_commit", lambda right, *given: replace(right(*given), next=())),
        ruled("thread_after_commit", lambda right, *given: replace(right(*given), error="it stays")),
        ruled("thread_after_save", lambda right, *given, **named: replace(right(*given, **named), error=None)),
    ),
    "a_deleted_thread_leaves_a_tombstone": (made(planted.DeletesTheTombstone),),
    "a_request_is_found_by_its_key": (made(planted.ForgetsRequests),),
    "a_request_and_its_commit_are_atomic": (made(planted.StoresRequestsOfConflicts),),
    "requests_are_not_copied_and_are_deleted_with_the_thread": (made(planted.CopiesRequests),),
    "a_cancelled_thread_stops_its_run_at_the_next_commit_or_save": (
        ruled("is_bumped", lambda right, batch, thread, replaced: bool(tuple(replaced))),
        ruled(
            "thread_after_save",
            lambda right, batch, *given, **named: (
                right(batch, *given, **named)
                if batch.status != "failed"
                else replace(right(batch, *given, **named), status="failed")
            ),
        ),
    ),
    "a_commit_reopens_a_cancelled_thread": (made(planted.StaysCancelled),),
    "a_purged_thread_leaves_nothing": (made(planted.PurgesNothing),),
    "expired_tombstones_are_removed": (
        made(planted.ForgetsAtOnce),
        made(planted.ForgetsNothing),
    ),
    "deleting_an_unknown_thread_does_nothing": (made(planted.DeletesTheTombstone),),
    "a_delete_that_expects_an_older_version_is_a_conflict": (
        made(planted.DeletesChangedThreads),
        made(planted.DeletesTheTombstone),
    ),
    "a_stale_writer_of_a_deleted_thread_gets_a_conflict": (
        never_conflicts,
        ruled("_is_of_life", lambda right, unit, thread: True),
    ),
    "a_deleted_thread_can_be_created_again": (ruled("_is_of_life", lambda right, unit, thread: unit.incarnation == 0),),
    "a_copy_has_all_rows_of_its_source": (made(planted.CopyDropsRecords),),
    "a_copy_and_its_source_are_independent": (made(planted.CopyShares),),
    "a_copy_does_not_overwrite_a_thread": (made(planted.CopyOverwrites),),
    "a_copy_onto_a_tombstone_refuses_its_stale_writers": (
        ruled("copied", lambda right, source, target, grave, incarnation: right(source, target, None, incarnation)),
    ),
    "pruning_keeps_the_rows_that_kept_checkpoints_use": (ruled("needed_values", prunes_needed_rows),),
    "pruning_keeps_recent_checkpoints": (
        made(planted.IgnoresTheTimeWhenPruning),
        # Ignores `before`: checkpoints that are recent enough are removed as well.
        ruled("_first_since", lambda right, rows, before: len(rows)),
    ),
    "a_pruned_thread_can_be_read_and_continued": (
        ruled("needed_values", prunes_needed_rows),
        ruled("thread_after_prune", lambda right, thread, floor: replace(thread, gen=thread.gen + 1)),
    ),
    "pruning_removes_other_branches": (ruled("is_within", lambda right, intervals, no: True),),
    "a_fork_of_a_pruned_checkpoint_is_a_conflict": (
        ruled("thread_after_prune", lambda right, thread, floor: replace(thread, floor=floor)),
    ),
    "pruning_leaves_at_least_one_checkpoint": (ruled("check_keep_last", lambda right, keep_last: None),),
    "namespaces_are_separate": (made(planted.ReadsNamesLoosely),),
    "nested_checkpoints_may_precede_the_first_root_checkpoint": (
        ruled("begins_thread", lambda right, thread: right(thread) or not thread.head),
    ),
    "a_commit_without_a_root_checkpoint_keeps_the_head": (
        ruled("thread_after_commit", lambda right, unit, *rest: replace(right(unit, *rest), head=unit.version)),
    ),
    "one_commit_holds_records_of_several_namespaces": (made(planted.KeepsTheRootsRecordsOnly),),
    "records_can_be_saved_without_a_checkpoint": (made(planted.NeedsACheckpoint), made(planted.ReversesRecords)),
    "a_namespace_has_a_history_of_its_own": (made(planted.MixesHistories),),
    "a_fork_excludes_later_checkpoints": (made(planted.FallsBack),),
    "a_fork_of_a_nested_checkpoint_moves_the_head_back": (ruled("needs_forked_head", lambda right, unit: False),),
    "the_digest_of_the_head_covers_task_records": (
        ruled("sum_with", lambda right, total, *rest: total),
        ruled("is_bare", lambda right, unit, born, head: True),
    ),
    "deleting_removes_every_namespace": (made(planted.DeletesTheRootOnly),),
    "a_copy_has_every_namespace": (made(planted.CopyDropsNamespaces), made(planted.CopyDropsRecords)),
    "pruning_removes_the_namespaces_of_finished_tasks": (
        ruled("is_reachable", lambda right, ns, born, intervals: True),
    ),
    "pruning_keeps_the_namespaces_of_unfinished_tasks": (
        ruled("is_reachable", lambda right, ns, born, intervals: False),
        ruled("caller_of", lambda right, ns: None),
    ),
    "a_nested_checkpoint_of_a_pruned_root_cannot_be_forked": (
        ruled("decide", lambda right, unit, thread, *rest: right(unit, thread and replace(thread, floor=0), *rest)),
    ),
    "pruning_removes_the_namespaces_of_other_branches": (ruled("is_within", lambda right, intervals, no: True),),
    "a_cancelled_commit_is_atomic": (made(planted.TearsCommits),),
    "a_cancelled_save_is_atomic": (made(planted.TearsSaves),),
    "cancelled_maintenance_is_atomic": (made(planted.TearsCopies),),
    "a_cancelled_read_releases_its_resources": (made(planted.StaysInsideTransactions),),
    "a_cancelled_caller_does_not_cancel_concurrent_calls": (made(planted.ForgetsTheShield),),
    "closing_waits_for_calls_in_progress": (made(planted.DropsOnClose),),
    "a_closed_saver_raises_saver_closed": (made(planted.NeverCloses),),
    "async_with_reopens_a_closed_saver": (made(planted.StaysClosed),),
    "use_from_a_second_running_loop_works_or_is_refused": (made(planted.IsHarmedByAnotherLoop),),
    "a_saver_works_in_another_loop_after_its_loop_closed": (made(planted.BelongsToItsFirstLoop),),
    "a_damaged_value_is_detected": (signs_what_it_reads,),
    "a_missing_value_is_detected": (signs_what_it_reads,),
    "a_damaged_checkpoint_is_detected": (signs_what_it_reads,),
    "a_missing_head_is_detected_in_the_history": (made(planted.HidesDamage),),
    "a_missing_task_record_of_the_head_is_detected_in_the_history": (made(planted.DropsTheBoundOfThePage),),
    "a_namespace_without_its_only_checkpoint_does_not_look_new": (made(planted.HidesMissingCheckpoints),),
    "a_missing_head_does_not_load_an_older_state": (made(planted.FallsBack),),
    "a_missing_checkpoint_is_detected_in_the_history": (made(planted.HidesDamage),),
    "a_damaged_task_record_is_detected": (signs_what_it_reads,),
    "a_missing_task_record_is_detected": (signs_what_it_reads,),
    "a_missing_record_of_a_replanned_task_is_detected": (signs_what_it_reads,),
    "a_missing_record_of_a_namespace_is_detected": (signs_what_it_reads,),
    "a_damaged_record_of_a_call_is_detected": (signs_what_it_reads,),
    "a_missing_branch_is_detected": (signs_what_it_reads,),
}
"""The savers on which each clause has to fail, by the clause's name without `test_`."""
