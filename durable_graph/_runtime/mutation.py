"""Whether a node changed in place what it was given: visible to the nodes after it, and to no store."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from durable_graph._engine.task import Argument
from durable_graph._runtime.writing import stored_part
from durable_graph.errors import StateMutatedError, UnstorableValueError
from durable_graph.graph import Topology


def is_debugging() -> bool:
    """Whether `DURABLE_GRAPH_DEBUG` asks for the check in every graph that does not say otherwise."""
    return os.environ.get("DURABLE_GRAPH_DEBUG", "0") not in ("", "0")


def photographed(topology: Topology, values: Mapping[str, Any], keys: Iterable[str]) -> dict[str, bytes]:
    """The bytes of the channels that a node receives."""
    return {key: data for key in keys if key in values and (data := _bytes(topology, key, values[key])) is not None}


def check_unchanged(topology: Topology, node: str, values: Mapping[str, Any], before: Mapping[str, bytes]) -> None:
    """Raises `StateMutatedError` if a channel is not what it was."""
    changed = [key for key, data in before.items() if _bytes(topology, key, values[key]) != data]
    if changed:
        raise StateMutatedError(node, changed)


def check_argument_unchanged(topology: Topology, node: str, argument: Argument) -> None:
    """Raises `StateMutatedError` if what a Send carried is not what is stored of it for a later attempt."""
    try:
        is_same = argument.data is None or _encoded(topology, argument) == argument.data
    except UnstorableValueError:
        is_same = False
    if not is_same:
        raise StateMutatedError(node, ["the argument of its Send"])


def _encoded(topology: Topology, argument: Argument) -> bytes:
    return topology.argument.encode(stored_part(topology, argument.value))


def _bytes(topology: Topology, key: str, value: Any) -> bytes | None:
    codec = topology.codecs.get(key)
    if codec is None:
        return None
    try:
        return codec.value.encode(value)
    except UnstorableValueError:
        # It was stored or is about to be: only a change in place can have made it so.
        return b""
