"""A compiled graph as a part of another."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol, TypeGuard, runtime_checkable

Persistence = Literal["inherit", "thread", "none"]


@runtime_checkable
class Subgraph(Protocol):
    """A compiled graph, as the graph around it sees it."""

    @property
    def topology(self) -> Any:
        """The graph as it was checked."""
        ...

    @property
    def persistence(self) -> Persistence:
        """How long its state is kept: as long as the task that runs it, per thread, or not at all."""
        ...

    async def run_as_node(self, given: Any) -> Any:
        """What the graph comes to for `given`."""
        ...


def is_subgraph(action: object) -> TypeGuard[Subgraph]:
    """Whether it is a compiled graph. Asked of the class: a mock has every attribute."""
    return all(hasattr(type(action), name) for name in ("topology", "persistence", "run_as_node"))


def subgraphs_in(action: Callable[..., Any]) -> tuple[Subgraph, ...]:
    """The compiled graphs that a function refers to, by a variable around it or an attribute of its object."""
    found = {id(each): each for each in _referred_to(action) if is_subgraph(each)}
    return tuple(found.values())


def _referred_to(action: Any) -> Iterator[Any]:
    function = inspect.unwrap(action)
    owner = getattr(function, "__self__", None)
    if owner is not None:
        yield from vars(owner).values() if hasattr(owner, "__dict__") else ()
        function = function.__func__
    try:
        around = inspect.getclosurevars(function)
    except TypeError:
        # An object that is called, or a builtin: it tells no variables.
        yield from vars(function).values() if hasattr(function, "__dict__") else ()
        return
    for value in (*around.nonlocals.values(), *around.globals.values()):
        yield value
        if inspect.isfunction(value):
            # What a helper of the node's refers to.
            inner = inspect.getclosurevars(value)
            yield from (*inner.nonlocals.values(), *inner.globals.values())
