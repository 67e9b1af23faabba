"""Which clause of child runs and of runs that continue as new has to fail on which planted bug."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from durable_graph import MemorySaver
from durable_graph.checkpointing import memory, memory_parents, memory_run_reads, memory_runs, run_parents, run_rules
from durable_graph.checkpointing.memory_runs import MemoryRuns
from durable_graph.run_records import RunRow, RunState, Swept
from tests.checkpointing.run_plants import Plant, ruled, runs

replace = msgspec.structs.replace


def at(module: Any, name: str, bug: Callable[..., Any]) -> Plant:
    """A saver for which a function of a module is replaced; the replacement gets the right one first."""

    def plant(patch: pytest.MonkeyPatch) -> type[MemorySaver]:
        right = getattr(module, name)
        patch.setattr(module, name, lambda *args, **kwargs: bug(right, *args, **kwargs))
        return MemorySaver

    return plant


def nothing(right: Any, *args: Any, **kwargs: Any) -> None:
    """The end is not sent."""


def without_waking(right: Any, threads: Any, stored: Any, seq: int, now: int, **kwargs: Any) -> None:
    parent = threads.get(stored.runs.by_seq[seq].row.parent_key)
    rows = {} if parent is None else {number: run.row for number, run in parent.runs.by_seq.items()}
    right(threads, stored, seq, now, **kwargs)
    for row in rows.values():
        parent.runs.change(row)


def as_another(right: Any, run: RunRow, update: Any, now: int) -> RunRow:
    after: RunRow = right(run, update, now)
    return replace(after, state=RunState.DONE) if update.input is not None else after


def with_its_beginning(right: Any, run: RunRow, update: Any, now: int) -> RunRow:
    after: RunRow = right(run, update, now)
    return replace(after, first_checkpoint=run.first_checkpoint)


def late_too(right: Any, run: RunRow, update: Any, now: int) -> RunRow:
    after: RunRow = right(run, update, now)
    return run_rules.continued(run, update, now) if update.input is not None else after


def never_late(right: Any, run: RunRow, update: Any, now: int) -> RunRow:
    after: RunRow = right(run, update, now)
    return run if update.input is not None and run.state is RunState.QUARANTINED else after


class SendsQuarantines(MemoryRuns):
    async def sweep(self, max_crashes: int) -> Swept:
        swept = await super().sweep(max_crashes)
        for stored in list(self._threads.values()):
            for run in list(stored.runs.by_seq.values()):
                if run.row.state is RunState.QUARANTINED:
                    memory_parents.send_end(self._threads, stored, run.row.seq, 1, is_deleted=True)
        return swept


CHILD_PLANTS: Mapping[str, list[Plant]] = {
    "a_commit_that_ends_a_child_sends_its_end_and_wakes_its_parent": [
        at(memory, "send_end_of", nothing),
        at(memory_parents, "send_end", without_waking),
    ],
    "every_end_of_a_child_is_sent_to_its_parent": [
        at(memory, "send_end_of", nothing),
        at(memory, "send_deletions", nothing),
        at(memory_runs, "send_end", nothing),
    ],
    "the_end_of_a_child_is_sent_once": [
        at(run_parents, "child_topic", lambda right, key, seq: "child:0.0"),
        at(
            memory_runs,
            "send_end",
            lambda right, threads, stored, seq, now: right(threads, stored, seq, now, is_deleted=True),
        ),
    ],
    "a_parent_that_is_done_receives_no_end_and_one_that_failed_does": [
        at(run_parents, "may_receive_end", lambda right, parent: True),
        at(run_parents, "may_receive_end", lambda right, parent: not parent.state.is_ended),
    ],
    "a_quarantined_child_has_not_ended_for_its_parent": [runs(SendsQuarantines)],
    "a_run_without_a_parent_sends_no_end": [
        ruled("accepted_run", lambda right, run, *args, **kwargs: replace(right(run, *args, **kwargs), parent_key=1)),
    ],
    "the_children_of_a_run_are_found_until_they_end": [
        at(memory_run_reads, "children_of", lambda right, threads, key, seq: []),
        at(memory_run_reads, "children_of", lambda right, threads, key, seq: list(memory_parents._children(threads))),
    ],
    "children_whose_parent_was_cancelled_are_found_until_they_are_cancelled": [
        at(run_parents, "is_orphan", lambda right, child, parent: False),
        at(run_parents, "is_orphan", lambda right, child, parent: parent.state is RunState.CANCELLED),
        at(run_parents, "is_orphan", lambda right, child, parent: right(replace(child, request=0), parent)),
    ],
    "a_run_continues_as_new_with_the_commit_that_ends_it": [
        ruled("row_after", as_another),
        ruled("continued", with_its_beginning),
    ],
    "a_late_commit_continues_a_quarantined_run_and_no_other_that_has_ended": [
        ruled("row_after", never_late),
        ruled("row_after", late_too),
    ],
}
