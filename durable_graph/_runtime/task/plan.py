"""The plan of a graph's supersteps: for each node, the stages that an attempt at its tasks passes.

    observed   another library's callbacks see the attempt        in runs that it observes
    routed     routers choose the next nodes                        where the node has any
    cached     the result is taken from a cache, or put there       where the node has a policy, and the graph a cache
    checked    whole values are compared afterwards                 in debugged runs
    private    containers of an instance are compared afterwards    where nodes are given instances of a class
    code       the function is called, in a thread if it is plain, within its timeouts, and its result is read

They are composed in this order, the last one innermost. A stage that a node does not use is absent. Plans are kept by
which stages are present, never by values: limits and listeners come with the run.
"""

import sys
from collections.abc import Mapping

import msgspec

from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task.invoke import NodeFunction
from durable_graph._runtime.task.run_context import NodePlan, Stage
from durable_graph._runtime.task.stages import (
    CodeStage,
    cached,
    checked,
    code,
    handled,
    observed,
    routed,
    with_private_lengths,
)
from durable_graph.checkpointing.protocol import DEFAULT_MAX_VALUE_BYTES
from durable_graph.graph import START, Node, Topology

_GROUPS_LEAVE_TRACES = sys.version_info < (3, 13)
"""Before Python 3.13 a `TaskGroup` whose child failed leaves its asyncio task cancelled, although nobody cancelled it,
and a node may have caught the group's error. In the run's own task that would look like a cancellation of the run."""


class Used(msgspec.Struct, frozen=True, eq=True):
    """The stages that only some runs use: comparing whole values, callbacks of another library, a cache."""

    is_checked: bool
    is_observed: bool
    has_cache: bool


class StepPlan:
    """The plan of one graph. Each combination of stages is composed once, when a run first uses it."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._composed: dict[Used, Mapping[str, NodePlan]] = {}

    def for_run(self, request: Request, *, has_cache: bool) -> Mapping[str, NodePlan]:
        """The plan of each node, by its name; START has the routers at the entry."""
        used = Used(request.is_checked, request.observer is not None, has_cache)
        plans = self._composed.get(used)
        if plans is None:
            plans = self._composed[used] = _composed(self.topology, used)
        return plans


def _composed(topology: Topology, used: Used) -> dict[str, NodePlan]:
    plans = {name: _node_plan(topology, node, used) for name, node in topology.nodes.items()}
    entry = routed(topology, START, topology.entry_routers, None, is_checked=used.is_checked)
    plans[START] = NodePlan(entry, entry, entry, _GROUPS_LEAVE_TRACES)
    return plans


def _node_plan(topology: Topology, node: Node, used: Used) -> NodePlan:
    is_cached = used.has_cache and node.cache is not None
    limit = DEFAULT_MAX_VALUE_BYTES if is_cached else None
    function = NodeFunction.of(node, is_observed=used.is_observed)
    run: Stage = _compared(topology, node, used, code(topology, node, function, max_value_bytes=limit))
    if is_cached:
        run = cached(node, run)
    if node.routers:
        run = routed(topology, node.name, node.routers, run, is_checked=used.is_checked)
    route = routed(topology, node.name, node.routers, None, is_checked=used.is_checked)
    handle = handled(node, _handler_code(topology, node, used))
    needs_own_task = _GROUPS_LEAVE_TRACES and node.is_async
    if used.is_observed:
        return NodePlan(observed(run), observed(route), observed(handle), needs_own_task)
    return NodePlan(run, route, handle, needs_own_task)


def _handler_code(topology: Topology, node: Node, used: Used) -> CodeStage | None:
    if node.error_handler is None:
        return None
    function = NodeFunction.of(node.error_handler, is_observed=used.is_observed)
    return _compared(topology, node, used, code(topology, node, function, is_handler=True))


def _compared(topology: Topology, node: Node, used: Used, inner: CodeStage) -> CodeStage:
    if not node.input.is_plain and not node.input.is_single:
        inner = with_private_lengths(node, inner)
    return checked(topology, node, inner) if used.is_checked else inner
