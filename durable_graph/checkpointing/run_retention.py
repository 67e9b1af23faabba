"""Retention, deadlines and repair of runs: a database deletes runs that ended long ago, fails runs whose deadline has
passed, and makes runs ready whose wake-up was lost. `run_rules` has the decisions, as functions of rows.
"""

from durable_graph.checkpointing import run_rules
from durable_graph.checkpointing.columns import key_of, signed, thread_columns
from durable_graph.checkpointing.digests import subtract
from durable_graph.checkpointing.queries import Query, first_of
from durable_graph.checkpointing.run_changes import changes_of, run_from
from durable_graph.checkpointing.run_parents import of_run
from durable_graph.checkpointing.run_transactions import Clock, time_of
from durable_graph.checkpointing.transactions import Batch, Part, Transaction, WriteResult, lock, run_all
from durable_graph.errors import CorruptCheckpointError
from durable_graph.records import Sums
from durable_graph.run_records import NEVER, RunState


def delete_ended(keep: int, limit: int, clock: Clock) -> Transaction[int]:
    """Delete runs that ended long ago. See `RunStore.delete_ended`.

    A thread that another transaction has locked is left for the next call. A commit waits for at most this transaction.
    """
    before = (yield from time_of(clock)) - keep
    found = yield Query("find_ended_runs", {"before": before, "limit": limit})
    forgotten: dict[int, str] = {}
    count = 0
    for key, seq in found:
        # Checked again under the thread's lock: the run may have been retried since it was found.
        for (thread,) in (yield Query("drop_ended_run", {"thread_key": key, "seq": seq, "before": before})):
            forgotten[key] = thread
            count += 1
    if forgotten:
        yield Batch("drop_tombstones", [(key, before) for key in forgotten])
    for key, thread in forgotten.items():
        yield Query("drop_events", {"thread_key": key})
        yield from _forget_requests(thread)
    return WriteResult(count)


def delete_run(thread: str, seq: int) -> Transaction[RunState | None]:
    """Delete a run that has ended. See `RunStore.delete_run`."""
    yield from lock(thread)
    sought = {"thread_key": key_of(thread), "seq": seq}
    columns = yield from first_of("find_run", **sought)
    if columns is None:
        return WriteResult(None)
    if (yield Query("drop_ended_run", {**sought, "before": NEVER})):
        yield Query("drop_events", {"thread_key": sought["thread_key"]})
        yield from _forget_requests(thread)
    return WriteResult(run_from(columns).state)


def _forget_requests(thread: str) -> Part[None]:
    """Delete the requests of the thread whose runs are deleted. Its row has their sum."""
    sought = {"thread_key": key_of(thread)}
    found = yield Query("find_requests_without_runs", sought)
    if not found:
        return
    try:
        locked = yield from lock(thread)
    except CorruptCheckpointError:
        # Its requests stay, so that the damage stays as it was found. `check` and a listing name the thread.
        return
    if locked is None:
        return
    yield Batch("drop_request", [(sought["thread_key"], request) for request, _ in found])
    sums = locked.sums
    requests = subtract(sums.requests, *(digest for _, digest in found))
    after = signed(locked.row, Sums(sums.writes, sums.branches, requests), locked.born)
    yield Query("change_thread", thread_columns(after, thread))


def fail_overdue(limit: int, epoch: int, clock: Clock) -> Transaction[list[tuple[str, int]]]:
    """Fail runs whose deadline has passed. See `RunStore.fail_overdue`. `epoch` is random.

    A thread that another transaction has locked is left for the next call.
    """
    now = yield from time_of(clock)
    failed: list[tuple[str, int]] = []
    for thread, seq in (yield Query("find_overdue_runs", {"now": now, "limit": limit})):
        try:
            locked = yield from lock(thread)
        except CorruptCheckpointError:
            # The damage stays as it was found: only the run fails.
            locked = None
        # Read again under the thread's lock: the run may have been claimed since it was found.
        columns = yield from first_of("find_run", thread_key=key_of(thread), seq=seq)
        if columns is None or not run_rules.is_overdue(run := run_from(columns), now):
            continue
        if run.parent_key and not (yield Query("is_parent_free", {"thread_key": key_of(thread), "seq": seq})):
            # Several threads are locked: to wait for the parent's could be a deadlock. The next call fails the run.
            continue
        yield from run_all(changes_of(thread, of_run(run_rules.failed_by_deadline(run), run), now))
        failed.append((thread, seq))
        row = None if locked is None else run_rules.thread_after_deadline(locked.row, run, epoch, now)
        if locked is not None and row is not None and row != locked.row:
            yield Query("change_thread", thread_columns(signed(row, locked.sums, locked.born), thread))
    return WriteResult(failed)


def repair(limit: int, clock: Clock) -> Transaction[int]:
    """Make stuck runs ready. See `RunStore.repair`."""
    now = yield from time_of(clock)
    found = yield Query("find_stuck_runs", {"limit": limit})
    count = 0
    for key, seq in found:
        # Checked again under the thread's lock: the run may have been woken since it was found.
        count += len((yield Query("free_stuck_run", {"thread_key": key, "seq": seq, "now": now})))
    return WriteResult(count)
