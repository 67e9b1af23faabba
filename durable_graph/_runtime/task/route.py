"""After a node, its routers: user code that may wait, raise or ask, whose choice is part of the task's outcome."""

import inspect
from collections.abc import Hashable, Mapping

from durable_graph._engine.merge import merge_writes
from durable_graph._engine.state import State
from durable_graph._engine.task import Route, Task, Write
from durable_graph._runtime.task.read_result import DueAfter, send_route
from durable_graph.errors import InvalidNodeResultError, UnknownNameError
from durable_graph.errors.tree import is_namesake
from durable_graph.graph import END, Place, Router, Send, Topology


async def choose(
    topology: Topology,
    state: State,
    task: Task,
    routers: tuple[Router, ...],
    writes: tuple[Write, ...],
    extra: Mapping[str, Mapping[str, object]],
    max_value_bytes: int | None,
    place: Place,
    due_after: DueAfter,
) -> tuple[Route, ...]:
    """The routes that the routers choose after the task, in the superstep at `place`.

    `extra` has the parameters of each router besides the state, by its name. `due_after` gives the due times of delayed
    tasks.

    Raises what they raise, and for what is no choice: `InvalidNodeResultError`, `UnknownNameError`,
    `UnstorableValueError`, `ValueTooLargeError`.
    """
    # A router sees the state as its own node leaves it, without what the siblings wrote.
    written: list[tuple[str, Write]] = []
    for write in writes:  # no comprehensions here: each is one more Python call in a superstep with a router
        written.append((task.node, write))
    values, _ = merge_writes(topology, state.values, written)
    routes: list[Route] = []
    for router in routers:
        chosen = router.path(router.input.read(values, place), **extra.get(router.name, {}))
        if inspect.isawaitable(chosen):
            chosen = await chosen
        several = chosen if isinstance(chosen, list | tuple) else [chosen]
        for choice in several:
            routes.append(_route(topology, router, task.node, choice, max_value_bytes, due_after))
    return tuple(routes)


def _route(
    topology: Topology, router: Router, node: str, choice: object, max_value_bytes: int | None, due_after: DueAfter
) -> Route:
    if isinstance(choice, Send):
        where = f"router {router.name!r} of node {node!r} sent to"
        return send_route(topology, choice, where, max_value_bytes, due_after)
    if not isinstance(choice, str) and (
        is_namesake(choice) or not isinstance(choice, Hashable) or router.choices is None
    ):
        raise InvalidNodeResultError.of_route(router.name, node, choice)
    target = choice if router.choices is None else router.choices.get(choice)
    if target is None or (target != END and target not in topology.nodes):
        if choice is None:
            raise InvalidNodeResultError.of_route(router.name, node, choice)
        where = f"router {router.name!r} of node {node!r} chose"
        if router.choices is None:
            raise UnknownNameError.of_node(choice, where=where, known=topology.nodes, kind="route")
        whose = "its path_map or annotation"
        raise UnknownNameError.of_node(choice, where=where, known=map(str, router.choices), whose=whose, kind="route")
    return Route(str(target))
