"""What a call gives back."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from durable_graph._engine.state import output_of
from durable_graph._runtime.drive import Ended
from durable_graph.graph import Interrupt, Topology

ValueT = TypeVar("ValueT")

INTERRUPT = "__interrupt__"


class GraphOutput(msgspec.Struct, Generic[ValueT], frozen=True):
    """A run's output as its schema's class, and the questions that it waits for answers to."""

    value: ValueT
    interrupts: tuple[Interrupt, ...] = ()


def result_of(topology: Topology, ended: Ended, output_keys: str | Sequence[str] | None, version: str) -> Any:
    """What `ainvoke` returns for a run that ended so."""
    values = output_of(topology, ended.values)
    if version == "v2":
        return GraphOutput(topology.output.read(ended.values), ended.interrupts)
    if isinstance(output_keys, str):
        return values.get(output_keys)
    if output_keys is not None:
        values = {key: value for key, value in values.items() if key in output_keys}
    if ended.interrupts:
        # Where the output is one value there is no place beside it.
        shown = values if isinstance(values, Mapping) and not topology.output.is_single else {}
        return {**shown, INTERRUPT: list(ended.interrupts)}
    return values
