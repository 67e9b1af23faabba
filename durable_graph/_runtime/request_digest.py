"""What two requests under one key are compared by."""

from typing import Any

from durable_graph._engine.digesting import digest_of
from durable_graph._runtime.keyed import Acceptance
from durable_graph.errors import InvalidOptionError
from durable_graph.graph import Command, Topology


def acceptance(topology: Topology, key: str, given: Any) -> Acceptance:
    """The request for this graph with this input. A name that the graph had before, or none, makes it no other.

    Raises `InvalidOptionError` for an input with a part that cannot be read: another one would look the same.
    """
    names = (topology.graph_name or "", *topology.formerly, "")
    parts = (given.update, given.resume, given.goto) if isinstance(given, Command) else (given,)
    named = [digest_of(topology.argument.encode, name, type(given).__name__, *parts) for name in names]
    if opaque := named[0].opaque:
        kind = type(opaque[0]).__qualname__
        raise InvalidOptionError("key", key, allowed=f"left out for this input, whose {kind} cannot be compared")
    return Acceptance(key, named[0].digest, frozenset(each.digest for each in named))
