"""What two requests under one key are compared by."""

from typing import Any

from durable_graph._engine.digesting import digest_of
from durable_graph._runtime.keyed import Acceptance
from durable_graph.graph import Command, Topology


def acceptance(topology: Topology, key: str, given: Any) -> Acceptance:
    """The request for this graph with this input."""
    parts = (given.update, given.resume, given.goto) if isinstance(given, Command) else (given,)
    content = digest_of(topology.argument.encode, topology.graph_name or "", type(given).__name__, *parts)
    return Acceptance(key, content.digest)
