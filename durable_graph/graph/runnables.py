"""Objects of another library that run like functions, such as LangChain's runnables, as nodes and routers.

None is imported from here. A package brings the way to call them by an entry point, which is loaded once the program
has imported the library.
"""

import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final

GROUP: Final = "durable_graph.runnables"
"""The entry-point group. An entry's name is the module of the runnables, its value a function that makes a function of
one: async, called with the state and `config`, with the name of the runnable. For anything else it gives None."""

_MODULE: Final = "langchain_core.runnables"


def as_function(given: Any) -> Any:
    """A runnable as a function; anything else as it is."""
    make = _maker() if _MODULE in sys.modules else None
    function = None if make is None else make(given)
    return given if function is None else function


@cache
def _maker() -> Callable[[Any], Callable[..., Any] | None] | None:
    for entry in entry_points(group=GROUP, name=_MODULE):
        make: Callable[[Any], Callable[..., Any] | None] = entry.load()
        return make
    return None
