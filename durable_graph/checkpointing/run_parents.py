"""The end of a run that has a parent: the parent receives it as a message, in the same transaction.

A transaction that may end such a run locks the threads of both in the order of their keys: the parents before the
thread, then the thread, then the parents after it.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.queries import Query
from durable_graph.checkpointing.run_ends import NOTHING, child_topic, is_end, may_receive_end
from durable_graph.run_records import RunRow, RunState, RunUpdate

DELETED = "deleted"
"""The key of the message of a child that was deleted before its end."""

ABANDON, CANCEL = 0, 1
"""`on_parent` of a child's row: what happens to the child when its parent is cancelled."""


def is_orphan(child: RunRow, parent: RunRow) -> bool:
    """Whether the child is to be cancelled, because its parent was. See `find_orphans`."""
    is_kept = child.state.is_ended or child.on_parent != CANCEL or child.request == 1
    return parent.state is RunState.CANCELLED and not is_kept


def of_run(update: RunUpdate, run: RunRow) -> RunUpdate:
    """The update, with the parent of its run."""
    return msgspec.structs.replace(update, has_parent=True) if run.parent_key else update


def ends_child(update: RunUpdate | None) -> bool:
    """Whether the update ends a run that has a parent."""
    return update is not None and update.has_parent and is_end(update.state)


def parents_before(thread: str, *, are_locked: bool = True) -> list[Query]:
    """The statement that locks the parents before the thread, before its own row is locked."""
    return [_lock(thread, before=True)] if are_locked else []


def parents_behind(thread: str, *, are_locked: bool = True) -> list[Query]:
    """The statement that locks the parents behind the thread, after its own row was locked."""
    return [_lock(thread, before=False)] if are_locked else []


def _lock(thread: str, *, before: bool) -> Query:
    return Query("lock_parents", {"thread_key": key_of(thread), "before": before})


def end_for_parent(thread: str, seq: int, at: int, *, is_deleted: bool = False) -> list[Query]:
    """The statements that send the end of a run to its parent, after its row was changed, or before it is deleted.

    They do nothing for a run that has not ended, or whose parent is done or deleted, and send an end once.
    """
    run: dict[str, Any] = {"thread_key": key_of(thread), "seq": seq, "is_deleted": is_deleted}
    return [
        Query("count_end", run),
        Query("add_end", {**run, "at": at, "value": NOTHING}),
        Query("wake_parent", {**run, "at": at}),
    ]


def deletions_for_parents(thread: str, runs: Iterable[RunRow], at: int) -> list[Query]:
    """The statements for the parents of runs that are deleted before their end."""
    return [
        query
        for run in runs
        if run.parent_key and not run.state.is_ended
        for query in end_for_parent(thread, run.seq, at, is_deleted=True)
    ]


__all__ = [
    "ABANDON",
    "CANCEL",
    "DELETED",
    "NOTHING",
    "child_topic",
    "deletions_for_parents",
    "end_for_parent",
    "ends_child",
    "is_end",
    "is_orphan",
    "may_receive_end",
    "of_run",
    "parents_before",
    "parents_behind",
]
