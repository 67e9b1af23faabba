"""Cancelling a thread durably, from any process, and reopening it."""

import time

from durable_graph._engine.delays import with_delays
from durable_graph._engine.restore import restore
from durable_graph._engine.task import Done, is_waiting
from durable_graph._runtime.commit.busy import cancel_call
from durable_graph._runtime.commit.thread import check_graph
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.integrity import verified
from durable_graph.checkpointing.pieces import in_pieces
from durable_graph.checkpointing.run_store import KeepsRuns
from durable_graph.errors import UnknownThreadError
from durable_graph.graph import Topology
from durable_graph.records import Saved, Status, StoredCheckpoint, WritesBatch
from durable_graph.run_records import Claim, RunState


async def cancel_thread(topology: Topology, saver: Checkpointer, thread_id: str, claim: Claim | None = None) -> bool:
    """Record that the thread is cancelled. False if the thread is finished, so that nothing is left to cancel.

    The thread's row stores the status. A run of this process stops at once. A run of another process sees the status at
    its next call of the store: it records the tasks that have finished, and starts no superstep. With the `claim` of a
    run whose worker was asked to cancel it, nothing is cancelled once the claim no longer holds the thread: another run
    may be about to begin, or the same run once it was retried. Raises `UnknownThreadError`.
    """
    while True:
        found = await _loaded(topology, saver, thread_id)
        if claim is not None:
            if (found.unfinished_run, found.thread.epoch) != (claim.seq, claim.epoch):
                return False
        elif found.unfinished_run and await _is_run_cancelled(saver, found):
            return True
        if found.thread.status in ("cancelled", "done"):
            return found.thread.status == "cancelled"
        if await _try_to_set(saver, found, "cancelled"):
            cancel_call(saver, thread_id)
            return True


async def _is_run_cancelled(saver: Checkpointer, found: StoredCheckpoint) -> bool:
    """Whether the run that owns the thread is cancelled by now. Otherwise its worker has been asked to stop it."""
    if not isinstance(saver, KeepsRuns):
        return False
    state = await saver.runs.cancel_run(found.thread.thread, found.unfinished_run, "cancelled by graph.acancel")
    return state is RunState.CANCELLED


async def reopen_thread(topology: Topology, saver: Checkpointer, thread_id: str) -> bool:
    """Make a cancelled thread resumable. False if it was not cancelled. Raises `UnknownThreadError`."""
    while True:
        found = await _loaded(topology, saver, thread_id)
        if found.thread.status != "cancelled":
            return False
        if await _try_to_set(saver, found, await _status_of(topology, saver, found)):
            return True


async def _status_of(topology: Topology, saver: Checkpointer, found: StoredCheckpoint) -> Status:
    """The status that the thread would have if it were not cancelled and no run executed it."""
    restored = await in_pieces(restore(topology, found, saver.max_value_bytes))
    if restored is None or not restored.state.plan:
        return "done"
    plan, nothing = restored.state.plan, topology.argument.encode(None)
    now, origin = time.time_ns() // 1000, found.thread.origin
    recorded = with_delays(plan, restored.recorded, now, origin=origin, ns="", nothing=nothing)
    tasks = (recorded.get(task.key) for task in plan)
    return "interrupted" if all(isinstance(each, Done) or is_waiting(each) for each in tasks) else "running"


async def _loaded(topology: Topology, saver: Checkpointer, thread_id: str) -> StoredCheckpoint:
    found = await saver.load(thread_id)
    if found is None or found.thread.status == "deleted":
        raise UnknownThreadError(thread_id)
    await in_pieces(verified(found))
    check_graph(topology, thread_id, found.thread)
    return found


async def _try_to_set(saver: Checkpointer, found: StoredCheckpoint, status: Status) -> bool:
    """Set the thread's status, unless the thread has changed since it was loaded: then the caller loads it again."""
    thread = found.thread
    at = time.time_ns() // 1000
    batch = WritesBatch(
        thread.thread, thread.version, thread.epoch, at, (), status, if_status=thread.status, base=found.base
    )
    return isinstance(await saver.save_writes(batch), Saved)
