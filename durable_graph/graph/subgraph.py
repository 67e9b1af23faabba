"""A compiled graph as a part of another graph."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any, Final, Literal, Protocol, TypeGuard, runtime_checkable

_LONGEST_CHAIN: Final = 4
"""The maximum number of attributes between a variable and the graph: `app.graphs.research.inner`."""

Persistence = Literal["inherit", "thread", "none"]


@runtime_checkable
class Subgraph(Protocol):
    """A compiled graph, as its outer graph sees it."""

    @property
    def topology(self) -> Any:
        """The validated graph."""
        ...

    @property
    def persistence(self) -> Persistence:
        """How long its state is kept: while the task runs, per thread, or not at all."""
        ...

    async def run_as_node(self, given: Any) -> Any:
        """Run the graph with the input `given`, and return its output."""
        ...


def is_subgraph(action: object) -> TypeGuard[Subgraph]:
    """Whether the action is a compiled graph. Its class is inspected, because a mock has every attribute."""
    return all(hasattr(type(action), name) for name in ("topology", "persistence", "run_as_node"))


def subgraphs_in(action: Callable[..., Any]) -> tuple[Subgraph, ...]:
    """The compiled graphs that a function names: by a global or closure variable, its attribute, or its object's.

    Includes graphs that the functions named in it name, one level deep. Graphs behind an index or a call are not
    found. No user code runs.
    """
    found = {id(each): each for each in _named_in(action, helpers=True) if is_subgraph(each)}
    return tuple(found.values())


def _named_in(action: Any, *, helpers: bool) -> Iterator[Any]:
    while isinstance(action, functools.partial):
        yield from (*action.args, *action.keywords.values())
        action = action.func
    function, owner = _function_of(action)
    if function is None:
        return
    variables = [*_variables(function), getattr(function, "__wrapped__", None)]
    yield from variables
    yield from _attributes([owner, *variables], _names(function.__code__))
    if helpers:
        for value in variables:
            if inspect.isfunction(value):
                yield from _named_in(value, helpers=False)


def _function_of(action: Any) -> tuple[FunctionType | None, Any]:
    """The function that a call runs, None if it is not written in Python, and the object that it is bound to."""
    if inspect.ismethod(action):
        function, owner = action.__func__, action.__self__
    elif inspect.isroutine(action):
        function, owner = action, None
    else:
        function, owner = inspect.getattr_static(type(action), "__call__", None), action
    return (function, owner) if isinstance(function, FunctionType) else (None, owner)


def _variables(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            # The variable is assigned after the function was defined.
            continue
    yield from (function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__)


def _names(code: CodeType) -> tuple[str, ...]:
    """The names of all globals and attributes in the code, including its inner functions and comprehensions."""
    inside = [name for part in code.co_consts if isinstance(part, CodeType) for name in _names(part)]
    return tuple(dict.fromkeys((*code.co_names, *inside)))


def _attributes(values: Sequence[Any], names: Sequence[str]) -> Iterator[Any]:
    """The values of attributes with these names, and of their attributes. No property is evaluated."""
    level = list(values)
    for _ in range(_LONGEST_CHAIN):
        holders = [held for value in level if isinstance(held := getattr(value, "__dict__", None), Mapping)]
        level = [held[name] for held in holders for name in names if name in held]
        yield from level
