"""A run's row: its columns, and the statements that change it together with its thread.

`run_rules` has the same changes as functions.
"""

from collections.abc import Iterable
from typing import Any

from durable_graph.checkpointing.columns import Columns, key_of
from durable_graph.checkpointing.queries import Query
from durable_graph.checkpointing.run_parents import end_for_parent, ends_child
from durable_graph.records import CommitUnit, WritesBatch
from durable_graph.run_records import Heartbeat, RunRow, RunState, RunUpdate

FIRST_PAUSE = 100_000
"""Microseconds: how much later a run is due after its second crash; twice as much for each that follows."""
LONGEST_PAUSE = 60_000_000


def pause_after(crashes: int) -> int:
    """How many microseconds later a run is due whose workers have ended so often without progress."""
    return 0 if crashes < 2 else min(FIRST_PAUSE << min(crashes - 2, 20), LONGEST_PAUSE)


def changes_of(thread: str, update: RunUpdate, at: int) -> list[Query]:
    """The statements that change a run together with its thread."""
    if update.input is not None:
        return [_continuation(thread, update, update.input, at)]
    changes = [update_of(thread, update, at)]
    if update.state.is_ended:
        changes.append(Query("unblock_run", {"thread_key": key_of(thread)}))
    if ends_child(update):
        changes += end_for_parent(thread, update.seq, at)
    return changes


def _continuation(thread: str, update: RunUpdate, given: bytes, at: int) -> Query:
    run = {"thread_key": key_of(thread), "seq": update.seq}
    return Query("continue_run", {**run, "checkpoint": update.checkpoint, "input": given, "at": at})


def update_of(thread: str, update: RunUpdate, at: int) -> Query:
    """The statement that changes a run, and leaves the runs behind it blocked."""
    return Query("update_run", _update_columns(thread, update, at))


def _update_columns(thread: str, update: RunUpdate, at: int) -> dict[str, Any]:
    return {
        "thread_key": key_of(thread),
        "seq": update.seq,
        "state": int(update.state),
        "due": update.due,
        "inbox": update.inbox,
        "checkpoint": update.checkpoint,
        "first_checkpoint": update.first_checkpoint,
        "at": at,
        "ended_at": at if update.state.is_ended else 0,
        "error": update.error,
        "waits_on": update.waits_on,
    }


def wake(thread: str, at: int) -> Query:
    """The statement that wakes the unfinished run of a thread, to which something was sent at the time `at`."""
    return Query("wake_run", {"thread_key": key_of(thread), "at": at})


def take(thread: str, seq: int, at: int) -> Query:
    """The statement that takes a message. Its row stays, so that its key stays known, and its value goes."""
    return Query("take_message", {"thread_key": key_of(thread), "seq": seq, "at": at})


def ask_to_apply_updates(thread: str) -> Query:
    """The statement that requests each unfinished run of the thread to look for updates in the inbox."""
    return Query("ask_to_apply_updates", {"thread_key": key_of(thread)})


def end_updates(thread: str) -> Query:
    """The statement that ends the request to look for updates, if none is left in the inbox."""
    return Query("end_updates", {"thread_key": key_of(thread)})


def takes_of(request: CommitUnit | WritesBatch) -> list[Query]:
    """The statements for the messages that the write takes."""
    taken = [take(request.thread, seq, request.at) for seq in request.taken]
    return [*taken, end_updates(request.thread)] if taken and isinstance(request, CommitUnit) else taken


def changes_of_request(request: CommitUnit | WritesBatch) -> list[Query]:
    """The statements for the messages that the write takes, the run that it changes, and the run that it wakes."""
    # First, because a run that ends is ready again instead while an update is left.
    changes = takes_of(request)
    changes += [] if request.run is None else changes_of(request.thread, request.run, request.at)
    if isinstance(request, WritesBatch) and request.wakes_run:
        changes.append(wake(request.thread, request.at))
    return changes


RUN_COLUMNS = (
    "thread_id, seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version, attempt, crashes, "
    "inbox, worker, request, accepted_at, ended_at, queue, graph, error, waits_on, metadata, from_checkpoint, "
    "parent_key, parent_seq, on_parent"
)
"""The columns of a run's row that queries select, in the order of the fields of `RunRow`."""


def run_from(columns: Columns) -> RunRow:
    """A run's row. Raises `ValueError` for an unknown state."""
    thread, seq, state, *rest = columns
    return RunRow(thread, seq, RunState(state), *rest)


def heartbeat_of(found: Iterable[Columns]) -> Heartbeat:
    """The reply to a heartbeat, from the thread, number, request and follower of each run that has either."""
    runs = list(found)
    return Heartbeat(
        tuple((thread, seq, request) for thread, seq, request, _ in runs if request),
        tuple((thread, seq) for thread, seq, _, followed in runs if followed),
    )
