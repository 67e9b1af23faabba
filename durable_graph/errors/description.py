"""Errors in the description of a graph."""

from collections.abc import Iterable
from typing import Any

from durable_graph.errors.tree import MAX_TEXT, DurableGraphError, bounded, listed, quoted

_MORE = "\n  and {} more, in `problems`"


class GraphValidationError(DurableGraphError, ValueError):
    """The graph cannot be compiled. `problems` lists all errors in its description.

    The message has the first ones; a traceback shows the others as notes.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        head = "the graph cannot be compiled:"
        room = MAX_TEXT - len(head) - len(_MORE.format(len(self.problems)))
        lines: list[str] = []
        for problem in self.problems:
            lines.append(f"\n  - {bounded(problem, room - 5)}" if not lines else f"\n  - {problem}")
            room -= len(lines[-1])
            if room < 0:
                lines.pop()
                break
        left = self.problems[len(lines) :]
        super().__init__(head + "".join(lines) + (_MORE.format(len(left)) if left else ""))
        for problem in left:
            self.add_note(f"  - {bounded(problem)}")


class InvalidStateSchemaError(DurableGraphError, TypeError):
    """A class that cannot describe a state, or a type that no channel can hold."""

    def __init__(self, schema: object, why: str) -> None:
        self.schema = schema
        self.why = why
        shown = getattr(schema, "__name__", quoted(schema))
        super().__init__(f"{shown} cannot be used as a state: {why}")


class GraphDescriptionError(DurableGraphError, TypeError):
    """A call of the builder with an argument that it cannot use, such as a node that cannot be called."""


class UnreachableNodeWarning(UserWarning):
    """Nodes without an incoming edge. They run only if a `Send` or a `Command` names them."""

    def __init__(self, nodes: Iterable[str]) -> None:
        self.nodes: tuple[str, ...] = tuple(nodes)
        super().__init__(
            f"no edge leads to {listed(map(repr, self.nodes))}; add one, "
            f"or name them in the path_map of a router or in the destinations of a node"
        )


class UnstorableTypeError(InvalidStateSchemaError):
    """A declared type whose values cannot be stored. `where` names the declaration."""

    def __init__(self, declared: object, *, where: str, why: str, remedy: str) -> None:
        self.where = where
        self.remedy = remedy
        super().__init__(declared, why)
        shown = declared.__qualname__ if isinstance(declared, type) else quoted(declared, 100)
        text = f"{where}: values of type {bounded(shown, 100)} cannot be stored: {why}; {remedy}"
        self.args: tuple[Any, ...] = (bounded(text),)
