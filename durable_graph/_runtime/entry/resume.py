"""The steps that start a run on a thread: commit an accepted input, or resume an earlier run."""

from durable_graph._engine.admit import Admitted
from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._engine.state import State, state_of
from durable_graph._engine.task import Done, Task, is_waiting
from durable_graph._runtime.commit.requests import StatusChange
from durable_graph._runtime.commit.store import Stored
from durable_graph._runtime.events.model import AnswersRecorded, RunResumed
from durable_graph._runtime.request import log
from durable_graph._runtime.request.cancellation import finish
from durable_graph._runtime.request.output import Recorded, Start
from durable_graph._runtime.superstep.publish import committed_events
from durable_graph._runtime.task.run_context import GraphRun
from durable_graph.records import TaskRecord, checkpoint_id


async def resume(run: GraphRun, store: Stored, state: State, recorded: Recorded) -> Start:
    """Resume at the head, without a new checkpoint. The status of a failed or stopped thread becomes "running"."""
    request = run.request
    passes_breakpoint = store.thread.row.status != "running"
    can_go_on = any(not is_waiting(recorded.get(task.key)) for task in state.plan)
    if passes_breakpoint and can_go_on:
        await finish(store.writer.save_status(StatusChange("running")), request.grace)
    log.run_resumed(request.thread_id, checkpoint_id(state.no), [task.node for task in state.plan])
    await publish_resumed(run, state, recorded)
    return Start(state, recorded, passes_breakpoint)


async def publish_resumed(run: GraphRun, state: State, recorded: Recorded) -> None:
    """Publish the checkpoint at which the run resumes."""
    if not run.shared.sink.is_active:
        return
    await run.shared.sink.emit(
        RunResumed(
            thread_id=run.request.thread_id,
            ns=run.event_ns,
            step=state.step,
            checkpoint_id=checkpoint_id(state.no),
            values=state_of(run.topology, state.values),
            recorded=tuple(task.node for task in state.plan if isinstance(recorded.get(task.key), Done)),
            next=tuple(task.node for task in state.plan),
        )
    )


async def publish_answered(run: GraphRun, state: State, ids: tuple[str, ...]) -> None:
    """Publish that the answers to these interrupts are recorded, for the run that executes the thread."""
    if run.shared.sink.is_active:
        await run.shared.sink.emit(
            AnswersRecorded(thread_id=run.request.thread_id, ns=run.event_ns, step=state.step, answered=ids)
        )


async def accept(run: GraphRun, store: Stored, plan: tuple[Task, ...], step: NextCheckpoint) -> Recorded | None:
    """Commit an input on top of a checkpoint with this plan, at once under every durability.

    If another writer recorded outcomes of the plan first, nothing is committed, and the result has them.
    """
    run.take_lengths(step.state)
    adopted = await store.accept(plan, step)
    if adopted is None:
        for event in committed_events(run, step):
            await run.shared.sink.emit(event)
    return adopted


def input_step(
    run: GraphRun,
    admitted: Admitted,
    parent: int,
    fork_of: int | None = None,
    calls: tuple[TaskRecord, ...] = (),
) -> NextCheckpoint:
    """The checkpoint that an input makes; `calls` has the record of the call that passed it to a nested graph."""
    # The lengths are measured before any await, because the caller may change its input during one.
    run.take_lengths(admitted.state)
    return NextCheckpoint(
        admitted.state,
        admitted.changes,
        parent=parent,
        source="input",
        writers=admitted.writers,
        superseded=admitted.superseded,
        fork_of=fork_of,
        caller=run.caller,
        calls=calls,
    )
