"""The changes of runs that also concern their thread's row, free of I/O, as `transactions` has those of threads.

A run is accepted, ended and cancelled under the lock of its thread's row, which every transaction takes before it
changes a run. Claims take the rows of runs first and skip what is locked, so they wait for nobody. A result has no
thread's row: whether an attempt with an unknown outcome was applied shows in the run's row, so it runs again.
"""

from typing import Any, NamedTuple

import msgspec

from durable_graph.checkpointing import run_busy, run_parents, run_rules
from durable_graph.checkpointing.columns import key_of, request_columns, request_from, signed, thread_columns
from durable_graph.checkpointing.digests import add, request_digest
from durable_graph.checkpointing.queries import Query, check_no_orphan, first_of
from durable_graph.checkpointing.rules import accepted_thread, reopened_thread
from durable_graph.checkpointing.run_changes import (
    ask_to_apply_updates,
    changes_of,
    end_updates,
    run_from,
    take,
    update_of,
    wake,
)
from durable_graph.checkpointing.transactions import Batch, Part, Transaction, WriteResult, lock, put_thread, run_all
from durable_graph.errors import CorruptCheckpointError
from durable_graph.records import RequestRow, StoredThread, Sums, ThreadRow
from durable_graph.run_records import (
    UPDATES,
    Accepted,
    Discarded,
    NewMessage,
    NewRun,
    RunRow,
    RunState,
    Sent,
    Settlement,
)


class Clock(NamedTuple):
    """The store's time in microseconds since 1970: `now`, or, with None, that of the database plus `skew`."""

    now: int | None = None
    skew: int = 0


def accept(run: NewRun, clock: Clock) -> Transaction[Accepted]:
    """Record a run, once for each key. See `RunStore.accept`."""
    key, ends_others = key_of(run.thread), run.if_busy in ("interrupt", "rollback")
    yield from run_all(run_parents.parents_before(run.thread, are_locked=ends_others))
    locked, now = (yield from lock(run.thread)), (yield from time_of(clock))
    yield from run_all(run_parents.parents_behind(run.thread, are_locked=ends_others))
    living = locked if locked is not None and locked.row.status != "deleted" else None
    if locked is None:
        yield from check_no_orphan(run.thread)
    if living is not None:
        refused = yield from _earlier(run, living)
        if refused is not None:
            return WriteResult(refused)
    row = living.row if living is not None else accepted_thread(run, locked.row if locked is not None else None, now)
    sums = living.sums if living is not None else Sums()
    unfinished = yield from first_of("find_unfinished_run", thread_key=key)
    way = run_busy.Way(row, is_free=unfinished is None, from_checkpoint=None)
    if unfinished is not None and run.if_busy != "wait":
        busy = run_from(unfinished)
        if run.if_busy == "reject":
            return WriteResult(Accepted(0, is_new=False, state=busy.state, busy_seq=busy.seq))
        made = yield from _make_way(run, row, now)
        if made is None:
            return WriteResult(Accepted(0, is_new=False, state=busy.state, lost_before=busy.first_checkpoint))
        way = made
        row = way.thread
    if living is None:
        yield from put_thread(run.thread, None if locked is None else locked.row, signed(row, sums, 0))
    (seq,) = (yield Query("take_run_seq", {"thread_key": key, "now": now}))[0]
    if run.key is not None:
        request = RequestRow(run.key, run.input_digest, seq, 0, now, b"")
        request = msgspec.structs.replace(request, digest=request_digest(row.origin, request))
        yield Batch("add_request", [request_columns(key, request)])
        sums = msgspec.structs.replace(sums, requests=add(sums.requests, request.digest))
    after = signed(row, sums, 0 if living is None else living.born)
    if run.key is not None or (living is not None and row != living.row):
        yield Query("change_thread", thread_columns(after, run.thread))
    state = RunState.READY if way.is_free else RunState.BLOCKED
    accepted = run_rules.accepted_run(run, seq, state, now, inbox=0, from_checkpoint=way.from_checkpoint)
    yield Query("add_run", _columns_of(run, accepted))
    return WriteResult(Accepted(seq, is_new=True, state=state, input_digest=run.input_digest))


def _earlier(run: NewRun, living: StoredThread) -> Part[Accepted | None]:
    """The answer of a thread that took the request before, or that belongs to another graph."""
    known = yield from first_of("find_run_of_token", thread_key=key_of(run.thread), token=run.token)
    if known is not None:
        # This same call was applied before, and its answer was lost.
        again = run_from(known)
        return Accepted(again.seq, is_new=True, state=again.state, input_digest=run.input_digest)
    stored = living.row.graph
    if run_rules.is_of_another_graph(run, stored):
        return Accepted(0, is_new=False, state=RunState.READY, stored_graph=stored)
    if run.key is None:
        return None
    found = yield from first_of("find_request", thread_key=key_of(run.thread), key=run.key)
    if found is None:
        return None
    request = request_from(run.thread, found)
    columns = yield from first_of("find_run", thread_key=key_of(run.thread), seq=request.seq)
    state = RunState.DONE if columns is None else run_from(columns).state
    return Accepted(request.seq, is_new=False, state=state, input_digest=request.input_digest)


def _make_way(run: NewRun, thread: ThreadRow, now: int) -> Part[run_busy.Way | None]:
    """Cancel the thread's unfinished runs for the new run. Returns None and changes nothing if the checkpoint before
    the first of them was removed. The caller stores the thread's row."""
    key = key_of(run.thread)
    unfinished = [run_from(columns) for columns in (yield Query("find_unfinished_runs", {"thread_key": key}))]
    parent = 0
    if run.if_busy == "rollback" and unfinished[0].first_checkpoint:
        found = yield from first_of("find_root_parent", thread_key=key, number=unfinished[0].first_checkpoint)
        if found is None or not run_busy.can_be_rolled_back_to(found[0], thread.floor):
            return None
        parent = found[0]
    for each in unfinished:
        if each.state is RunState.RUNNING:
            yield Query("ask_to_cancel", {"thread_key": key, "seq": each.seq, "reason": run_busy.reason_of(run)})
        else:
            yield update_of(run.thread, run_rules.cancelled(each, run_busy.reason_of(run)), now)
            if each.parent_key:
                yield from run_all(run_parents.end_for_parent(run.thread, each.seq, now))
    return run_busy.way_for(run, thread, unfinished, parent, now)


def _columns_of(run: NewRun, row: RunRow) -> dict[str, Any]:
    return {
        "thread_key": key_of(row.thread),
        "seq": row.seq,
        "state": int(row.state),
        "priority": row.priority,
        "due": row.due,
        "deadline": row.deadline,
        "accepted_at": row.accepted_at,
        "queue": row.queue,
        "graph": row.graph,
        "thread_id": row.thread,
        "input_digest": run.input_digest,
        "input": run.input,
        "options": run.options,
        "context": run.context,
        "extra": run.token,
        "metadata": row.metadata,
        "from_checkpoint": row.from_checkpoint,
        "limit_key": run.limit_key,
        "parent_key": row.parent_key,
        "parent_seq": row.parent_seq,
        "on_parent": row.on_parent,
    }


def settle(settlement: Settlement, epoch: int, clock: Clock) -> Transaction[bool]:
    """Record the end or the suspension of a run that no commit carries. See `RunStore.settle`. `epoch` is random."""
    thread, may_end = settlement.thread, run_parents.is_end(settlement.state)
    yield from run_all(run_parents.parents_before(thread, are_locked=may_end))
    try:
        locked = yield from lock(thread)
    except CorruptCheckpointError:
        # The damage stays as it was found: only the run is settled. Otherwise its worker would hold it for ever.
        locked = None
    yield from run_all(run_parents.parents_behind(thread, are_locked=may_end))
    now = yield from time_of(clock)
    columns = yield from first_of("find_run", thread_key=key_of(thread), seq=settlement.seq)
    if columns is None:
        return WriteResult(result=False)
    run = run_from(columns)
    if not run_rules.is_held(run, settlement):
        return WriteResult(run_rules.was_settled(run, settlement))
    yield from run_all(changes_of(thread, run_parents.of_run(run_rules.settled(settlement, now), run), now))
    if locked is None:
        return WriteResult(result=True)
    row = run_rules.thread_after_settlement(locked.row, run, settlement, epoch, now)
    if row != locked.row:
        yield Query("change_thread", thread_columns(signed(row, locked.sums, locked.born), thread))
    return WriteResult(result=True)


def cancel_run(thread: str, seq: int, reason: str, epoch: int, clock: Clock) -> Transaction[RunState | None]:
    """Cancel a run that no worker holds, or ask the worker. See `RunStore.cancel_run`. `epoch` is random."""
    yield from run_all(run_parents.parents_before(thread))
    locked, now = (yield from lock(thread)), (yield from time_of(clock))
    yield from run_all(run_parents.parents_behind(thread))
    columns = yield from first_of("find_run", thread_key=key_of(thread), seq=seq)
    if locked is None or columns is None:
        return WriteResult(None)
    run = run_from(columns)
    if run.state is RunState.RUNNING:
        yield Query("ask_to_cancel", {"thread_key": key_of(thread), "seq": seq, "reason": reason})
    if run.state is RunState.RUNNING or run.state.is_ended:
        return WriteResult(run.state)
    yield from run_all(changes_of(thread, run_parents.of_run(run_rules.cancelled(run, reason), run), now))
    row = run_rules.thread_after_cancel(locked.row, run, epoch, now)
    if row != locked.row:
        yield Query("change_thread", thread_columns(signed(row, locked.sums, locked.born), thread))
    return WriteResult(RunState.CANCELLED)


def retry_run(thread: str, seq: int, clock: Clock) -> Transaction[RunState | None]:
    """Make the last run of a thread READY again, if it has ended without a result. See `RunStore.retry_run`."""
    locked, now = (yield from lock(thread)), (yield from time_of(clock))
    key = key_of(thread)
    columns = yield from first_of("find_run", thread_key=key, seq=seq)
    if locked is None or columns is None:
        return WriteResult(None)
    run, (last,) = run_from(columns), (yield Query("find_last_run", {"thread_key": key}))[0]
    if not run_rules.can_be_retried(run, last):
        return WriteResult(run.state)
    earlier = yield from first_of("find_unfinished_run", thread_key=key)
    state = RunState.READY if earlier is None else RunState.BLOCKED
    yield Query("retry_run", {"thread_key": key, "seq": seq, "state": int(state), "now": now})
    if run_rules.reopens_thread(state, locked.row):
        after = signed(reopened_thread(locked.row, now), locked.sums, locked.born)
        yield Query("change_thread", thread_columns(after, thread))
    return WriteResult(state)


def send(message: NewMessage, clock: Clock) -> Transaction[Sent]:
    """Record a message for the unfinished run of a thread, and wake the run. See `RunStore.send`."""
    locked, now = (yield from lock(message.thread)), (yield from time_of(clock))
    if locked is None or locked.row.status == "deleted":
        return WriteResult(Sent.NO_THREAD)
    sought = {"thread_key": key_of(message.thread), "topic": message.topic, "key": message.key}
    if (yield Query("find_message", sought)):
        return WriteResult(Sent.KNOWN)
    if (yield from first_of("find_unfinished_run", thread_key=key_of(message.thread))) is None:
        return WriteResult(Sent.CANCELLED if locked.row.status == "cancelled" else Sent.NO_RUN)
    # A number of the thread's runs: it is not used again once the message is deleted.
    (seq,) = (yield Query("take_run_seq", {"thread_key": key_of(message.thread), "now": now}))[0]
    yield Query("add_message", {**sought, "seq": seq, "value": message.value, "made_at": now})
    yield wake(message.thread, now)
    if message.topic == UPDATES:
        yield ask_to_apply_updates(message.thread)
    return WriteResult(Sent.NEW)


def discard(thread: str, topic: str, key: str, epoch: int, clock: Clock) -> Transaction[Discarded]:
    """Take a message out of the inbox. See `RunStore.discard`. `epoch` is random."""
    locked, now = (yield from lock(thread)), (yield from time_of(clock))
    if locked is None or locked.row.status == "deleted":
        return WriteResult(Discarded.NO_THREAD)
    of_thread = {"thread_key": key_of(thread)}
    found = yield from first_of("find_unread_message", **of_thread, topic=topic, key=key)
    if found is None:
        return WriteResult(Discarded.NO_MESSAGE)
    unfinished = yield from first_of("find_unfinished_run", **of_thread)
    if unfinished is not None and run_from(unfinished).state is RunState.RUNNING:
        return WriteResult(Discarded.RUNNING)
    yield take(thread, found[0], now)
    yield end_updates(thread)
    row = msgspec.structs.replace(locked.row, epoch=epoch)
    yield Query("change_thread", thread_columns(signed(row, locked.sums, locked.born), thread))
    return WriteResult(Discarded.DISCARDED)


def time_of(clock: Clock) -> Part[int]:
    """The store's time."""
    if clock.now is not None:
        return clock.now
    found = yield from first_of("store_time")
    return (found[0] if found else 0) + clock.skew
