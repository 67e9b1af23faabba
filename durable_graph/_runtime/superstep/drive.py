"""The loop. Read this first.

    plan      the tasks of state.plan, stored with the checkpoint that the state is
    execute   run them; each outcome is durable before it counts           execute.py
    apply     outcomes in task order into the next state                    _engine/apply.py, pure
    commit    the next state, as one unit; events follow it                 durability.py, journal.py

Nothing else decides what runs next. A run that starts here with a state from the store goes on as the run before it
would have.
"""

from functools import partial

from durable_graph._engine.apply import apply, with_recorded
from durable_graph._engine.restore import check_results
from durable_graph._engine.results import is_read_back
from durable_graph._engine.state import State
from durable_graph._engine.task import Ask, Done, Interrupted, Outcome, asks_of, next_revision, open_asks
from durable_graph._engine.unit import Step
from durable_graph._runtime.commit.policy import Told
from durable_graph._runtime.commit.requests import StatusChange, failure
from durable_graph._runtime.events.sink import Nobody
from durable_graph._runtime.request.control_flow import Draining
from durable_graph._runtime.request.output import Ended, Recorded
from durable_graph._runtime.superstep.publish import committed_events, task_events, tell_stopped
from durable_graph._runtime.superstep.run_tasks import Executed, Superstep
from durable_graph._runtime.task.run_context import Position, Session
from durable_graph.errors import (
    ConcurrentUpdateError,
    GraphRecursionError,
    ReducerError,
    ThreadCancelledError,
    UnstorableValueError,
    ValueTooLargeError,
)
from durable_graph.errors.shown import add_note
from durable_graph.graph import START


async def drive(session: Session, state: State, recorded: Recorded, *, passes_breakpoint: bool = False) -> Ended:
    """Run supersteps until none is left to run, or until one waits for answers or stops at a breakpoint.

    `recorded` are outcomes that the first of them already has; `passes_breakpoint` says that it was stopped before.
    Raises what a node raised, `GraphRecursionError`, and what the store raises. The thread can be resumed after each.
    """
    session.at = Position(state, recorded)
    session.take_lengths(state)
    limit = session.run.recursion_limit
    session.last_step = state.step + limit
    supersteps = 0
    if not passes_breakpoint and (stops := _stops(session, state, recorded)):
        await session.shared.durability.save(session.ledger, stops, _untold, StatusChange("interrupted"))
        return await _stopped(session, state, {**recorded, **{stop.task.key: stop for stop in stops}})
    while state.plan:
        _check_goes_on(session)
        # The choice of where to start is no superstep of the user's graph.
        runs_nodes = any(task.node != START for task in state.plan)
        if not runs_nodes:
            session.last_step += 1
        elif supersteps == limit:
            raise GraphRecursionError(limit, [task.node for task in state.plan])
        supersteps += runs_nodes
        superstep = Superstep(session, state, recorded)
        try:
            executed = await superstep.run()
            step = None if executed.waiting else await _finish_superstep(session, state, superstep, executed)
        except BaseException:
            if session.at.state is state:
                session.move(state, superstep.so_far())
            raise
        if step is None:
            session.move(state, superstep.so_far())
            waiting = {outcome.task.key: outcome for outcome in executed.waiting}
            return await _stopped(session, state, {**superstep.so_far(), **waiting})
        state, recorded = step.state, _recorded(step)
        session.forget_nested(executed.done)
        if step.is_stopped:
            return await _stopped(session, state, recorded)
    return Ended(state, {}, state.values)


def _check_goes_on(session: Session) -> None:
    """Raises `Draining` and `ThreadCancelledError` where no further superstep is to begin."""
    journal = session.shared.journal
    if session.run.control is not None and session.run.control.drain_requested:
        raise Draining
    if journal is not None and journal.is_cancelled:
        raise ThreadCancelledError(journal.thread.thread)


async def _stopped(session: Session, state: State, recorded: Recorded) -> Ended:
    answered = session.answered()
    interrupts = tuple(
        ask.interrupt
        for task in state.plan
        for ask in _asked(recorded.get(task.key))
        if ask.interrupt.id not in answered
    )
    # What finished beside the tasks that wait is recorded, and only its superstep is not over.
    values = with_recorded(session.topology, state, recorded)
    if session.shared.audience.is_heard:
        # A question is told once it is durable, and after what came before it.
        durability = session.shared.durability
        await (durability.settle() if session.parent is None else durability.catch_up())
    await tell_stopped(session, state, recorded, values, interrupts)
    return Ended(state, recorded, values, interrupts, is_stopped=True)


def _asked(outcome: Outcome | None) -> tuple[Ask, ...]:
    """What the run stops for. Where none of it is open any more, another process has answered meanwhile."""
    return open_asks(outcome) or asks_of(outcome)


def _stops(session: Session, state: State, recorded: Recorded) -> tuple[Outcome, ...]:
    """The tasks before which the run is to stop, as the records that say that they were."""
    if session.run.stop_before is not None and not session.run.stop_before:
        return ()
    return tuple(
        Interrupted(task, 1, revision=next_revision(recorded.get(task.key)))
        for task in state.plan
        if session.run.stops_before(task.node) and task.node != START and recorded.get(task.key) is None
    )


async def _finish_superstep(session: Session, state: State, superstep: Superstep, executed: Executed) -> Step:
    """Apply and commit; with another writer's outcomes where those were recorded first."""
    durability, journal = session.shared.durability, session.shared.journal
    while True:
        step = await _applied(session, state, superstep, executed)
        if session.lengths is not None and (
            changed := session.lengths.follow(session.topology, step.state, step.changes, executed.done)
        ):
            await superstep.refuse(changed)
        events = [*task_events(session, state, executed.riding), *committed_events(session, step)]
        try:
            taken_on = partial(session.move, step.state, _recorded(step))
            is_committed = await durability.commit(
                session.ledger, step, Told(session.shared.audience, events, taken_on)
            )
        except (UnstorableValueError, ValueTooLargeError) as error:
            # What a reducer made of the writes. They themselves can be stored, and are.
            await durability.save(session.ledger, executed.riding, superstep.told_of, failure(error))
            add_note(error, "the nodes' results are kept: correct the reducer and resume")
            raise
        if is_committed:
            return step
        assert journal is not None  # noqa: S101  # without a store there is no other writer
        assert session.ledger is not None  # noqa: S101  # it comes with the journal
        session.take_lengths(state)
        adopted = await journal.adopt(session.ledger, state.plan)
        check_results(journal.thread.thread, adopted.values())
        executed = _with(executed, adopted)


async def _applied(session: Session, state: State, superstep: Superstep, executed: Executed) -> Step:
    try:
        after, changes = apply(session.topology, state, executed.done, session.reserve(state))
    except (ConcurrentUpdateError, ReducerError) as error:
        # The nodes are not to blame and do not run again: what they returned is kept for a corrected graph.
        await session.shared.durability.save(session.ledger, executed.riding, superstep.told_of, failure(error))
        raise
    # A lone task's writes are in the rows of the checkpoint; kept twice, they would double the store. What a reducer of
    # the user's made of them does not say what they were.
    is_told = len(state.plan) == 1 and all(is_read_back(session.topology, outcome) for outcome in executed.riding)
    outcomes = () if is_told else executed.riding
    writers = tuple(dict.fromkeys(outcome.task.node for outcome in executed.done))
    stops = _stops(session, after, {})
    is_stopped = bool(stops) or any(session.run.stops_after(node) for node in writers if node != START)
    return Step(
        after,
        changes,
        parent=state.no,
        source="loop",
        writers=writers,
        outcomes=outcomes,
        stops=stops,
        is_stopped=is_stopped and bool(after.plan),
        caller=session.caller,
    )


def _recorded(step: Step) -> Recorded:
    return {stop.task.key: stop for stop in step.stops}


def _untold(outcomes: object) -> Told:
    """For records that the run's end tells of."""
    return Told(Nobody(), ())


def _with(executed: Executed, adopted: Recorded) -> Executed:
    theirs = {key: outcome for key, outcome in adopted.items() if isinstance(outcome, Done)}
    return Executed(
        tuple(theirs.get(mine.task.key, mine) for mine in executed.done),
        tuple(mine for mine in executed.riding if mine.task.key not in theirs),
    )
