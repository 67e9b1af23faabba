"""The ends of child runs in memory, and the children of a run, as in `run_parents` and `children.sql`."""

from collections.abc import Iterable, Mapping

from durable_graph.checkpointing import run_parents, run_rules
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.memory_rows import ThreadRows
from durable_graph.records import CommitUnit, WritesBatch
from durable_graph.run_records import NewMessage, RunRow

Threads = Mapping[int, ThreadRows]


def send_end(threads: Threads, stored: ThreadRows, seq: int, at: int, *, is_deleted: bool = False) -> None:
    """Send the end of a run to its parent. Nothing happens for a run that has not ended, or has no parent."""
    run = stored.runs.by_seq.get(seq)
    if run is None or not run.row.parent_key or not (is_deleted or run_parents.is_end(run.row.state)):
        return
    row, found = run.row, threads.get(run.row.parent_key)
    if found is None or found.row.status == "deleted":
        return
    number = found.runs.last = run_rules.next_seq(found.runs.last, at)
    parent = found.runs.by_seq.get(row.parent_seq)
    topic = run_parents.child_topic(key_of(row.thread), row.seq)
    key = run_parents.DELETED if is_deleted else str(row.ended_at)
    if parent is not None and run_parents.may_receive_end(parent.row) and (topic, key) not in found.runs.inbox.keys:
        found.runs.inbox.put(number, NewMessage(parent.row.thread, topic, key, run_parents.NOTHING))
    found.runs.wake(at)


def send_end_of(threads: Threads, stored: ThreadRows, request: CommitUnit | WritesBatch) -> None:
    """Send the end of the run that the write ends, if it has a parent."""
    if request.run is not None and request.run.has_parent:
        send_end(threads, stored, request.run.seq, request.at)


def send_deletions(threads: Threads, stored: ThreadRows, at: int) -> None:
    """Send the deletion of a thread's unfinished runs to their parents."""
    for seq in stored.runs.unfinished:
        send_end(threads, stored, seq, at, is_deleted=True)


def children_of(threads: Threads, key: int, seq: int) -> list[RunRow]:
    """The children of a run that have not ended."""
    found = (row for row in _children(threads) if (row.parent_key, row.parent_seq) == (key, seq))
    return sorted(found, key=lambda row: (row.thread, row.seq))


def orphans(threads: Threads, limit: int) -> list[tuple[str, int]]:
    """Children that are to be cancelled with their parent."""
    found = []
    for row in _children(threads):
        parents = threads.get(row.parent_key)
        parent = None if parents is None else parents.runs.by_seq.get(row.parent_seq)
        if parent is not None and run_parents.is_orphan(row, parent.row):
            found.append((row.thread, row.seq))
    return found[:limit]


def _children(threads: Threads) -> Iterable[RunRow]:
    rows = (stored.runs.by_seq[seq].row for stored in threads.values() for seq in stored.runs.unfinished)
    return (row for row in rows if row.parent_key)
