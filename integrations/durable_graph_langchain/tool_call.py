"""A tool call: its request for wrappers, and its execution."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from langchain_core.messages import ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, Tool
from pydantic import ValidationError

from durable_graph import get_runtime
from durable_graph.extending import is_inside_of_run
from durable_graph_langchain.errors import ToolInvocationError
from durable_graph_langchain.injection import Injection, ToolRuntime, injection_of
from durable_graph_langchain.tool_errors import ErrorHandling, failed


@dataclass(frozen=True)
class ToolCallRequest:
    """A tool call as the argument of `wrap_tool_call`. `tool` is None if the model named an unknown tool."""

    tool_call: ToolCall
    tool: BaseTool | None
    state: Any
    runtime: ToolRuntime[Any, Any]

    def override(self, **changes: Any) -> "ToolCallRequest":
        """A copy with another `tool_call`, `tool` or `state`. The runtime has the new state as well."""
        changed = replace(self, **changes)
        return (
            replace(changed, runtime=replace(changed.runtime, state=changed.state)) if "state" in changes else changed
        )


_OF_CHILDREN: Final = ("tags", "metadata", "callbacks", "recursion_limit", "max_concurrency", "configurable")


def child_config(config: Mapping[str, Any], tags: list[str] | None = None) -> RunnableConfig:
    """The config for code that a node calls, without the name and the id of the run, which belong to the graph."""
    child: dict[str, Any] = {"tags": [], "metadata": {}, "callbacks": None, "configurable": {}}
    child.update({name: config[name] for name in _OF_CHILDREN if config.get(name)})
    if tags:
        child["tags"] = [*child["tags"], *tags]
    made: RunnableConfig = RunnableConfig(**child)  # type: ignore[typeddict-item]  # these are keys of RunnableConfig
    return made


class Toolbox:
    """The tools of a node, with the parameters of each that are injected."""

    def __init__(self, tools: Mapping[str, BaseTool], messages_key: str, errors: ErrorHandling) -> None:
        self.tools = tools
        self._injections = {name: injection_of(tool) for name, tool in tools.items()}
        self._messages_key = messages_key
        self._errors = errors

    def request(self, call: ToolCall, state: Any, config: RunnableConfig) -> ToolCallRequest:
        """The request for a call. Made inside the recorded call, so that the runtime belongs to the call."""
        around = get_runtime() if is_inside_of_run() else None
        runtime: ToolRuntime[Any, Any] = ToolRuntime(
            state=state,
            context=None if around is None else around.context,
            config=config,
            stream_writer=_discard if around is None else around.stream_writer,
            tool_call_id=str(call["id"]),
            store=None if around is None else around.store,
            tools=list(self.tools.values()),
            execution_info=None if around is None else around.execution_info,
        )
        return ToolCallRequest(call, self.tools.get(call["name"]), state, runtime)

    def execute(self, request: ToolCallRequest) -> Any:
        """The result of a plain tool, or the message about its error. Raises errors that are not handled."""
        tool = request.tool
        if tool is None:
            return self._unknown(request.tool_call)
        given = self._given(tool, request)
        try:
            return tool.invoke(given, request.runtime.config)
        except Exception as error:
            return self._handled(error, request)

    async def aexecute(self, request: ToolCallRequest) -> Any:
        """As `execute`, for any tool."""
        tool = request.tool
        if tool is None:
            return self._unknown(request.tool_call)
        given = self._given(tool, request)
        try:
            return await tool.ainvoke(given, request.runtime.config)
        except Exception as error:
            return self._handled(error, request)

    def _given(self, tool: BaseTool, request: ToolCallRequest) -> dict[str, Any]:
        call = request.tool_call
        own = self._injections.get(tool.name)
        injection: Injection = own if own is not None and self.tools[tool.name] is tool else injection_of(tool)
        runtime = replace(request.runtime, tool_call_id=str(call["id"]))
        # The arguments are the model's. It must not choose the values of injected parameters.
        args = {name: value for name, value in call["args"].items() if name not in injection.names}
        return {
            **call,
            "args": {**args, **injection.values(tool.name, runtime, self._messages_key)},
            "type": "tool_call",
        }

    def _unknown(self, call: ToolCall) -> Any:
        there = ", ".join(self.tools)
        return failed(call, f"Error: there is no tool {call['name']!r}. The tools are: {there}.")

    def _handled(self, error: Exception, request: ToolCallRequest) -> Any:
        call = request.tool_call
        found: Exception = error
        if isinstance(error, ValidationError):
            found = ToolInvocationError(call["name"], error, call["args"])
            found.__cause__ = error
        return self._errors.message(found, call)


def _discard(_: Any) -> None:
    """The stream writer outside a run."""


def is_plain(tool: BaseTool) -> bool:
    """Whether the tool has no async form, and so runs in a worker thread."""
    if isinstance(tool, StructuredTool | Tool):
        return tool.coroutine is None
    return type(tool)._arun is BaseTool._arun
