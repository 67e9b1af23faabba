"""The runtime in a node's config for `langgraph.prebuilt`, under LangGraph's key and with its attributes."""

import dataclasses
from typing import Any, Final

RUNTIME: Final = "__pregel_runtime"


class PrebuiltRuntime:
    """A node's runtime for LangGraph's parts."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def __repr__(self) -> str:
        return repr(self._runtime)

    def merge(self, other: Any) -> Any:
        """The runtime of a LangGraph graph that a node calls: its own, with a missing context or store added."""
        mine = {"context": self._runtime.context, "store": self._runtime.store}
        lacking = {name: value for name, value in mine.items() if not getattr(other, name)}
        return dataclasses.replace(other, **lacking)
