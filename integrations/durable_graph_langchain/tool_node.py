"""`ToolNode`: the node that runs the tools that a model called."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from langchain_core.messages import AIMessage, ToolCall
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as tool_of

from durable_graph import get_config
from durable_graph.extending import is_inside_of_run, superstep_state
from durable_graph_langchain.errors import InvalidToolError, InvalidToolInputError
from durable_graph_langchain.tool_call import Toolbox, child_config
from durable_graph_langchain.tool_errors import ErrorHandling, HandleToolErrors, describe_bad_arguments
from durable_graph_langchain.tool_outputs import Shape, combined
from durable_graph_langchain.tool_run import AsyncWrapToolCall, Calls, Execution, WrapToolCall

_CALL = "tool_call"
_WITH_CONTEXT = "tool_call_with_context"


class ToolNode:
    """Runs the tools that the last `AIMessage` calls, concurrently, and answers each call with a `ToolMessage`.

    It is a node of a graph, `add_node("tools", ToolNode(tools))`, and may be called in a node, a task or an entrypoint:
    `await tool_node.ainvoke(state)`. Its input is a state with messages under `messages_key`, a list of messages, or
    the argument of a `Send`, a list of tool calls; tools then see the state of the superstep.

    Each call is recorded separately, like a call of a `@task`: its result is durable before the node continues. When
    the node runs again, after a crash, an error or the answer to an `interrupt` in a tool, finished calls are not
    repeated. A `Send` for each call would have the same effect in a graph, and none in a function; a record works in
    both, and leaves the graph, its stream and its history as they are in LangGraph. It costs a transaction for each
    call. A call is recognised by its id, its name and its arguments; the recorded result is the one after its wrapper
    and its error handling. A call that raises is not recorded, and its error is raised once the other calls have ended.

    `tools` are tools of LangChain or functions. `handle_tool_errors` selects the errors that become the answer: True
    for all, False for none, a class or a tuple of classes, a text to answer with, or a function from the error to the
    answer, whose annotation selects the errors. By default they are the errors about arguments that a tool does not
    accept. A call of an unknown tool is always answered. `wrap_tool_call(request, execute)`, or `awrap_tool_call`, runs
    in place of each call, and may execute it never, once or several times, with this request or another.

    A tool may return a `Command`, whose `update` has to contain the `ToolMessage` unless it is for the parent graph.

    Raises `InvalidToolError` if two tools have the same name. The run raises `InvalidToolInputError`,
    `InvalidToolOutputError`, `ToolInjectionError` and errors of tools.
    """

    def __init__(
        self,
        tools: Sequence[BaseTool | Callable[..., Any]],
        *,
        name: str = "tools",
        tags: list[str] | None = None,
        handle_tool_errors: HandleToolErrors = describe_bad_arguments,
        messages_key: str = "messages",
        wrap_tool_call: WrapToolCall | None = None,
        awrap_tool_call: AsyncWrapToolCall | None = None,
    ) -> None:
        # The name of the node in `add_node(ToolNode(tools))`.
        self.name: str = name
        self.__name__: str = name
        self.tags: list[str] | None = tags
        self.messages_key: str = messages_key
        errors = ErrorHandling.of(handle_tool_errors)
        box = Toolbox(tools_named(tools), messages_key, errors)
        self._execution = Execution(name, messages_key, box, errors, wrap_tool_call, awrap_tool_call)

    @property
    def tools_by_name(self) -> dict[str, BaseTool]:
        """The tools by name."""
        return dict(self._execution.box.tools)

    async def __call__(self, state: Any) -> Any:
        """Run as a node: see `ainvoke`."""
        return await self.ainvoke(state)

    async def ainvoke(self, input: Any, config: Mapping[str, Any] | None = None) -> Any:  # noqa: A002  # LangChain's name
        """The answers: `{messages_key: [...]}`, or a list for a list of messages. If tools returned Commands, a list of
        Commands and such answers."""
        given = self._read(input)
        if config is None:
            config = get_config() if is_inside_of_run() else {}
        outputs = await self._execution.outputs(given, child_config(config, self.tags))
        return combined(outputs, self.messages_key, given.shape)

    def invoke(self, input: Any, config: Mapping[str, Any] | None = None) -> Any:  # noqa: A002  # LangChain's name
        """As `ainvoke`, for plain nodes, which run in a worker thread."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.ainvoke(input, config))
        raise RuntimeError("ToolNode.invoke() would block the event loop; use: await tool_node.ainvoke(...)")

    def _read(self, given: Any) -> Calls:
        if isinstance(given, list) and given and _is_call(given[-1]):
            state = superstep_state() if is_inside_of_run() else {}
            return Calls(_checked(given, None), state, "dict")
        if isinstance(given, Mapping) and given.get("__type") == _WITH_CONTEXT:
            return Calls(_checked([given["tool_call"]], None), given["state"], "dict")
        shape: Shape = "list" if isinstance(given, list) else "dict"
        key = self.messages_key
        messages = _messages_in(given, key)
        if not messages:
            raise InvalidToolInputError(f"key {key!r} of the input has no messages, so there are no tool calls to run")
        message = next((each for each in reversed(messages) if isinstance(each, AIMessage)), None)
        if message is None:
            kinds = ", ".join(sorted({type(each).__qualname__ for each in messages}))
            raise InvalidToolInputError(f"key {key!r} of the input has no AIMessage, only: {kinds}")
        return Calls(_checked(message.tool_calls, message.id), given, shape)


def tools_condition(state: Any, messages_key: str = "messages") -> Literal["tools", "__end__"]:
    """A router: "tools" if the last message has tool calls, END otherwise.

    Raises `InvalidToolInputError` for a state without messages.
    """
    messages = _messages_in(state, messages_key)
    if not messages:
        raise InvalidToolInputError(f"key {messages_key!r} of the state has no messages to look at")
    return "tools" if getattr(messages[-1], "tool_calls", None) else "__end__"


def tools_named(tools: Sequence[BaseTool | Callable[..., Any]]) -> dict[str, BaseTool]:
    """Tools by name. Functions are converted to tools. Raises `InvalidToolError`."""
    named: dict[str, BaseTool] = {}
    for given in tools:
        try:
            made = given if isinstance(given, BaseTool) else tool_of(given)
        except Exception as error:
            # For functions that it cannot convert, LangChain raises errors of many classes.
            raise InvalidToolError(f"{given!r} cannot be a tool: {error}") from error
        if named.setdefault(made.name, made) is not made:
            raise InvalidToolError(f"two tools are called {made.name!r}: the model could not tell them apart")
    return named


def _messages_in(state: Any, key: str) -> Sequence[Any]:
    if isinstance(state, list):
        return state
    found = state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)
    return found or ()


def _is_call(given: Any) -> bool:
    return isinstance(given, dict) and given.get("type") == _CALL


def _checked(calls: Sequence[ToolCall], message_id: str | None) -> Sequence[ToolCall]:
    for call in calls:
        if not call.get("id"):
            where = "" if message_id is None else f" of message {message_id!r}"
            raise InvalidToolInputError(
                f"the call of tool {call.get('name')!r}{where} has no id, so none can answer it"
            )
    return calls
