"""LangChain's callbacks, which durable_graph serves in every process that has imported LangChain, and so here.

LangGraph imports LangChain, so every node of durable_graph would run inside LangChain's context as well: that is no
part of the questions, except of the one that asks what it costs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from durable_graph._runtime.request import callbacks

# No mock: it would remember each call, and there is one for each node.
_off = patch.object(callbacks, "_loaded_library", lambda: None)


def leave_out() -> None:
    """Run nodes as in a process that has not imported LangChain."""
    _off.start()


@contextmanager
def served() -> Iterator[None]:
    """Run nodes as in any process that has imported LangChain."""
    _off.stop()
    try:
        yield
    finally:
        _off.start()
