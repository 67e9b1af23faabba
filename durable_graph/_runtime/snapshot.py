"""A thread's state as callers see it."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from durable_graph._engine.admit import Superseded
from durable_graph._engine.merge import merge_writes
from durable_graph._engine.restore import Restored, restore, restore_page
from durable_graph._engine.state import State, output_of
from durable_graph._engine.task import Argument, Done, Failed, Identity, Outcome, RoutingOpen, Task, task_id
from durable_graph.checkpointing import Checkpointer, damaged, verify
from durable_graph.errors import ConcurrentUpdateError, ReducerError, UnknownCheckpointError
from durable_graph.graph import Topology
from durable_graph.records import checkpoint_id

PAGE = 50


class SnapshotTask(msgspec.Struct, frozen=True):
    """A task of a snapshot. `result` is what it wrote, once that is recorded; `error` what it raised, as text."""

    id: str
    name: str
    error: str | None
    result: Mapping[str, Any] | None


class SupersededTask(msgspec.Struct, frozen=True):
    """A task that new input took the place of. `outcome` is "pending", "failed" or "unmerged"."""

    id: str
    name: str
    outcome: str
    error: str | None


class StateSnapshot(msgspec.Struct, frozen=True):
    """A thread at one checkpoint.

    `values` are the state's keys that have a value; of the newest checkpoint they include what its finished tasks
    wrote. `next` names what has still to run, and is empty only where there is nothing to resume. `superseded` lists
    what this checkpoint's input took the place of. `config` leads to this checkpoint, `parent_config` to the one it was
    made from. `created_at` is ISO 8601 in UTC. To be read only: snapshots of one history share the values they have
    in common.
    """

    values: dict[str, Any]
    next: tuple[str, ...]
    config: dict[str, Any]
    metadata: dict[str, Any] | None
    created_at: str | None
    parent_config: dict[str, Any] | None
    tasks: tuple[SnapshotTask, ...]
    superseded: tuple[SupersededTask, ...] = ()


async def read_snapshot(topology: Topology, saver: Checkpointer, thread_id: str, no: int | None) -> StateSnapshot:
    """The thread's head, or its checkpoint `no`. A thread without checkpoints has an empty snapshot.

    Raises `UnknownCheckpointError`, `CorruptCheckpointError`, `ChannelChangedError`.
    """
    found = await saver.load(thread_id, "", no)
    restored = None
    incarnation = 0
    if found is not None:
        verify(found)
        restored = restore(topology, found)
        incarnation = found.thread.incarnation
    if restored is None:
        if no is not None:
            raise UnknownCheckpointError(thread_id, checkpoint_id(no))
        return StateSnapshot({}, (), _config(thread_id, None), None, None, None, ())
    return _snapshot(topology, Identity(thread_id, incarnation), restored, is_head=no is None)


async def read_history(
    topology: Topology, saver: Checkpointer, thread_id: str, before: int | None, limit: int | None
) -> AsyncIterator[StateSnapshot]:
    """The thread's checkpoints, newest first, of all its lines. Read in pages, each consistent in itself."""
    left = limit
    while left is None or left > 0:
        page = await saver.history(thread_id, "", before=before, limit=PAGE if left is None else min(PAGE, left))
        if page is None:
            return
        errors = damaged(page)
        identity = Identity(thread_id, page.thread.incarnation)
        for restored in restore_page(topology, page, errors):
            # What is older than a damaged checkpoint is read by asking for what is before it.
            for no in sorted(errors, reverse=True):
                if no > restored.row.no:
                    raise errors[no]
            yield _snapshot(topology, identity, restored, is_head=False)
        if errors:
            raise errors[max(errors)]
        if left is not None:
            left -= len(page.checkpoints)
        if not page.older:
            return
        before = page.older


def _snapshot(topology: Topology, identity: Identity, restored: Restored, *, is_head: bool) -> StateSnapshot:
    state, header, row = restored.state, restored.header, restored.row
    finished = {key for key, outcome in restored.recorded.items() if isinstance(outcome, Done)}
    values = _with_recorded(topology, restored) if is_head else state.values
    ahead = [task for task in state.plan if not (is_head and task.key in finished)]
    if not ahead:
        # Every result is recorded and only the commit is missing: to call that finished would hide it from who resumes.
        ahead = list(state.plan)
    return StateSnapshot(
        values=output_of(topology, values),
        next=tuple(task.node for task in ahead),
        config=_config(identity.thread, row.no),
        metadata={**header.metadata, "source": header.source, "step": header.step, "writers": list(header.writers)},
        created_at=datetime.fromtimestamp(row.at / 1_000_000, UTC).isoformat(),
        parent_config=_config(identity.thread, row.parent) if row.parent else None,
        tasks=tuple(_task(identity, task, restored.recorded.get(task.key)) for task in state.plan),
        superseded=tuple(_superseded(identity, each) for each in header.superseded),
    )


def _with_recorded(topology: Topology, restored: Restored) -> Mapping[str, Any]:
    """The values with what the head's finished tasks wrote: it is recorded, and only its superstep is not over."""
    state: State = restored.state
    finished = [restored.recorded.get(task.key) for task in state.plan]
    writes = [
        (outcome.task.node, write)
        for outcome in finished
        if isinstance(outcome, Done | RoutingOpen)
        for write in outcome.writes
    ]
    try:
        return merge_writes(topology, state.values, writes)[0]
    except (ConcurrentUpdateError, ReducerError):
        # Reading has to work on a thread whose superstep cannot be merged; the run says why when it tries.
        return state.values


def _task(identity: Identity, task: Task, outcome: Outcome | None) -> SnapshotTask:
    error = outcome.error if isinstance(outcome, Failed | RoutingOpen) else None
    result = None
    if isinstance(outcome, Done | RoutingOpen):
        result = {write.channel: write.value for write in outcome.writes}
    return SnapshotTask(task_id(identity, task), task.node, error, result)


def _superseded(identity: Identity, each: Superseded) -> SupersededTask:
    task = Task(each.node, each.born, each.ord, Argument(None, None) if each.is_send else None)
    return SupersededTask(task_id(identity, task), each.node, each.outcome, each.error)


def _config(thread_id: str, no: int | None) -> dict[str, Any]:
    configurable = {"thread_id": thread_id, "checkpoint_ns": ""}
    if no is not None:
        configurable["checkpoint_id"] = checkpoint_id(no)
    return {"configurable": configurable}
