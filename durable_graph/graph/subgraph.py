"""A compiled graph as a part of another."""

from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

Persistence = Literal["inherit", "thread", "none"]


@runtime_checkable
class Subgraph(Protocol):
    """A compiled graph, as the graph around it sees it."""

    @property
    def topology(self) -> Any: ...

    @property
    def persistence(self) -> Persistence: ...

    async def run_as_node(self, given: Any) -> Any: ...


def subgraphs_in(action: Callable[..., Any]) -> tuple[Subgraph, ...]:
    """The compiled graphs that a function refers to."""
    return ()
