"""Namespaces: where a nested graph's state is stored, and to which graph a namespace belongs."""

from collections.abc import Mapping
from typing import Any

import msgspec

from durable_graph._engine.task import Task, namespace_of
from durable_graph.errors import UnknownNameError
from durable_graph.graph import START, Topology
from durable_graph.graph.subgraph import Subgraph, subgraphs_in
from durable_graph.records import checkpoint_id


class Place(msgspec.Struct, frozen=True):
    """A checkpoint of a namespace of a thread. `no` is None for the newest checkpoint."""

    thread_id: str
    ns: str
    no: int | None

    def config(self, no: int | None) -> dict[str, Any]:
        """The config of the namespace's checkpoint `no`."""
        configurable = {"thread_id": self.thread_id, "checkpoint_ns": self.ns}
        if no is not None:
            configurable["checkpoint_id"] = checkpoint_id(no)
        return {"configurable": configurable}


def graphs_of(topology: Topology, node: str) -> tuple[Subgraph, ...]:
    """The graph that a node is, or the graphs that its function refers to."""
    found = topology.nodes[node]
    return (found.subgraph,) if found.subgraph is not None else tuple(subgraphs_in(found.action))


def nested_graphs(topology: Topology) -> Mapping[str, tuple[Subgraph, ...]]:
    """The graphs inside each node that has any."""
    found = {node: graphs_of(topology, node) for node in topology.nodes}
    return {node: graphs for node, graphs in found.items() if graphs}


def caller_and_place(call: str) -> tuple[str, int | None]:
    """The namespace of the code that called a graph, and the call's place among the calls of that code.

    The place is None for the call whose state is stored in the namespace of the code itself.
    """
    ns, _, place = call.rpartition("|")
    return (ns, int(place)) if place.isdigit() else (call, None)


def names_in(ns: str) -> list[str]:
    """The names of nodes in a namespace, without its numbers of calls and its name of a memory."""
    parts = (part.partition(":")[0] for part in ns.split("|"))
    return [part for part in parts if part and not part.isdigit()]


def topology_at(topology: Topology, ns: str, graph: str | None = None) -> Topology:
    """The graph whose state is stored in `ns`; `graph` is its name, if one node calls several.

    Raises `UnknownNameError`.
    """
    at = topology
    if not ns:
        return at
    for name in names_in(ns):
        if at is not topology and name not in at.nodes:
            # The name is that of a `@task` that the node calls, and that calls the graph.
            continue
        inside = graphs_of(at, name) if name in at.nodes else ()
        chosen = [
            each for each in inside if graph is None or graph in (each.topology.name, *each.topology.formerly)
        ] or list(inside)
        if not chosen:
            raise UnknownNameError.of_namespace(ns, known=nested_graphs(at))
        at = chosen[0].topology
    return at


def namespace_of_task(topology: Topology, ns: str, path: tuple[str, ...], task: Task) -> str | None:
    """The namespace of the graph inside a task, None if the task has no graph that stores its state."""
    if task.node == START or task.node not in topology.nodes:
        return None
    graphs = [each for each in graphs_of(topology, task.node) if each.persistence != "none"]
    if not graphs:
        return None
    if graphs[0].persistence == "thread":
        return "|".join((*path, task.node))
    return namespace_of(ns, task)
