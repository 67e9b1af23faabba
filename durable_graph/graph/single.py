"""A state, an input or an output that is one value and no class with keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from durable_graph.graph.annotations import read_annotation
from durable_graph.graph.schema import Schema
from durable_graph.graph.state_kinds import Field


@dataclass(frozen=True, slots=True)
class SingleKind:
    """The value itself is what a node receives and returns; it lies in the channel `name`."""

    name: str

    def fields(self, schema: Any) -> dict[str, Field]:
        return {self.name: Field(read_annotation(schema))}

    def build(self, cls: type, present: dict[str, Any]) -> Any:
        return present.get(self.name)

    def updates(self, instance: Any, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        return {self.name: instance}


def single(annotation: Any, name: str) -> Schema:
    """The schema of one value of the annotated type, in the channel `name`."""
    kind = SingleKind(name)
    return Schema(object, kind.fields(annotation), kind, ())
