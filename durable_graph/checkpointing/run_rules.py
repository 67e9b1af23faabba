"""The decisions about runs that all stores have in common, as functions of rows without I/O.

A database makes a change by a statement that does the same, because it changes many runs at once, or a run that it has
not read; each of these functions names its statement. `MemorySaver` uses the functions.
"""

from collections.abc import Iterable, Sequence

import msgspec

from durable_graph.checkpointing.rules import begins_thread, cancelled_thread, done_thread, failed_thread
from durable_graph.checkpointing.run_sweep import Freed
from durable_graph.records import ThreadRow
from durable_graph.run_records import (
    NEVER,
    NewRun,
    QueueStats,
    RequestOfRun,
    RunRow,
    RunState,
    RunUpdate,
    Settlement,
    WaitsOn,
)

_CLAIMABLE = (RunState.READY, RunState.WAITING)
_FORGOTTEN = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)
_COUNTED = {state: state.name.lower() for state in RunState if state < RunState.DONE or state is RunState.QUARANTINED}


# Acceptance ---------------------------------------------------------------------------------------


def is_of_another_graph(run: NewRun, stored: str | None) -> bool:
    """Whether the thread belongs to another graph, whose name is `stored`. A thread without a graph's name takes any
    run."""
    return stored is not None and stored not in (run.graph, *run.formerly)


def next_seq(last: int, now: int) -> int:
    """The number of the thread's next run or message after the number `last` (0: it had none). See `take_run_seq`.

    The numbers begin at the time, so that a thread that is created again after a purge repeats none.
    """
    return last + 1 if last else now


def accepted_run(
    run: NewRun,
    seq: int,
    state: RunState,
    now: int,
    *,
    inbox: int,
    from_checkpoint: int | None = None,
    has_updates: bool = False,
) -> RunRow:
    """The row of a run that is accepted. `inbox` is the number of messages that its thread has already, and
    `has_updates` whether an update is among them. As `add_run` does it."""
    return RunRow(
        thread=run.thread,
        seq=seq,
        state=state,
        priority=run.priority,
        due=now + run.delay,
        deadline=now + run.delay + run.time_limit if run.time_limit else NEVER,
        first_checkpoint=0,
        checkpoint=0,
        claimed_version=0,
        attempt=0,
        crashes=0,
        inbox=inbox,
        worker=0,
        request=_request(has_updates=has_updates),
        accepted_at=now,
        ended_at=0,
        queue=run.queue,
        graph=run.graph,
        error=None,
        metadata=run.metadata or None,
        from_checkpoint=from_checkpoint,
        parent_key=run.parent_key,
        parent_seq=run.parent_seq,
        on_parent=run.on_parent,
    )


# A run that a worker executes ---------------------------------------------------------------------


def is_claimable(run: RunRow, now: int) -> bool:
    """Whether a worker may claim the run, which is the first of its thread that has not ended. See `find_due_runs`."""
    return run.state in _CLAIMABLE and run.due <= now


def waits_for_time(run: RunRow) -> bool:
    """Whether the run can be claimed at its time without anything else that happens. See `find_next_due`."""
    return run.state in _CLAIMABLE and run.due < NEVER


def has_moved(thread: ThreadRow, version: int, writes: int) -> bool:
    """Whether a run of the thread has progressed since its last claim or crash, when the thread had this version and
    number of writes: a commit is progress, and so is a recorded result. See `find_runs_of_worker`."""
    return (thread.version, thread.wseq) != (version, writes)


def claimed(run: RunRow, worker: int, *, has_moved: bool) -> RunRow:
    """The run that a worker has claimed. One that has progressed has no crashes in a row. As `claim_run` does it."""
    crashes = 0 if has_moved else run.crashes
    return msgspec.structs.replace(run, state=RunState.RUNNING, worker=worker, attempt=run.attempt + 1, crashes=crashes)


def released(run: RunRow, now: int) -> RunRow:
    """The run that its worker gives back. As `release_runs` does it."""
    return msgspec.structs.replace(run, state=RunState.READY, worker=0, due=now)


def after_sweep(run: RunRow, freed: Freed) -> RunRow:
    """The run whose worker is gone. As `free_run` does it."""
    return msgspec.structs.replace(
        run,
        state=freed.state,
        worker=0,
        crashes=freed.crashes,
        due=freed.due,
        ended_at=freed.ended_at,
        error=freed.error or run.error,
    )


def row_after(run: RunRow, update: RunUpdate, at: int) -> RunRow:
    """The run after the update by a commit, a save or a settlement at the time `at`. As `update_run` does it.

    A worker whose lease has ended is refused only once another worker has claimed its run. So its commits find runs
    that are ready again, and stay so, and runs that have ended, which nothing changes: only a quarantined run takes a
    checkpoint, or its end with a result.
    """
    is_running = update.state == RunState.RUNNING
    is_result = update.state == RunState.DONE or update.input is not None
    if run.state.is_ended and not (run.state == RunState.QUARANTINED and (is_running or is_result)):
        return run
    if update.input is not None:
        return continued(run, update, at)
    state, due = update.state, run.due
    if is_running:
        state = run.state
    elif has_update_left(run, update):
        # An update arrived since the execution looked for updates.
        state, due = RunState.READY, at
    elif update.state == RunState.WAITING and (run.inbox > update.inbox or run.request):
        # A message arrived since the execution read the inbox, or its worker was asked for something.
        state, due = RunState.READY, at
    elif update.state in _CLAIMABLE:
        due = min(update.due, run.deadline)
    is_ended = state.is_ended
    return msgspec.structs.replace(
        run,
        state=state,
        due=due,
        checkpoint=update.checkpoint or run.checkpoint,
        first_checkpoint=update.first_checkpoint or run.first_checkpoint,
        crashes=0 if update.state == RunState.WAITING else run.crashes,
        worker=run.worker if is_running else 0,
        request=0 if is_ended else run.request,
        ended_at=run.ended_at if is_running else at if is_ended else 0,
        error=_error_after(run, update),
        waits_on=run.waits_on if is_running else update.waits_on,
    )


def continued(run: RunRow, update: RunUpdate, at: int) -> RunRow:
    """The run that begins anew with another input, as by the statement `continue_run`."""
    return msgspec.structs.replace(
        run,
        state=RunState.READY,
        due=min(at, run.deadline),
        first_checkpoint=0,
        from_checkpoint=None,
        checkpoint=update.checkpoint,
        crashes=0,
        worker=0,
        ended_at=0,
        waits_on=None,
        error=run.error if run.request == RequestOfRun.CANCEL else None,
    )


def _error_after(run: RunRow, update: RunUpdate) -> str | None:
    if update.state == RunState.RUNNING:
        return run.error
    if run.request == RequestOfRun.CANCEL and update.state not in (RunState.DONE, RunState.FAILED):
        # The reason that the caller gave.
        return run.error or update.error
    return update.error


def has_update_left(run: RunRow, update: RunUpdate) -> bool:
    """Whether an update arrived for a run that would be done with this update of its row. Then the run is ready again,
    and its thread is not done either."""
    return update.state == RunState.DONE and run.request == RequestOfRun.APPLY_UPDATES


def woken(run: RunRow, at: int) -> RunRow:
    """The run of a thread to which something was sent. As `wake_run` does it."""
    if run.state == RunState.WAITING:
        return msgspec.structs.replace(run, state=RunState.READY, due=at, inbox=run.inbox + 1)
    return run if run.state.is_ended else msgspec.structs.replace(run, inbox=run.inbox + 1)


def asked_to_apply_updates(run: RunRow) -> RunRow:
    """The unfinished run of a thread to which an update was sent. As `ask_to_apply_updates` does it."""
    is_free = run.request == RequestOfRun.NOTHING
    return msgspec.structs.replace(run, request=int(RequestOfRun.APPLY_UPDATES)) if is_free else run


def after_updates(run: RunRow) -> RunRow:
    """The unfinished run of a thread of which all updates are taken. As `end_updates` does it."""
    return msgspec.structs.replace(run, request=0) if run.request == RequestOfRun.APPLY_UPDATES else run


def _request(*, has_updates: bool) -> int:
    return int(RequestOfRun.APPLY_UPDATES if has_updates else RequestOfRun.NOTHING)


def is_held(run: RunRow, settlement: Settlement) -> bool:
    """Whether the worker of the settlement still holds the run by the same claim."""
    by = settlement.worker, settlement.attempt
    return run.state == RunState.RUNNING and (run.worker, run.attempt) == by


def was_settled(run: RunRow, settlement: Settlement) -> bool:
    """Whether the run is as the settlement left it, so that a repeated call has nothing to do."""
    if run.attempt != settlement.attempt or run.worker:
        return False
    # A message may have woken a run that was to wait, and an update may be left for one that was to be done.
    is_looking = settlement.state == RunState.DONE and run.request == RequestOfRun.APPLY_UPDATES
    is_ready = run.state == RunState.READY and (settlement.state == RunState.WAITING or is_looking)
    return run.state == settlement.state or is_ready


def ends_thread(state: RunState) -> bool:
    """Whether a settlement with this state may change the thread's row."""
    return state.is_ended


def thread_after_settlement(thread: ThreadRow, run: RunRow, settlement: Settlement, epoch: int, at: int) -> ThreadRow:
    """The thread's row after its run was settled. `epoch` is random.

    The thread fails or is cancelled with a run that has begun, or is its first one: otherwise its status would still be
    "running" while nothing runs. It is done with a run that had an update left, which was discarded.
    """
    if not run.first_checkpoint and not begins_thread(thread):
        return thread
    if settlement.state == RunState.DONE:
        is_done = run.first_checkpoint and not has_update_left(run, settled(settlement, at))
        return done_thread(thread, at) if is_done else thread
    if settlement.state == RunState.FAILED:
        return failed_thread(thread, settlement.error, at)
    is_cancelled = thread.status == "cancelled" or settlement.state != RunState.CANCELLED
    return thread if is_cancelled else cancelled_thread(thread, epoch, at)


def settled(settlement: Settlement, now: int) -> RunUpdate:
    """The update of a run that its holder settles."""
    due = now + settlement.delay if settlement.state == RunState.READY else settlement.due
    return RunUpdate(
        settlement.seq,
        settlement.state,
        due=due,
        inbox=settlement.inbox,
        error=settlement.error,
        waits_on=settlement.waits_on,
    )


# Deadlines ----------------------------------------------------------------------------------------

DEADLINE_PASSED = "its deadline has passed"


def is_overdue(run: RunRow, now: int) -> bool:
    """Whether the run's deadline has passed and no worker executes it. See `find_overdue_runs`."""
    return run.deadline <= now and (run.state in _CLAIMABLE or run.state is RunState.BLOCKED)


def failed_by_deadline(run: RunRow) -> RunUpdate:
    """The update of a run that is overdue."""
    return RunUpdate(run.seq, RunState.FAILED, error=DEADLINE_PASSED)


def thread_after_deadline(thread: ThreadRow, run: RunRow, epoch: int, at: int) -> ThreadRow:
    """The thread's row after an overdue run has failed. `epoch` is random.

    The thread fails with a run that has begun, or is its first one. A blocked run leaves the thread to the run before
    it.
    """
    if run.state == RunState.BLOCKED:
        return thread
    if run.first_checkpoint or begins_thread(thread):
        thread = failed_thread(thread, DEADLINE_PASSED, at)
    # A worker whose lease has ended may still execute it.
    return msgspec.structs.replace(thread, epoch=epoch) if run.attempt else thread


# Cancelling and retrying --------------------------------------------------------------------------


def cancelled(run: RunRow, reason: str) -> RunUpdate:
    """The update of a run that is cancelled while no worker holds it."""
    return RunUpdate(run.seq, RunState.CANCELLED, error=reason)


def asked_to_cancel(run: RunRow, reason: str) -> RunRow:
    """The run whose worker is asked to cancel it: its error is the reason of the first caller. As `ask_to_cancel`
    does it."""
    error = run.error if run.request == RequestOfRun.CANCEL else reason
    return msgspec.structs.replace(run, request=int(RequestOfRun.CANCEL), error=error)


def thread_after_cancel(thread: ThreadRow, run: RunRow, epoch: int, at: int) -> ThreadRow:
    """The thread's row after a run was cancelled that no worker holds. `epoch` is random.

    The thread is cancelled with a run that has begun, or is its first one. A blocked run leaves the thread to the run
    before it.
    """
    if run.state == RunState.BLOCKED:
        return thread
    if run.first_checkpoint or begins_thread(thread):
        return cancelled_thread(thread, epoch, at)
    # A worker whose lease has ended may be about to begin it.
    return msgspec.structs.replace(thread, epoch=epoch) if run.attempt else thread


def can_be_retried(run: RunRow, last: int) -> bool:
    """Whether the run has ended without a result, and is the last of its thread, whose number is `last`."""
    return run.state.is_ended and run.state != RunState.DONE and run.seq == last


def reopens_thread(state: RunState, thread: ThreadRow) -> bool:
    """Whether a thread that stopped is running again with the run that is retried, and has this state afterwards."""
    return state == RunState.READY and thread.status in ("cancelled", "failed")


def retried(run: RunRow, state: RunState, now: int, *, has_updates: bool = False) -> RunRow:
    """The run that is retried. `has_updates`: an update of its thread is left. As `retry_run` does it."""
    request = _request(has_updates=has_updates)
    return msgspec.structs.replace(
        run, state=state, due=now, crashes=0, ended_at=0, error=None, request=request, deadline=NEVER
    )


# Retention and repair -----------------------------------------------------------------------------


def is_expired(run: RunRow, before: int) -> bool:
    """Whether the run was accepted and ended before this time. A quarantined run stays until it is retried. See
    `find_ended_runs`."""
    return run.state in _FORGOTTEN and max(run.accepted_at, run.ended_at) <= before


def is_stuck(run: RunRow, unread: Sequence[str], *, is_first: bool) -> bool:
    """Whether the run should be ready: it waits for a message of a topic in `unread`, of which the inbox has one, or it
    is blocked although it is the first unfinished run of its thread. See `find_stuck_runs`."""
    if run.state is RunState.BLOCKED:
        return is_first
    if run.state is not RunState.WAITING or run.waits_on is None:
        return False
    return not set(unread).isdisjoint(msgspec.json.decode(run.waits_on, type=WaitsOn).topics)


def repaired(run: RunRow, now: int) -> RunRow:
    """The stuck run, made ready. A blocked run keeps its due time. As `free_stuck_run` does it."""
    return msgspec.structs.replace(run, state=RunState.READY, due=now if run.state == RunState.WAITING else run.due)


# A listing ----------------------------------------------------------------------------------------


def has_metadata(run: RunRow, sought: str | None) -> bool:
    """Whether the run's metadata has all values of this JSON object. See `list_runs`."""
    if sought is None:
        return True
    found = msgspec.json.decode(run.metadata or "{}")
    wanted = msgspec.json.decode(sought).items()
    return all(key in found and (type(found[key]), found[key]) == (type(value), value) for key, value in wanted)


def stats_of(counts: Iterable[tuple[str, int, int, int | None]]) -> list[QueueStats]:
    """The numbers of runs by queue, in the order of the queues' names.

    `counts` has the queue, the state and the number of some runs, and the time since which the first of them is due
    (None: none of them is). Runs that have ended are not counted, unless they are quarantined.
    """
    found: dict[str, dict[str, int]] = {}
    for queue, state, count, due in counts:
        name = _COUNTED.get(RunState(state))
        if name is None:
            continue
        numbers = found.setdefault(queue, {"oldest_due": 0})
        numbers[name] = numbers.get(name, 0) + count
        if due is not None:
            numbers["oldest_due"] = min(due, numbers["oldest_due"] or due)
    stats = [QueueStats(queue) for queue in sorted(found)]
    return [msgspec.structs.replace(each, **found[each.queue]) for each in stats]
