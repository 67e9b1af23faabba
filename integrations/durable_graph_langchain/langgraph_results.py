"""LangGraph's Commands and Sends, as its prebuilt parts return them: made this library's, without importing its."""

from typing import Any, Final

from durable_graph import Command, Send

_MODULE: Final = "langgraph.types"


def converted(result: Any) -> Any:
    """What a node returned, with LangGraph's Commands as Commands of durable_graph."""
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
