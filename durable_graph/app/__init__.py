"""The graph as users see it: described by a `StateGraph`, run as a `CompiledGraph`."""

from durable_graph.app.compiled import CompiledGraph
from durable_graph.app.state_graph import StateGraph

__all__ = ["CompiledGraph", "StateGraph"]
