"""Where a nested graph's state is kept, and which graph it is of."""

from collections.abc import Mapping
from typing import Any

import msgspec

from durable_graph._engine.task import Task, namespace_of
from durable_graph.errors import UnknownNamespaceError
from durable_graph.graph import START, Topology
from durable_graph.graph.subgraph import Subgraph, subgraphs_in
from durable_graph.records import checkpoint_id


class Place(msgspec.Struct, frozen=True):
    """Which checkpoint of which namespace of which thread; None is the newest."""

    thread_id: str
    ns: str
    no: int | None

    def config(self, no: int | None) -> dict[str, Any]:
        """The config that leads to the namespace's checkpoint `no`."""
        configurable = {"thread_id": self.thread_id, "checkpoint_ns": self.ns}
        if no is not None:
            configurable["checkpoint_id"] = checkpoint_id(no)
        return {"configurable": configurable}


def graphs_of(topology: Topology, node: str) -> tuple[Subgraph, ...]:
    """The graphs that a node is, or that its function refers to."""
    found = topology.nodes[node]
    return (found.subgraph,) if found.subgraph is not None else tuple(subgraphs_in(found.action))


def nested_graphs(topology: Topology) -> Mapping[str, tuple[Subgraph, ...]]:
    """The graphs inside each node that has any."""
    found = {node: graphs_of(topology, node) for node in topology.nodes}
    return {node: graphs for node, graphs in found.items() if graphs}


def caller_and_place(call: str) -> tuple[str, int | None]:
    """The namespace of the code that made a call of a graph, and the place of the call among those of that code.

    The first graph that it called has no place of its own there.
    """
    ns, _, place = call.rpartition("|")
    return (ns, int(place)) if place.isdigit() else (call, None)


def names_in(ns: str) -> list[str]:
    """The nodes that a namespace leads through. The number of a call and the name of a memory are no nodes."""
    parts = (part.partition(":")[0] for part in ns.split("|"))
    return [part for part in parts if part and not part.isdigit()]


def topology_at(topology: Topology, ns: str, graph: str | None = None) -> Topology:
    """The graph whose state lies in `ns`; `graph` is its name, where several are called in one node.

    Raises `UnknownNamespaceError`.
    """
    at = topology
    if not ns:
        return at
    for name in names_in(ns):
        if at is not topology and name not in at.nodes:
            # A function that the node calls as a task, and which calls the graph.
            continue
        inside = graphs_of(at, name) if name in at.nodes else ()
        chosen = [
            each for each in inside if graph is None or graph in (each.topology.name, *each.topology.formerly)
        ] or list(inside)
        if not chosen:
            raise UnknownNamespaceError(ns, known=nested_graphs(at))
        at = chosen[0].topology
    return at


def namespace_of_task(topology: Topology, ns: str, path: tuple[str, ...], task: Task) -> str | None:
    """Where the state of the graph inside a task is, None if it has no graph inside that keeps any."""
    if task.node == START or task.node not in topology.nodes:
        return None
    graphs = [each for each in graphs_of(topology, task.node) if each.persistence != "none"]
    if not graphs:
        return None
    if graphs[0].persistence == "thread":
        return "|".join((*path, task.node))
    return namespace_of(ns, task)
