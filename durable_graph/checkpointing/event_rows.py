"""The columns of an event's row."""

from durable_graph.checkpointing.columns import Columns
from durable_graph.run_records import EventRow


def event_columns(key: int, row: EventRow) -> Columns:
    """The columns of an event of the thread with this key, in the order of the statement `add_event`."""
    place = (key, row.version, row.position, row.epoch, row.seq, int(row.kind), row.born, row.ord, row.ns)
    return (*place, row.task.encode("ascii"), row.value)
