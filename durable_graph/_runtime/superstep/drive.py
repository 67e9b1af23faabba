"""The loop. Read this first.

    plan      the tasks of state.plan, stored with the checkpoint that the state is
    run       them; each outcome is durable before it counts               run_tasks.py
    apply     outcomes in task order into the next state                    _engine/apply.py, pure
    commit    the next state, as one unit; events follow it                 commit/writer.py, sender.py

Nothing else decides what runs next. A run that starts here with a stored state continues exactly as the run before it
would have.
"""

from operator import attrgetter

from durable_graph._engine.apply import apply, with_recorded
from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._engine.delays import is_unrecorded
from durable_graph._engine.restore import check_results
from durable_graph._engine.results import is_read_back
from durable_graph._engine.state import State
from durable_graph._engine.task import (
    Done,
    Interrupted,
    Outcome,
    PendingInterrupt,
    interrupts_of,
    next_revision,
    open_interrupts,
)
from durable_graph._runtime.commit.requests import NO_EVENTS, StatusChange, failure
from durable_graph._runtime.events.model import AnyEvent
from durable_graph._runtime.events.sink import Publication
from durable_graph._runtime.request.control_flow import Draining
from durable_graph._runtime.request.output import Ended, Recorded, Start
from durable_graph._runtime.superstep.apply_updates import apply_updates
from durable_graph._runtime.superstep.publish import committed_events, publish_stopped, task_events
from durable_graph._runtime.superstep.run_tasks import Outcomes, Superstep
from durable_graph._runtime.task.run_context import GraphRun, Progress
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


async def drive(run: GraphRun, start: Start) -> Ended:
    """Run supersteps until none is left to run, or until one waits for answers or stops at a breakpoint.

    Raises the error of a node, `GraphRecursionError`, and errors of the store. The thread can be resumed after each.
    """
    state, recorded = start.state, start.recorded
    run.at = Progress(state, recorded)
    run.take_lengths(state)
    limit = run.request.recursion_limit
    run.last_step = state.step + limit
    supersteps = 0
    owned = run.shared.owned if run.parent is None else None
    if not start.passes_breakpoint and (stops := _stops(run, state, recorded)):
        await run.store.save(stops, _nothing, StatusChange("interrupted"))
        return await _stopped(run, state, {**recorded, **{stop.task.key: stop for stop in stops}})
    while state.plan or (owned is not None and owned.has_updates):
        _check_goes_on(run)
        if owned is not None and owned.has_updates:
            state, recorded = await apply_updates(run, owned, state, recorded)
            continue
        # The choice of where to start is no superstep of the user's graph.
        runs_nodes = len(state.plan) > 1 or state.plan[0].node != START
        if not runs_nodes:
            run.last_step += 1
        elif supersteps == limit:
            raise GraphRecursionError(limit, [task.node for task in state.plan])
        supersteps += runs_nodes
        superstep = Superstep(run, state, recorded)
        try:
            executed = await superstep.run_tasks()
            step = None if executed.waiting else await _finish_superstep(run, state, superstep, executed)
        except BaseException:
            _note_progress(run, superstep)
            raise
        if step is None:
            run.at = Progress(state, superstep.so_far())
            waiting = {outcome.task.key: outcome for outcome in executed.waiting}
            return await _stopped(run, state, {**superstep.so_far(), **waiting})
        state, recorded = step.state, _recorded(step) if step.stops else {}
        shared = run.shared
        if shared.resting or shared.turns or shared.graphs:
            run.forget_nested(executed.done)
        if step.is_stopped:
            return await _stopped(run, state, recorded)
    return Ended(state, {}, state.values)


def _note_progress(run: GraphRun, superstep: Superstep) -> None:
    """Note the outcomes of a superstep that an error has ended, unless it was committed."""
    if run.at is not None and run.at.state is superstep.state:
        run.at = Progress(superstep.state, superstep.so_far())


def _check_goes_on(run: GraphRun) -> None:
    """Raises `Draining` and `ThreadCancelledError` where no further superstep is to begin."""
    if run.request.control is not None and run.request.control.drain_requested:
        raise Draining
    thread = run.store.thread
    if thread is not None and thread.is_cancelled:
        raise ThreadCancelledError(thread.id)


async def _stopped(run: GraphRun, state: State, recorded: Recorded) -> Ended:
    answered = run.answered()
    interrupts = tuple(
        ask.interrupt
        for task in state.plan
        for ask in _asked(recorded.get(task.key))
        if ask.interrupt.id not in answered
    )
    # Tasks that finished while others wait are recorded, although their superstep is not over.
    values = with_recorded(run.topology, state, recorded)
    if run.shared.sink.is_active:
        # An interrupt is published once it is durable, and after all earlier events.
        await (run.store.settle() if run.parent is None else run.store.catch_up(run.shared.sink))
    await publish_stopped(run, state, recorded, values, interrupts)
    return Ended(state, recorded, values, interrupts, is_stopped=True)


def _asked(outcome: Outcome | None) -> tuple[PendingInterrupt, ...]:
    """The interrupts that the run stops for. If none is open any more, another process has answered them."""
    return open_interrupts(outcome) or interrupts_of(outcome)


def _stops(run: GraphRun, state: State, recorded: Recorded) -> tuple[Outcome, ...]:
    """The tasks before which the run is to stop, as the records that say that they were."""
    return tuple(
        Interrupted(task, 1, revision=next_revision(recorded.get(task.key)))
        for task in state.plan
        if run.request.stops_before(task.node) and task.node != START and is_unrecorded(recorded.get(task.key))
    )


async def _finish_superstep(run: GraphRun, state: State, superstep: Superstep, executed: Outcomes) -> NextCheckpoint:
    """Apply and commit; with another writer's outcomes where those were recorded first."""
    while True:
        try:
            step = _next_checkpoint(run, state, executed)
        except (ConcurrentUpdateError, ReducerError) as error:
            # The nodes are not to blame and do not run again: what they returned is kept for a corrected graph.
            await run.store.save(executed.uncommitted, superstep.publication_of, failure(error))
            raise
        if run.lengths is not None and (
            changed := run.lengths.follow(run.topology, step.state, step.changes, executed.done)
        ):
            await superstep.refuse(changed)
        events: list[AnyEvent] = []
        if run.shared.sink.is_active:
            events = [*task_events(run, state, executed.uncommitted), *committed_events(run, step)]
        publication = Publication(run.shared.sink, events)
        try:
            adopted = await run.store.commit(state.plan, step, publication)
        except (UnstorableValueError, ValueTooLargeError) as error:
            # The value that a reducer made cannot be stored. The writes can, and are.
            await run.store.save(executed.uncommitted, superstep.publication_of, failure(error))
            add_note(error, "the nodes' results are kept: correct the reducer and resume")
            raise
        finally:
            if publication.is_accepted:
                run.at = Progress(step.state, _recorded(step) if step.stops else {})
        if adopted is None:
            return step
        run.take_lengths(state)
        check_results(run.request.thread_id or "", adopted.values())
        executed = _with(executed, adopted)


_node_of = attrgetter("task.node")


def _next_checkpoint(run: GraphRun, state: State, executed: Outcomes) -> NextCheckpoint:
    """The checkpoint that the outcomes make. Raises `ConcurrentUpdateError` and `ReducerError`."""
    after, changes = apply(run.topology, state, executed.done, run.store.reserve(state))
    outcomes = executed.uncommitted
    if run.store.is_stored and len(state.plan) == 1 and outcomes and is_read_back(run.topology, outcomes[0]):
        # A lone task's writes are in the rows of the checkpoint; kept twice, they would double the store. The value
        # that a user's reducer made of them does not show the writes.
        outcomes = ()
    writers = tuple(dict.fromkeys(map(_node_of, executed.done)))
    request = run.request
    stops = _stops(run, after, {}) if request.stop_before is None or request.stop_before else ()
    is_stopped = bool(stops)
    if request.stop_after is None or request.stop_after:
        is_stopped = is_stopped or any(request.stops_after(node) for node in writers if node != START)
    return NextCheckpoint(
        after,
        changes,
        parent=state.no,
        source="loop",
        writers=writers,
        outcomes=outcomes,
        stops=stops,
        is_stopped=is_stopped and bool(after.plan),
        caller=run.caller,
    )


def _recorded(step: NextCheckpoint) -> Recorded:
    return {stop.task.key: stop for stop in step.stops}


def _nothing(outcomes: object) -> Publication:
    """For records that the run's end tells of."""
    return NO_EVENTS


def _with(executed: Outcomes, adopted: Recorded) -> Outcomes:
    theirs = {key: outcome for key, outcome in adopted.items() if isinstance(outcome, Done)}
    return Outcomes(
        tuple(theirs.get(mine.task.key, mine) for mine in executed.done),
        tuple(mine for mine in executed.uncommitted if mine.task.key not in theirs),
    )
