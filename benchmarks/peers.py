"""LangGraph, where it is installed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any


def has_langgraph() -> bool:
    """Whether the peer and its SQLite saver can be measured."""
    return all(find_spec(name) is not None for name in ("langgraph", "langgraph.checkpoint.sqlite"))


def peer_graph_class() -> Any:
    """LangGraph's StateGraph."""
    from langgraph.graph import StateGraph

    return StateGraph


def peer_send() -> Any:
    """LangGraph's Send."""
    from langgraph.types import Send

    return Send


def peer_memory() -> Any:
    """LangGraph's saver in memory."""
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver()


def peer_sqlite(path: Path) -> Any:
    """LangGraph's saver on a SQLite file, as an async context manager."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    return AsyncSqliteSaver.from_conn_string(str(path))
