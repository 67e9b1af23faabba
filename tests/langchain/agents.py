"""Scripted models, tool calls, and graphs around a `ToolNode`."""

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatResult

from durable_graph import START, Checkpointer, CompiledGraph, MessagesState, StateGraph
from durable_graph_langchain import ToolNode


class ToolModel(GenericFakeChatModel):
    """Answers with its messages in sequence. `asked` has the messages of each call."""

    asked: list[list[BaseMessage]] = []  # noqa: RUF012  # pydantic copies it
    bound: list[str] = []  # noqa: RUF012  # pydantic copies it

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        self.bound.extend(tool["name"] if isinstance(tool, dict) else tool.name for tool in tools)
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.asked.append(messages)
        return super()._generate(messages, *args, **kwargs)


def model_saying(*messages: AIMessage | str) -> ToolModel:
    return ToolModel(messages=iter(messages))


def call(tool: str, id_: str = "1", **args: Any) -> ToolCall:
    return ToolCall(name=tool, args=args, id=id_, type="tool_call")


def calling(*calls: ToolCall) -> AIMessage:
    return AIMessage("", tool_calls=list(calls), id=f"m{calls[0]['id']}")


def asking_for(*calls: ToolCall) -> dict[str, Any]:
    """The input of a graph whose model has just called tools."""
    return {"messages": [HumanMessage("Do it"), calling(*calls)]}


def graph_of(
    node: ToolNode, saver: Checkpointer | None = None, state: Any = MessagesState, **options: Any
) -> CompiledGraph[Any, Any, Any, Any]:
    """A graph of a tool node only."""
    builder: StateGraph[Any, Any] = StateGraph(state)
    builder.add_node("tools", node).add_edge(START, "tools")
    return builder.compile(saver, **options)


def answers(state: Any) -> list[tuple[str | None, str, str]]:
    """Name, content and call of each `ToolMessage`."""
    return [
        (each.name, str(each.content), each.tool_call_id) for each in state["messages"] if isinstance(each, ToolMessage)
    ]


def last(state: Any) -> ToolMessage:
    message = state["messages"][-1]
    assert isinstance(message, ToolMessage)
    return message
