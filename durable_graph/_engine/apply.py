"""A superstep's outcomes into the next state. In task order, never in the order of finishing.

writes      every channel's rule, once, over all writes to it
joins       those of the tasks that ran are cleared, then this step's arrivals count
plan        nodes by name, once each however many edges lead there; then Sends as they were emitted
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from durable_graph._engine.merge import merge_writes
from durable_graph._engine.state import Absent, Change, Changes, Full, State
from durable_graph._engine.task import Argument, Done, Task
from durable_graph.channels import MISSING
from durable_graph.graph import END, START, Join, Topology


def apply(topology: Topology, state: State, outcomes: Iterable[Done], no: int) -> tuple[State, Changes]:
    """The state after every task of the plan is done, as checkpoint `no`, and what it changed.

    Raises `ConcurrentUpdateError` and `ReducerError`; then nothing has changed.
    """
    done = sorted(outcomes, key=lambda outcome: outcome.task.key)
    values, changes = merge_writes(
        topology, state.values, ((outcome.task.node, write) for outcome in done for write in outcome.writes)
    )
    nodes = [outcome.task.node for outcome in done]
    values, join_changes = advance_joins(topology, values, nodes)
    plan = plan_after(topology, values, done, no)
    return State(no=no, step=state.step + 1, values=values, plan=plan), {**changes, **join_changes}


def advance_joins(
    topology: Topology, values: Mapping[str, Any], nodes: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Change]]:
    """The join channels after `nodes` ran: the full joins that started them are cleared, then their arrivals count."""
    after = dict(values)
    touched: dict[str, Join] = {}
    for node in dict.fromkeys(nodes):
        for join in topology.joins_of_target.get(node, ()):
            if join.rule.is_full(after.get(join.channel, MISSING)):
                del after[join.channel]
                touched[join.channel] = join
    for node in dict.fromkeys(nodes):
        for join in topology.joins_of_source.get(node, ()):
            after[join.channel] = join.rule.merge(after.get(join.channel, MISSING), [node])
            touched[join.channel] = join
    changes: dict[str, Change] = {}
    for channel in touched:
        if after.get(channel) != values.get(channel):
            changes[channel] = Full(None) if channel in after else Absent()
    return after, changes


def plan_after(topology: Topology, values: Mapping[str, Any], done: Sequence[Done], no: int) -> tuple[Task, ...]:
    """What runs after these tasks."""
    nodes: set[str] = set()
    sends: list[tuple[str, Argument]] = []
    for outcome in done:
        node = outcome.task.node
        nodes.update(topology.entry if node == START else topology.nodes[node].edges)
        for route in outcome.routes:
            if route.argument is not None:
                sends.append((route.node, route.argument))
            elif route.node != END:
                nodes.add(route.node)
    # A full join's target is always in the plan that follows, and running it clears the join: only one that somebody
    # has just arrived at can be full.
    finished = {outcome.task.node for outcome in done}
    arrived_at = (join for node in finished for join in topology.joins_of_source.get(node, ()))
    nodes.update(join.target for join in arrived_at if join.rule.is_full(values.get(join.channel, MISSING)))
    return number(sorted(nodes), sends, no)


def number(nodes: Iterable[str], sends: Iterable[tuple[str, Argument]], no: int) -> tuple[Task, ...]:
    """A plan in its order, first planned by checkpoint `no`."""
    entries: list[tuple[str, Argument | None]] = [(node, None) for node in nodes]
    entries.extend(sends)
    return tuple(Task(node=node, born=no, ord=ord_, argument=argument) for ord_, (node, argument) in enumerate(entries))
