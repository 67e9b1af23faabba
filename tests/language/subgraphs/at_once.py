"""Graphs for a node that runs several of them."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from durable_graph import START, Checkpointer, StateGraph
from tests.language.trails import Trail

LONG: Final = tuple(f"s{number}" for number in range(10))
"""The nodes of a graph that goes on for a while after another one has ended."""


def calling(call: Callable[[], Awaitable[list[Any]]], saver: Checkpointer | None, **node: Any) -> Any:
    """A graph whose only node returns the marks of the graphs that `call` runs."""

    async def run(state: Trail) -> Trail:
        return {"value": [mark for result in await call() for mark in result["value"]]}

    return StateGraph(Trail).add_node("run", run, **node).add_edge(START, "run").compile(saver)
