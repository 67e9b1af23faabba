"""`create_react_agent`: a graph of a model that calls tools until it has an answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from langchain_core.messages import AIMessage, SystemMessage, ToolMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from durable_graph import END, START, Checkpointer, CompiledGraph, Runtime, Send, StateGraph
from durable_graph.extending import remaining_supersteps
from durable_graph.graph.deprecated import renamed
from durable_graph_langchain.errors import InvalidAgentError
from durable_graph_langchain.react_model import Model, Prompt, chat_model_in, model_of
from durable_graph_langchain.react_state import (
    LLM_INPUT,
    MESSAGES,
    STRUCTURED,
    check_answered,
    last_ai_message,
    pending_calls,
    read,
    state_of,
    with_llm_input,
)
from durable_graph_langchain.tool_call import child_config
from durable_graph_langchain.tool_node import ToolNode

_AGENT: Final = "agent"
_TOOLS: Final = "tools"
_BEFORE: Final = "pre_model_hook"
_AFTER: Final = "post_model_hook"
_RESPONSE: Final = "generate_structured_response"

_GIVE_UP: Final = "There are too few steps left to go on with this."


def create_react_agent(
    model: Any,
    tools: Sequence[BaseTool | Callable[..., Any] | dict[str, Any]] | ToolNode,
    *,
    prompt: Prompt = None,
    response_format: Any = None,
    pre_model_hook: Any = None,
    post_model_hook: Any = None,
    state_schema: Any = None,
    context_schema: Any = None,
    checkpointer: Checkpointer | bool | None = None,
    store: Any = None,
    interrupt_before: Sequence[str] | None = None,
    interrupt_after: Sequence[str] | None = None,
    debug: bool | None = None,
    version: Literal["v1", "v2"] = "v2",
    name: str | None = None,
    **unknown: Any,
) -> CompiledGraph[Any, Any, Any, Any]:
    """A graph of a model and its tools: it runs the tools that the model calls, and calls the model again, until the
    model calls no tools.

    `model` is a chat model, or a function of the state and the runtime, async or plain, that returns a model with its
    tools bound. `tools` are tools, functions, dicts for tools that the provider runs itself, or a `ToolNode`. `prompt`
    is a text or a `SystemMessage` before the messages, or a function of the state that returns the model's input.

    `response_format` is a schema, or a pair of a prompt and a schema: after its last tool call, the model is asked for
    an instance, which becomes `structured_response`. `pre_model_hook` is a node before the model; its result under
    `llm_input_messages` replaces the messages in the next input of the model. `post_model_hook` is a node after it.

    The nodes are "agent", "tools", "pre_model_hook", "post_model_hook" and "generate_structured_response". In `version`
    "v2" each tool call is a separate task, by a `Send` with the call as its argument and not the state; in "v1" one
    task runs all calls. Finished calls are repeated in neither. A tool with `return_direct` ends the run. If the
    recursion limit does not allow the tools and another answer, a text replaces the model's calls.

    `name` is the name of the graph, and of the agent's messages. The other options are as for `StateGraph` and
    `compile`.

    Raises `InvalidAgentError` and `InvalidToolError`. The run raises `UnansweredToolCallsError` for a history with
    unanswered tool calls, and `InvalidModelOutputError`.
    """
    options = renamed("create_react_agent()", unknown, {"context_schema": context_schema}, ("context_schema",))
    node = tools if isinstance(tools, ToolNode) else ToolNode([each for each in tools if not isinstance(each, dict)])
    builtin = [] if isinstance(tools, ToolNode) else [each for each in tools if isinstance(each, dict)]
    if version not in ("v1", "v2"):
        raise InvalidAgentError(f"version is {version!r}: it is 'v1' or 'v2'")
    schema, response_prompt = _response_of(response_format)
    declared = schema if isinstance(schema, type) else Any
    state = state_of(state_schema, None if schema is None else declared)
    asked = model_of(model, list(node.tools_by_name.values()), builtin, prompt)
    agent = _Agent(
        asked,
        node,
        name,
        version,
        schema,
        response_prompt,
        has_before=bool(pre_model_hook),
        has_after=bool(post_model_hook),
    )
    builder: StateGraph[Any, Any] = StateGraph(state, options["context_schema"])
    _add_nodes(builder, agent, state, pre_model_hook, post_model_hook)
    _add_edges(builder, agent)
    return builder.compile(
        checkpointer,
        store=store,
        interrupt_before=interrupt_before,
        interrupt_after=interrupt_after,
        debug=debug,
        name=name,
        types=[schema] if isinstance(schema, type) else (),
    )


def _response_of(given: Any) -> tuple[Any, str | None]:
    if isinstance(given, tuple):
        prompt, schema = given
        return schema, prompt
    return given, None


def _add_nodes(builder: StateGraph[Any, Any], agent: "_Agent", state: Any, before: Any, after: Any) -> None:
    if before is not None:
        builder.add_node(_BEFORE, _action_of(before))
        builder.add_node(_AGENT, agent.ask, input_schema=with_llm_input(state))
    else:
        builder.add_node(_AGENT, agent.ask)
    if agent.node.tools_by_name:
        builder.add_node(_TOOLS, agent.node)
    if after is not None:
        builder.add_node(_AFTER, _action_of(after))
    if agent.schema is not None:
        builder.add_node(_RESPONSE, agent.respond)


def _add_edges(builder: StateGraph[Any, Any], agent: "_Agent") -> None:
    builder.add_edge(START, agent.entry)
    if agent.has_before:
        builder.add_edge(_BEFORE, _AGENT)
    has_tools = bool(agent.node.tools_by_name)
    ahead = [*([_TOOLS] if has_tools else []), _RESPONSE if agent.schema is not None else END]
    if agent.has_after:
        builder.add_edge(_AGENT, _AFTER)
        builder.add_conditional_edges(_AFTER, agent.after_hook, [*ahead, agent.entry])
    elif has_tools:
        builder.add_conditional_edges(_AGENT, agent.after_model, ahead)
    else:
        builder.add_edge(_AGENT, agent.end)
    if has_tools and agent.direct:
        builder.add_conditional_edges(_TOOLS, agent.after_tools, [agent.entry, END])
    elif has_tools:
        builder.add_edge(_TOOLS, agent.entry)
    if agent.schema is not None:
        builder.add_edge(_RESPONSE, END)


def _action_of(hook: Any) -> Any:
    """A hook as a node."""
    if not isinstance(hook, Runnable):
        return hook

    async def run(state: Any, config: Mapping[str, Any]) -> Any:
        return await hook.ainvoke(state, child_config(config))

    return run


class _Agent:
    """The nodes and routers of one agent."""

    def __init__(
        self,
        model: Model,
        node: ToolNode,
        name: str | None,
        version: str,
        schema: Any,
        response_prompt: str | None,
        *,
        has_before: bool,
        has_after: bool,
    ) -> None:
        self.node = node
        self.schema = schema
        self.has_before = has_before
        self.has_after = has_after
        self.direct = {tool.name for tool in node.tools_by_name.values() if tool.return_direct}
        self.entry = _BEFORE if has_before else _AGENT
        self.end = END if schema is None else _RESPONSE
        self._model = model
        self._name = name
        self._version = version
        self._response_prompt = response_prompt

    # Nodes

    async def ask(self, state: Any, runtime: Runtime[Any], config: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the model."""
        messages = (read(state, LLM_INPUT) if self.has_before else None) or read(state, MESSAGES, [])
        check_answered(messages)
        answer = await self._model.ask(state, messages, runtime, child_config(config))
        if self._name is not None:
            answer = answer.model_copy(update={"name": self._name})
        if self._has_too_few_steps(answer):
            answer = AIMessage(_GIVE_UP, id=answer.id, name=answer.name)
        return {MESSAGES: [answer]}

    async def respond(self, state: Any, runtime: Runtime[Any], config: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the model for the answer in the response format."""
        model = chat_model_in(await self._model.chosen(state, runtime))
        before = [] if self._response_prompt is None else [SystemMessage(self._response_prompt)]
        structured = model.with_structured_output(self.schema)
        return {STRUCTURED: await structured.ainvoke([*before, *read(state, MESSAGES, [])], child_config(config))}

    def _has_too_few_steps(self, answer: AIMessage) -> bool:
        """Whether the recursion limit does not allow the tools and the model after them."""
        if not answer.tool_calls:
            return False
        is_direct = all(call["name"] in self.direct for call in answer.tool_calls)
        return remaining_supersteps() < (2 if is_direct else 3)

    # Routers

    def after_model(self, state: Any) -> Any:
        """Route to the tools, if the model calls any."""
        last = read(state, MESSAGES)[-1]
        if not isinstance(last, AIMessage) or not last.tool_calls:
            return self.end
        return _TOOLS if self._version == "v1" else _sends(last.tool_calls)

    def after_hook(self, state: Any) -> Any:
        """Route to the tools with unanswered calls, or back to the model if the hook answered all calls."""
        messages = read(state, MESSAGES)
        pending = pending_calls(messages)
        if pending and self.node.tools_by_name:
            return _sends(pending)
        return self.entry if isinstance(messages[-1], ToolMessage) else self.end

    def after_tools(self, state: Any) -> str:
        """Route back to the model, unless one of its calls was of a tool with `return_direct`."""
        message = last_ai_message(read(state, MESSAGES))
        calls = [] if message is None else message.tool_calls
        return END if any(call["name"] in self.direct for call in calls) else self.entry


def _sends(calls: Sequence[Any]) -> list[Send]:
    return [Send(_TOOLS, [call]) for call in calls]
