"""A node's result as writes and routes: updates, Commands, and lists of them."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from durable_graph._engine.task import Limits, Route, Write
from durable_graph._runtime.request.control_flow import ParentCommand
from durable_graph._runtime.task.writes import encode_argument, node_writes, pairs_in, updates_of
from durable_graph.errors import (
    InvalidOptionError,
    InvalidUpdateError,
    UnknownNameError,
)
from durable_graph.errors.tree import is_namesake, kind_of, quoted
from durable_graph.graph import END, UNSET, Command, Node, Send, Topology
from durable_graph.graph.durations import Duration
from durable_graph.graph.policies import TimeoutPolicy

DueAfter = Callable[[str, Duration], int]
"""The time after a duration, in microseconds since 1970, given the option that has the duration."""


class Result(msgspec.Struct, frozen=True):
    """A node's own part of its outcome: what its routers choose is still to come."""

    writes: tuple[Write, ...]
    routes: tuple[Route, ...]


def read_result(
    topology: Topology,
    node: Node,
    result: object,
    values: Mapping[str, object],
    max_value_bytes: int | None,
    due_after: DueAfter,
    keys_of_nested: Collection[str] = (),
) -> Result:
    """A node's result, checked and encoded; `values` are those at the start of its superstep.

    `due_after` gives the due times of delayed tasks. Of what a graph inside the node returned, the keys
    that the state does not have are the inner graph's own.

    Raises `ParentCommand` for a Command to the parent graph, `InvalidUpdateError`, `UnknownNameError`,
    `UnstorableValueError`, `ValueTooLargeError`.
    """
    if type(result) is dict and not topology.state.is_single and not keys_of_nested:
        # What most nodes return: one update, whose keys are the state's.
        return Result(node_writes(topology, node, result.items(), values, max_value_bytes), ())
    updates: list[tuple[str, object]] = []
    routes: list[Route] = []
    parts = _parts(topology, result)
    for part in parts:
        if not isinstance(part, Command):
            updates.extend(updates_of(topology, node, part, values))
            continue
        where = f"node {node.name!r} returned a Command"
        if part.graph == Command.PARENT:
            if len(parts) > 1:
                raise InvalidUpdateError(f"{where} to the parent graph beside other results; return it alone")
            raise ParentCommand(part)
        if part.graph is not None:
            raise InvalidUpdateError(f"{where} to the graph {quoted(part.graph)}; use Command.PARENT")
        if part.resume is not UNSET:
            raise InvalidUpdateError(f"{where} with resume=...; answers to interrupt() belong in the input of a run")
        pairs = pairs_in(topology, part.update)
        updates.extend(updates_of(topology, node, part.update, values) if pairs is None else pairs)
        routes.extend(goto_routes(topology, part, where, max_value_bytes, due_after))
    if keys_of_nested:
        known = topology.channels
        updates = [(key, value) for key, value in updates if key in known or key not in keys_of_nested]
    return Result(node_writes(topology, node, updates, values, max_value_bytes), tuple(routes))


def _parts(topology: Topology, result: Any) -> list[object]:
    if isinstance(result, list | tuple) and any(isinstance(part, Command) for part in result):
        return list(result)
    # Where the state is one value, a list is that value.
    is_value = topology.state.is_single or not isinstance(result, list) or not result
    return [result] if is_value or not all(isinstance(part, dict) for part in result) else list(result)


def goto_routes(
    topology: Topology, command: Command, where: str, max_value_bytes: int | None, due_after: DueAfter
) -> tuple[Route, ...]:
    """Where a Command goes. END leads nowhere and is left out."""
    given = command.goto
    due = 0 if command.after is None else _due_of_goto(command.goto, command.after, where, due_after)
    if not isinstance(given, str | Send | list | tuple):
        raise InvalidUpdateError(f"{where} whose goto is {kind_of(given)}; it takes a node's name, a Send, or a list")
    targets = [given] if isinstance(given, str | Send) else given
    routes = []
    for target in targets:
        if isinstance(target, Send):
            routes.append(send_route(topology, target, f"{where} that sends to", max_value_bytes, due_after, due))
        elif is_namesake(target):
            raise InvalidUpdateError(f"{where} that goes to {kind_of(target)}; import it from durable_graph")
        elif target != END:
            if not isinstance(target, str) or target not in topology.nodes:
                raise UnknownNameError.of_node(
                    target, where=f"{where} that goes to", known=topology.nodes, kind="route"
                )
            if due and target in topology.deferred:
                raise _delay_of_deferred(where, target, command.after)
            routes.append(Route(target, due=due))
    return tuple(routes)


def _due_of_goto(goto: object, after: Duration, where: str, due_after: DueAfter) -> int:
    if not goto:
        allowed = "None without goto: it is the time until the tasks of goto begin"
        raise InvalidOptionError(f"{where} with after", after, allowed=allowed)
    return due_after(f"{where} with after", after)


def _delay_of_deferred(where: str, node: str, after: object) -> InvalidOptionError:
    allowed = f"None for {quoted(node)}, a deferred node: it begins once no other node is due; a Send to it can wait"
    return InvalidOptionError(f"{where} with after", after, allowed=allowed)


def send_route(
    topology: Topology, send: Send, where: str, max_value_bytes: int | None, due_after: DueAfter, due: int = 0
) -> Route:
    """A Send, checked. `due` is the time of a Send without one.

    Raises `UnknownNameError`, `UnstorableValueError`, `ValueTooLargeError`, `InvalidOptionError`.
    """
    if not isinstance(send.node, str) or send.node not in topology.nodes:
        raise UnknownNameError.of_node(send.node, where=where, known=topology.nodes, kind="send")
    limits = None
    if send.timeout is not None:
        policy = TimeoutPolicy.of(send.timeout)
        node, option = topology.nodes[send.node], f"{where} {send.node!r} with timeout"
        if not node.can_time_out:
            raise InvalidOptionError(option, send.timeout, allowed="None: a plain function cannot be stopped")
        if node.executor is not None and policy.idle_timeout is not None:
            raise InvalidOptionError(
                option, send.timeout, allowed="a run_timeout alone: no heartbeat leaves an executor"
            )
        limits = Limits(policy.run_timeout, policy.idle_timeout, policy.refresh_on == "heartbeat")
    if send.after is not None:
        due = due_after(f"{where} {quoted(send.node)} with after", send.after)
    return Route(send.node, encode_argument(topology, send.arg, max_value_bytes), limits, due)
