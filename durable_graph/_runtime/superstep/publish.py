"""The events of a run, made only where somebody reads them."""

from collections.abc import Mapping, Sequence

from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._engine.state import State, state_keys, state_of
from durable_graph._engine.task import Finished, Outcome, Task, task_id
from durable_graph._runtime.events.model import AnyEvent, RunDrained, RunInterrupted, TaskStarted
from durable_graph._runtime.events.of_tasks import Committed, EventPlace, about, checkpoint_event, outcome_event
from durable_graph._runtime.task.attempt import attempt_number
from durable_graph._runtime.task.run_context import GraphRun
from durable_graph.errors import DurableGraphError
from durable_graph.graph import START, Interrupt


def id_of(run: GraphRun, task: Task) -> str:
    """The task's id, as callers see it."""
    return task_id(run.store.identity, task)


def started_event(run: GraphRun, state: State, task: Task, previous: Outcome | None) -> AnyEvent:
    """A node is about to run."""
    node = run.topology.nodes[task.node]
    return TaskStarted(
        **about(_place(run), state, task, attempt_number(previous)),
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
    place = _place(run)
    return [outcome_event(place, state, outcome) for outcome in outcomes if outcome.task.node != START]


def committed_events(run: GraphRun, step: NextCheckpoint) -> list[AnyEvent]:
    """The events of a superstep, for once it is committed."""
    if not run.shared.sink.is_active:
        return []
    committed = Committed(
        parent=step.parent,
        source=step.source,
        changed_keys=tuple(key for key in state_keys(run.topology) if key in step.changes),
        writers=step.writers,
        metadata=_metadata(run, step),
    )
    return [checkpoint_event(_place(run), step.state, committed)]


def _place(run: GraphRun) -> EventPlace:
    store = run.store
    return EventPlace(
        run.topology, run.request.thread_id, run.event_ns, store.identity, run.path, is_stored=store.is_stored
    )


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
