"""What a node is called with: its input, and how long it may take."""

from collections.abc import Iterable, Mapping
from typing import Any

from durable_graph._engine.task import Task
from durable_graph._runtime.session import Scope
from durable_graph.graph import Node
from durable_graph.graph.policies import TimeoutPolicy


def given_to(scope: Scope, task: Task, node: Node) -> Any:
    """What the node is called with."""
    if task.argument is not None:
        return task.argument.value
    given = node.input.read(scope.state.values, scope.session.place(scope.state))
    if node.subgraph is None or node.subgraph.topology.input.is_single:
        return given
    return _shared(given, node.subgraph.topology.input.keys)


def _shared(given: Any, keys: Iterable[str]) -> Any:
    """What a node that is a graph receives: those of its own keys that the state around it has."""
    if isinstance(given, Mapping):
        return {key: given[key] for key in keys if key in given}
    return {key: getattr(given, key) for key in keys if hasattr(given, key)}


def timeout_of(task: Task, node: Node) -> TimeoutPolicy | None:
    """The limits of the task's `Send`, or those of its node."""
    if task.limits is None:
        return node.timeout
    limits = task.limits
    return TimeoutPolicy(
        run_timeout=limits.run,
        idle_timeout=limits.idle,
        refresh_on="heartbeat" if limits.only_heartbeats else "auto",
    )
