"""Recovery from a replay mismatch: discard the call records that did not match, so that the calls run again."""

import os
import time
from collections.abc import Mapping

import msgspec

from durable_graph._engine.header import decode_header
from durable_graph._engine.matching import NOTE
from durable_graph._engine.task import Argument, Identity, Task, namespace_of, task_id
from durable_graph._runtime.commit.journal import Journal
from durable_graph._runtime.task.claims import decoded_note, note_record
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.integrity import verified
from durable_graph.checkpointing.pieces import in_pieces
from durable_graph.errors import UnknownTaskError, UnknownThreadError
from durable_graph.records import StoredCheckpoint, TaskRecord


async def discard_calls(saver: Checkpointer, thread: str, id_: str) -> int:
    """Discard the records that did not match the last attempt of a task, and return their number.

    Raises `UnknownThreadError`, `UnknownTaskError`, and `CheckpointConflictError` if another writer was first.
    """
    found = await saver.load(thread, "", None)
    if found is None or found.thread.status == "deleted" or found.checkpoint is None:
        raise UnknownThreadError(thread)
    await in_pieces(verified(found))
    tasks = _planned(found)
    if not isinstance(id_, str) or id_ not in tasks:
        raise UnknownTaskError(thread, id_, node=None, known=tasks)
    journal = Journal(saver, found.thread, os.urandom(16), {}, lambda: time.time_ns() // 1000, base=found.base)
    dropped: list[TaskRecord] = []
    count = 0
    for place in found.nested:
        if place.ord != NOTE:
            continue
        for record in await journal.load_records(place.ns):
            if (record.born, record.ord) != (place.born, NOTE):
                continue
            note = decoded_note(record.value)
            if note.task == namespace_of("", tasks[id_]) and note.refused:
                count += len(note.refused)
                after = msgspec.structs.replace(note, refused=(), discarded=(*note.discarded, *note.refused))
                dropped.append(note_record(journal, record.ns, record.born, record.revision + 1, after))
    if dropped:
        await journal.save_records(tuple(dropped))
    return count


def _planned(found: StoredCheckpoint) -> Mapping[str, Task]:
    """The tasks of the head's plan by their ids. A Send's argument is not decoded: its class may be unknown here."""
    checkpoint = found.checkpoint
    assert checkpoint is not None  # noqa: S101  # the caller saw to it
    whose = Identity(found.thread.thread, found.thread.incarnation)
    tasks = [
        Task(entry.node, checkpoint.no - entry.ago, entry.ord, None if entry.argument is None else Argument(None, None))
        for entry in decode_header(checkpoint.header).plan
    ]
    return {task_id(whose, task): task for task in tasks}
