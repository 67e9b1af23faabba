"""Which clause of the stores of schedules has to fail on which planted bug."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from durable_graph import MemorySaver
from durable_graph.checkpointing import schedule_rules
from durable_graph.checkpointing.memory_schedules import MemorySchedules
from durable_graph.checkpointing.schedule_store import Cause, Fate
from tests.checkpointing import planted_schedules as planted

Plant = Callable[[pytest.MonkeyPatch], type[MemorySaver]]


def schedules(kind: type[MemorySchedules]) -> Plant:
    """A saver with another store of schedules."""

    class WithBug(MemorySaver):
        def __init__(self) -> None:
            super().__init__()
            self.schedules = kind(self.runs, self._lock, self._binding)

    return lambda patch: WithBug


def fates(rule: Callable[[Fate, Any, Any], Fate]) -> Plant:
    """A saver with another rule for what becomes of an occurrence. The rule gets the right fate, the row and the
    firing."""

    def plant(patch: pytest.MonkeyPatch) -> type[MemorySaver]:
        right = schedule_rules.fate_of
        patch.setattr(
            schedule_rules,
            "fate_of",
            lambda row, firing, is_busy: rule(right(row, firing, is_busy=is_busy), row, firing),
        )
        return MemorySaver

    return plant


def instead(wrong: Fate, right: Fate) -> Plant:
    """A saver in which this fate takes the place of another one."""
    return fates(lambda fate, row, firing: wrong if fate is right else fate)


def _fired_behind(fate: Fate, row: Any, firing: Any) -> Fate:
    return Fate.FIRED if fate is Fate.HELD and firing.cause is Cause.NEXT and row.held else fate


def _fired_when_held(fate: Fate, row: Any, firing: Any) -> Fate:
    return Fate.FIRED if fate is Fate.HELD and firing.cause is Cause.HELD else fate


def _all_wait(fate: Fate, row: Any, firing: Any) -> Fate:
    return Fate.HELD if fate is Fate.SKIPPED and row.overlap == "queue_one" else fate


def _refuses_nothing(patch: pytest.MonkeyPatch) -> type[MemorySaver]:
    patch.setattr(schedule_rules, "refused", lambda firing, run, stored: firing)
    return MemorySaver


PLANTS: Mapping[str, tuple[Plant, ...]] = {
    "a_schedule_is_found_by_its_name_and_by_its_id": (schedules(planted.LosesColumns), schedules(planted.FindsNoIds)),
    "the_time_of_a_look_is_that_of_the_runs": (schedules(planted.HasAClockOfItsOwn),),
    "a_second_schedule_of_a_name_is_not_stored": (schedules(planted.ReplacesByCreating),),
    "simultaneous_creations_store_one_schedule": (schedules(planted.CreatesAtOnce),),
    "schedules_are_listed_by_name_in_pages": (
        schedules(planted.ListsByAge),
        schedules(planted.ListsThePageBeforeAgain),
    ),
    "a_replacement_compares_the_revision": (schedules(planted.ReplacesAnyRevision),),
    "a_repeated_replacement_has_the_same_result": (schedules(planted.RefusesRepetitions),),
    "a_deleted_schedule_is_gone_and_its_name_is_free": (
        schedules(planted.DeletesTwice),
        schedules(planted.KeepsDeletedNames),
    ),
    "due_schedules_are_found_by_graph_the_first_one_first": (
        schedules(planted.FindsAllGraphs),
        schedules(planted.FindsInAnyOrder),
    ),
    "the_wait_is_that_for_the_first_schedule": (
        schedules(planted.WaitsForTheLast),
        schedules(planted.WaitsForAnySchedule),
    ),
    "an_occurrence_starts_its_run_and_moves_the_schedule_on": (
        schedules(planted.ForgetsTheRun),
        schedules(planted.StaysAtTheOccurrence),
    ),
    "an_occurrence_is_fired_once": (schedules(planted.FiresAnyRevision),),
    "simultaneous_firings_start_one_run": (schedules(planted.FiresAtOnce),),
    "a_firing_after_a_change_does_nothing": (schedules(planted.FiresAnyRevision),),
    "a_firing_of_a_deleted_schedule_does_nothing": (schedules(planted.FiresWhatWasDeleted),),
    "missed_occurrences_are_counted": (schedules(planted.ForgetsMissedOccurrences),),
    "an_occurrence_that_cannot_be_fired_is_counted_with_its_reason": (
        schedules(planted.ForgetsTheReason),
        schedules(planted.KeepsTheReason),
    ),
    "a_thread_of_another_graph_refuses_the_run": (_refuses_nothing,),
    "a_trigger_leaves_the_next_occurrence": (schedules(planted.MovesOnByATrigger),),
    "a_paused_schedule_stays_without_a_due_time": (schedules(planted.WakesPausedSchedules),),
    "an_occurrence_is_skipped": (instead(Fate.FIRED, Fate.SKIPPED), instead(Fate.HELD, Fate.SKIPPED)),
    "one_occurrence_waits_and_others_are_skipped": (fates(_all_wait), schedules(planted.PollsLate)),
    "all_occurrences_wait": (instead(Fate.SKIPPED, Fate.HELD),),
    "a_waiting_occurrence_is_fired_once_the_run_has_ended": (fates(_fired_behind), fates(_fired_when_held)),
    "an_occurrence_cancels_the_earlier_run": (schedules(planted.CancelsNothing),),
    "an_occurrence_on_the_thread_of_the_earlier_run_cancels_it": (schedules(planted.CancelsNothing),),
    "occurrences_run_beside_each_other": (
        fates(lambda fate, row, firing: Fate.SKIPPED if row.overlap == "parallel" and row.fired else fate),
    ),
    "a_triggered_run_counts_as_an_earlier_run": (schedules(planted.ForgetsTriggeredRuns),),
}
