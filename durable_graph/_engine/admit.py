"""Accepting an input: its writes, the tasks that it starts, and the tasks that it supersedes."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from durable_graph._engine.apply import advance_joins, number, schedule
from durable_graph._engine.merge import clear_unwritten, merge_writes
from durable_graph._engine.state import Absent, Change, Changes, State, merged
from durable_graph._engine.task import (
    Done,
    Finished,
    Handling,
    Interrupted,
    Outcome,
    Route,
    Task,
    Unreadable,
    Write,
    open_interrupts,
)
from durable_graph.channels import MISSING, changed
from durable_graph.errors import ConcurrentUpdateError, ReducerError
from durable_graph.graph import DEFERRED, START, Topology


class Superseded(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A task that new input superseded. The checkpoint of the input stores it, so that no task is dropped silently.

    `outcome` is "pending" (it had no result), "failed", "interrupted" (it waited for an answer), or "unmerged" (its
    result could not be merged, or not be read, see `error`).
    Finished tasks are not superseded: the state includes their writes.
    """

    node: str
    born: int
    ord: int
    is_send: bool
    outcome: str
    error: str | None = None


class Admitted(msgspec.Struct, frozen=True):
    """The state as checkpoint `state.no`, its changes, and the nodes whose writes it includes."""

    state: State
    changes: Changes
    writers: tuple[str, ...]
    superseded: tuple[Superseded, ...]


def admit(
    topology: Topology,
    state: State,
    recorded: Mapping[tuple[int, int], Outcome],
    writes: Sequence[Write],
    no: int,
    routes: Sequence[Route] | None = None,
) -> Admitted:
    """Apply an input to a thread: first the writes of finished tasks, then the input's. Other tasks are superseded.

    `routes` replace the graph's entry. Raises `ConcurrentUpdateError` or `ReducerError` for the input's own writes.
    """
    settled, earlier, writers, superseded = settle(topology, state, recorded)
    values, changes = merge_writes(topology, settled.values, ((START, write) for write in writes))
    together = merged(earlier, changes)
    kept, cleared = clear_unwritten(topology, values, together)
    together = merged(together, cleared)
    if routes:
        values, plan, waiting = schedule(topology, kept, (), routes, (), no)
    else:
        values, plan, waiting = entry_plan(topology, kept, no)
    after = State(no=no, step=state.step + 1, values=values, plan=plan)
    return Admitted(after, merged(together, waiting), writers, superseded)


def carry(topology: Topology, state: State, writes: Sequence[Write], routes: Sequence[Route], no: int) -> Admitted:
    """Apply an update, and plan new tasks in addition to the pending tasks, which keep their ids and results.

    Raises `ConcurrentUpdateError` or `ReducerError`.
    """
    values, changes = merge_writes(topology, state.values, ((START, write) for write in writes))
    values, plan, waiting = schedule(topology, values, (), routes, state.plan, no)
    after = State(no=no, step=state.step + 1, values=values, plan=plan)
    return Admitted(after, merged(changes, waiting), (), ())


def entry_plan(
    topology: Topology, values: Mapping[str, Any], no: int
) -> tuple[Mapping[str, Any], tuple[Task, ...], dict[str, Change]]:
    """The first plan. Routers of START are user code and may wait or raise, so they run as a task."""
    if topology.entry_routers:
        return changed(values, {}), number([START], [], no), {}
    return schedule(topology, values, topology.entry, (), (), no)


def replan(state: State, no: int) -> State:
    """The same state on a new branch, as checkpoint `no`: its plan has new tasks, with new ids and no records."""
    plan = tuple(msgspec.structs.replace(task, born=no, ord=ord_) for ord_, task in enumerate(state.plan))
    return State(no=no, step=state.step + 1, values=state.values, plan=plan)


def settle(
    topology: Topology, state: State, recorded: Mapping[tuple[int, int], Outcome]
) -> tuple[State, Changes, tuple[str, ...], tuple[Superseded, ...]]:
    """The state with the writes of finished tasks, and an empty plan."""
    outcomes = [recorded.get(task.key) for task in state.plan]
    finished: list[Finished] = [outcome for outcome in outcomes if isinstance(outcome, Finished)]
    superseded = [
        _superseded(task, outcome)
        for task, outcome in zip(state.plan, outcomes, strict=True)
        if not isinstance(outcome, Finished)
    ]
    try:
        values, changes = merge_writes(
            topology, state.values, ((outcome.task.node, write) for outcome in finished for write in outcome.writes)
        )
    except (ConcurrentUpdateError, ReducerError) as error:
        # Results that cannot be merged would block the thread for ever: they are recorded as superseded instead.
        superseded.extend(_entry(outcome.task, "unmerged", str(error)) for outcome in finished)
        finished, values, changes = [], changed(state.values, {}), {}
    writers = tuple(outcome.task.node for outcome in finished)
    values, arrivals = advance_joins(topology, values, finished)
    values, cleared = _clear_waiting(topology, values)
    settled = State(no=state.no, step=state.step, values=values, plan=())
    return settled, {**changes, **arrivals, **cleared}, writers, tuple(superseded)


def _superseded(task: Task, outcome: Outcome | None) -> Superseded:
    match outcome:
        case None:
            return _entry(task, "pending", None)
        case Interrupted():
            return _entry(task, "interrupted", None)
        case Handling():
            return _entry(task, "interrupted" if open_interrupts(outcome) else "failed", outcome.error)
        case Unreadable():
            return _entry(task, "unmerged", outcome.why)
    return _entry(task, "failed", outcome.error if not isinstance(outcome, Done) else None)


def _entry(task: Task, outcome: str, error: str | None) -> Superseded:
    return Superseded(task.node, task.born, task.ord, task.argument is not None, outcome, error)


def _clear_waiting(topology: Topology, values: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Change]]:
    """Clear the waiting deferred nodes, and the full joins, whose targets will not run. The next arrival at a join that
    stayed full would start its target at once."""
    gone = [join.channel for join in topology.joins if join.rule.is_full(values.get(join.channel, MISSING))]
    if DEFERRED in values:
        gone.append(DEFERRED)
    return changed(values, dict.fromkeys(gone, MISSING)), {name: Absent() for name in gone}
