"""Converting the Commands and Sends of LangGraph's prebuilt parts to this library's, without importing LangGraph."""

from typing import Any, Final

from durable_graph import Command, Send

_MODULE: Final = "langgraph.types"


def converted(result: Any) -> Any:
    """A node's result, with LangGraph's Commands converted to durable_graph's."""
    if isinstance(result, list | tuple) and any(_is_named("Command", each) for each in result):
        return [converted(each) for each in result]
    if not _is_named("Command", result):
        return result
    goto = result.goto
    several = [_sent(each) for each in goto] if isinstance(goto, list | tuple) else _sent(goto)
    return Command(graph=result.graph, update=result.update, goto=several)


def _sent(target: Any) -> Any:
    return Send(target.node, target.arg) if _is_named("Send", target) else target


def _is_named(name: str, value: Any) -> bool:
    return type(value).__module__ == _MODULE and type(value).__name__ == name
