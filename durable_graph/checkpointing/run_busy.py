"""A new run of a thread that cancels the thread's unfinished runs: `if_busy="interrupt"` and `"rollback"`.

These functions of rows are the decisions: `run_transactions.accept` and `MemorySaver` make them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from durable_graph.checkpointing import run_rules
from durable_graph.records import ThreadRow
from durable_graph.run_records import NewRun, RunRow, RunState


class Way(NamedTuple):
    """The thread as the new run finds it: its row, whether no earlier run is unfinished, and the checkpoint from which
    the new run begins (see `RunRow.from_checkpoint`)."""

    thread: ThreadRow
    is_free: bool
    from_checkpoint: int | None


def reason_of(run: NewRun) -> str:
    """The reason with which the new run cancels earlier ones."""
    return f"a later run of its thread was started with if_busy={run.if_busy!r}"


def way_for(run: NewRun, thread: ThreadRow, unfinished: Sequence[RunRow], parent: int, now: int) -> Way:
    """The thread once its unfinished runs are cancelled. The holder of a running one is requested to cancel it, and the
    new run waits.

    `parent` is the checkpoint before that which the first of these runs began with (0: it had none, or has not begun).
    """
    is_free = all(each.state is not RunState.RUNNING for each in unfinished)
    begins = _begins_from(run, thread, unfinished, parent)
    for each in unfinished:
        if each.state is not RunState.RUNNING:
            thread = run_rules.thread_after_cancel(thread, each, run.epoch, now)
    return Way(thread, is_free, begins)


def _begins_from(run: NewRun, thread: ThreadRow, unfinished: Sequence[RunRow], parent: int) -> int | None:
    first = unfinished[0]
    if run.if_busy == "rollback" and first.first_checkpoint:
        return parent
    for each in reversed(unfinished):
        # The cancelled run has a rollback and has not begun: the new run takes over the rollback.
        if each.from_checkpoint is not None and not each.first_checkpoint:
            return each.from_checkpoint
    # A worker may begin the run before it receives the cancellation.
    return thread.head if run.if_busy == "rollback" and first.state is RunState.RUNNING else None


def can_be_rolled_back_to(parent: int, oldest_kept: int) -> bool:
    """Whether a run can begin from this checkpoint: a prune that removed earlier ones has kept it."""
    return parent == 0 or parent >= oldest_kept
