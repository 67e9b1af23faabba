"""The libraries that are measured, each with the names that a graph needs, and with its savers."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import durable_graph
from benchmarks.record import OURS
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver


@dataclass(frozen=True)
class Library:
    """`memory`, `sqlite` and `postgres` open an empty saver."""

    name: str
    state_graph: Any
    send: Any
    command: Any
    interrupt: Any
    task: Any
    stream_writer: Any
    memory: Callable[[], AbstractAsyncContextManager[Any]]
    sqlite: Callable[[Path], AbstractAsyncContextManager[Any]]
    postgres: Callable[[str], AbstractAsyncContextManager[Any]]


OURS_LIBRARY = Library(
    name=OURS,
    state_graph=durable_graph.StateGraph,
    send=durable_graph.Send,
    command=durable_graph.Command,
    interrupt=durable_graph.interrupt,
    task=durable_graph.task,
    stream_writer=durable_graph.get_stream_writer,
    memory=durable_graph.MemorySaver,
    sqlite=SqliteSaver,
    postgres=PostgresSaver,
)


def in_memory(saver: Any) -> AbstractAsyncContextManager[Any]:
    """A saver that needs no closing."""
    return nullcontext(saver)
