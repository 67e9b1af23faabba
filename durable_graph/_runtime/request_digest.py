"""What two requests under one key are compared by."""

from typing import Any

from durable_graph._engine.digesting import digest_of
from durable_graph._runtime.keyed import Acceptance
from durable_graph.errors import InvalidOptionError
from durable_graph.graph import Command, Topology


def acceptance(topology: Topology, key: str, given: Any) -> Acceptance:
    """The request for this graph with this input.

    Raises `InvalidOptionError` for an input with a part that cannot be read: another one would look the same.
    """
    parts = (given.update, given.resume, given.goto) if isinstance(given, Command) else (given,)
    content = digest_of(topology.argument.encode, topology.graph_name or "", type(given).__name__, *parts)
    if content.opaque:
        kind = type(content.opaque[0]).__qualname__
        raise InvalidOptionError("key", key, allowed=f"left out for this input, whose {kind} cannot be compared")
    return Acceptance(key, content.digest)
