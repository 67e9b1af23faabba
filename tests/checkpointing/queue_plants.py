"""Which clause of the queues with limits has to fail on which planted bug."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from durable_graph import MemorySaver
from durable_graph.checkpointing import queue_rules, run_rules
from durable_graph.checkpointing.memory_queues import MemoryQueues
from durable_graph.checkpointing.memory_runs import MemoryRuns
from tests.checkpointing import planted_queues as planted

Plant = Callable[[pytest.MonkeyPatch], type[MemorySaver]]


def queues(kind: type[MemoryQueues]) -> Plant:
    """A saver with other queues."""

    class WithBug(MemorySaver):
        def __init__(self) -> None:
            super().__init__()
            self.queues = kind(self._threads, self._lock, self._binding, self.runs)

    return lambda patch: WithBug


def runs(kind: type[MemoryRuns]) -> Plant:
    """A saver with other runs."""

    class WithBug(MemorySaver):
        def __init__(self) -> None:
            super().__init__()
            self.runs = kind(self._threads, self._lock, self._binding)
            self.queues = MemoryQueues(self._threads, self._lock, self._binding, self.runs)

    return lambda patch: WithBug


def ruled(name: str, rule: Callable[..., Any]) -> Plant:
    """A saver of which one rule is replaced; the replacement gets the right one first, then its arguments."""

    def plant(patch: pytest.MonkeyPatch) -> type[MemorySaver]:
        module = queue_rules if hasattr(queue_rules, name) else run_rules
        right = getattr(module, name)
        patch.setattr(module, name, lambda *args, **kwargs: rule(right, *args, **kwargs))
        return MemorySaver

    return plant


PLANTS: Mapping[str, tuple[Plant, ...]] = {
    # Limits of running runs
    "a_queue_has_no_more_running_runs_than_its_limit": (
        ruled("free_slots", planted.free_without_concurrency),
        ruled("wait_after", lambda right, *args: (True, right(*args)[1] or 0)),
    ),
    "a_key_has_no_more_running_runs_than_its_limit": (ruled("_is_full", lambda right, *args: False),),
    "a_limit_of_each_key_is_none_of_runs_without_a_key": (ruled("_is_full", planted.full_without_keys),),
    "a_key_that_is_full_leaves_the_slots_to_others": (ruled("chosen", planted.chosen_of_the_first),),
    "a_key_is_full_over_all_priorities": (ruled("chosen", planted.chosen_by_priority_alone),),
    "a_run_that_waits_has_no_slot": (queues(planted.CountsWaitingRuns),),
    "a_run_of_a_worker_whose_lease_ended_has_no_slot": (queues(planted.CountsLostRuns),),
    "simultaneous_claims_keep_the_limit": (queues(planted.CountsBeforeItWaits),),
    "an_acceptance_claims_no_run_of_a_queue_with_limits": (runs(planted.ClaimsAtOnce),),
    # Rates
    "no_window_has_more_starts_than_the_rate": (
        ruled("starts_within", planted.starts_in_half_the_window),
        ruled("starts_within", planted.starts_for_ever),
        ruled("wait_for_rate", lambda right, *args: 0),
    ),
    "a_start_counts_after_its_run_has_ended": (ruled("free_slots", planted.free_by_running_runs),),
    "a_continuation_counts_for_the_rate": (queues(planted.LimitsFirstAttempts),),
    "a_high_rate_is_kept_in_every_window": (ruled("with_starts", planted.starts_with_the_first_time),),
    "a_clock_that_is_set_back_stops_no_queue": (ruled("starts_within", planted.starts_of_the_future),),
    # Declarations
    "the_newest_declaration_holds": (queues(planted.KeepsTheFirstDeclaration),),
    "a_declaration_keeps_the_log_of_starts": (queues(planted.ForgetsStarts),),
    "the_same_declaration_again_changes_nothing": (
        queues(planted.DeclaresAnew),
        queues(planted.KeepsTheFirstDeclaration),
    ),
    "a_listing_has_declared_queues_and_those_of_living_workers": (
        ruled("infos", lambda right, declared, served: right(declared, [])),
        queues(planted.ListsDeadWorkers),
    ),
    "a_queue_that_was_not_declared_has_no_claims": (queues(planted.DeclaresByItself),),
    "no_run_that_waits_for_nothing_but_a_message_sets_a_time": (
        ruled("wait_until", lambda right, due, now: right(due, now) or 1),
    ),
    # Turns
    "keys_take_turns_whatever_their_number_of_runs": (ruled("chosen", planted.chosen_by_time),),
    "a_claim_continues_after_the_key_of_the_claim_before": (
        ruled("after_claim", lambda right, *args: msgspec.structs.replace(right(*args), last_key=0)),
    ),
    "runs_without_a_key_have_one_turn": (ruled("chosen", planted.chosen_with_turns_without_keys),),
    "runs_of_a_higher_priority_precede_those_of_all_keys": (ruled("chosen", planted.chosen_without_priority),),
    "runs_of_a_key_are_claimed_by_their_due_time": (ruled("chosen", planted.chosen_backwards),),
    "a_run_that_is_not_due_hides_no_other": (
        ruled("is_claimable", lambda right, run, now: right(run, now + (1 << 50))),
    ),
    "a_run_behind_another_of_its_thread_is_left": (queues(planted.ClaimsBlockedRuns),),
    # Claims
    "a_claim_has_its_queue_and_what_every_claim_has": (queues(planted.ClaimsWithoutAQueue),),
    "a_claim_fences_earlier_holders": (queues(planted.KeepsTheEpoch),),
    "a_claim_leaves_runs_of_other_graphs": (queues(planted.ClaimsEveryGraph),),
    "a_claim_leaves_runs_of_other_queues": (
        queues(planted.ClaimsFromEveryQueue),
        queues(planted.ClaimsFromQueuesOfGraphs),
    ),
    "a_claim_takes_no_more_than_it_asks_for": (queues(planted.ClaimsFromEachQueue),),
    "a_worker_whose_lease_has_ended_gets_none": (runs(planted.LivesForEver),),
    "a_key_stays_with_its_run": (runs(planted.LosesTheKey),),
}
