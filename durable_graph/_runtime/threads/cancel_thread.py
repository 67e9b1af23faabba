"""Cancelling a thread for good, from any process, and reopening it."""

import time

from durable_graph._engine.restore import restore
from durable_graph._engine.task import Done, is_waiting
from durable_graph._runtime.commit.busy import cancel_call
from durable_graph._runtime.commit.open_thread import check_graph
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.integrity import verified
from durable_graph.checkpointing.pieces import in_pieces
from durable_graph.errors import UnknownThreadError
from durable_graph.graph import Topology
from durable_graph.records import Saved, Status, StoredCheckpoint, WritesBatch


async def cancel_thread(topology: Topology, saver: Checkpointer, thread_id: str) -> bool:
    """Record that the thread is cancelled. Whether it was: not where nothing is left to run.

    The mark is in the thread's row. A run of this process is stopped at once, a run elsewhere finds the mark at its
    next call of the store: it records what has finished, and begins no superstep. Raises `UnknownThreadError`.
    """
    while True:
        found = await _loaded(topology, saver, thread_id)
        if found.thread.status in ("cancelled", "done"):
            return found.thread.status == "cancelled"
        if await _has_taken(saver, found, "cancelled"):
            cancel_call(saver, thread_id)
            return True


async def reopen_thread(topology: Topology, saver: Checkpointer, thread_id: str) -> bool:
    """Let a cancelled thread be resumed where it stopped. Whether it was cancelled. Raises `UnknownThreadError`."""
    while True:
        found = await _loaded(topology, saver, thread_id)
        if found.thread.status != "cancelled":
            return False
        if await _has_taken(saver, found, await _status_of(topology, saver, found)):
            return True


async def _status_of(topology: Topology, saver: Checkpointer, found: StoredCheckpoint) -> Status:
    """The status that the thread has where nobody cancelled it and no run executes it."""
    restored = await in_pieces(restore(topology, found, saver.max_value_bytes))
    if restored is None or not restored.state.plan:
        return "done"
    tasks = (restored.recorded.get(task.key) for task in restored.state.plan)
    return "interrupted" if all(isinstance(each, Done) or is_waiting(each) for each in tasks) else "running"


async def _loaded(topology: Topology, saver: Checkpointer, thread_id: str) -> StoredCheckpoint:
    found = await saver.load(thread_id)
    if found is None or found.thread.status == "deleted":
        raise UnknownThreadError(thread_id)
    await in_pieces(verified(found))
    check_graph(topology, thread_id, found.thread)
    return found


async def _has_taken(saver: Checkpointer, found: StoredCheckpoint, status: Status) -> bool:
    thread = found.thread
    at = time.time_ns() // 1000
    batch = WritesBatch(thread.thread, thread.version, thread.epoch, at, (), status, if_status=thread.status)
    # Not where the thread has moved on meanwhile: then it is looked at again.
    return isinstance(await saver.save_writes(batch), Saved)
