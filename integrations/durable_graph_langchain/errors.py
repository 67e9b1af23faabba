"""Errors of tools and agents: errors for the model, which it can correct, and errors for the program."""

from collections.abc import Mapping
from typing import Any

from langchain_core.tools import ToolException
from pydantic import ValidationError

from durable_graph import DurableGraphError


class ToolInvocationError(ToolException):
    """The model called a tool with arguments that the tool does not accept.

    `tool_kwargs` are the model's arguments, `source` is pydantic's error. The text omits injected arguments, which the
    model does not see.
    """

    def __init__(self, tool_name: str, source: ValidationError, tool_kwargs: Mapping[str, Any]) -> None:
        self.tool_name: str = tool_name
        self.tool_kwargs: dict[str, Any] = dict(tool_kwargs)
        self.source: ValidationError = source
        problems = [
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
            for each in source.errors(include_url=False, include_context=False, include_input=False)
            if not each["loc"] or each["loc"][0] in tool_kwargs or each["type"] == "missing"
        ]
        self.message: str = (
            f"the tool {tool_name!r} cannot be called with {self.tool_kwargs}: {'; '.join(problems) or source}"
        )
        super().__init__(self.message)


class InvalidToolError(DurableGraphError, ValueError):
    """The tools of an agent or a `ToolNode` do not fit together, or one of them is no tool."""


class InvalidToolInputError(DurableGraphError, ValueError):
    """The input of a `ToolNode` has no tool calls that it can run."""


class InvalidToolOutputError(DurableGraphError, ValueError):
    """A tool's result does not answer its call, which `tool_name` and `tool_call_id` name."""

    def __init__(self, tool_name: str, tool_call_id: str, why: str) -> None:
        self.tool_name = tool_name
        self.tool_call_id = tool_call_id
        super().__init__(f"tool {tool_name!r}, called as {tool_call_id!r}, returned {why}")


class ToolInjectionError(DurableGraphError, ValueError):
    """A tool requires a part of the state, or a store, and there is none."""

    def __init__(self, tool_name: str, parameter: str, why: str) -> None:
        self.tool_name = tool_name
        self.parameter = parameter
        super().__init__(f"tool {tool_name!r} has the parameter {parameter!r}, which cannot be injected: {why}")


class UnansweredToolCallsError(DurableGraphError, ValueError):
    """The messages for a model have tool calls without a `ToolMessage`, which every provider refuses."""

    def __init__(self, calls: Mapping[str, str | None]) -> None:
        self.tool_call_ids: tuple[str, ...] = tuple(calls)
        named = ", ".join(f"{call_id!r} of message {message_id!r}" for call_id, message_id in calls.items())
        super().__init__(
            f"key 'messages': no ToolMessage answers the tool call {named}; add one with this tool_call_id, "
            f"or remove the message"
        )


class InvalidAgentError(DurableGraphError, ValueError):
    """Arguments of `create_react_agent` of which no agent can be made."""


class InvalidModelOutputError(DurableGraphError, TypeError):
    """The model of an agent returned a value that is no `AIMessage`."""
