"""A superstep's outcomes into the next state. In task order, never in the order of finishing.

writes      every channel's rule, once, over all writes to it; what lives for one superstep and was not written goes
joins       those of the tasks that ran are cleared, then this step's arrivals count
plan        nodes by name, once each however many edges lead there; then Sends as they were emitted
deferred    nodes that wait until nothing else is to run: the names are a channel of their own
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from durable_graph._engine.merge import clear_unwritten, merge_writes
from durable_graph._engine.state import Absent, Change, Changes, Full, State
from durable_graph._engine.task import Done, Finished, Outcome, Route, Task
from durable_graph.channels import MISSING, Values, changed
from durable_graph.errors import ConcurrentUpdateError, ReducerError
from durable_graph.graph import DEFERRED, END, START, Join, Topology


def apply(topology: Topology, state: State, outcomes: Iterable[Done], no: int) -> tuple[State, Changes]:
    """The state after every task of the plan is done, as checkpoint `no`, and what it changed.

    Raises `ConcurrentUpdateError` and `ReducerError`; then nothing has changed.
    """
    done = sorted(outcomes, key=_key_of)
    written = [(outcome.task.node, write) for outcome in done for write in outcome.writes]
    values, changes = merge_writes(topology, state.values, written)
    if topology.transient:
        values, cleared = clear_unwritten(topology, values, changes)
        changes = {**changes, **cleared}
    if topology.joins:
        values, arrivals = advance_joins(topology, values, done)
        changes = {**changes, **arrivals}
    values, plan, waiting = plan_after(topology, values, done, no)
    if waiting:
        changes = {**changes, **waiting}
    return State(no=no, step=state.step + 1, values=values, plan=plan), changes


def _key_of(outcome: Outcome) -> tuple[int, int]:
    return outcome.task.key


def with_recorded(topology: Topology, state: State, recorded: Mapping[tuple[int, int], Outcome]) -> Mapping[str, Any]:
    """The values with what the finished tasks of a superstep wrote that is not over."""
    finished = [recorded.get(task.key) for task in state.plan]
    writes = [
        (outcome.task.node, write) for outcome in finished if isinstance(outcome, Finished) for write in outcome.writes
    ]
    try:
        return merge_writes(topology, state.values, writes)[0]
    except (ConcurrentUpdateError, ReducerError):
        # Reading has to work where the superstep cannot be merged; the run says why when it tries.
        return state.values


def advance_joins(
    topology: Topology, values: Mapping[str, Any], finished: Sequence[Finished]
) -> tuple[Values, dict[str, Change]]:
    """The join channels after these tasks: the full joins that started them are cleared, then their arrivals count.

    A node that failed and was handled arrives nowhere: what comes after it, its handler says.
    """
    if not topology.joins:
        return changed(values, {}), {}
    after: dict[str, Any] = {}

    def arrived(join: Join) -> Any:
        return after[join.channel] if join.channel in after else values.get(join.channel, MISSING)

    for node in dict.fromkeys(outcome.task.node for outcome in finished):
        for join in topology.joins_of_target.get(node, ()):
            if join.rule.is_full(arrived(join)):
                after[join.channel] = MISSING
    for node in dict.fromkeys(outcome.task.node for outcome in finished if not outcome.is_handled):
        for join in topology.joins_of_source.get(node, ()):
            after[join.channel] = join.rule.merge(arrived(join), [node])
    different = {channel: value for channel, value in after.items() if value != values.get(channel, MISSING)}
    changes: dict[str, Change] = {
        channel: Absent() if value is MISSING else Full(None) for channel, value in different.items()
    }
    return changed(values, different), changes


def plan_after(
    topology: Topology, values: Mapping[str, Any], done: Sequence[Finished], no: int
) -> tuple[Values, tuple[Task, ...], dict[str, Change]]:
    """What runs after these tasks, and the values with the deferred nodes that still wait."""
    nodes: set[str] = set()
    routes: list[Route] = []
    for outcome in done:
        node = outcome.task.node
        if not outcome.is_handled:
            nodes.update(topology.entry if node == START else topology.nodes[node].edges)
            # A full join's target is planned, or waits as a deferred node, from then on until it has run, which clears
            # the join: only one that somebody has just arrived at can be newly full.
            for join in topology.joins_of_source.get(node, ()):
                if join.rule.is_full(values.get(join.channel, MISSING)):
                    nodes.add(join.target)
        routes.extend(outcome.routes)
    return schedule(topology, values, nodes, routes, (), no)


def schedule(
    topology: Topology,
    values: Mapping[str, Any],
    nodes: Iterable[str],
    routes: Iterable[Route],
    planned: Sequence[Task],
    no: int,
) -> tuple[Values, tuple[Task, ...], dict[str, Change]]:
    """The plan of checkpoint `no`: what is `planned` already, then `nodes` and `routes` as new tasks.

    Deferred nodes are not planned while anything else is: they wait in a channel of their own. Sends do not wait.
    """
    due = set(nodes)
    sends: list[Route] = []
    for route in routes:
        if route.argument is not None:
            sends.append(route)
        elif route.node != END:
            due.add(route.node)
    for task in planned:
        if task.argument is None:
            due.discard(task.node)
    waiting: Collection[str] = values.get(DEFERRED, ())
    if not waiting and not topology.deferred:
        return changed(values, {}), (*planned, *number(sorted(due), sends, no)), {}
    left = set(waiting) | (due & topology.deferred)
    due -= topology.deferred
    if left and not due and not sends and not planned:
        due, left = left, set()
    plan = (*planned, *number(sorted(due), sends, no))
    if left == set(waiting):
        return changed(values, {}), plan, {}
    if not left:
        return changed(values, {DEFERRED: MISSING}), plan, {DEFERRED: Absent()}
    return changed(values, {DEFERRED: tuple(sorted(left))}), plan, {DEFERRED: Full(None)}


def number(nodes: Iterable[str], sends: Iterable[Route], no: int) -> tuple[Task, ...]:
    """A plan in its order, first planned by checkpoint `no`."""
    plan: list[Task] = []
    for node in nodes:
        plan.append(Task(node, no, len(plan)))  # a comprehension is a call, in each superstep
    for send in sends:
        plan.append(Task(send.node, no, len(plan), send.argument, send.limits))
    return tuple(plan)
