"""A new branch from a checkpoint of a nested graph.

A task of an outer graph made that checkpoint, and the outer graph may be nested itself. On the new branch each of these
graphs gets a checkpoint whose pending tasks are planned again as new tasks, and each nested run moves to the new task
that replaces its old caller. So the whole run resumes at the nested checkpoint, instead of calling the graph again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from durable_graph._engine.admit import replan
from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._engine.header import decode_header
from durable_graph._engine.matching import NOTE
from durable_graph._engine.restore import Page, Restored, restore
from durable_graph._engine.state import Change, Full
from durable_graph._engine.task import Task, namespace_of
from durable_graph._runtime.commit.requests import Namespace
from durable_graph._runtime.commit.thread import KnownThread
from durable_graph._runtime.commit.writer import Writer
from durable_graph._runtime.request.namespaces import Place, caller_and_place, nested_graphs, topology_at
from durable_graph._runtime.task.claims import decoded_call
from durable_graph._runtime.task.run_context import ParkedRun, Progress
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.digests import record_digest
from durable_graph.checkpointing.integrity import damage_found, refuse_damage_since, verified
from durable_graph.checkpointing.pieces import in_pieces
from durable_graph.errors import UnknownNameError
from durable_graph.graph import Topology
from durable_graph.records import TaskRecord, checkpoint_id

PAGE = 50

_TASK = re.compile(r"(?P<node>[^:|]*[^:|\d][^:|]*):(?P<born>\d+)\.(?P<ord>\d+)")
_BORN = re.compile(r":\d+\.")


@dataclass(frozen=True, slots=True)
class Level:
    """A graph on the path from the outermost graph to the nested one: its new branch, and its old checkpoint `was`."""

    topology: Topology
    ns: str
    own: Namespace
    step: NextCheckpoint
    was: Restored

    @property
    def rest(self) -> ParkedRun:
        """The parked run that the calling task resumes."""
        return ParkedRun(self.own, Progress(self.step.state), self.topology.name, self.step.caller)


@dataclass(frozen=True, slots=True)
class _Found:
    """A graph on the path, at its old checkpoint.

    `caller` is the id of the call that ran it. `place` is the index of the calling task in the outer graph's plan, and
    `inside` the part of `caller` after that task: calls that the task made through other calls.
    """

    topology: Topology
    ns: str
    restored: Restored
    caller: str = ""
    place: int = 0
    inside: str = ""
    born: int = 0


async def is_at_head(saver: Checkpointer, place: Place, head: int) -> bool:
    """Whether a nested checkpoint is part of the thread's current run, which can then be resumed without a fork."""
    found = await saver.load(place.thread_id, place.ns, None)
    if found is None or found.checkpoint is None or place.no not in (None, found.checkpoint.no):
        return False
    caller = decode_header(found.checkpoint.header).caller or place.ns
    root = await saver.load(place.thread_id, "", None)
    if root is None or root.checkpoint is None or root.checkpoint.no != head:
        return False
    planned = decode_header(root.checkpoint.header).plan
    first = caller.split("|")[0]
    return any(first in (entry.node, f"{entry.node}:{head - entry.ago}.{entry.ord}") for entry in planned)


async def levels_to(topology: Topology, writer: Writer, place: Place) -> tuple[Level, ...]:
    """The checkpoints of the new branch, to be committed together, from the outermost graph's to the nested one's.

    Raises `UnknownNameError`.
    """
    levels: list[Level] = []
    thread = writer.thread
    for found in await _chain(thread.saver, topology, place):
        record = await _record_of(thread, found) if levels else None
        levels.append(_level(writer, found, record, levels[-1] if levels else None, place.no))
    return tuple(levels)


async def _record_of(thread: KnownThread, found: _Found) -> TaskRecord | None:
    """The record of the call that started a nested run, None for a node that is the graph itself."""
    ns, place = caller_and_place(found.caller)
    stored = await thread.load_records(ns)
    of_task = [record for record in stored if record.born == found.born and record.ord != NOTE]
    if place is not None:
        return next((record for record in of_task if record.ord == place), None)
    return next((record for record in of_task if decoded_call(record.value).is_main), None)


async def callers_of(
    saver: Checkpointer, topology: Topology, place: Place
) -> Sequence[tuple[Topology, Restored, Task]]:
    """The tasks around a nested checkpoint, with their graphs and checkpoints, the outermost first."""
    chain = await _chain(saver, topology, place)
    return [
        (outer.topology, outer.restored, outer.restored.state.plan[inner.place]) for outer, inner in pairwise(chain)
    ]


async def _chain(saver: Checkpointer, topology: Topology, place: Place) -> Sequence[_Found]:
    """The graphs on the path to the place, the outermost one first."""
    chain: Sequence[_Found] = [await _found(saver, topology, place)]
    while chain[0].ns:
        chain = await _with_caller(saver, topology, place, chain)
    return chain


async def _found(saver: Checkpointer, topology: Topology, place: Place) -> _Found:
    stored = await saver.load(place.thread_id, place.ns, place.no)
    if stored is not None and stored.checkpoint is not None:
        await in_pieces(verified(stored))
        header = decode_header(stored.checkpoint.header)
        own = topology_at(topology, place.ns, header.graph)
        restored = await in_pieces(restore(own, stored, saver.max_value_bytes))
        if restored is not None:
            return _Found(own, place.ns, restored, header.caller or place.ns)
    raise UnknownNameError.of_checkpoint(place.thread_id, checkpoint_id(place.no or 0))


async def _with_caller(
    saver: Checkpointer, topology: Topology, place: Place, chain: Sequence[_Found]
) -> Sequence[_Found]:
    """The chain extended by the graph around its first: the graph whose checkpoint planned the calling task."""
    inner = chain[0]
    parts = inner.caller.split("|")
    for at in range(len(parts) - 1, -1, -1):
        task = _TASK.fullmatch(parts[at])
        if task is None:
            continue
        key = int(task["born"]), int(task["ord"])
        outer = await _holding(saver, topology, place, "|".join(parts[:at]), task["node"], key)
        if outer is None:
            continue
        index = [each.key for each in outer.restored.state.plan].index(key)
        inside = "|".join(("", *parts[at + 1 :]))
        inner = _Found(inner.topology, inner.ns, inner.restored, inner.caller, index, inside, key[0])
        return (outer, inner, *chain[1:])
    raise UnknownNameError.of_namespace(inner.ns, known=nested_graphs(topology))


async def _holding(
    saver: Checkpointer, topology: Topology, place: Place, ns: str, node: str, key: tuple[int, int]
) -> _Found | None:
    """The newest checkpoint of a namespace, up to the place's number, whose plan has the task.

    The task's number identifies the branch: a fork plans its tasks under a new number.
    """
    try:
        own = topology_at(topology, ns)
    except UnknownNameError:
        # The namespace belongs to a call inside a node, not to a graph: the graph is further out.
        return None
    before = (place.no or 0) + 1
    while before > key[0]:
        page = await saver.history(place.thread_id, ns, before=before, limit=PAGE)
        if page is None or not page.checkpoints:
            return None
        errors = await in_pieces(damage_found(page))
        opened = Page(own, page, saver.max_value_bytes)
        for checkpoint in page.checkpoints:
            refuse_damage_since(checkpoint.no, errors)
            header = decode_header(checkpoint.header)
            planned = ((checkpoint.no - entry.ago, entry.ord, entry.node) for entry in header.plan)
            if (*key, node) in planned:
                restored = await in_pieces(opened.restore(checkpoint, header))
                return _Found(own, ns, restored, header.caller or ns)
        refuse_damage_since(0, errors)
        before = page.older
    return None


def _level(writer: Writer, found: _Found, record: TaskRecord | None, outer: Level | None, fork_of: int | None) -> Level:
    restored = found.restored
    state = replan(restored.state, writer.thread.reserve())
    ns = caller = ""
    calls: tuple[TaskRecord, ...] = ()
    if outer is not None:
        task = outer.step.state.plan[found.place]
        caller = namespace_of(outer.ns, task) + _BORN.sub(f":{task.born}.", found.inside)
        # Memory per thread keeps its namespace. A run that belongs to one task moves to the new task.
        ns = caller if found.ns == found.caller else found.ns
        if record is not None:
            # The new task makes the same call, and matches it by this record.
            calls = (_moved(writer.thread, record, caller_and_place(caller)[0], task.born),)
    has_moved = ns != found.ns
    changes: dict[str, Change] = {}
    if has_moved:
        changes = {channel: Full(None) for channel in restored.stored.channels if channel in state.values}
    step = NextCheckpoint(
        state,
        changes,
        parent=0 if has_moved else restored.state.no,
        source="fork",
        writers=restored.header.writers,
        fork_of=fork_of if outer is None else None,
        caller=caller,
        is_stopped=True,
        calls=calls,
    )
    own = writer.namespace(found.topology, ns, None if has_moved else restored)
    return Level(found.topology, ns, own, step, restored)


def _moved(thread: KnownThread, record: TaskRecord, ns: str, born: int) -> TaskRecord:
    moved = msgspec.structs.replace(record, ns=ns, born=born, commit_id=thread.commit_id)
    return msgspec.structs.replace(moved, digest=record_digest(thread.row.origin, moved))
