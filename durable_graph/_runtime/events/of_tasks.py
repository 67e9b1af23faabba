"""The events of tasks and checkpoints, as functions of the engine's values: the same live and from a stored thread."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from durable_graph._engine.state import State, state_of
from durable_graph._engine.task import (
    Done,
    Failed,
    Handling,
    Identity,
    Interrupted,
    Outcome,
    RoutingOpen,
    Task,
    Unreadable,
    interrupts_of,
    task_id,
)
from durable_graph._runtime.events.model import (
    AboutTask,
    AnyEvent,
    CheckpointCommitted,
    PlannedTask,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
)
from durable_graph._runtime.request.namespaces import namespace_of_task
from durable_graph.graph import Topology
from durable_graph.graph.entrypoints import is_workflow
from durable_graph.records import checkpoint_id

RESULT = "__end__"
"""The key of an entrypoint's result in events: the result itself has no key."""


class EventPlace(msgspec.Struct, frozen=True):
    """The graph, the thread and the namespace of events. `ns` is the namespace as events have it, and `path` the names
    of the nodes in it. `is_stored`: its checkpoints are."""

    topology: Topology
    thread_id: str | None
    ns: tuple[str, ...]
    identity: Identity
    path: tuple[str, ...] = ()
    is_stored: bool = True


class Committed(msgspec.Struct, frozen=True):
    """The facts of a checkpoint's event besides its state: its origin and its changes."""

    parent: int
    source: str
    changed_keys: tuple[str, ...]
    writers: tuple[str, ...]
    metadata: Mapping[str, object]


def about(place: EventPlace, state: State, task: Task, attempt: int) -> AboutTask:
    """The fields that the events of an attempt at a task have in common. `state` is the one that planned the task."""
    return {
        "thread_id": place.thread_id,
        "ns": place.ns,
        "step": state.step + 1,
        "task_id": task_id(place.identity, task),
        "node": task.node,
        "attempt": attempt,
    }


def outcome_event(place: EventPlace, state: State, outcome: Outcome) -> AnyEvent:
    """The event of a recorded outcome of a task that `state` planned."""
    told = about(place, state, outcome.task, outcome.attempt)
    match outcome:
        case Done():
            written = result_of(place.topology, outcome)
            return TaskFinished(
                **told,
                update=update_of(place.topology, written),
                result=tuple(written),
                is_cached=outcome.is_cached,
            )
        case Interrupted() | RoutingOpen(error=None):
            return TaskInterrupted(**told, interrupts=tuple(ask.interrupt for ask in interrupts_of(outcome)))
        case Failed():
            retry_at = None if outcome.retry_at is None else outcome.retry_at / 1_000_000
            return TaskFailed(**told, error=outcome.error, will_retry=retry_at is not None, retry_at=retry_at)
        case Handling() | RoutingOpen():
            return TaskFailed(**told, error=outcome.error or "")
        case Unreadable():
            return TaskFailed(**told, error=outcome.why)


def update_of(topology: Topology, written: Sequence[tuple[str, object]]) -> object:
    """A node's writes: a dict, or a list of dicts if it wrote a key more than once; None if it wrote nothing."""
    updates: list[Any] = []
    if topology.state.is_single:
        updates = [value for _, value in written]
    else:
        for key, value in written:
            if not updates or key in updates[-1]:
                updates.append({})
            updates[-1][key] = value
    if not updates:
        return None
    return updates[0] if len(updates) == 1 else updates


def result_of(topology: Topology, outcome: Done) -> list[tuple[str, object]]:
    """The writes of a task by the keys that events name."""
    keys = result_keys(topology)
    return [(keys[write.channel], write.value) for write in outcome.writes if write.channel in keys]


def result_keys(topology: Topology) -> Mapping[str, str]:
    """The channels whose writes events show, with the names of the keys."""
    if is_workflow(topology):
        return dict.fromkeys(topology.state.keys, RESULT)
    return {key: key for key in topology.channels}


def checkpoint_event(place: EventPlace, state: State, committed: Committed) -> CheckpointCommitted:
    """The event of a checkpoint whose state is `state`."""
    is_stored = place.is_stored
    return CheckpointCommitted(
        thread_id=place.thread_id,
        ns=place.ns,
        step=state.step,
        checkpoint_id=checkpoint_id(state.no) if is_stored else None,
        parent_checkpoint_id=checkpoint_id(committed.parent) if is_stored and committed.parent else None,
        source=committed.source,
        values=state_of(place.topology, state.values),
        changed_keys=committed.changed_keys,
        next=tuple(task.node for task in state.plan),
        tasks=_planned(place, state.plan),
        writers=committed.writers,
        metadata=committed.metadata,
    )


def _planned(place: EventPlace, plan: Sequence[Task]) -> tuple[PlannedTask, ...]:
    planned = []
    # Finding the graphs inside a node takes longer than the rest of an event, so it is done once for all its tasks.
    plain: set[str] = set()
    for task in plan:
        nested = None
        if place.is_stored and task.node not in plain:
            nested = namespace_of_task(place.topology, place.identity.ns, place.path, task)
            if nested is None:
                plain.add(task.node)
        planned.append(PlannedTask(task_id(place.identity, task), task.node, nested))
    return tuple(planned)
