"""Callbacks of another library, such as LangChain's: what its models and tools find in the code that calls them.

None is imported from here. A package brings its callbacks by an entry point, which is loaded once the program has
imported the library. Without it no run has an observer.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final, Literal, Protocol

import msgspec

GROUP: Final = "durable_graph.callbacks"
"""The entry-point group. An entry's name is the module whose import says that callbacks are in use, its value a
`CallbackLibrary`."""

_MODULE: Final = "langchain_core.runnables"

RESERVED: Final = "__pregel_runtime"
"""The key of `configurable` under which `langgraph.prebuilt` looks for the runtime of the node it runs in."""


Origin = Literal["pushed", "streamed", "returned"]

EmitMessage = Callable[[Any, Mapping[str, Any], Origin], None]
"""Tells a message with its metadata. It may be called from any thread, see `EventSink.push`."""


class ObservedCode(msgspec.Struct, frozen=True):
    """One attempt at a node with its routers, at an error handler, or at a call of a task.

    `task_id` and `number` identify the attempt. `given` makes the code's input. `config` is the config that the code
    gets, without callbacks, and `runtime` its runtime. `emit` emits a message while the code runs; it is None if the
    run has no reader of messages. `is_call`: the attempt is at a call that the user's code made.
    """

    name: str
    step: int
    task_id: str
    number: int
    given: Callable[[], Any]
    config: Mapping[str, Any]
    runtime: Any
    emit: EmitMessage | None
    is_call: bool


class CodeObserver(Protocol):
    """What observes one attempt."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The config that the code gets, with callbacks."""
        ...

    def returned(self, result: Any) -> Any:
        """The code returned `result`. What this gives takes its place."""
        ...

    def failed(self, error: BaseException) -> None:
        """The attempt did not succeed, although no error leaves the context manager."""
        ...

    def messages(self) -> Iterable[tuple[Any, Mapping[str, Any]]]:
        """The whole messages in what the code returned, with their metadata. Those of its input are left out."""
        ...


class GraphObserver(Protocol):
    """What observes one run of a graph, nested or not."""

    def code(self, code: ObservedCode) -> AbstractAsyncContextManager[CodeObserver]:
        """Observe one attempt: while the context is open, models and tools find the callbacks."""
        ...

    def ended(self, output: Any) -> None:
        """The run ended, with this output."""
        ...


class CallbackLibrary(Protocol):
    """The callbacks of one package."""

    def takes(self, callbacks: object) -> bool:
        """Whether it is what the package accepts as callbacks."""
        ...

    def joined(self, under: Any, over: Any) -> Any:
        """The callbacks of two configs together."""
        ...

    def graph(
        self, name: str, given: Any, config: Mapping[str, Any], callbacks: Any, run_id: str | None
    ) -> AbstractAsyncContextManager[GraphObserver]:
        """Observe a run of the graph. `callbacks` are those of the call; those around the call count as well."""
        ...


def callbacks_in_use() -> CallbackLibrary | None:
    """The callbacks of the library that the program has imported, if there is one."""
    return _brought() if _MODULE in sys.modules else None


@cache
def _brought() -> CallbackLibrary | None:
    for entry in entry_points(group=GROUP, name=_MODULE):
        library: CallbackLibrary = entry.load()
        return library
    return None
