"""Callbacks of another library, such as LangChain's, for the models and tools that nodes call.

This module imports no such library. A package provides its callbacks by an entry point, which is loaded once the
program has imported the library. Without the entry point no run has an observer.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Any, Final, Literal, Protocol

import msgspec

from durable_graph.installed import entry_points

GROUP: Final = "durable_graph.callbacks"
"""The entry-point group. An entry's name is a module, whose import enables the callbacks; its value is a
`CallbackLibrary`."""

_MODULE: Final = "langchain_core.runnables"

RESERVED: Final = "__pregel_runtime"
"""The key of `configurable` under which `langgraph.prebuilt` looks for the runtime of the node it runs in."""


Origin = Literal["pushed", "streamed", "returned"]

EmitMessage = Callable[[object, Mapping[str, object], Origin], None]
"""Emits a message with its metadata. It may be called from any thread, see `EventSink.push`."""


class ObservedCode(msgspec.Struct, frozen=True):
    """One attempt at a node with its routers, at an error handler, or at a call of a task.

    `task_id` and `number` identify the attempt. `given` returns the code's input. `config` is the code's config,
    without callbacks, and `runtime` its runtime. `emit` emits a message while the code runs; it is None if the run has
    no reader of messages. `is_call`: the attempt is at a call that user code made.
    """

    name: str
    step: int
    task_id: str
    number: int
    given: Callable[[], object]
    config: Mapping[str, object]
    runtime: object
    emit: EmitMessage | None
    is_call: bool


class CodeObserver(Protocol):
    """The observer of one attempt."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The code's config, with callbacks."""
        ...

    def returned(self, result: object) -> object:
        """The code returned `result`. The return value of this method replaces it."""
        ...

    def failed(self, error: BaseException) -> None:
        """The attempt failed with an error that does not leave the context manager."""
        ...

    def messages(self) -> Iterable[tuple[object, Mapping[str, object]]]:
        """The whole messages in the code's result, with their metadata, except messages of its input."""
        ...


class GraphObserver(Protocol):
    """The observer of one run of a graph, nested or not."""

    def code(self, code: ObservedCode) -> AbstractAsyncContextManager[CodeObserver]:
        """Observe one attempt: while the context is open, models and tools use the callbacks."""
        ...

    def ended(self, output: object) -> None:
        """The run ended, with this output."""
        ...


class CallbackLibrary(Protocol):
    """The callbacks of one package."""

    def takes(self, callbacks: object) -> bool:
        """Whether the package accepts the object as callbacks."""
        ...

    def joined(self, under: object, over: object) -> object:
        """The callbacks of two configs, merged."""
        ...

    def graph(
        self, name: str, given: object, config: Mapping[str, object], callbacks: object, run_id: str | None
    ) -> AbstractAsyncContextManager[GraphObserver]:
        """Observe a run of the graph with `callbacks` of the call, and with callbacks of the code around the call."""
        ...


def callbacks_in_use() -> CallbackLibrary | None:
    """The callbacks of the library that the program has imported, if there is one."""
    return _loaded_library() if _MODULE in sys.modules else None


@cache
def _loaded_library() -> CallbackLibrary | None:
    for entry in entry_points(GROUP, name=_MODULE):
        library: CallbackLibrary = entry.load()
        return library
    return None
