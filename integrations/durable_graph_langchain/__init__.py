"""LangChain's messages, models and tools in graphs of durable_graph: `pip install "durable-graph[langchain]"`."""

import importlib.util
import typing

if importlib.util.find_spec("langchain_core") is None:
    raise ImportError(
        'durable_graph_langchain needs langchain-core: pip install "durable-graph[langchain]"', name="langchain_core"
    )

from durable_graph_langchain import commands
from durable_graph_langchain.errors import (
    InvalidAgentError,
    InvalidModelOutputError,
    InvalidToolError,
    InvalidToolInputError,
    InvalidToolOutputError,
    ToolInjectionError,
    ToolInvocationError,
    UnansweredToolCallsError,
)
from durable_graph_langchain.injection import InjectedState, InjectedStore, ToolRuntime
from durable_graph_langchain.react_agent import create_react_agent
from durable_graph_langchain.react_state import AgentState
from durable_graph_langchain.tool_call import ToolCallRequest
from durable_graph_langchain.tool_node import ToolNode, tools_condition

if not typing.TYPE_CHECKING:
    # With a visible `__getattr__`, type checkers would accept every name.
    from durable_graph.errors.elsewhere import module_attribute as _attribute_of

    __getattr__ = _attribute_of(__name__)

__all__ = [
    "AgentState",
    "InjectedState",
    "InjectedStore",
    "InvalidAgentError",
    "InvalidModelOutputError",
    "InvalidToolError",
    "InvalidToolInputError",
    "InvalidToolOutputError",
    "ToolCallRequest",
    "ToolInjectionError",
    "ToolInvocationError",
    "ToolNode",
    "ToolRuntime",
    "UnansweredToolCallsError",
    "create_react_agent",
    "tools_condition",
]

commands.pass_commands_through_tools()
