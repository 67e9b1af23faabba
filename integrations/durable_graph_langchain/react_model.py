"""The model of an agent: bound to the tools, invoked with the prompt."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig, RunnableSequence
from langchain_core.runnables.config import run_in_executor
from langchain_core.tools import BaseTool

from durable_graph import Runtime
from durable_graph_langchain.errors import InvalidAgentError, InvalidModelOutputError
from durable_graph_langchain.react_state import MESSAGES, read

Prompt: TypeAlias = str | SystemMessage | Runnable[Any, Any] | Callable[..., Any] | None
"""A text or message before the messages, or a function from the state to the model's input."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model with its tools and prompt. `source` is the model, or a function of state and runtime that returns one."""

    source: Any
    tools: Sequence[BaseTool]
    builtin: Sequence[dict[str, Any]]
    prompt: Prompt

    async def ask(
        self, state: Any, messages: Sequence[Any], runtime: Runtime[Any], config: RunnableConfig
    ) -> AIMessage:
        """The model's answer. Raises `InvalidModelOutputError`, and the model's errors."""
        model = await self.chosen(state, runtime)
        given = await self._prompted(state, messages, runtime, config)
        answer = await model.ainvoke(given, config)
        if not isinstance(answer, AIMessage):
            raise InvalidModelOutputError(f"the model returned {type(answer).__qualname__}, not an AIMessage")
        return answer

    async def chosen(self, state: Any, runtime: Runtime[Any]) -> Runnable[Any, Any]:
        """The model to call. A model that a function returns already has its tools."""
        if isinstance(self.source, Runnable):
            return self.source
        chosen = self.source(state, runtime)
        model = await chosen if inspect.isawaitable(chosen) else chosen
        if not isinstance(model, Runnable):
            raise InvalidModelOutputError(f"the function for the model returned {type(model).__qualname__}, no model")
        return model

    async def _prompted(
        self, state: Any, messages: Sequence[Any], runtime: Runtime[Any], config: RunnableConfig
    ) -> Any:
        match self.prompt:
            case None:
                return list(messages)
            case str():
                return [SystemMessage(self.prompt), *messages]
            case SystemMessage():
                return [self.prompt, *messages]
            case Runnable():
                return await self.prompt.ainvoke(_with_messages(state, messages), config)
            case function:
                return await _called(function, _with_messages(state, messages), runtime, config)


def model_of(model: Any, tools: Sequence[BaseTool], builtin: Sequence[dict[str, Any]], prompt: Prompt) -> Model:
    """The model of an agent, bound to its tools unless it already is. Raises `InvalidAgentError`."""
    if isinstance(model, str):
        raise InvalidAgentError(f"model={model!r}: give the object, such as init_chat_model({model!r}) of langchain")
    if not isinstance(model, Runnable) and not callable(model):
        raise InvalidAgentError(
            f"model is {type(model).__qualname__}: give a chat model, or a function that returns one"
        )
    if not (prompt is None or isinstance(prompt, str | SystemMessage | Runnable) or callable(prompt)):
        raise InvalidAgentError(f"prompt is {type(prompt).__qualname__}: give a text, a SystemMessage or a function")
    bound = model
    if isinstance(model, Runnable) and (tools or builtin):
        names = _names_bound_to(model)
        if names is None:
            bound = _bound(model, [*builtin, *tools])
        elif missing := {tool.name for tool in tools} - names:
            named = ", ".join(map(repr, sorted(missing)))
            raise InvalidAgentError(f"the model is bound to tools already, without {named}; bind it to all, or to none")
    return Model(bound, tools, builtin, prompt)


def _bound(model: Any, tools: list[Any]) -> Any:
    """The model bound to its tools. Raises `InvalidAgentError` for a model that supports no tools."""
    bind_tools = getattr(model, "bind_tools", None)
    if bind_tools is not None:
        try:
            return bind_tools(tools)
        except NotImplementedError as error:
            raise InvalidAgentError(_takes_no_tools(model)) from error
    raise InvalidAgentError(_takes_no_tools(model))


def _takes_no_tools(model: object) -> str:
    kind = type(model).__name__[:80]
    return f"the model, a {kind}, takes no tools: pass a chat model that implements bind_tools(), or no tools"


def chat_model_in(model: Runnable[Any, Any]) -> Any:
    """The chat model, which has `with_structured_output`, inside a bound model or a sequence."""
    found: Any = model
    while not isinstance(found, BaseChatModel):
        if isinstance(found, RunnableSequence):
            steps = [step for step in found.steps if isinstance(step, BaseChatModel | RunnableBinding)]
            if not steps:
                break
            found = steps[0]
        elif isinstance(found, RunnableBinding):
            found = found.bound
        else:
            break
    return found


def _names_bound_to(model: Runnable[Any, Any]) -> set[str] | None:
    """The names of the tools that a model is bound to; None if it is not bound to any."""
    steps = model.steps if isinstance(model, RunnableSequence) else [model]
    for step in steps:
        if isinstance(step, RunnableBinding) and "tools" in step.kwargs:
            return {name for tool in step.kwargs["tools"] if (name := _name_of(tool)) is not None}
    return None


def _name_of(tool: Any) -> str | None:
    """The name of a tool in any provider's form."""
    if not isinstance(tool, Mapping):
        return tool if isinstance(tool, str) else getattr(tool, "name", None)
    inner = tool.get("function") or tool.get("toolSpec") or tool
    return inner.get("name") if isinstance(inner, Mapping) else None


def _with_messages(state: Any, messages: Sequence[Any]) -> Any:
    """The state for the prompt, with the messages for the model."""
    if messages is read(state, MESSAGES):
        return state
    if isinstance(state, Mapping):
        return {**state, MESSAGES: list(messages)}
    if hasattr(state, "model_copy"):
        return state.model_copy(update={MESSAGES: list(messages)})
    return state


async def _called(function: Callable[..., Any], state: Any, runtime: Runtime[Any], config: RunnableConfig) -> Any:
    """Call a prompt's function with its further parameters. A plain function runs in a thread, for it may block."""
    extra = {"runtime": runtime, "config": config, "store": runtime.store, "writer": runtime.stream_writer}
    names = inspect.signature(function).parameters
    given = {name: value for name, value in extra.items() if name in names}
    if inspect.iscoroutinefunction(function):
        return await function(state, **given)
    made = await run_in_executor(None, function, state, **given)
    return await made if inspect.isawaitable(made) else made
