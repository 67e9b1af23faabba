"""What `langgraph.prebuilt` finds in a node's config: the runtime, under LangGraph's key and with its attributes."""

import dataclasses
from typing import Any, Final

RUNTIME: Final = "__pregel_runtime"


class PrebuiltRuntime:
    """A node's runtime as LangGraph's parts look at it."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def __repr__(self) -> str:
        return repr(self._runtime)

    def merge(self, other: Any) -> Any:
        """The runtime of a graph of LangGraph's that a node calls: its own, with what it lacks from the node's."""
        mine = {"context": self._runtime.context, "store": self._runtime.store}
        lacking = {name: value for name, value in mine.items() if not getattr(other, name)}
        return dataclasses.replace(other, **lacking)
