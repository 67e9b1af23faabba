"""From a superstep's outcomes to the next state. In task order, never in the order of finishing.

writes      each channel's rule runs once, over all writes to it; one-superstep channels without a write are cleared
joins       full joins of the tasks that ran are cleared, then the arrivals of this superstep are added
plan        nodes by name, once each however many edges lead there, at the earliest of their times; then Sends in the
            order in which they were made
deferred    nodes that wait until no other node is due: a separate channel has their names
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import msgspec

from durable_graph._engine.merge import clear_unwritten, merge_writes
from durable_graph._engine.state import Absent, Change, Changes, Full, State
from durable_graph._engine.task import Done, Finished, Outcome, Route, Task, Write
from durable_graph.channels import MISSING, changed
from durable_graph.errors import ConcurrentUpdateError, ReducerError
from durable_graph.graph import DEFERRED, END, START, Join, Topology


def apply(topology: Topology, state: State, outcomes: Iterable[Done], no: int) -> tuple[State, Changes]:
    """The state after every task of the plan is done, as checkpoint `no`, and its changes.

    Raises `ConcurrentUpdateError` and `ReducerError`; then nothing has changed.
    """
    done = sorted(outcomes, key=_key_of)
    written: list[tuple[str, Write]] = []
    for outcome in done:  # no comprehension: that is one more Python call in each superstep
        for write in outcome.writes:
            written.append((outcome.task.node, write))
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


_key_of = attrgetter("task.key")


def with_recorded(topology: Topology, state: State, recorded: Mapping[tuple[int, int], Outcome]) -> Mapping[str, Any]:
    """The values with the writes of the finished tasks of an unfinished superstep."""
    finished = [recorded.get(task.key) for task in state.plan]
    writes = [
        (outcome.task.node, write) for outcome in finished if isinstance(outcome, Finished) for write in outcome.writes
    ]
    try:
        return merge_writes(topology, state.values, writes)[0]
    except (ConcurrentUpdateError, ReducerError):
        # A state has to be readable although the superstep cannot be merged. The run raises the error.
        return state.values


def advance_joins(
    topology: Topology, values: Mapping[str, Any], finished: Sequence[Finished]
) -> tuple[Mapping[str, Any], dict[str, Change]]:
    """The join channels after these tasks: the full joins that started them are cleared, then their arrivals are added.

    A node whose error handler ran arrives at no join: the handler chooses the next nodes.
    """
    if not topology.joins:
        return values, {}
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
) -> tuple[Mapping[str, Any], tuple[Task, ...], dict[str, Change]]:
    """The plan after these tasks, and the values with the deferred nodes that still wait."""
    nodes: set[str] = set()
    routes: list[Route] = []
    for outcome in done:
        node = outcome.task.node
        if not outcome.is_handled:
            nodes.update(topology.entry if node == START else topology.nodes[node].edges)
            # Once a join is full, its target is planned, or waits as a deferred node, until it has run and the join is
            # cleared. So only joins with an arrival in this superstep can have become full.
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
) -> tuple[Mapping[str, Any], tuple[Task, ...], dict[str, Change]]:
    """The plan of checkpoint `no`: the tasks that are `planned` already, then `nodes` and `routes` as new tasks.

    Deferred nodes wait in a separate channel while any other task is planned. Sends do not wait, nor do nodes with a
    time of their own.
    """
    chosen = set(nodes)
    sends: list[Route] = []
    later: dict[str, int] = {}
    for route in routes:
        if route.argument is not None:
            sends.append(route)
        elif route.due:
            later[route.node] = min(route.due, later.get(route.node, route.due))
        elif route.node != END:
            chosen.add(route.node)
    if later or planned:
        planned = _beside(planned, chosen, later)
    waiting: Collection[str] = values.get(DEFERRED, ())
    if not waiting and not topology.deferred:
        return values, (*planned, *number(chosen, sends, no, later)), {}
    deferred = set(waiting) | (chosen & topology.deferred)
    chosen -= topology.deferred
    if deferred and not (chosen or later or sends or planned):
        chosen, deferred = deferred, set()
    plan = (*planned, *number(chosen, sends, no, later))
    if deferred == set(waiting):
        return values, plan, {}
    if not deferred:
        return changed(values, {DEFERRED: MISSING}), plan, {DEFERRED: Absent()}
    return changed(values, {DEFERRED: tuple(sorted(deferred))}), plan, {DEFERRED: Full(None)}


def _beside(planned: Sequence[Task], chosen: set[str], later: dict[str, int]) -> tuple[Task, ...]:
    """The tasks that are planned already, each at the earliest of its due times. Nodes that need no further task are
    removed from `chosen` and `later`."""
    for node in chosen:
        later.pop(node, None)
    tasks: list[Task] = []
    for task in planned:
        earlier = task
        if task.argument is None:
            due = 0 if task.node in chosen else later.get(task.node, task.due)
            earlier = msgspec.structs.replace(task, due=due) if due < task.due else task
            chosen.discard(task.node)
            later.pop(task.node, None)
        tasks.append(earlier)
    return tuple(tasks)


def number(
    nodes: Iterable[str], sends: Iterable[Route], no: int, later: Mapping[str, int] = MappingProxyType({})
) -> tuple[Task, ...]:
    """New tasks, numbered in the order of the plan, first planned by checkpoint `no`. `later` are the nodes of delayed
    tasks, with their due times."""
    plan: list[Task] = []
    for node in sorted((*nodes, *later)) if later else sorted(nodes):
        # No comprehension: that is one more Python call in each superstep.
        plan.append(Task(node, no, len(plan), due=later.get(node, 0)))
    for send in sends:
        plan.append(Task(send.node, no, len(plan), send.argument, send.limits, send.due))
    return tuple(plan)
