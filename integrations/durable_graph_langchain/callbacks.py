"""LangChain's callbacks for the code of a graph: the entry point in `durable_graph.callbacks`.

Runs nest as under LangGraph: a graph, its nodes, the tasks that these call, models and tools. The callbacks are in
LangChain's context variable, so a model that is called without a config has them as well.
"""

import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID, uuid4

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForChainRun,
    BaseCallbackHandler,
    BaseCallbackManager,
)
from langchain_core.runnables.config import merge_configs, var_child_runnable_config
from langchain_core.tracers.langchain import LangChainTracer
from langsmith.run_helpers import tracing_context

from durable_graph_langchain.langgraph_results import converted
from durable_graph_langchain.messages import MessageHandler, Returned, ids_in
from durable_graph_langchain.prebuilt import RUNTIME, PrebuiltRuntime

_LANGGRAPH: Final = "langgraph"
"""If the program has imported this package, its prebuilt parts may run in a node."""


class LangChainCallbacks:
    """LangChain's callbacks, see `durable_graph._runtime.request.callbacks.CallbackLibrary`."""

    def takes(self, callbacks: object) -> bool:
        """Whether the object is a callback manager, or a list of handlers."""
        if isinstance(callbacks, list | tuple):
            return all(isinstance(each, BaseCallbackHandler) for each in callbacks)
        return isinstance(callbacks, BaseCallbackManager)

    def joined(self, under: Any, over: Any) -> Any:
        """The handlers of both; if `over` is a manager, it is returned unchanged."""
        if under is None or isinstance(over, BaseCallbackManager):
            return over
        if over is None:
            return under
        return merge_configs({"callbacks": _listed(under)}, {"callbacks": _listed(over)})["callbacks"]

    def graph(self, name: str, given: Any, config: Mapping[str, Any], callbacks: Any, run_id: str | None) -> "GraphRun":
        """Observe a run of a graph."""
        around = (var_child_runnable_config.get() or {}).get("callbacks")
        return GraphRun(name, given, config, self.joined(around, callbacks), _uuid(run_id))


class GraphRun:
    """A run of a graph as a LangChain run."""

    def __init__(self, name: str, given: Any, config: Mapping[str, Any], callbacks: Any, run_id: UUID | None) -> None:
        self._name = name
        self._given = given
        self._config = config
        self._callbacks = callbacks
        self._run_id = run_id
        self._run: AsyncCallbackManagerForChainRun | None = None
        self._output: Any = None
        self._known: set[str] = set()

    async def __aenter__(self) -> Self:
        manager = AsyncCallbackManager.configure(
            inheritable_callbacks=self._callbacks,
            inheritable_tags=self._config.get("tags"),
            inheritable_metadata=_metadata_of(self._config),
        )
        _drop_message_handlers(manager)
        self._run = await _begin(manager, self._given, self._name, self._run_id)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _end(self._run, self._output, error)

    def code(self, code: Any) -> "CodeRun":
        """Observe an attempt at a node or at a call of a task."""
        around = (var_child_runnable_config.get() or {}).get("callbacks") if code.is_call else None
        if isinstance(around, BaseCallbackManager):
            return CodeRun(code, AsyncCallbackManager.configure(inheritable_callbacks=around), self._known)
        assert self._run is not None  # noqa: S101  # code runs inside the run
        if not self._run.inheritable_handlers:
            return CodeRun(code, _unheard(self._run, self._run.run_id), self._known)
        return CodeRun(code, self._run.get_child(f"graph:step:{code.step}"), self._known)

    def ended(self, output: Any) -> None:
        """The run ended, with this output."""
        self._output = output


class CodeRun:
    """An attempt at a node or at a call of a task, as a LangChain run.

    `parent` is used by this run only. `known` are the ids of the messages in the inputs of the graph's nodes.
    """

    config: dict[str, Any]

    def __init__(self, code: Any, parent: AsyncCallbackManager, known: set[str]) -> None:
        self._code: Any = code
        self._parent = parent
        self._known = known
        self._run: AsyncCallbackManagerForChainRun | None = None
        self._stack = ExitStack()
        self._failure: BaseException | None = None
        self._result: Any = None
        self._returned: Returned | None = None

    async def __aenter__(self) -> Self:
        code, metadata = self._code, _metadata_of(self._code.config)
        self._parent.add_metadata(metadata)
        _drop_message_handlers(self._parent)
        if self._parent.handlers:
            self._run = await _begin(self._parent, code.given(), code.name, None)
            callbacks = self._run.get_child()
        else:
            callbacks = _unheard(self._parent, uuid4())
        if code.emit is not None:
            self._known |= ids_in(code.given())
            callbacks.add_handler(MessageHandler(code.emit), inherit=True)
        self.config = self._config_with(callbacks)
        token = var_child_runnable_config.set(self.config)  # type: ignore[arg-type]
        self._stack.callback(var_child_runnable_config.reset, token)
        if self._run is not None:
            self._follow_tracer(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        # The code refers to the state, and to the context that refers to this observer. This cycle would keep them
        # alive until the next garbage collection.
        self._code = None
        await _end(self._run, self._result, error or self._failure)

    def returned(self, result: Any) -> Any:
        """The code's result, with LangGraph's Commands converted; if messages are read, each has an id."""
        self._result = converted(result) if _LANGGRAPH in sys.modules else result
        if self._code.emit is not None:
            self._returned = Returned(self._result, f"{self._code.task_id} {self._code.number}")
            self._result = self._returned.result
        return self._result

    def failed(self, error: BaseException) -> None:
        """The attempt failed with this error."""
        self._failure = error

    def messages(self) -> Iterable[tuple[Any, Mapping[str, Any]]]:
        """The whole messages in the code's result, except those in the inputs of this graph's nodes."""
        if self._returned is None:
            return
        metadata = _metadata_of(self._code.config)
        for message in self._returned.messages:
            if message.id not in self._known:
                yield message, metadata

    def _config_with(self, callbacks: BaseCallbackManager) -> dict[str, Any]:
        # The name and the id belong to the graph's run, so handlers must not get them for a model's run.
        of_graph = ("run_id", "run_name") if callbacks.handlers else ()
        own = {key: value for key, value in self._code.config.items() if key not in of_graph}
        own["callbacks"] = callbacks
        own["configurable"] = dict(own.get("configurable") or {})
        if _LANGGRAPH in sys.modules:
            own["configurable"][RUNTIME] = PrebuiltRuntime(self._code.runtime)
        return own

    def _follow_tracer(self, run: AsyncCallbackManagerForChainRun) -> None:
        """Make this run the parent of code that LangSmith's own decorator traces."""
        for handler in run.handlers:
            if isinstance(handler, LangChainTracer):
                parent = handler.run_map.get(str(run.run_id))
                if parent is not None:
                    self._stack.enter_context(tracing_context(parent=parent))
                return


def _metadata_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config's metadata, with the thread."""
    metadata = dict(config.get("metadata") or {})
    thread = (config.get("configurable") or {}).get("thread_id")
    return metadata if thread is None else {"thread_id": thread, **metadata}


def _drop_message_handlers(manager: BaseCallbackManager) -> None:
    """Remove message handlers: each emits the messages of its own code, and not of code that runs inside it."""
    for handler in [each for each in manager.handlers if isinstance(each, MessageHandler)]:
        manager.remove_handler(handler)


def _unheard(
    around: AsyncCallbackManager | AsyncCallbackManagerForChainRun, parent_run_id: UUID
) -> AsyncCallbackManager:
    """The callbacks inside a run without handlers. Every node needs them; `get_child` makes equal callbacks, but costs
    much more."""
    return AsyncCallbackManager(
        handlers=[],
        parent_run_id=parent_run_id,
        tags=list(around.inheritable_tags),
        inheritable_tags=list(around.inheritable_tags),
        metadata=dict(around.inheritable_metadata),
        inheritable_metadata=dict(around.inheritable_metadata),
    )


async def _begin(
    manager: AsyncCallbackManager, given: Any, name: str, run_id: UUID | None
) -> AsyncCallbackManagerForChainRun:
    if manager.handlers:
        return await manager.on_chain_start(None, given, name=name, run_id=run_id)
    # Without handlers no callback is called. Inner runs still need a parent for their own events.
    return AsyncCallbackManagerForChainRun(
        run_id=run_id or uuid4(),
        handlers=[],
        inheritable_handlers=[],
        parent_run_id=manager.parent_run_id,
        tags=manager.tags,
        inheritable_tags=manager.inheritable_tags,
        metadata=manager.metadata,
        inheritable_metadata=manager.inheritable_metadata,
    )


async def _end(run: AsyncCallbackManagerForChainRun | None, output: Any, error: BaseException | None) -> None:
    if run is None or not run.handlers:
        return
    if error is None:
        await run.on_chain_end(output)
    else:
        await run.on_chain_error(error)


def _listed(callbacks: Any) -> Any:
    return list(callbacks) if isinstance(callbacks, tuple) else callbacks


def _uuid(run_id: str | None) -> UUID | None:
    """The id as a UUID, as LangChain requires. None for other ids: LangChain's run then gets a new UUID."""
    try:
        return None if run_id is None else UUID(run_id)
    except ValueError:
        return None


CALLBACKS: Final = LangChainCallbacks()
