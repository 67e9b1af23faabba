"""An edit of a thread's state from outside of a run, applied as if nodes had written it."""

from collections.abc import Mapping, Sequence

from durable_graph._engine.admit import Admitted, settle
from durable_graph._engine.apply import advance_joins, plan_after
from durable_graph._engine.merge import clear_unwritten, merge_writes
from durable_graph._engine.state import State, merged
from durable_graph._engine.task import Done, Outcome
from durable_graph.errors import AmbiguousUpdateError
from durable_graph.graph import START, Topology


def clear(topology: Topology, state: State, recorded: Mapping[tuple[int, int], Outcome], no: int) -> Admitted:
    """The state as checkpoint `no`, with the writes of finished tasks and an empty plan."""
    settled, changes, writers, superseded = settle(topology, state, recorded)
    return Admitted(State(no, state.step + 1, settled.values, ()), changes, writers, superseded)


def edit(
    topology: Topology,
    state: State,
    recorded: Mapping[tuple[int, int], Outcome],
    done: Sequence[Done],
    no: int,
) -> Admitted:
    """The state as checkpoint `no`, as if `done` were the outcomes of a superstep, which determine the next plan.

    The writes of finished tasks come first; pending tasks are superseded. Raises `ConcurrentUpdateError`,
    `ReducerError`.
    """
    settled, earlier, _, superseded = settle(topology, state, recorded)
    values, changes = merge_writes(
        topology, settled.values, ((outcome.task.node, write) for outcome in done for write in outcome.writes)
    )
    kept, cleared = clear_unwritten(topology, values, {*earlier, *changes})
    values, arrivals = advance_joins(topology, kept, done)
    values, plan, waiting = plan_after(topology, values, done, no)
    after = State(no=no, step=state.step + 1, values=values, plan=plan)
    together = merged(merged(merged(earlier, changes), {**cleared, **arrivals}), waiting)
    return Admitted(after, together, tuple(outcome.task.node for outcome in done), superseded)


def inferred_node(topology: Topology, source: str | None, writers: Sequence[str]) -> str:
    """The node of an update without `as_node`: the node that wrote the checkpoint, or START for an input.

    Raises `AmbiguousUpdateError` if several nodes wrote it.
    """
    known = [node for node in dict.fromkeys(writers) if node in topology.nodes]
    if len(known) == 1:
        return known[0]
    if len(known) > 1:
        raise AmbiguousUpdateError(known)
    if source in (None, "input", "fork") or START in writers:
        return START
    if len(topology.nodes) == 1:
        return next(iter(topology.nodes))
    raise AmbiguousUpdateError(topology.nodes)
