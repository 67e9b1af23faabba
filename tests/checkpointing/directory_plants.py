"""Which clause of the directories of threads has to fail on which planted bug."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from durable_graph import MemorySaver
from durable_graph.checkpointing import directory_rules, rules
from durable_graph.checkpointing.memory_directory import MemoryDirectory
from durable_graph.run_records import NEVER, RunState
from tests.checkpointing import planted_directories as planted

replace = msgspec.structs.replace

Plant = Callable[[pytest.MonkeyPatch], type[MemorySaver]]


def made(kind: type[MemorySaver]) -> Plant:
    return lambda patch: kind


def directory(kind: type[MemoryDirectory]) -> Plant:
    """A saver with another directory."""

    class WithBug(MemorySaver):
        def __init__(self) -> None:
            super().__init__()
            self.directory = kind(self._threads, self._lock, self._binding)

    return lambda patch: WithBug


def ruled(name: str, rule: Callable[..., Any]) -> Plant:
    """A saver of which one rule is replaced; the replacement gets the right one first, then its arguments."""

    def plant(patch: pytest.MonkeyPatch) -> type[MemorySaver]:
        module = directory_rules if hasattr(directory_rules, name) else rules
        right = getattr(module, name)
        patch.setattr(module, name, lambda *args, **kwargs: rule(right, *args, **kwargs))
        return MemorySaver

    return plant


def status_of_run(rule: Callable[..., Any]) -> Plant:
    """A saver with another rule for the status of a thread with an unfinished run. The rule gets the right one, then
    the run."""
    return ruled("_status_of_run", lambda right, run: (rule(lambda other: right(other)[0], run), None))


def _searched_as(**fields: Any) -> Callable[..., bool]:
    def has_all(right: Callable[..., bool], query: Any, entry: Any, entries: Any) -> bool:
        return right(query, replace(entry, **{name: field(entry) for name, field in fields.items()}), entries)

    return has_all


PLANTS: Mapping[str, tuple[Plant, ...]] = {
    # Creating
    "a_created_thread_has_its_metadata_and_no_checkpoint": (
        directory(planted.CreatesWithoutMetadata),
        directory(planted.CreatesNoRow),
        ruled("created_thread", lambda right, new, grave, at: right(new, grave, 1)),
        ruled("created_thread", lambda right, new, grave, at: replace(right(new, grave, at), head=1)),
    ),
    "a_thread_that_exists_is_not_created_again": (directory(planted.CreatesAgain),),
    "a_repeated_creation_changes_nothing": (
        directory(planted.CountsRepeatedCreationsAsOld),
        directory(planted.CreatesAgain),
    ),
    "of_two_simultaneous_creations_one_is_new": (directory(planted.CreatesAgainAtOnce),),
    "a_created_thread_takes_commits_and_keeps_its_metadata": (
        made(planted.CommitsForgetMetadata),
        made(planted.CommitsMakeNewThreads),
    ),
    "a_created_thread_takes_a_run_of_any_graph_and_keeps_its_metadata": (
        made(planted.AcceptancesForgetMetadata),
        directory(planted.KeepsTheGraph),
    ),
    "a_thread_that_was_never_created_is_found": (
        directory(planted.FindsCheckpointsOnly),
        ruled(
            "entry_of",
            lambda right, info, metadata, first, last: replace(right(info, metadata, first, last), graph=None),
        ),
    ),
    "unknown_and_deleted_threads_are_not_found": (
        directory(planted.FindsTombstones),
        directory(planted.SearchesTombstones),
    ),
    "a_deleted_thread_is_created_again_without_its_metadata_and_its_writers": (
        made(planted.DeletionsKeepMetadata),
        directory(planted.KeepsTheIncarnation),
    ),
    # Updating
    "an_update_replaces_keys_and_keeps_all_others": (
        directory(planted.ReplacesAll),
        directory(planted.MergesDeeply),
        directory(planted.KeepsOldEntries),
    ),
    "an_update_and_a_commit_change_the_time_of_the_last_change": (
        directory(planted.KeepsTheTime),
        ruled(
            "entry_of",
            lambda right, info, metadata, *runs: replace(
                right(info, metadata, *runs), updated_at=metadata.updated_at or info.updated_at
            ),
        ),
    ),
    "a_thread_that_was_never_created_takes_metadata": (directory(planted.UpdatesCreatedThreadsOnly),),
    "an_update_creates_no_thread": (directory(planted.UpdatesCreateThreads),),
    "an_update_refuses_no_writer": (directory(planted.UpdatesFence), directory(planted.UpdatesMoveWrites)),
    "updates_of_two_processes_keep_all_keys": (directory(planted.LosesUpdates),),
    "metadata_above_the_limit_are_refused": (
        directory(planted.StoresWhatItRefuses),
        ruled("_bounded", lambda right, encoded: encoded.decode()),
        ruled("_bounded", lambda right, encoded: right(encoded + b" " * 1000)[:-1000]),
    ),
    # Deleting, copying, moving
    "a_deletion_removes_the_thread_and_its_metadata": (
        directory(planted.DeletesNothing),
        directory(planted.LeavesNoTombstones),
        made(planted.DeletionsKeepMetadata),
    ),
    "a_thread_with_an_unfinished_run_is_not_deleted": (directory(planted.DeletesBusyThreads),),
    "the_deletion_of_an_unknown_thread_deletes_nothing": (directory(planted.DeletesUnknownThreads),),
    "a_copy_has_metadata_of_its_own": (
        made(planted.CopiesWithoutMetadata),
        made(planted.CopiesWithoutEntries),
    ),
    "an_exported_thread_has_its_metadata": (
        made(planted.ExportsWithoutMetadata),
        made(planted.ImportsWithoutEntries),
    ),
    "a_created_thread_expires_as_a_thread_that_is_done": (
        made(planted.ExpiresThreadsWithRuns),
        ruled("created_thread", lambda right, *given: replace(right(*given), status="running")),
    ),
    # Searching
    "metadata_are_compared_as_json_key_by_key": (
        directory(planted.SearchesByOneEntry),
        ruled("_canonical", lambda right, value: value),
        ruled("_canonical", lambda right, value: int(value) if isinstance(value, bool) else right(value)),
        ruled("_canonical", lambda right, value: str(right(value))),
        ruled("_canonical", lambda right, value: sorted(value) if value in ([1, 2], [2, 1]) else right(value)),
        ruled("entries_of", lambda right, metadata: right({"": list(metadata.values())}) if metadata else ()),
    ),
    "a_prefix_selects_the_ids_that_begin_with_it": (directory(planted.SearchesBelowThePrefix),),
    "ids_select_threads": (
        directory(planted.FindsAllForNoIds),
        directory(planted.IgnoresPrefixesOfIds),
        directory(planted.IgnoresIds),
    ),
    "a_graph_selects_its_threads": (
        directory(planted.IgnoresTheGraph),
        ruled("has_all", _searched_as(graph=lambda entry: None if entry.status == "busy" else entry.graph)),
    ),
    "all_conditions_have_to_be_fulfilled": (
        directory(planted.SearchesByOneEntry),
        directory(planted.IgnoresPrefixesOfIds),
        directory(planted.IgnoresTheGraph),
        directory(planted.IgnoresTheStatusOfIds),
        directory(planted.IgnoresIds),
        directory(planted.CountsAll),
    ),
    "threads_are_sorted_in_both_directions_and_then_by_id": (
        directory(planted.SortsByIdOnly),
        directory(planted.SortsAscending),
        directory(planted.SortsIdsAscendingOnly),
        ruled(
            "page_of", lambda right, entries, sort_by, **named: right(entries, sort_by.replace("upd", "cre"), **named)
        ),
    ),
    "pages_follow_each_other": (directory(planted.IgnoresTheOffset), directory(planted.IgnoresTheLimit)),
    "impossible_pages_are_refused": (ruled("check_page", lambda right, limit, offset: None),),
    "a_found_thread_fulfils_the_conditions_as_it_is_returned": (directory(planted.ReadsInTwoSteps),),
    # The status
    "a_thread_without_runs_has_the_status_of_its_row": (
        directory(planted.IgnoresTheStatus),
        ruled("_status_of", lambda right, info, *runs: right(replace(info, status="done"), *runs)),
        ruled("_status_of", lambda right, info, *runs: (right(info, *runs)[0], None)),
        ruled("has_all", _searched_as(status=lambda entry: "error" if entry.status == "busy" else entry.status)),
    ),
    "a_thread_with_a_run_that_is_executed_or_will_be_is_busy": (
        ruled("_status_of", lambda right, info, first, last: right(info, None, last)),
        status_of_run(
            lambda right, run: "idle" if run.state == RunState.READY and run.due > run.ended_at else right(run)
        ),
        status_of_run(lambda right, run: "interrupted" if run.state == RunState.RUNNING else right(run)),
    ),
    "a_thread_with_a_run_that_waits_is_interrupted_if_only_a_caller_can_continue_it": (
        status_of_run(lambda right, run: "busy"),
        status_of_run(lambda right, run: "interrupted" if run.state == RunState.WAITING else right(run)),
        status_of_run(lambda right, run: right(replace(run, deadline=NEVER))),
        status_of_run(lambda right, run: right(replace(run, due=run.deadline))),
        status_of_run(lambda right, run: "interrupted" if '"interrupts' in (run.waits_on or "") else right(run)),
        ruled("has_all", _searched_as(status=lambda entry: "busy" if entry.thread.startswith("br") else entry.status)),
    ),
    "the_first_unfinished_run_decides": (
        ruled("_status_of", lambda right, info, first, last: right(info, last, last)),
    ),
    "a_thread_is_in_error_after_its_last_run_failed": (
        ruled("_status_of", lambda right, info, first, last: right(info, first, None)),
        ruled("_status_of", lambda right, info, first, last: (right(info, first, last)[0], info.error)),
        ruled("_status_of", lambda right, info, first, last: right(info, None, last)),
    ),
    "a_thread_is_in_error_after_its_last_run_was_quarantined": (
        ruled("_status_of", lambda right, info, first, last: right(info, first, None)),
        ruled("_status_of", lambda right, info, first, last: (right(info, first, last)[0], info.error)),
    ),
    "a_commit_after_the_failure_of_a_run_ends_the_error": (
        ruled(
            "_status_of",
            lambda right, info, first, last: right(info, first, last and replace(last, ended_at=NEVER)),
        ),
    ),
    "a_thread_whose_runs_have_ended_has_the_status_of_its_row": (
        ruled(
            "_status_of",
            lambda right, info, first, last: ("error", "ended") if first is None and last else right(info, first, last),
        ),
        ruled("_status_of", lambda right, info, first, last: right(info, first or last, last)),
    ),
}
"""Which savers each clause has to fail on, by the clause's name without `test_`."""
