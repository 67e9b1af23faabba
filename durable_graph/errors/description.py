"""What is wrong with a graph as it was described."""

from collections.abc import Iterable
from typing import Any

from durable_graph.errors.tree import DurableGraphError


class GraphValidationError(DurableGraphError, ValueError):
    """The graph cannot run as described. `problems` lists everything that is wrong with it."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"the graph cannot be compiled:\n{listed}")


class InvalidStateSchemaError(DurableGraphError, TypeError):
    """A class that cannot describe a state, or a type that no channel can hold."""

    def __init__(self, schema: object, why: str) -> None:
        self.schema = schema
        self.why = why
        shown = getattr(schema, "__name__", repr(schema))
        super().__init__(f"{shown} cannot be used as a state: {why}")


class GraphDescriptionError(DurableGraphError, TypeError):
    """A call of the builder that describes nothing, such as a node that cannot be called."""


class UnreachableNodeWarning(UserWarning):
    """Nodes that no edge leads to. They run only if a `Send` or a `Command` names them."""

    def __init__(self, nodes: Iterable[str]) -> None:
        self.nodes: tuple[str, ...] = tuple(nodes)
        super().__init__(
            f"no edge leads to {', '.join(repr(node) for node in self.nodes)}; add one, "
            f"or name it in the path_map of the router, or in the destinations of the node, that sends to it"
        )


class UnstorableTypeError(InvalidStateSchemaError):
    """A declared type whose values could never be stored. `where` says whose type it is."""

    def __init__(self, declared: object, *, where: str, why: str, remedy: str) -> None:
        self.where = where
        self.remedy = remedy
        super().__init__(declared, why)
        shown = declared.__qualname__ if isinstance(declared, type) else str(declared)
        self.args: tuple[Any, ...] = (f"{where}: values of type {shown} cannot be stored: {why}; {remedy}",)
