"""What one superstep of one node costs."""

import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypedDict

from benchmarks.measure import Figure, median_of, report
from benchmarks.peers import has_langgraph, peer_graph_class, peer_memory, peer_sqlite
from durable_graph import END, START, MemorySaver, StateGraph
from durable_graph_sqlite import SqliteSaver

STEPS = 300


class State(TypedDict):
    count: int


async def step(state: State) -> State:
    return {"count": state["count"] + 1}


def loop(graph_class: Any) -> Any:
    builder = graph_class(State)
    builder.add_node("step", step)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", lambda state: END if state["count"] >= STEPS else "step", ["step", END])
    return builder


async def bare() -> None:
    state: State = {"count": 0}
    while state["count"] < STEPS:
        state = await step(state)


async def raw_commits() -> None:
    """One row and one fsynced commit per step: what the disk asks for."""
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "floor.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE rows(no INTEGER PRIMARY KEY, value BLOB)")
        for no in range(STEPS):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO rows VALUES (?, ?)", (no, b"x" * 100))
            connection.execute("COMMIT")
        connection.close()


def invoking(graph_class: Any, saver: Callable[[], Any], config: dict[str, Any]) -> Callable[[], Awaitable[object]]:
    async def run() -> None:
        chosen = saver()
        graph = loop(graph_class).compile(checkpointer=chosen)
        await graph.ainvoke({"count": 0}, {**config, "recursion_limit": STEPS + 1})

    return run


def on_sqlite(graph_class: Any, open_saver: Callable[[Path], Any], **options: Any) -> Callable[[], Awaitable[object]]:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with open_saver(Path(folder) / "runs.db") as saver:
                graph = loop(graph_class).compile(checkpointer=saver)
                config = {"configurable": {"thread_id": "t"}, "recursion_limit": STEPS + 1}
                await graph.ainvoke({"count": 0}, config, **options)

    return run


def main() -> None:
    thread = {"configurable": {"thread_id": "t"}}
    figures: list[Figure] = [
        median_of("durable_graph, no checkpointer", STEPS, invoking(StateGraph, lambda: None, {})),
        median_of("durable_graph, MemorySaver", STEPS, invoking(StateGraph, MemorySaver, thread)),
    ]
    if has_langgraph():
        peer = peer_graph_class()
        figures += [
            median_of("LangGraph, no checkpointer", STEPS, invoking(peer, lambda: None, {})),
            median_of("LangGraph, InMemorySaver", STEPS, invoking(peer, peer_memory, thread)),
        ]
    report("A superstep of one node", median_of("await of the node itself", STEPS, bare), figures)
    stored = [
        median_of(f"durable_graph, SqliteSaver, {mode}", STEPS, on_sqlite(StateGraph, SqliteSaver, durability=mode))
        for mode in ("sync", "async", "exit")
    ]
    if has_langgraph():
        stored += [
            median_of(f"LangGraph, AsyncSqliteSaver, {mode}", STEPS, on_sqlite(peer, peer_sqlite, durability=mode))
            for mode in ("sync", "async", "exit")
        ]
    report("A superstep on a SQLite file", median_of("one row, one fsynced commit", STEPS, raw_commits), stored)


if __name__ == "__main__":
    main()
