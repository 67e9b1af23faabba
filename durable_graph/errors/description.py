"""Errors in the description of a graph."""

from collections.abc import Iterable
from typing import Literal, Self

from durable_graph.errors.tree import MAX_TEXT, DurableGraphError, bounded, listed, quoted

_MORE = "\n  and {} more, in `problems`"


class GraphValidationError(DurableGraphError, ValueError, TypeError):
    """The description of a graph is not valid. `problems` lists all errors that were found.

    `kind` is "graph" if `compile` found the problems; "argument" if the builder or a decorator was called with an
    argument that it cannot use, such as a node that cannot be called; "schema" if a class cannot describe a state, or
    no channel can hold a type; "type" if the values of a declared type cannot be stored. `subject` is the class or type
    of the last two, otherwise None.

    The message has the first problems; a traceback shows the others as notes.
    """

    def __init__(
        self,
        text: str,
        *,
        kind: Literal["graph", "argument", "schema", "type"] = "argument",
        problems: Iterable[str] = (),
        subject: object = None,
    ) -> None:
        self.kind: Literal["graph", "argument", "schema", "type"] = kind
        self.problems: tuple[str, ...] = tuple(problems) or (text,)
        self.subject = subject
        super().__init__(text)

    @classmethod
    def of_problems(cls, problems: Iterable[str]) -> Self:
        """A graph that cannot be compiled."""
        every = tuple(problems)
        head = "the graph cannot be compiled:"
        room = MAX_TEXT - len(head) - len(_MORE.format(len(every)))
        lines: list[str] = []
        for problem in every:
            lines.append(f"\n  - {bounded(problem, room - 5)}" if not lines else f"\n  - {problem}")
            room -= len(lines[-1])
            if room < 0:
                lines.pop()
                break
        left = every[len(lines) :]
        text = head + "".join(lines) + (_MORE.format(len(left)) if left else "")
        error = cls(text, kind="graph", problems=every)
        for problem in left:
            error.add_note(f"  - {bounded(problem)}")
        return error

    @classmethod
    def of_schema(cls, schema: object, why: str) -> Self:
        """A class that cannot describe a state, or a type that no channel can hold."""
        shown = getattr(schema, "__name__", quoted(schema))
        return cls(f"{shown} cannot be used as a state: {why}", kind="schema", subject=schema)

    @classmethod
    def of_type(cls, declared: object, *, where: str, why: str, remedy: str) -> Self:
        """A declared type whose values cannot be stored. `where` names the declaration."""
        shown = declared.__qualname__ if isinstance(declared, type) else quoted(declared, 100)
        text = f"{where}: values of type {bounded(shown, 100)} cannot be stored: {why}; {remedy}"
        return cls(text, kind="type", subject=declared)


class UnreachableNodeWarning(UserWarning):
    """Nodes without an incoming edge. They run only if a `Send` or a `Command` names them."""

    def __init__(self, nodes: Iterable[str]) -> None:
        self.nodes: tuple[str, ...] = tuple(nodes)
        super().__init__(
            f"no edge leads to {listed(map(repr, self.nodes))}; add one, "
            f"or name them in the path_map of a router or in the destinations of a node"
        )
