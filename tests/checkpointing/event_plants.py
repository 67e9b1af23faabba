"""Which clause of the event logs has to fail on which planted bug."""

from collections.abc import Mapping

from durable_graph import MemorySaver
from durable_graph.checkpointing.memory_events import MemoryEvents
from tests.checkpointing import planted_events as planted


def events(kind: type[MemoryEvents]) -> type[MemorySaver]:
    """A saver with another event log."""

    class WithBug(MemorySaver):
        def __init__(self) -> None:
            super().__init__()
            self.events = kind(self._threads, self._lock, self._binding)

    return WithBug


PLANTS: Mapping[str, tuple[type[MemorySaver], ...]] = {
    # Appending
    "appended_events_are_read_in_the_order_of_their_ids": (events(planted.ReadsInTheOrderOfArrival),),
    "events_that_are_appended_again_are_stored_once": (events(planted.AppendsAgain),),
    "an_earlier_holder_appends_nothing": (events(planted.AppendsForAnybody),),
    "a_worker_whose_lease_has_ended_appends_events_until_its_run_is_claimed": (
        events(planted.AppendsOnlyToRunningRuns),
        events(planted.AppendsForAnybody),
    ),
    "a_quarantined_run_takes_the_events_of_its_worker": (events(planted.AppendsOnlyToRunningRuns),),
    "nothing_is_appended_to_a_run_that_does_not_run": (events(planted.AppendsToRunsThatDoNotRun),),
    "a_save_stores_its_events": (planted.DropsEventsOfSaves, events(planted.ReadsNoRecords)),
    "a_refused_save_stores_no_events": (planted.StoresEventsOfRefusedSaves,),
    "a_commit_stores_its_events": (planted.DropsEventsOfCommits,),
    "a_refused_commit_stores_no_events": (planted.StoresEventsOfRefusedCommits,),
    # Reading
    "a_page_has_the_run_and_its_new_checkpoints": (
        events(planted.ReadsOfTheOutermostGraphOnly),
        events(planted.ReadsWithoutALimit),
        events(planted.ReadsCheckpointsAgain),
    ),
    "a_page_has_the_rows_after_an_event": (
        events(planted.ReadsTheLastRowAgain),
        events(planted.ReadsWithoutALimit),
    ),
    "an_unknown_run_has_no_page": (events(planted.ReadsAnyRun),),
    "a_run_that_has_not_begun_has_no_checkpoints": (events(planted.ReadsCheckpointsOfEarlierRuns),),
    "each_run_has_its_own_events": (
        events(planted.ReadsAnyRun),
        events(planted.ReadsCheckpointsOfEarlierRuns),
        events(planted.KnowsNoLaterRun),
    ),
    "the_results_that_are_events_are_known": (
        events(planted.KnowsAllResults),
        events(planted.KnowsResultsOfAllRuns),
    ),
    "the_tasks_whose_events_are_not_void_are_known": (
        events(planted.KnowsVoidEvents),
        events(planted.KnowsEventsOfCommittedTasks),
        events(planted.ContinuesAtTheFirstPlace),
    ),
    # Following
    "a_heartbeat_returns_the_followed_runs": (events(planted.TellsNoWorker),),
    "a_follower_is_known_once_the_holder_has_stored_an_event": (events(planted.TellsWorkersOnce),),
    "a_follower_is_known_once_a_save_or_a_commit_has_stored_an_event": (
        planted.NotesNoEventsOfSaves,
        planted.NotesNoEventsOfCommits,
    ),
    "the_first_follower_of_a_run_that_waits_stores_the_recorded_results": (
        events(planted.DropsWhatIsRecorded),
        events(planted.FollowsAnew),
    ),
    "only_one_of_simultaneous_first_followers_stores_the_recorded_results": (events(planted.FollowsAnew),),
    "a_follower_that_saw_another_state_is_refused": tuple(
        events(planted.ignoring(field)) for field in ("version", "epoch", "wseq")
    ),
    "an_unknown_run_is_not_followed": (events(planted.FollowsAnything),),
    "events_are_removed_run_by_run": (
        events(planted.RemovesTheEventsOfAllRuns),
        events(planted.RemovesNothing),
    ),
    "events_are_deleted_with_their_run": (planted.KeepsEventsOfForgottenRuns, planted.ForgetsTheEventsOfAllRuns),
    "events_are_deleted_with_their_thread_and_not_copied": (
        planted.KeepsEventsOfDeletedThreads,
        planted.CopiesEvents,
    ),
}
