"""Changes to the stored rows of a MemorySaver without its knowledge."""

from typing import Literal

import msgspec

from durable_graph import MemorySaver
from durable_graph.checkpointing.columns import key_of
from durable_graph.testing.conformance import StoredRow


def tamper(saver: MemorySaver, row: StoredRow, how: Literal["flip", "remove"]) -> None:
    """Change or remove a stored row."""
    # Private: the rows of a MemorySaver have no public access, because only tests need it.
    thread = saver._threads[key_of(row.thread)]
    match row.table, how:
        case "value", "remove":
            thread.values[row.ns][row.channel].remove_all([row.no])
        case "value", "flip":
            value = thread.values[row.ns][row.channel].by_key[row.no]
            changed = msgspec.structs.replace(value, value=flipped(value.value))
            thread.values[row.ns][row.channel].put(row.no, changed)
        case "checkpoint", "remove":
            thread.checkpoints[row.ns].remove_all([row.no])
        case "checkpoint", "flip":
            checkpoint = thread.checkpoints[row.ns].by_key[row.no]
            changed_header = msgspec.structs.replace(checkpoint, header=flipped(checkpoint.header))
            thread.checkpoints[row.ns].put(row.no, changed_header)
        case "record", "remove":
            thread.records[row.ns].remove_all([(row.no, row.ord)])
        case "record", "flip":
            record = thread.records[row.ns].by_key[row.no, row.ord]
            changed_record = msgspec.structs.replace(record, value=flipped(record.value))
            thread.records[row.ns].put((row.no, row.ord), changed_record)
        case "branch", _:
            del thread.parents[row.no]


def flipped(data: bytes) -> bytes:
    """The bytes with one bit of the last one changed."""
    return data[:-1] + bytes([data[-1] ^ 1])
