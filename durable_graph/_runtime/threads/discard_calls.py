"""Recovery from a replay mismatch: discard the call records that did not match, so that the calls run again."""

from collections.abc import Mapping

import msgspec

from durable_graph._engine.header import decode_header
from durable_graph._engine.matching import NOTE
from durable_graph._engine.task import Argument, Identity, Task, namespace_of, task_id
from durable_graph._runtime.commit.writer import SYNC, open_writer
from durable_graph._runtime.request.run import GRACE
from durable_graph._runtime.task.claims import decoded_note, note_record
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.integrity import verified
from durable_graph.checkpointing.pieces import in_pieces
from durable_graph.errors import UnknownNameError, UnknownThreadError
from durable_graph.records import CheckpointRow, TaskRecord, ThreadRow


async def discard_calls(saver: Checkpointer, thread: str, id_: str) -> int:
    """Discard the records that did not match the last attempt of a task, and return their number.

    Raises `UnknownThreadError`, `UnknownNameError`, and `CheckpointConflictError` if another writer was first.
    """
    found = await saver.load(thread, "", None)
    checkpoint = None if found is None or found.thread.status == "deleted" else found.checkpoint
    if found is None or checkpoint is None:
        raise UnknownThreadError(thread)
    await in_pieces(verified(found))
    tasks = _planned(found.thread, checkpoint)
    if not isinstance(id_, str) or id_ not in tasks:
        raise UnknownNameError.of_task(thread, id_, node=None, known=tasks)
    writer = open_writer(saver, found.thread, SYNC, grace=GRACE, base=found.base)
    dropped: list[TaskRecord] = []
    count = 0
    for place in found.nested:
        if place.ord != NOTE:
            continue
        for record in await writer.thread.load_records(place.ns):
            if (record.born, record.ord) != (place.born, NOTE):
                continue
            note = decoded_note(record.value)
            if note.task == namespace_of("", tasks[id_]) and note.refused:
                count += len(note.refused)
                after = msgspec.structs.replace(note, refused=(), discarded=(*note.discarded, *note.refused))
                dropped.append(note_record(writer.thread, record.ns, record.born, record.revision + 1, after))
    if dropped:
        await writer.save_records(tuple(dropped))
    return count


def _planned(thread: ThreadRow, checkpoint: CheckpointRow) -> Mapping[str, Task]:
    """The tasks of the head's plan by their ids. A Send's argument is not decoded: its class may be unknown here."""
    whose = Identity(thread.thread, thread.incarnation)
    tasks = [
        Task(entry.node, checkpoint.no - entry.ago, entry.ord, None if entry.argument is None else Argument(None, None))
        for entry in decode_header(checkpoint.header).plan
    ]
    return {task_id(whose, task): task for task in tasks}
