"""The events of a run, made only where somebody reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._engine.state import State, state_keys, state_of
from durable_graph._engine.task import (
    Done,
    Failed,
    Finished,
    Handling,
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
    RunDrained,
    RunInterrupted,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
    TaskStarted,
)
from durable_graph._runtime.request.namespaces import namespace_of_task
from durable_graph._runtime.task.attempt import attempt_number
from durable_graph._runtime.task.run_context import GraphRun
from durable_graph.errors import DurableGraphError
from durable_graph.graph import START, Interrupt, Topology
from durable_graph.graph.entrypoints import is_workflow
from durable_graph.records import checkpoint_id

RESULT = "__end__"
"""The key of an entrypoint's result in events: the result itself has no key."""


def id_of(run: GraphRun, task: Task) -> str:
    """The task's id, as callers see it."""
    return task_id(run.store.identity, task)


def started_event(run: GraphRun, state: State, task: Task, previous: Outcome | None) -> AnyEvent:
    """A node is about to run."""
    node = run.topology.nodes[task.node]
    return TaskStarted(
        **_about(run, state, task, attempt_number(previous)),
        input=_input_of(run, state, task),
        metadata=run.request.metadata_of(node.metadata),
    )


def _input_of(run: GraphRun, state: State, task: Task) -> object:
    if task.argument is not None:
        return task.argument.value
    try:
        return run.topology.nodes[task.node].input.read(state.values, run.place(state))
    except (DurableGraphError, ValueError, TypeError):
        # The attempt raises the error that making the input raised.
        return None


def task_events(run: GraphRun, state: State, outcomes: Sequence[Outcome]) -> list[AnyEvent]:
    """The events of outcomes, for once they are recorded."""
    if not run.shared.sink.is_active:
        return []
    return [_task_event(run, state, outcome) for outcome in outcomes if outcome.task.node != START]


def _task_event(run: GraphRun, state: State, outcome: Outcome) -> AnyEvent:
    about = _about(run, state, outcome.task, outcome.attempt)
    match outcome:
        case Done():
            return TaskFinished(
                **about,
                update=_update_of(run.topology, outcome),
                result=tuple(_result_of(run.topology, outcome)),
                is_cached=outcome.is_cached,
            )
        case Interrupted() | RoutingOpen(error=None):
            return TaskInterrupted(**about, interrupts=tuple(ask.interrupt for ask in interrupts_of(outcome)))
        case Failed():
            retry_at = None if outcome.retry_at is None else outcome.retry_at / 1_000_000
            return TaskFailed(**about, error=outcome.error, will_retry=retry_at is not None, retry_at=retry_at)
        case Handling() | RoutingOpen():
            return TaskFailed(**about, error=outcome.error or "")
        case Unreadable():
            return TaskFailed(**about, error=outcome.why)


def _about(run: GraphRun, state: State, task: Task, attempt: int) -> AboutTask:
    return {
        "thread_id": run.request.thread_id,
        "ns": run.event_ns,
        "step": state.step + 1,
        "task_id": id_of(run, task),
        "node": task.node,
        "attempt": attempt,
    }


def _update_of(topology: Topology, outcome: Done) -> object:
    """A node's writes: a dict, or a list of dicts if it wrote a key more than once; None if it wrote nothing."""
    written = _result_of(topology, outcome)
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


def _result_of(topology: Topology, outcome: Done) -> list[tuple[str, object]]:
    keys: Mapping[str, str] = {key: key for key in topology.channels}
    if is_workflow(topology):
        keys = dict.fromkeys(topology.state.keys, RESULT)
    return [(keys[write.channel], write.value) for write in outcome.writes if write.channel in keys]


def committed_events(run: GraphRun, step: NextCheckpoint) -> list[AnyEvent]:
    """The events of a superstep, for once it is committed."""
    if not run.shared.sink.is_active:
        return []
    topology, state = run.topology, step.state
    is_stored = run.store.is_stored
    return [
        CheckpointCommitted(
            thread_id=run.request.thread_id,
            ns=run.event_ns,
            step=state.step,
            checkpoint_id=checkpoint_id(state.no) if is_stored else None,
            parent_checkpoint_id=checkpoint_id(step.parent) if is_stored and step.parent else None,
            source=step.source,
            values=state_of(topology, state.values),
            changed_keys=tuple(key for key in state_keys(topology) if key in step.changes),
            next=tuple(task.node for task in state.plan),
            tasks=_planned(run, state.plan),
            writers=step.writers,
            metadata=_metadata(run, step),
        )
    ]


def _planned(run: GraphRun, plan: Sequence[Task]) -> tuple[PlannedTask, ...]:
    planned = []
    # Looking for the graphs inside a node takes longer than the rest of an event: once for all its tasks.
    plain: set[str] = set()
    for task in plan:
        nested = None
        if run.store.is_stored and task.node not in plain:
            nested = namespace_of_task(run.topology, run.ns, run.path, task)
            if nested is None:
                plain.add(task.node)
        planned.append(PlannedTask(id_of(run, task), task.node, nested))
    return tuple(planned)


def _metadata(run: GraphRun, step: NextCheckpoint) -> Mapping[str, object]:
    return {
        **run.request.metadata,
        "source": step.source,
        "step": step.state.step,
        "writers": list(step.writers),
    }


async def publish_stopped(
    run: GraphRun,
    state: State,
    recorded: Mapping[tuple[int, int], Outcome],
    values: Mapping[str, object],
    interrupts: tuple[Interrupt, ...],
) -> None:
    """The run stops although something is left to run. `values` has the writes of the finished tasks in `recorded`."""
    if run.shared.sink.is_active:
        finished = (outcome for outcome in recorded.values() if isinstance(outcome, Finished))
        written = {write.channel for outcome in finished for write in outcome.writes}
        await run.shared.sink.emit(
            RunInterrupted(
                thread_id=run.request.thread_id,
                ns=run.event_ns,
                step=state.step,
                interrupts=interrupts,
                values=state_of(run.topology, values),
                next=tuple(task.node for task in state.plan),
                changed_keys=tuple(key for key in state_keys(run.topology) if key in written),
            )
        )


async def publish_drained(run: GraphRun) -> None:
    """Publish that the run stops because a drain was requested, and that its results are stored."""
    sink, control = run.shared.sink, run.request.control
    if sink.is_active and run.at is not None and control is not None:
        step = run.at.state.step
        await sink.emit(RunDrained(thread_id=run.request.thread_id, step=step, reason=control.drain_reason or ""))
