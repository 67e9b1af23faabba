"""What do LangChain's messages cost compared with dicts, in a thread of many turns?

Each turn loads the thread first.
"""

import gc
import random
import string
import time
from contextlib import AsyncExitStack
from typing import Any, Literal

from langchain_core.messages import AIMessage, HumanMessage

from benchmarks.contenders import new_thread
from benchmarks.lab import Lab
from benchmarks.questions.storage import size_of
from durable_graph import END, START, MessagesState, StateGraph
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver

TEXT = 500
PARTS = 4
"""A turn costs more in a longer thread: each part of the turns is a figure of its own."""

Kind = Literal["LangChain's messages", "dicts"]
KINDS: tuple[Kind, ...] = ("LangChain's messages", "dicts")
Measure = Literal["time", "CPU"]
MEASURES: tuple[Measure, ...] = ("time", "CPU")
THREAD: Any = {"configurable": {"thread_id": "t"}}


def text() -> str:
    """Random text, which does not compress."""
    return "".join(random.choices(string.ascii_letters, k=TEXT))


def asked(kind: Kind) -> Any:
    return {"role": "user", "content": text()} if kind == "dicts" else HumanMessage(text())


def said(kind: Kind) -> Any:
    return {"role": "assistant", "content": text()} if kind == "dicts" else AIMessage(text())


def answering(kind: Kind, saver: Any) -> Any:
    """A graph of one node that answers."""

    async def answer(state: MessagesState) -> Any:
        return {"messages": said(kind)}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(saver, messages="dict" if kind == "dicts" else "langchain")


async def turn(graph: Any, kind: Kind) -> dict[Measure, float]:
    """The microseconds of one turn: elapsed, and of CPU of all threads of the process."""
    given = {"messages": asked(kind)}
    clock, cpu = time.perf_counter(), time.process_time()
    await graph.ainvoke(given, THREAD)
    return {"time": (time.perf_counter() - clock) * 1e6, "CPU": (time.process_time() - cpu) * 1e6}


async def talk(graphs: dict[Kind, Any], turns: int) -> dict[Measure, dict[str, list[float]]]:
    """The mean cost of a turn, in each part of the turns. The kinds alternate, so that other load affects both."""
    spent: dict[Measure, dict[str, list[float]]] = {
        measure: {kind: [0.0] * PARTS for kind in KINDS} for measure in MEASURES
    }
    for kind, graph in graphs.items():
        # The first call creates tables and compiles statements.
        await graph.ainvoke({"messages": asked(kind)}, new_thread(1))
    gc.collect()
    each = turns // PARTS
    for number in range(each * PARTS):
        # The kinds alternate in going first: the second one may have to collect the garbage of the first.
        for kind in KINDS if number % 2 else reversed(KINDS):
            for measure, microseconds in (await turn(graphs[kind], kind)).items():
                spent[measure][kind][number // each] += microseconds / each
    return spent


async def measure(lab: Lab) -> None:
    turns = lab.size(1_000, 8)
    disk = lab.disks[-1]
    async with AsyncExitStack() as stack:
        paths = {kind: disk.new_file() for kind in KINDS}
        files: dict[Kind, Any] = {
            kind: answering(kind, await stack.enter_async_context(SqliteSaver(path))) for kind, path in paths.items()
        }
        _add(lab, "SQLite", turns, await talk(files, turns))
    _add_sizes(lab, "SQLite", turns, {kind: path.stat().st_size for kind, path in paths.items()})
    async with AsyncExitStack() as stack:
        dsns = {kind: await stack.enter_async_context(disk.new_database()) for kind in KINDS}
        tables: dict[Kind, Any] = {
            kind: answering(kind, await stack.enter_async_context(PostgresSaver(dsn))) for kind, dsn in dsns.items()
        }
        _add(lab, "PostgreSQL", turns, await talk(tables, turns))
        _add_sizes(lab, "PostgreSQL", turns, {kind: await size_of(dsn) for kind, dsn in dsns.items()})


def _add(lab: Lab, store: str, turns: int, spent: dict[Measure, dict[str, list[float]]]) -> None:
    for measure, found in spent.items():
        rounded = {kind: [round(figure, 1) for figure in figures] for kind, figures in found.items()}
        lab.add(f"{turns:,} turns of two messages, {store}, {measure}", "turn", rounded, flush=lab.disks[-1].flush)


def _add_sizes(lab: Lab, store: str, turns: int, sizes: dict[Kind, int]) -> None:
    figures = {str(kind): [float(size)] for kind, size in sizes.items()}
    lab.add(f"{turns:,} turns of two messages, {store}", "thread", figures, unit="bytes")
