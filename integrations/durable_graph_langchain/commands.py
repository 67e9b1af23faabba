"""`Command` as the result of a tool: LangChain passes it through unchanged, and results of tool calls are storable."""

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages.tool import ToolOutputMixin

from durable_graph import Command, Overwrite, Send, StoredType
from durable_graph.graph.control import ToolOutput


def pass_commands_through_tools() -> None:
    """Make LangChain pass through a `Command` that a tool returns, instead of a message with its text.

    LangChain checks for its own class by `isinstance`. This function adds that class to the bases of `Command`, because
    the library itself depends on no model library.
    """
    if not issubclass(ToolOutput, ToolOutputMixin):
        ToolOutput.__bases__ = (ToolOutputMixin,)


def _encoded_command(command: Command[Any]) -> dict[str, Any]:
    given = {"graph": command.graph, "update": command.update, "goto": command.goto, "after": command.after}
    return {name: value for name, value in given.items() if value is not None and value != ()}


def _decoded_command(data: Mapping[str, Any]) -> Command[Any]:
    return Command(**data)


def _encoded_send(send: Send) -> list[Any]:
    options = [send.timeout, send.after]
    while options and options[-1] is None:
        options.pop()
    return [send.node, send.arg, *options]


def _decoded_send(data: list[Any]) -> Send:
    node, arg, *options = data
    timeout, after, *_ = (*options, None, None)
    return Send(node, arg, timeout=timeout, after=after)


# Proven types: the parts of a Command are checked when they are stored, and its own fields are restored unchanged.
TYPES: Final[tuple[StoredType[Any], ...]] = (
    StoredType(Command, "langgraph.Command", _encoded_command, _decoded_command, is_proven=True),
    StoredType(Send, "langgraph.Send", _encoded_send, _decoded_send, is_proven=True),
    StoredType(Overwrite, "langgraph.Overwrite", lambda each: each.value, Overwrite, is_proven=True),
)
