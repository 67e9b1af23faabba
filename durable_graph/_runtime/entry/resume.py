"""The steps that begin a run on a thread: commit what was accepted, or go on from where another run left."""

from durable_graph._engine.admit import Admitted
from durable_graph._engine.state import State, state_of
from durable_graph._engine.task import Done, Outcome, is_waiting
from durable_graph._engine.unit import Step
from durable_graph._runtime.commit.requests import StatusChange
from durable_graph._runtime.events.model import AnswersRecorded, RunResumed
from durable_graph._runtime.request import log
from durable_graph._runtime.request.cancellation import finish
from durable_graph._runtime.request.output import Ended, Recorded
from durable_graph._runtime.superstep.drive import drive
from durable_graph._runtime.superstep.publish import committed_events
from durable_graph._runtime.task.run_context import Session
from durable_graph.records import TaskRecord, checkpoint_id


async def resume(session: Session, state: State, recorded: Recorded) -> Ended:
    """Go on from the head. No checkpoint is made; a thread that was set down as failed or stopped is running again."""
    run, journal = session.run, session.shared.journal
    assert journal is not None  # noqa: S101  # there is a thread to resume
    passes_breakpoint = journal.thread.status != "running"
    can_go_on = any(not is_waiting(recorded.get(task.key)) for task in state.plan)
    if passes_breakpoint and can_go_on:
        await finish(journal.save_status(StatusChange("running")), run.grace)
    log.run_resumed(run.thread_id, checkpoint_id(state.no), [task.node for task in state.plan])
    await tell_resumed(session, state, recorded)
    return await drive(session, state, recorded, passes_breakpoint=passes_breakpoint)


async def tell_resumed(session: Session, state: State, recorded: Recorded) -> None:
    """Tell the reader where the run goes on from."""
    if not session.shared.audience.is_heard:
        return
    await session.shared.audience.tell(
        RunResumed(
            thread_id=session.run.thread_id,
            ns=session.event_ns,
            step=state.step,
            checkpoint_id=checkpoint_id(state.no),
            values=state_of(session.topology, state.values),
            recorded=tuple(task.node for task in state.plan if isinstance(recorded.get(task.key), Done)),
            next=tuple(task.node for task in state.plan),
        )
    )


async def tell_answered(session: Session, state: State, ids: tuple[str, ...]) -> None:
    """Tell the reader that the answers to these questions are recorded, for the run that is at work on the thread."""
    if session.shared.audience.is_heard:
        await session.shared.audience.tell(
            AnswersRecorded(thread_id=session.run.thread_id, ns=session.event_ns, step=state.step, answered=ids)
        )


async def commit_now(session: Session, step: Step) -> bool:
    """Acceptance is committed at once, whatever the durability."""
    journal, ledger = session.shared.journal, session.ledger
    assert journal is not None  # noqa: S101  # there is a thread
    assert ledger is not None  # noqa: S101  # it comes with the journal
    session.take_lengths(step.state)
    if not await finish(journal.commit((ledger, step)), session.run.grace):
        return False
    for event in committed_events(session, step):
        await session.shared.audience.tell(event)
    return True


async def adopt(session: Session, state: State) -> dict[tuple[int, int], Outcome]:
    """What other writers recorded for the tasks of the head's plan."""
    journal, ledger = session.shared.journal, session.ledger
    assert journal is not None  # noqa: S101  # there is a thread
    assert ledger is not None  # noqa: S101  # it comes with the journal
    return await journal.adopt(ledger, state.plan)


def input_step(
    session: Session,
    admitted: Admitted,
    parent: int,
    fork_of: int | None = None,
    calls: tuple[TaskRecord, ...] = (),
) -> Step:
    """The checkpoint that an input makes, with the record of the call that it is the input of."""
    # Taken now: the caller may change the input that it gave as soon as something is awaited.
    session.take_lengths(admitted.state)
    return Step(
        admitted.state,
        admitted.changes,
        parent=parent,
        source="input",
        writers=admitted.writers,
        superseded=admitted.superseded,
        fork_of=fork_of,
        caller=session.caller,
        calls=calls,
    )
