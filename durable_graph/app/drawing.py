"""Drawings, subgraphs and JSON schemas of a compiled graph."""

from collections.abc import Iterator
from typing import Any

import msgspec

from durable_graph._runtime.request.namespaces import names_in, nested_graphs
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.threads.snapshot import StateSnapshot, drawn_status
from durable_graph.graph import Topology
from durable_graph.graph.drawing import Drawing, drawing_of
from durable_graph.graph.entrypoints import declared_result, is_workflow
from durable_graph.graph.jsonschema import JsonSchema, jsonschema_of, titled
from durable_graph.graph.schema import ROOT, Schema
from durable_graph.graph.signatures import annotation_of
from durable_graph.graph.state_kinds import kind_of


class GraphDrawing(msgspec.Struct, frozen=True):
    """A graph as it is shown. `CompiledGraph` has the documentation of each method."""

    topology: Topology
    defaults: Request

    def subgraphs(self, namespace: str | None, *, recurse: bool) -> Iterator[tuple[str, Any]]:
        """See `aget_subgraphs`."""
        wanted = None if namespace is None else "|".join(names_in(namespace))
        for name, graph in _inside(self.topology, recurse=recurse or (wanted is not None and "|" in wanted)):
            if wanted is None or name == wanted:
                yield name, graph

    def graph(self, *, xray: bool | int, status: StateSnapshot | None) -> Drawing:
        """See `get_graph`."""
        before, after = self.defaults.stop_before, self.defaults.stop_after
        drawing = drawing_of(
            self.topology,
            xray=xray,
            interrupt_before="*" if before is None else before,
            interrupt_after="*" if after is None else after,
        )
        if status is None:
            return drawing
        drawn = {node.id for node in drawing.nodes}
        # A thread may have tasks of nodes that were removed from the graph.
        return drawing.with_status({name: each for name, each in drawn_status(status).items() if name in drawn})

    def input_schema(self) -> JsonSchema:
        """See `get_input_jsonschema`."""
        return self._schema(self.topology.input, "input", 0)

    def output_schema(self) -> JsonSchema:
        """See `get_output_jsonschema`."""
        return self._schema(self.topology.output, "output", "return")

    def context_schema(self) -> JsonSchema | None:
        """See `get_context_jsonschema`."""
        declared = self.topology.context
        if declared is None:
            return None
        schema = Schema.single(declared, ROOT) if kind_of(declared) is None else Schema.of(declared)
        return jsonschema_of(schema, titled(self.topology.name, "context"), {})

    def _schema(self, schema: Schema, what: str, annotated: int | str) -> JsonSchema:
        topology = self.topology
        if is_workflow(topology):
            (node,) = topology.nodes.values()
            schema = Schema.single(declared_result(annotation_of(node.action, annotated)), ROOT)
        return jsonschema_of(schema, titled(topology.name, what), topology.channels)


def _inside(
    topology: Topology, *, recurse: bool, within: str = "", around: tuple[Topology, ...] = ()
) -> Iterator[tuple[str, Any]]:
    for node, graphs in nested_graphs(topology).items():
        for graph in graphs:
            name = f"{within}|{node}" if within else node
            yield name, graph
            # A node may name its own graph, to read its own thread.
            if recurse and graph.topology is not topology and graph.topology not in around:
                yield from _inside(graph.topology, recurse=True, within=name, around=(*around, topology))
