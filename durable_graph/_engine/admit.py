"""An input into a thread: what it writes, what it starts, and what it supersedes."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from durable_graph._engine.apply import advance_joins, number
from durable_graph._engine.merge import merge_writes
from durable_graph._engine.state import Absent, Change, Changes, State, merged
from durable_graph._engine.task import Done, Outcome, RoutingOpen, Task, Write
from durable_graph.channels import MISSING
from durable_graph.errors import ConcurrentUpdateError, ReducerError
from durable_graph.graph import START, Topology


class Superseded(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A task that new input took the place of. Stored in the checkpoint that did it, so that nothing is dropped unseen.

    `outcome` is "pending" (it had no result), "failed", or "unmerged" (its writes could not be merged, see `error`).
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
    topology: Topology, state: State, recorded: Mapping[tuple[int, int], Outcome], writes: Sequence[Write], no: int
) -> Admitted:
    """Input on a thread. Tasks that had finished count: their writes go in before the input's. The others are dropped.

    Raises `ConcurrentUpdateError` or `ReducerError` for the input's own writes.
    """
    settled, earlier, writers, superseded = _settle(topology, state, recorded)
    values, changes = merge_writes(topology, settled.values, ((START, write) for write in writes))
    after = State(no=no, step=state.step + 1, values=values, plan=entry_plan(topology, no))
    return Admitted(after, merged(earlier, changes), writers, superseded)


def entry_plan(topology: Topology, no: int) -> tuple[Task, ...]:
    """What runs first. Routers out of START are user code and may wait or raise: they are a task of their own."""
    if topology.entry_routers:
        return number([START], [], no)
    return number(sorted(topology.entry), [], no)


def replan(state: State, no: int) -> State:
    """The same state on a line of its own, as checkpoint `no`: its tasks are new ones, with new ids and no records."""
    plan = tuple(msgspec.structs.replace(task, born=no, ord=ord_) for ord_, task in enumerate(state.plan))
    return State(no=no, step=state.step + 1, values=state.values, plan=plan)


def _settle(
    topology: Topology, state: State, recorded: Mapping[tuple[int, int], Outcome]
) -> tuple[State, Changes, tuple[str, ...], tuple[Superseded, ...]]:
    """The state with what had finished applied and nothing left to run."""
    outcomes = [recorded.get(task.key) for task in state.plan]
    finished = [outcome for outcome in outcomes if isinstance(outcome, Done | RoutingOpen)]
    superseded = [
        _superseded(task, "failed" if outcome else "pending", outcome.error if outcome else None)
        for task, outcome in zip(state.plan, outcomes, strict=True)
        if not isinstance(outcome, Done | RoutingOpen)
    ]
    try:
        values, changes = merge_writes(
            topology, state.values, ((outcome.task.node, write) for outcome in finished for write in outcome.writes)
        )
    except (ConcurrentUpdateError, ReducerError) as error:
        # Such results would shut the thread for good: they are set down as superseded instead.
        superseded.extend(_superseded(outcome.task, "unmerged", str(error)) for outcome in finished)
        finished, values, changes = [], dict(state.values), {}
    writers = tuple(outcome.task.node for outcome in finished)
    values, arrivals = advance_joins(topology, values, writers)
    values, cleared = _clear_full_joins(topology, values)
    settled = State(no=state.no, step=state.step, values=values, plan=())
    return settled, {**changes, **arrivals, **cleared}, writers, tuple(superseded)


def _superseded(task: Task, outcome: str, error: str | None) -> Superseded:
    return Superseded(task.node, task.born, task.ord, task.argument is not None, outcome, error)


def _clear_full_joins(topology: Topology, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Change]]:
    """Without the joins whose target will not run now: left full, the next arrival would start it at once."""
    full = [join.channel for join in topology.joins if join.rule.is_full(values.get(join.channel, MISSING))]
    return {name: value for name, value in values.items() if name not in full}, {name: Absent() for name in full}
