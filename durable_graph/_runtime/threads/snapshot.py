"""A thread's state as callers see it."""

from collections.abc import AsyncGenerator, Callable, Container, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from durable_graph._engine.admit import Superseded
from durable_graph._engine.apply import with_recorded
from durable_graph._engine.delays import delay_of, may_be_delayed
from durable_graph._engine.header import Header, decode_header
from durable_graph._engine.restore import Page, Restored, restore
from durable_graph._engine.results import Made, by_key, headers_in, made_in
from durable_graph._engine.state import state_of
from durable_graph._engine.task import (
    Argument,
    Done,
    Failed,
    Finished,
    Handling,
    Identity,
    Outcome,
    PastInterrupt,
    RoutingOpen,
    Task,
    Unreadable,
    all_interrupts,
    open_interrupts,
    task_id,
)
from durable_graph._engine.values import Values
from durable_graph._runtime.commit.thread import check_graph
from durable_graph._runtime.request.namespaces import Place, names_in, namespace_of_task, topology_at
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.integrity import damage_found, refuse_damage_since, verified
from durable_graph.checkpointing.pieces import PIECE_BYTES, in_pieces
from durable_graph.errors import DecodeError, UnknownNameError
from durable_graph.graph import Interrupt, Topology
from durable_graph.graph.drawing import NodeStatus, status_of
from durable_graph.records import CheckpointRow, HistoryPage, Status, StoredCheckpoint, checkpoint_id

PAGE = 50
"""The number of checkpoints on the first page of a history, and on every page while their values are large."""

_LONGEST_PAGE = 800
_NEARBY = (64, 1024)
"""How far after a checkpoint its successor is searched for, in checkpoint numbers."""


class SnapshotTask(msgspec.Struct, frozen=True):
    """A task of a snapshot. `result` has its writes, once they are recorded, in the form of stream mode "tasks":
    `{key: value}`, with `{"$writes": [...]}` for a key that it wrote several times. `error` is its error, as text.

    `interrupts` are its pending interrupts; in a past checkpoint all interrupts that it raised, answered or not. A
    delayed task (`after=`) has one until it has a result: `is_sleep` is true, and `due` is its due time.
    `state` is the state of the graph that the task runs: a config for `aget_state`, or with `subgraphs=True` its
    snapshot; None if that graph has not started.
    """

    id: str
    name: str
    error: str | None
    result: Any
    interrupts: tuple[Interrupt, ...] = ()
    state: Any = None
    path: tuple[str, ...] = ()


class SupersededTask(msgspec.Struct, frozen=True):
    """A task that new input superseded. `outcome` is "pending", "failed", "interrupted" or "unmerged"."""

    id: str
    name: str
    outcome: str
    error: str | None


class StateSnapshot(msgspec.Struct, frozen=True):
    """A thread at one checkpoint.

    `values` are the state's keys that have a value; in the newest checkpoint they include the writes of its finished
    tasks. `next` names the nodes that have still to run, and is empty only if there is nothing to resume. `interrupts`
    are those of all its tasks: the pending interrupts, and in a past checkpoint all interrupts. `superseded` lists the
    tasks that this checkpoint's input replaced. `config` is the config of this checkpoint, `parent_config` of its
    parent. `created_at` is ISO 8601 in UTC. `unknown_channels` are in the store, but no longer in the graph. Each
    snapshot has its own values; snapshots of one history share the items inside them, which must not be changed.

    `status` is the thread's status, as `aget_state` read it without a `checkpoint_id`: "running" (a run executes the
    thread, or was killed or its call cancelled), "interrupted" (it waits for answers, or stopped at a breakpoint),
    "failed", "done", or "cancelled" (by `acancel`).
    It is None for a checkpoint that was read by its id or namespace, and if the thread has no checkpoint.
    """

    values: Any
    next: tuple[str, ...]
    config: dict[str, Any]
    metadata: dict[str, Any] | None
    created_at: str | None
    parent_config: dict[str, Any] | None
    tasks: tuple[SnapshotTask, ...]
    interrupts: tuple[Interrupt, ...] = ()
    superseded: tuple[SupersededTask, ...] = ()
    unknown_channels: tuple[str, ...] = ()
    status: Status | None = None


async def read_snapshot(
    topology: Topology, saver: Checkpointer, place: Place, *, subgraphs: bool = False
) -> StateSnapshot:
    """A namespace's newest checkpoint, or its checkpoint `place.no`. A namespace without checkpoints has an empty
    snapshot.

    Raises `UnknownNameError`, `CorruptCheckpointError`, `GraphChangedError`.
    """
    own = topology_at(topology, place.ns)
    found = await saver.load(place.thread_id, place.ns, place.no)
    restored = None
    incarnation = 0
    if found is not None:
        await in_pieces(verified(found))
        check_graph(topology, place.thread_id, found.thread)
        own = _topology_of(topology, place.ns, found)
        restored = await in_pieces(restore(own, found, saver.max_value_bytes))
        incarnation = found.thread.incarnation
    if restored is None:
        if place.no is not None:
            raise UnknownNameError.of_checkpoint(place.thread_id, checkpoint_id(place.no))
        return StateSnapshot({}, (), place.config(None), None, None, None, ())
    identity = Identity(place.thread_id, incarnation, place.ns)
    made = None if place.no is None else await _made_after(own, saver, place, restored)
    is_past = place.no is not None and place.no != await _newest(saver, place, found)
    snapshot = _snapshot(own, identity, restored, made, is_head=place.no is None, is_past=is_past)
    if found is not None and place.no is None and not place.ns:
        snapshot = msgspec.structs.replace(snapshot, status=found.thread.status)
    return await _with_nested(own, saver, place, snapshot, is_past=is_past) if subgraphs else snapshot


async def _newest(saver: Checkpointer, place: Place, found: StoredCheckpoint | None) -> int:
    """The number of the namespace's newest checkpoint, the only one whose interrupts can be pending."""
    if not place.ns:
        return 0 if found is None else found.thread.head
    page = await saver.history(place.thread_id, place.ns, before=None, limit=1)
    return page.checkpoints[0].no if page is not None and page.checkpoints else 0


async def _made_after(topology: Topology, saver: Checkpointer, place: Place, restored: Restored) -> Made | None:
    """The writes of an older checkpoint's only task, if the checkpoint of its superstep is near in numbers."""
    state = restored.state
    if len(state.plan) != 1 or isinstance(restored.recorded.get(state.plan[0].key), Finished):
        return None
    for distance in _NEARBY:
        made = await _made_near(topology, saver, place, state.no, distance, lambda parent: parent == state.no)
        if state.no in made:
            return made[state.no]
    return None


async def _made_from(topology: Topology, saver: Checkpointer, place: Place, before: int) -> dict[int, Made]:
    """The writes of the tasks of the newest checkpoints before a number, which the page of newer checkpoints has."""
    return await _made_near(topology, saver, place, before, _NEARBY[0], lambda parent: parent < before)


async def _made_near(
    topology: Topology, saver: Checkpointer, place: Place, no: int, distance: int, parents: Callable[[int], bool]
) -> dict[int, Made]:
    page = await saver.history(place.thread_id, place.ns, before=no + distance, limit=distance)
    if page is None:
        return {}
    errors = await in_pieces(damage_found(page))
    headers = await in_pieces(headers_in(page, errors))
    return await in_pieces(made_in(Values(topology, saver.max_value_bytes), page, headers, parents))


async def _with_nested(
    topology: Topology, saver: Checkpointer, place: Place, snapshot: StateSnapshot, *, is_past: bool
) -> StateSnapshot:
    """The snapshot with the snapshots of the graphs that its tasks run."""
    tasks = [
        task
        if task.state is None
        else msgspec.structs.replace(task, state=await _nested(topology, saver, place, task, is_past=is_past))
        for task in snapshot.tasks
    ]
    return msgspec.structs.replace(snapshot, tasks=tuple(tasks))


async def _nested(
    topology: Topology, saver: Checkpointer, place: Place, task: SnapshotTask, *, is_past: bool
) -> StateSnapshot | None:
    ns: str = task.state["configurable"]["checkpoint_ns"]
    no = None
    if place.no is not None:
        # The run may have left the branch of an older checkpoint. A namespace with the task's number is found by its
        # name; for memory per thread, the newest checkpoint up to this one counts.
        before = place.no + 1 if ":" not in ns else None
        page = await saver.history(place.thread_id, ns, before=before, limit=1)
        if page is None or not page.checkpoints:
            return None
        no = page.checkpoints[0].no
    inner = Place(place.thread_id, ns, no)
    found = await saver.load(place.thread_id, ns, no)
    if found is None or found.checkpoint is None:
        return None
    await in_pieces(verified(found))
    # `topology` is the graph of `place.ns`, so only the rest of the path is followed from it.
    own = _topology_of(topology, ns.removeprefix(place.ns).removeprefix("|"), found)
    restored = await in_pieces(restore(own, found, saver.max_value_bytes))
    if restored is None:
        return None
    identity = Identity(place.thread_id, found.thread.incarnation, ns)
    snapshot = _snapshot(own, identity, restored, None, is_head=place.no is None, is_past=is_past)
    return await _with_nested(own, saver, inner, snapshot, is_past=is_past)


def _topology_of(topology: Topology, ns: str, found: StoredCheckpoint) -> Topology:
    """The graph that made a checkpoint. A node may call several graphs, and the checkpoint's header names its own."""
    graph = None if found.checkpoint is None else decode_header(found.checkpoint.header).graph
    return topology_at(topology, ns, graph)


def drawn_status(snapshot: StateSnapshot) -> Mapping[str, NodeStatus]:
    """The status of each node for a drawing. Nodes that wrote the checkpoint, or have finished since, are done."""
    finished = [task.name for task in snapshot.tasks if task.result is not None and task.name not in snapshot.next]
    return status_of(
        next=snapshot.next,
        interrupted=[task.name for task in snapshot.tasks if task.interrupts],
        failed=[task.name for task in snapshot.tasks if task.error is not None],
        done=[*(snapshot.metadata or {}).get("writers", ()), *finished],
    )


async def read_history(
    topology: Topology,
    saver: Checkpointer,
    place: Place,
    limit: int | None,
    wanted: Mapping[str, object] | None = None,
) -> AsyncGenerator[StateSnapshot, None]:
    """A namespace's checkpoints before `place.no`, newest first, of all its branches; only those whose metadata
    contains `wanted`. They are read in pages, each consistent in itself."""
    own = topology_at(topology, place.ns)
    left, before, size = limit, place.no, PAGE
    made = {} if before is None else await _made_from(own, saver, place, before)
    while left is None or left > 0:
        asked = size if left is None or wanted else min(size, left)
        page = await saver.history(place.thread_id, place.ns, before=before, limit=asked)
        if page is None:
            return
        check_graph(topology, place.thread_id, page.thread)
        errors = await in_pieces(damage_found(page))
        identity = Identity(place.thread_id, page.thread.incarnation, place.ns)
        opened = Page(own, page, saver.max_value_bytes)
        headers = await in_pieces(headers_in(page, errors))
        found = {no: header for no, header in headers.items() if _matches(header, wanted)}
        made = await in_pieces(made_in(opened.values, page, headers, _of_interest(found, page), made))
        for checkpoint in page.checkpoints:
            # The caller can read checkpoints older than a damaged one by asking for those before it.
            refuse_damage_since(checkpoint.no, errors)
            if checkpoint.no not in found:
                continue
            restored = await in_pieces(opened.restore(checkpoint, found[checkpoint.no]))
            is_past = before is not None or checkpoint is not page.checkpoints[0]
            yield _snapshot(own, identity, restored, made.get(checkpoint.no), is_head=False, is_past=is_past)
            left = None if left is None else left - 1
            if left == 0:
                return
        refuse_damage_since(0, errors)
        if not page.older:
            return
        before, size = page.older, _next_size(size, page)


def _of_interest(found: Container[int], page: HistoryPage) -> Callable[[int], bool]:
    """A filter for checkpoints whose successors' writes may be shown: those found, and those on later pages."""
    oldest = page.checkpoints[-1].no if page.checkpoints else 0
    return lambda no: no in found or no < oldest


def _next_size(size: int, page: HistoryPage) -> int:
    """The size of the next page. Each page also reads the values from before it, so pages of small rows get longer."""
    stored = sum(len(row.value) for row in page.values) + sum(len(row.header) for row in page.checkpoints)
    return min(2 * size, _LONGEST_PAGE) if stored < PIECE_BYTES else PAGE


def _matches(header: Header, wanted: Mapping[str, object] | None) -> bool:
    if not wanted:
        return True
    metadata = _metadata(header)
    return all(key in metadata and metadata[key] == value for key, value in wanted.items())


def _metadata(header: Header) -> dict[str, object]:
    return {**header.metadata, "source": header.source, "step": header.step, "writers": list(header.writers)}


def _snapshot(
    topology: Topology, identity: Identity, restored: Restored, made: Made | None, *, is_head: bool, is_past: bool
) -> StateSnapshot:
    state, header, row = restored.state, restored.header, restored.row
    place = Place(identity.thread, identity.ns, row.no)
    finished = {key for key, outcome in restored.recorded.items() if isinstance(outcome, Done)}
    values = with_recorded(topology, state, restored.recorded) if is_head else state.values
    ahead = [task for task in state.plan if not (is_head and task.key in finished)]
    if not ahead:
        # Every result is recorded and only the commit is missing. An empty `next` would say that there is nothing to
        # resume.
        ahead = list(state.plan)
    if made is not None and (len(state.plan) != 1 or made.step != state.step + 1 or made.node != state.plan[0].node):
        made = None
    tasks = tuple(_task(topology, identity, task, restored, made, is_past=is_past) for task in state.plan)
    return StateSnapshot(
        values=state_of(topology, values),
        next=tuple(task.node for task in ahead),
        config=place.config(row.no),
        metadata=_metadata(header),
        created_at=_time_of(row),
        parent_config=place.config(row.parent) if row.parent else None,
        tasks=tasks,
        interrupts=tuple(interrupt for task in tasks for interrupt in task.interrupts),
        superseded=tuple(_superseded(identity, each) for each in header.superseded),
        unknown_channels=restored.unknown,
    )


def _time_of(row: CheckpointRow) -> str:
    try:
        return datetime.fromtimestamp(row.at / 1_000_000, UTC).isoformat()
    except (OverflowError, ValueError, OSError) as error:
        raise DecodeError(f"the time of checkpoint {checkpoint_id(row.no)!r}", f"{row.at} is no time") from error


def _task(
    topology: Topology, identity: Identity, task: Task, restored: Restored, made: Made | None, *, is_past: bool
) -> SnapshotTask:
    outcome, result = restored.recorded.get(task.key), None
    if is_past:
        interrupts = tuple(_question(topology, each) for each in all_interrupts(outcome))
    else:
        interrupts = tuple(ask.interrupt for ask in open_interrupts(outcome))
    if task.due and (is_past or may_be_delayed(task, outcome)):
        delay = delay_of(restored.stored.origin, identity.ns, task)
        interrupts = (delay, *(each for each in interrupts if each.id != delay.id))
    if isinstance(outcome, Finished):
        result = _shown(topology, by_key((write.channel, write.value) for write in outcome.writes))
    elif made is not None:
        # The task continued after this record, and its successor checkpoint has its writes.
        outcome, result = None, None if made.values is None else _shown(topology, made.values)
    nested = namespace_of_task(topology, identity.ns, tuple(names_in(identity.ns)), task)
    return SnapshotTask(
        id=task_id(identity, task),
        name=task.node,
        error=_error_of(outcome),
        result=result,
        interrupts=interrupts,
        state=None if nested is None else Place(identity.thread, nested, None).config(None),
        path=("push", str(task.ord)) if task.argument is not None else ("pull", task.node),
    )


def _question(topology: Topology, asked: PastInterrupt) -> Interrupt:
    """A recorded interrupt. If its value can no longer be decoded, the reason replaces the value, as text."""
    try:
        value = topology.argument.decode(asked.data)
    except DecodeError as error:
        value = str(error)
    return Interrupt(value, asked.id, asked.key, asked.due)


def _error_of(outcome: Outcome | None) -> str | None:
    match outcome:
        case Failed() | Handling() | RoutingOpen():
            return outcome.error
        case Unreadable():
            return outcome.why
    return None


def _shown(topology: Topology, written: Mapping[str, object]) -> object:
    """A task's writes in the form of the state: a dict, or the value itself if the state is a single value."""
    if not topology.state.is_single:
        return written
    return next((written[name] for name in topology.state.fields if name in written), None)


def _superseded(identity: Identity, each: Superseded) -> SupersededTask:
    task = Task(each.node, each.born, each.ord, Argument(None, None) if each.is_send else None)
    return SupersededTask(task_id(identity, task), each.node, each.outcome, each.error)
