"""Making the drawing of a topology."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, Literal

from durable_graph.errors import InvalidOptionError, UnknownNameError
from durable_graph.graph.control import END, START
from durable_graph.graph.drawing.drawing import Drawing
from durable_graph.graph.drawing.elements import DrawnEdge, DrawnNode
from durable_graph.graph.topology import Node, Router, Topology

# Deeper than any graph that can be compiled.
_EVERY_LEVEL: Final = 1_000_000


def drawing_of(
    topology: Topology,
    *,
    xray: bool | int = False,
    interrupt_before: Literal["*"] | Iterable[str] = (),
    interrupt_after: Literal["*"] | Iterable[str] = (),
) -> Drawing:
    """The graph with START and END, and an edge for every possible transition of a run.

    `xray` opens subgraphs: all levels (True), or this number of levels. A router without declared choices leads to
    every node and END. `interrupt_before` and `interrupt_after` are ids of nodes, or "*" for all nodes outside
    subgraphs.

    Raises `UnknownNameError` for a breakpoint at an unknown node, `InvalidOptionError` for an `xray` below 0.
    """
    if xray < 0:
        option = "xray"
        raise InvalidOptionError(option, xray, allowed="True, False, or how many levels of subgraphs to open")
    level = _Level(topology, None, None, _EVERY_LEVEL if xray is True else int(xray))
    edges = tuple(level.edges())
    used = {end for edge in edges for end in (edge.source, edge.target)}
    nodes = [node for node in level.nodes() if node.kind != "end" or node.id in used]
    before = _breakpoints("interrupt_before", interrupt_before, nodes)
    after = _breakpoints("interrupt_after", interrupt_after, nodes)
    return Drawing(topology.name, tuple(_with_breakpoints(node, before, after) for node in nodes), edges)


class _Level:
    """A graph of the drawing: the outermost, or an opened subgraph. `depth` is the number of levels to open in it."""

    def __init__(self, topology: Topology, outer: "_Level | None", inside: str | None, depth: int) -> None:
        self._topology = topology
        self._outer = outer
        self._inside = inside
        names = (START, *topology.nodes, END)
        self._position = {name: position for position, name in enumerate(names)}
        self._opened: dict[str, _Level] = {}
        for name, node in topology.nodes.items():
            if depth and node.subgraph is not None:
                self._opened[name] = _Level(node.subgraph.topology, self, self._id(name), depth - 1)

    def nodes(self) -> Iterator[DrawnNode]:
        """The nodes. Each opened subgraph is followed by its nodes."""
        yield DrawnNode(self._id(START), START, "start", self._inside)
        for name, node in self._topology.nodes.items():
            yield DrawnNode(
                id=self._id(name),
                name=name,
                kind="node" if node.subgraph is None else "subgraph",
                inside=self._inside,
                is_open=name in self._opened,
                is_deferred=node.defer,
                has_error_handler=node.error_handler is not None,
                metadata=node.metadata,
            )
            if name in self._opened:
                yield from self._opened[name].nodes()
        yield DrawnNode(self._id(END), END, "end", self._inside)

    def edges(self) -> Iterator[DrawnEdge]:
        """The edges in the order of their source nodes; those inside subgraphs come last."""
        ways = set(self._ways())
        for way in sorted(ways, key=self._order):
            yield replace(way, source=self._exit(way.source), target=self._entrance(way.target))
        for level in self._opened.values():
            yield from level.edges()

    def _ways(self) -> Iterator[DrawnEdge]:
        """Edges by name: from this level's nodes to each other, or by a Command to nodes of the parent."""
        topology = self._topology
        yield from (DrawnEdge(START, target) for target in topology.entry)
        yield from self._routes(START, topology.entry_routers)
        for joins in topology.joins_of_target.values():
            for number, join in enumerate(joins, start=1):
                label = f"join {number}" if len(joins) > 1 else None
                yield from (DrawnEdge(source, join.target, label, is_join=True) for source in join.rule.sources)
        for name, node in topology.nodes.items():
            yield from (DrawnEdge(name, target) for target in node.edges)
            yield from self._routes(name, node.routers)
            yield from self._commands(name, node)
            if self._is_last(node):
                yield DrawnEdge(name, END)

    def _commands(self, name: str, node: Node) -> Iterator[DrawnEdge]:
        for target in node.destinations:
            label = node.destination_labels.get(target)
            # In a drawing of the subgraph alone, a Command to the parent leads to END.
            way = DrawnEdge(name, target, label) if self._finds(target) else DrawnEdge(name, END, label or target)
            yield replace(way, is_conditional=True)
        for target in () if node.error_handler is None else node.error_handler.destinations:
            yield DrawnEdge(name, target, "on error", is_conditional=True)

    def _routes(self, source: str, routers: Iterable[Router]) -> Iterator[DrawnEdge]:
        anywhere: Mapping[object, str] = {name: name for name in self._position if name != START}
        for router in routers:
            for choice, target in (anywhere if router.choices is None else router.choices).items():
                label = str(choice) or repr(choice)
                yield DrawnEdge(source, target, None if label == target else label, is_conditional=True)

    def _is_last(self, node: Node) -> bool:
        return not (node.edges or node.routers or node.destinations or node.name in self._topology.joins_of_source)

    def _order(self, way: DrawnEdge) -> tuple[object, ...]:
        places = self._position[way.source], self._position.get(way.target, len(self._position))
        return *places, way.target, way.is_join, way.is_conditional, way.label or ""

    def _finds(self, name: str) -> bool:
        return name in self._position or (self._outer is not None and self._outer._finds(name))

    def _id(self, name: str) -> str:
        # Names of nodes never contain ":".
        return name if self._inside is None else f"{self._inside}:{name}"

    def _entrance(self, name: str) -> str:
        if name not in self._position and self._outer is not None:
            return self._outer._entrance(name)
        return self._opened[name]._id(START) if name in self._opened else self._id(name)

    def _exit(self, name: str) -> str:
        return self._opened[name]._id(END) if name in self._opened else self._id(name)


def _breakpoints(option: str, given: Literal["*"] | Iterable[str], nodes: Iterable[DrawnNode]) -> frozenset[str]:
    stops = {node.id: node for node in nodes if node.kind in ("node", "subgraph")}
    if given == "*":
        return frozenset(name for name, node in stops.items() if node.inside is None)
    wanted = frozenset([given] if isinstance(given, str) else given)
    for name in sorted(wanted - stops.keys()):
        raise UnknownNameError.of_node(name, where=f"{option} names", known=stops)
    return wanted


def _with_breakpoints(node: DrawnNode, before: frozenset[str], after: frozenset[str]) -> DrawnNode:
    at: Mapping[Literal["before", "after"], frozenset[str]] = {"before": before, "after": after}
    return replace(node, interrupts=tuple(when for when, names in at.items() if node.id in names))
