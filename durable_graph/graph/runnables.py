"""Objects of another library that run like functions, such as LangChain's runnables, as nodes and routers.

This module imports no such library. A package provides the adapter by an entry point, which is loaded once the program
has imported the library.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from durable_graph.installed import entry_points

GROUP: Final = "durable_graph.runnables"
"""The entry-point group. An entry's name is the module of the runnables. Its value is a function that returns a
runnable as an async function of the state and `config`, with the runnable's name, and None for any other object."""

_MODULE: Final = "langchain_core.runnables"


def as_function(given: Any) -> Any:
    """A runnable as a function; any other object unchanged."""
    make = _maker() if _MODULE in sys.modules else None
    function = None if make is None else make(given)
    return given if function is None else function


@cache
def _maker() -> Callable[[Any], Callable[..., Any] | None] | None:
    for entry in entry_points(GROUP, name=_MODULE):
        make: Callable[[Any], Callable[..., Any] | None] = entry.load()
        return make
    return None
