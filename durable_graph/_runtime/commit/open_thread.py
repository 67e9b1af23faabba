"""A thread as a run finds it: loaded, checked and decoded."""

import msgspec

from durable_graph._engine.restore import Restored, restore
from durable_graph._runtime.request import log
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.digests import origin_of
from durable_graph.checkpointing.integrity import verified
from durable_graph.checkpointing.pieces import in_pieces
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.errors import WrongGraphError
from durable_graph.graph import Topology
from durable_graph.records import StoredThread, ThreadRow


class Opened(msgspec.Struct, frozen=True):
    """A thread as it was found: its row (made up for a new one), and the checkpoint to start from, if there is one.
    `calls_in` are the namespaces in which calls are recorded that the tasks of the head's plan made. `base` is the row
    as the saver returned it."""

    thread: ThreadRow
    restored: Restored | None
    calls_in: frozenset[str] = frozenset()
    base: StoredThread | None = None


async def open_thread(saver: Checkpointer, topology: Topology, thread_id: str, no: int | None) -> Opened:
    """Load, check and decode a thread. Raises `CorruptCheckpointError` for damaged rows."""
    found = await saver.load(thread_id, "", no)
    if found is None:
        return Opened(new_thread(thread_id), None)
    await in_pieces(verified(found))
    check_graph(topology, thread_id, found.thread)
    if found.thread.status == "deleted":
        return Opened(reborn(thread_id, found.thread), None)
    restored, calls_in = restore(topology, found, saver.max_value_bytes), {record.ns for record in found.nested}
    return Opened(found.thread, await in_pieces(restored), frozenset(calls_in), found.base)


def new_thread(thread_id: str) -> ThreadRow:
    """The row that a thread would have before its first commit."""
    incarnation = drawn_incarnation()
    return ThreadRow(thread_id, incarnation, origin_of(thread_id, incarnation), 0, 0, 0, 0, 0, 0, "done", 0, b"")


def reborn(thread_id: str, tombstone: ThreadRow) -> ThreadRow:
    """The row of a deleted thread that is used again: its numbers continue, and its incarnation is new."""
    return msgspec.structs.replace(new_thread(thread_id), version=tombstone.version, epoch=tombstone.epoch)


def check_graph(topology: Topology, thread_id: str, thread: ThreadRow) -> None:
    """Raise `WrongGraphError` unless the thread is the graph's.

    No name is None: a graph without a name may not touch a thread that belongs to one, and a named graph takes a thread
    without a name, which its next commit names. `formerly` has the names that the graph once had.
    """
    if thread.status == "deleted" or not thread.version:
        return
    stored, called = thread.graph, topology.graph_name
    if stored is None:
        if called is None and thread.graph_digest != topology.nodes_digest and thread.graph_digest:
            log.other_nodes(thread_id)
    elif stored != called and stored not in topology.formerly:
        raise WrongGraphError(thread_id, stored=stored, called=called)
