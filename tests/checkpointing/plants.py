"""Which clause has to fail on which planted bug."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from durable_graph.checkpointing import MemorySaver, pruning, rules
from durable_graph.records import CommitResult, Committed, CommitUnit, Conflict, WritesMoved
from tests.checkpointing import planted

replace = msgspec.structs.replace

Plant = Callable[[pytest.MonkeyPatch], MemorySaver]


def ruled(name: str, rule: Callable[..., Any]) -> Plant:
    """A saver of which one rule is replaced; the replacement gets the right one first, then its arguments."""

    def plant(patch: pytest.MonkeyPatch) -> MemorySaver:
        module = rules if hasattr(rules, name) else pruning
        right = getattr(module, name)
        patch.setattr(module, name, lambda *args, **kwargs: rule(right, *args, **kwargs))
        return MemorySaver()

    return plant


def made(kind: type[MemorySaver]) -> Plant:
    return lambda patch: kind()


def answer_turned(wrong: type, into: CommitResult | None) -> Plant:
    """A saver that gives another answer than the one that is due."""

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
    "what_is_committed_comes_back_as_it_was_given": (made(planted.Trims),),
    "of_two_writers_at_one_head_one_commits": (never_conflicts,),
    "of_two_writers_of_a_new_thread_one_commits": (never_conflicts,),
    "a_writer_of_another_namespace_is_a_second_writer_too": (ruled("decide", is_of_child),),
    "a_repeated_commit_is_answered_as_the_first_time": (forgets_what_it_applied,),
    "a_repeated_commit_is_known_after_the_thread_moved_on": (ruled("needs_read_back", lambda right, *args: False),),
    "the_first_commit_repeated_is_not_a_conflict": (forgets_what_it_applied,),
    "another_epoch_is_a_conflict": (never_conflicts,),
    "a_commit_that_has_not_seen_a_recorded_task_is_sent_back": (answer_turned(WritesMoved, None),),
    "the_thread_that_comes_back_is_the_thread_as_it_is_stored": (made(planted.HandsTheRowBeforeBack),),
    "an_outdated_base_changes_no_result": (made(planted.TrustsTheBase),),
    "a_conflict_does_not_fail_its_neighbours": (made(planted.FailsNeighbours),),
    "numbers_may_have_gaps": (made(planted.RefusesGaps),),
    "one_unit_may_hold_several_checkpoints_of_several_namespaces": (made(planted.TakesTheFirstCheckpointOnly),),
    "a_fork_reads_the_values_of_its_own_branch": (ruled("lineage", lambda right, parents, no: [(1, no)]),),
    "a_fork_leaves_the_old_branch_readable": (made(planted.ForkOverwrites),),
    "a_long_chain_of_updates_is_read_in_few_rows": (made(planted.ReadsEverything),),
    "what_is_recorded_comes_back_with_its_checkpoint": (made(planted.ReadsEverything),),
    "the_first_recorded_result_stands": (ruled("standing", lambda right, before, offered: offered),),
    "a_more_final_result_replaces_a_less_final_one": (
        ruled("standing", lambda right, before, offered: before or offered),
        ruled("standing", lambda right, before, offered: offered),
    ),
    "what_is_done_is_final_whatever_comes_later": (
        ruled("finality", lambda right, rank, revision: (right(rank, revision)[0], revision)),
    ),
    "equally_final_results_do_not_replace_each_other": (ruled("standing", lambda right, before, offered: offered),),
    "a_repeated_save_is_answered_as_the_first_time": (made(planted.AlwaysBumps),),
    "a_repeated_save_is_known_after_the_thread_moved_on": (
        ruled("answer_to_late_save", lambda right, batch, thread, stood: Conflict(thread.version)),
    ),
    "records_on_top_of_another_checkpoint_are_refused": (ruled("accepts", lambda right, batch, thread: True),),
    "a_loser_does_not_change_the_status": (
        ruled("thread_after_save", lambda right, batch, thread, stood, bumped: replace(thread, status=batch.status)),
    ),
    "a_status_may_be_saved_without_records": (made(planted.ForgetsTheStatus),),
    "records_that_ride_in_a_commit_are_kept": (made(planted.DropsRidingRecords),),
    "tasks_that_are_planned_again_keep_their_records": (made(planted.ForgetsOlderRecords),),
    "of_two_answers_one_is_recorded": (ignores_the_count,),
    "a_batch_that_is_sent_back_leaves_nothing": (made(planted.AppliesWhatItSendsBack),),
    "a_status_alone_may_compare_too": (ignores_the_count,),
    "a_batch_for_a_thread_of_another_status_is_sent_back": (
        ruled("accepts", lambda right, batch, thread: right(replace(batch, if_status=None), thread)),
    ),
    "a_repeated_answer_is_known": (
        ruled("answer_to_late_save", lambda right, batch, thread, stood: right(batch, thread, ())),
    ),
    "an_answer_on_top_of_another_checkpoint_is_a_conflict": (
        ruled("answer_to_late_save", lambda right, batch, thread, stood: WritesMoved(thread.wseq)),
        ruled("_is_at", lambda right, batch, thread: True),
    ),
    "threads_that_wait_are_listed_until_they_are_answered": (made(planted.ForgetsTheStatus),),
    "what_never_existed_is_not_found": (made(planted.InventsThreads),),
    "an_older_checkpoint_has_the_values_of_its_time": (made(planted.ReadsEverything),),
    "a_value_that_is_gone_does_not_come_back": (made(planted.IgnoresAbsence),),
    "history_is_complete_page_by_page": (made(planted.HasOnePage),),
    "history_pages_are_sound_while_another_writes": (made(planted.PagesByCounting),),
    "a_page_before_the_first_checkpoint_is_empty": (made(planted.CountsTheBound),),
    "a_page_has_room_for_something": (ruled("check_limit", lambda right, limit: None),),
    "threads_are_listed_by_id_page_by_page": (made(planted.ListsAsCreated),),
    "threads_are_listed_by_status": (ruled("is_listed", lambda right, thread, status, before: True),),
    "threads_are_listed_by_the_time_of_their_status": (made(planted.ListsAnyTime),),
    "threads_of_a_status_are_listed_page_by_page_in_the_order_in_which_they_took_it": (
        made(planted.ListsAsCreated),
        ruled("check_listing", lambda right, *given: None),
    ),
    "a_status_that_there_is_not_is_refused": (ruled("check_listing", lambda right, *given: None),),
    "a_listing_says_what_the_commits_say_of_a_thread": (
        ruled("thread_after_commit", lambda right, *given: replace(right(*given), next=())),
        ruled("thread_after_commit", lambda right, *given: replace(right(*given), error="it stays")),
        ruled("thread_after_save", lambda right, *given, **named: replace(right(*given, **named), error=None)),
    ),
    "a_deleted_thread_leaves_a_tombstone": (made(planted.DeletesTheTombstone),),
    "a_request_is_found_by_its_key": (made(planted.ForgetsRequests),),
    "a_request_is_accepted_with_its_commit_or_not_at_all": (made(planted.AcceptsInAnyCase),),
    "a_copy_has_no_requests_and_a_deletion_removes_them": (made(planted.CopiesRequests),),
    "a_cancelled_thread_stops_its_run_at_the_next_call": (
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
    "a_cancelled_thread_is_reopened_or_begins_again_with_a_commit": (made(planted.StaysCancelled),),
    "a_purged_thread_leaves_nothing": (made(planted.PurgesNothing),),
    "what_a_deletion_left_is_forgotten_after_a_time": (
        made(planted.ForgetsAtOnce),
        made(planted.ForgetsNothing),
    ),
    "deleting_what_never_existed_does_nothing": (made(planted.DeletesTheTombstone),),
    "a_thread_that_has_gone_on_is_not_deleted_by_who_does_not_know": (
        made(planted.DeletesWhatHasGoneOn),
        made(planted.DeletesTheTombstone),
    ),
    "a_writer_that_still_believes_in_a_deleted_thread_is_shut_out": (
        never_conflicts,
        ruled("_is_of_life", lambda right, unit, thread: True),
    ),
    "a_deleted_thread_may_begin_anew": (ruled("_is_of_life", lambda right, unit, thread: unit.incarnation == 0),),
    "a_copy_has_all_that_the_thread_had": (made(planted.CopyDropsRecords),),
    "a_copy_and_its_source_go_separate_ways": (made(planted.CopyShares),),
    "a_copy_overwrites_nothing": (made(planted.CopyOverwrites),),
    "a_copy_onto_a_tombstone_shuts_out_its_writers": (
        ruled("copied", lambda right, source, target, grave, incarnation: right(source, target, None, incarnation)),
    ),
    "pruning_keeps_what_the_kept_need": (ruled("needed_values", prunes_needed_rows),),
    "pruning_keeps_what_is_not_old_enough": (
        made(planted.PrunesOfAnyTime),
        # Each on its own: what follows one that is young enough goes.
        ruled("_first_since", lambda right, rows, before: len(rows)),
    ),
    "a_pruned_thread_is_read_and_gone_on_from": (
        ruled("needed_values", prunes_needed_rows),
        ruled("thread_after_prune", lambda right, thread, floor: replace(thread, gen=thread.gen + 1)),
    ),
    "pruning_removes_other_branches": (ruled("is_within", lambda right, intervals, no: True),),
    "a_fork_from_what_was_pruned_meanwhile_is_a_conflict": (
        ruled("thread_after_prune", lambda right, thread, floor: replace(thread, floor=floor)),
    ),
    "pruning_leaves_at_least_one_checkpoint": (ruled("check_keep_last", lambda right, keep_last: None),),
    "namespaces_are_told_apart": (made(planted.ReadsNamesLoosely),),
    "a_commit_without_a_root_checkpoint_keeps_the_head": (
        ruled("thread_after_commit", lambda right, unit, *rest: replace(right(unit, *rest), head=unit.version)),
    ),
    "records_of_several_namespaces_ride_in_one_commit": (made(planted.KeepsTheRootsRecordsOnly),),
    "records_need_no_checkpoint": (made(planted.NeedsACheckpoint), made(planted.ReversesRecords)),
    "a_namespace_has_a_history_of_its_own": (made(planted.MixesHistories),),
    "a_fork_leaves_behind_what_came_later": (made(planted.FallsBack),),
    "a_fork_of_a_nested_checkpoint_takes_the_head_back": (ruled("needs_forked_head", lambda right, unit: False),),
    "what_the_head_vouches_for_follows_the_thread": (
        ruled("sum_with", lambda right, total, *rest: total),
        ruled("is_bare", lambda right, unit, born, head: True),
    ),
    "deleting_takes_every_namespace": (made(planted.DeletesTheRootOnly),),
    "a_copy_has_every_namespace": (made(planted.CopyDropsNamespaces), made(planted.CopyDropsRecords)),
    "pruning_removes_the_namespaces_of_tasks_that_are_over": (
        ruled("is_reachable", lambda right, ns, born, intervals: True),
    ),
    "pruning_keeps_the_namespaces_of_tasks_that_are_left": (
        ruled("is_reachable", lambda right, ns, born, intervals: False),
        ruled("caller_of", lambda right, ns: None),
    ),
    "what_the_root_has_left_behind_cannot_be_forked": (
        ruled("decide", lambda right, unit, thread, *rest: right(unit, thread and replace(thread, floor=0), *rest)),
    ),
    "pruning_removes_the_namespaces_of_other_branches": (ruled("is_within", lambda right, intervals, no: True),),
    "a_cancelled_commit_is_whole_or_absent": (made(planted.TearsCommits),),
    "a_cancelled_save_is_whole_or_absent": (made(planted.TearsSaves),),
    "cancelled_upkeep_is_whole_or_absent": (made(planted.TearsCopies),),
    "a_cancelled_read_leaves_nothing_behind": (made(planted.StaysInsideTransactions),),
    "a_caller_that_is_cancelled_takes_no_neighbour_with_it": (made(planted.ForgetsTheShield),),
    "closing_finishes_what_was_begun": (made(planted.DropsOnClose),),
    "a_closed_saver_says_so": (made(planted.NeverCloses),),
    "a_closed_saver_is_opened_again_by_async_with": (made(planted.StaysClosed),),
    "another_live_loop_may_use_a_saver_or_is_refused": (made(planted.IsHarmedByAnotherLoop),),
    "a_saver_goes_on_in_another_loop_when_its_own_is_closed": (made(planted.BelongsToItsFirstLoop),),
    "a_damaged_value_is_noticed": (signs_what_it_reads,),
    "a_vanished_value_is_noticed": (signs_what_it_reads,),
    "a_damaged_checkpoint_is_noticed": (signs_what_it_reads,),
    "a_vanished_head_is_missing_from_the_history": (made(planted.HidesDamage),),
    "a_vanished_record_of_the_head_is_noticed_in_the_history": (made(planted.DoesNotSayWhichPage),),
    "a_namespace_whose_only_checkpoint_vanished_has_not_never_begun": (made(planted.ForgetsWhatVanished),),
    "a_vanished_head_is_not_an_older_state": (made(planted.FallsBack),),
    "a_vanished_checkpoint_is_noticed_in_the_history": (made(planted.HidesDamage),),
    "a_damaged_task_record_is_noticed": (signs_what_it_reads,),
    "a_vanished_task_record_is_noticed": (signs_what_it_reads,),
    "a_vanished_record_of_a_task_that_was_planned_again_is_noticed": (signs_what_it_reads,),
    "a_vanished_record_of_a_namespace_is_noticed": (signs_what_it_reads,),
    "a_damaged_record_of_a_call_is_noticed": (signs_what_it_reads,),
    "a_vanished_line_is_noticed": (signs_what_it_reads,),
}
"""Which savers each clause has to fail on, by the clause's name without `test_`."""
