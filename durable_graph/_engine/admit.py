"""An input into a thread: what it writes, what it starts, and what it supersedes."""

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
from durable_graph.channels import MISSING, Values, changed
from durable_graph.errors import ConcurrentUpdateError, ReducerError
from durable_graph.graph import DEFERRED, START, Topology


class Superseded(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A task that new input took the place of. Stored in the checkpoint that did it, so that nothing is dropped unseen.

    `outcome` is "pending" (it had no result), "failed", "interrupted" (it waited for an answer), or "unmerged" (its
    result could not be merged, or not be read, see `error`).
    The writes of tasks that had finished are not dropped: they are in the state.
    """

    node: str
    born: int
    ord: int
    is_send: bool
    outcome: str
    error: str | None = None


class Admitted(msgspec.Struct, frozen=True):
    """The state as checkpoint `state.no`, what changed, and whose writes went in."""

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
    """Input on a thread. Tasks that had finished count: their writes go in before the input's. The others are dropped.

    `routes` take the place of the graph's entry. Raises `ConcurrentUpdateError` or `ReducerError` for the input's own
    writes.
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
    """An update and new tasks beside what was left to run, which keeps its ids and results.

    Raises `ConcurrentUpdateError` or `ReducerError`.
    """
    values, changes = merge_writes(topology, state.values, ((START, write) for write in writes))
    values, plan, waiting = schedule(topology, values, (), routes, state.plan, no)
    after = State(no=no, step=state.step + 1, values=values, plan=plan)
    return Admitted(after, merged(changes, waiting), (), ())


def entry_plan(
    topology: Topology, values: Mapping[str, Any], no: int
) -> tuple[Values, tuple[Task, ...], dict[str, Change]]:
    """What runs first. Routers out of START are user code and may wait or raise: they are a task of their own."""
    if topology.entry_routers:
        return changed(values, {}), number([START], [], no), {}
    return schedule(topology, values, topology.entry, (), (), no)


def replan(state: State, no: int) -> State:
    """The same state on a line of its own, as checkpoint `no`: its tasks are new ones, with new ids and no records."""
    plan = tuple(msgspec.structs.replace(task, born=no, ord=ord_) for ord_, task in enumerate(state.plan))
    return State(no=no, step=state.step + 1, values=state.values, plan=plan)


def settle(
    topology: Topology, state: State, recorded: Mapping[tuple[int, int], Outcome]
) -> tuple[State, Changes, tuple[str, ...], tuple[Superseded, ...]]:
    """The state with what had finished applied and nothing left to run."""
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
        # Such results would shut the thread for good: they are set down as superseded instead.
        superseded.extend(_entry(outcome.task, "unmerged", str(error)) for outcome in finished)
        finished, values, changes = [], changed(state.values, {}), {}
    writers = tuple(outcome.task.node for outcome in finished)
    values, arrivals = advance_joins(topology, values, finished)
    values, cleared = _clear_what_waits(topology, values)
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


def _clear_what_waits(topology: Topology, values: Values) -> tuple[Values, dict[str, Change]]:
    """Without waiting deferred nodes, and without the joins whose target will not run now: left full, the next arrival
    would start it at once."""
    gone = [join.channel for join in topology.joins if join.rule.is_full(values.get(join.channel, MISSING))]
    if DEFERRED in values:
        gone.append(DEFERRED)
    return changed(values, dict.fromkeys(gone, MISSING)), {name: Absent() for name in gone}
