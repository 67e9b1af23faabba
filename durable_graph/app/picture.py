"""Drawings, subgraphs and JSON schemas of a compiled graph."""

from collections.abc import AsyncGenerator, Iterator
from typing import Any

from durable_graph._runtime.entry.options import Config, ThreadId, merged_config
from durable_graph._runtime.request.namespaces import names_in, nested_graphs
from durable_graph._runtime.threads.snapshot import StateSnapshot, drawn_status
from durable_graph.app.threads import GraphThreads
from durable_graph.graph import Topology
from durable_graph.graph.drawing import Drawing, drawing_of
from durable_graph.graph.entrypoints import declared_result, is_workflow
from durable_graph.graph.jsonschema import JsonSchema, jsonschema_of, titled
from durable_graph.graph.schema import ROOT, Schema
from durable_graph.graph.signatures import annotation_of
from durable_graph.graph.state_kinds import kind_of


class GraphPicture(GraphThreads):
    """A graph with methods for its drawing, its subgraphs and its JSON schemas."""

    async def aget_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> AsyncGenerator[tuple[str, Any], None]:
        """The graphs inside this one's nodes, as (namespace, graph): nodes that are graphs, or whose functions name
        one. `namespace` chooses one graph, `recurse` includes the graphs inside these, with names joined by "|"."""
        wanted = None if namespace is None else "|".join(names_in(namespace))
        for name, graph in _inside(self._topology, recurse=recurse or (wanted is not None and "|" in wanted)):
            if wanted is None or name == wanted:
                yield name, graph

    def get_graph(
        self,
        config: Config | None = None,
        *,
        xray: bool | int = False,
        status: StateSnapshot | None = None,
    ) -> Drawing:
        """The graph as a drawing: text for Mermaid and Graphviz, shown as a picture by notebooks.

        With `xray` the drawing has the nodes of subgraphs as well, to that depth if it is a number. `status` marks the
        nodes that are done, next, interrupted and failed in that snapshot.
        """
        before, after = self._defaults.stop_before, self._defaults.stop_after
        drawing = drawing_of(
            self._topology,
            xray=xray,
            interrupt_before="*" if before is None else before,
            interrupt_after="*" if after is None else after,
        )
        if status is None:
            return drawing
        drawn = {node.id for node in drawing.nodes}
        # A thread may have tasks of nodes that were removed from the graph.
        return drawing.with_status({name: each for name, each in drawn_status(status).items() if name in drawn})

    def get_input_jsonschema(self, config: Config | None = None) -> JsonSchema:
        """A JSON schema of the graph's input: its keys by name, and the required keys of its class.

        For a pydantic model it is the model's own schema. A class that neither msgspec nor pydantic knows accepts any
        value, and the schema has only its name. For an entrypoint it is the schema of the annotation of the function's
        first parameter.
        """
        return self._shown(self._topology.input, "input", 0)

    def get_output_jsonschema(self, config: Config | None = None) -> JsonSchema:
        """A JSON schema of the graph's output, by the rules of `get_input_jsonschema`."""
        return self._shown(self._topology.output, "output", "return")

    def get_context_jsonschema(self) -> JsonSchema | None:
        """A JSON schema of the graph's context, None if the graph declares no context."""
        declared = self._topology.context
        if declared is None:
            return None
        schema = Schema.single(declared, ROOT) if kind_of(declared) is None else Schema.of(declared)
        return jsonschema_of(schema, titled(self._topology.name, "context"), {})

    def _shown(self, schema: Schema, what: str, annotated: int | str) -> JsonSchema:
        topology = self._topology
        if is_workflow(topology):
            (node,) = topology.nodes.values()
            schema = Schema.single(declared_result(annotation_of(node.action, annotated)), ROOT)
        return jsonschema_of(schema, titled(topology.name, what), topology.channels)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.get_graph()._repr_mimebundle_(include, exclude)

    async def aget_graph(
        self,
        config: Config | None = None,
        *,
        xray: bool | int = False,
        thread_id: ThreadId | None = None,
    ) -> Drawing:
        """As `get_graph`; with `thread_id`, or a config that names a thread, with that thread's status."""
        merged = merged_config(self._config, config)
        if thread_id is None and not (merged or {}).get("configurable", {}).get("thread_id"):
            return self.get_graph(xray=xray)
        snapshot = await self.aget_state(config, thread_id=thread_id)
        return self.get_graph(xray=xray, status=snapshot)


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
