"""The events of a run that had no follower until now, since its last checkpoint."""

import time

import msgspec

from durable_graph._runtime.commit.thread import open_thread
from durable_graph._runtime.events.stored import outcome_row, wait_row
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.event_log import Follow
from durable_graph.graph import START, Topology
from durable_graph.records import TaskRecord
from durable_graph.run_records import EventRow, RunRow, RunState


async def opened_follow(topology: Topology, saver: Checkpointer, row: RunRow) -> Follow:
    """The request to store the events of a run from here on, with what is recorded since its last checkpoint: the
    results and questions of a superstep that is not over. Raises `CorruptCheckpointError` and `WrongGraphError`."""
    opened = await open_thread(saver, topology, row.thread, None)
    thread, restored = opened.thread, opened.restored
    rows: list[EventRow] = []
    is_at_head = row.first_checkpoint and thread.head >= row.first_checkpoint and thread.head == row.checkpoint
    if restored is not None and is_at_head and row.state is not RunState.RUNNING:
        at = time.time()
        found = [outcome_row("", each, at) for each in restored.recorded.values() if each.task.node != START]
        rows = [each for each in found if each is not None]
        if row.state is RunState.WAITING:
            rows.append(wait_row(restored.recorded, at))
    rows = [msgspec.structs.replace(each, seq=row.seq, epoch=thread.epoch) for each in rows]
    return Follow(row.thread, row.seq, thread.version, thread.epoch, thread.wseq, tuple(rows))


async def open_results(topology: Topology, saver: Checkpointer, thread_id: str) -> tuple[int, list[TaskRecord]]:
    """The version of a thread, and the records of the tasks of its newest superstep so far."""
    found = await saver.load(thread_id, "", None)
    if found is None or found.checkpoint is None:
        return 0, []
    opened = await open_thread(saver, topology, thread_id, None)
    planned = set() if opened.restored is None else {task.key for task in opened.restored.state.plan}
    return found.thread.version, [each for each in found.records if (each.born, each.ord) in planned]
