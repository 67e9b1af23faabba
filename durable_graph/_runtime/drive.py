"""The loop. Read this first.

    plan      the tasks of state.plan, stored with the checkpoint that the state is
    execute   run them; each outcome is durable before it counts           execute.py
    apply     outcomes in task order into the next state                    _engine/apply.py, pure
    commit    the next state, as one unit; events follow it                 durability.py, journal.py

Nothing else decides what runs next. A run that starts here with a state from the store goes on as the run before it
would have.
"""

from dataclasses import dataclass

from durable_graph._engine.apply import apply
from durable_graph._engine.state import State
from durable_graph._engine.task import Done, Outcome
from durable_graph._engine.unit import Step
from durable_graph._runtime.attempt import Setting
from durable_graph._runtime.durability import Durability, Publish
from durable_graph._runtime.events import AnyEvent, CheckpointCommitted
from durable_graph._runtime.execute import Executed, Superstep
from durable_graph._runtime.journal import Journal
from durable_graph.errors import (
    ConcurrentUpdateError,
    GraphRecursionError,
    ReducerError,
    UnstorableValueError,
    ValueTooLargeError,
)
from durable_graph.graph import START
from durable_graph.records import checkpoint_id


@dataclass(frozen=True, slots=True)
class Session:
    """What a run works with. `journal` is None without a checkpointer."""

    setting: Setting
    durability: Durability
    journal: Journal | None
    publish: Publish


async def drive(session: Session, state: State, recorded: dict[tuple[int, int], Outcome]) -> State:
    """Run supersteps until none is left to run. `recorded` are outcomes that the first of them already has.

    Raises what a node raised, `GraphRecursionError`, and what the store raises. The thread can be resumed after each.
    """
    limit = session.setting.run.recursion_limit
    supersteps = 0
    while state.plan:
        # The choice of where to start is no superstep of the user's graph.
        runs_nodes = any(task.node != START for task in state.plan)
        if runs_nodes and supersteps == limit:
            raise GraphRecursionError(limit, [task.node for task in state.plan])
        supersteps += runs_nodes
        superstep = Superstep(session.setting, state, recorded, session.durability, session.publish)
        state = await _finish_superstep(session, state, superstep, await superstep.run())
        recorded = {}
    return state


async def _finish_superstep(session: Session, state: State, superstep: Superstep, executed: Executed) -> State:
    """Apply and commit; with another writer's outcomes where those were recorded first."""
    while True:
        step = await _applied(session, state, superstep, executed)
        events = [*superstep.events_of(executed.riding), committed_event(session, step)]
        try:
            is_committed = await session.durability.commit(step, events)
        except (UnstorableValueError, ValueTooLargeError) as error:
            # What a reducer made of the writes. They themselves can be stored, and are.
            await session.durability.save(executed.riding, superstep.events_of, "failed")
            error.add_note("the nodes' results are kept: correct the reducer and resume")
            raise
        if is_committed:
            return step.state
        assert session.journal is not None  # noqa: S101  # without a store there is no other writer
        adopted = await session.journal.adopt(state.plan)
        executed = _with(executed, adopted)


async def _applied(session: Session, state: State, superstep: Superstep, executed: Executed) -> Step:
    topology = session.setting.topology
    try:
        after, changes = apply(topology, state, executed.done, next_no(session, state))
    except (ConcurrentUpdateError, ReducerError):
        # The nodes are not to blame and do not run again: what they returned is kept for a corrected graph.
        await session.durability.save(executed.riding, superstep.events_of, "failed")
        raise
    # A lone task's writes are in the rows of the checkpoint; kept twice, they would double the store.
    outcomes = executed.riding if len(state.plan) > 1 else ()
    writers = tuple(dict.fromkeys(outcome.task.node for outcome in executed.done))
    return Step(after, changes, parent=state.no, source="loop", writers=writers, outcomes=outcomes)


def next_no(session: Session, state: State) -> int:
    """The number of the checkpoint that follows `state`: after it, and after all that the thread ever had."""
    version = session.journal.thread.version if session.journal is not None else 0
    return max(version, state.no) + 1


def committed_event(session: Session, step: Step) -> AnyEvent:
    """What is told of a superstep once it is committed."""
    topology = session.setting.topology
    state = step.state
    return CheckpointCommitted(
        thread_id=session.setting.run.thread_id,
        step=state.step,
        checkpoint_id=checkpoint_id(state.no) if session.journal is not None else None,
        source=step.source,
        values={key: state.values[key] for key in topology.state.fields if key in state.values},
        changed=any(channel in topology.channels for channel in step.changes),
        next=tuple(task.node for task in state.plan),
    )


def _with(executed: Executed, adopted: dict[tuple[int, int], Outcome]) -> Executed:
    theirs = {key: outcome for key, outcome in adopted.items() if isinstance(outcome, Done)}
    return Executed(
        tuple(theirs.get(mine.task.key, mine) for mine in executed.done),
        tuple(mine for mine in executed.riding if mine.task.key not in theirs),
    )
