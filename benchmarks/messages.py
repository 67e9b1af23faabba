"""The cost of LangChain's messages compared with dicts, in a thread of many turns. Each turn loads the thread first."""

import asyncio
import gc
import random
import string
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import asyncpg
from langchain_core.messages import AIMessage, HumanMessage

from durable_graph import END, START, MessagesState, StateGraph
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver
from tests.postgres.server import started

TURNS = 1_000
TEXT = 500
THREAD: Any = {"configurable": {"thread_id": "t"}}
PARTS = 4
"""The turns are reported in this many parts, because the cost of a turn grows with the thread."""

Kind = Literal["dict", "langchain"]
KINDS: tuple[Kind, ...] = ("dict", "langchain")


@dataclass
class Spent:
    """The seconds that some turns took: elapsed time, and CPU time of all threads of the process."""

    clock: float = 0.0
    cpu: float = 0.0


def text() -> str:
    """Random text, which does not compress."""
    return "".join(random.choices(string.ascii_letters, k=TEXT))


def asked(kind: Kind) -> Any:
    return {"role": "user", "content": text()} if kind == "dict" else HumanMessage(text())


def said(kind: Kind) -> Any:
    return {"role": "assistant", "content": text()} if kind == "dict" else AIMessage(text())


def answering(kind: Kind, saver: Any) -> Any:
    """A graph of one node that answers."""

    async def answer(state: MessagesState) -> Any:
        return {"messages": said(kind)}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(saver, messages=kind)


async def turn(graph: Any, kind: Kind) -> Spent:
    given = {"messages": asked(kind)}
    clock, cpu = time.perf_counter(), time.process_time()
    await graph.ainvoke(given, THREAD)
    return Spent(time.perf_counter() - clock, time.process_time() - cpu)


async def talk(savers: dict[Kind, AbstractAsyncContextManager[Any]]) -> list[dict[Kind, Spent]]:
    """The cost of each part of the turns. The two kinds alternate, so that other load affects both equally."""
    parts: list[dict[Kind, Spent]] = []
    async with AsyncExitStack() as stack:
        graphs = {kind: answering(kind, await stack.enter_async_context(saver)) for kind, saver in savers.items()}
        for kind, graph in graphs.items():
            # The first call creates tables and compiles statements.
            await graph.ainvoke({"messages": asked(kind)}, {"configurable": {"thread_id": "warm"}})
        gc.collect()
        for number in range(TURNS):
            if number % (TURNS // PARTS) == 0:
                parts.append({kind: Spent() for kind in KINDS})
            # The kinds alternate in going first: the second one may have to collect the garbage of the first.
            for kind in KINDS if number % 2 else reversed(KINDS):
                spent = await turn(graphs[kind], kind)
                parts[-1][kind].clock += spent.clock
                parts[-1][kind].cpu += spent.cpu
    return parts


def report(store: str, parts: list[dict[Kind, Spent]], sizes: dict[Kind, int]) -> None:
    print(f"\n{store}, {TURNS} turns of two messages of {TEXT} bytes, with LangChain's messages and with dicts")
    for first, part in zip(range(0, TURNS, TURNS // PARTS), parts, strict=True):
        print(f"  turns {first + 1} to {first + TURNS // PARTS}: {_ratios(part)}")
    whole = {
        kind: Spent(sum(part[kind].clock for part in parts), sum(part[kind].cpu for part in parts)) for kind in KINDS
    }
    print(f"  all turns: {_ratios(whole)}")
    stored = f"{sizes['langchain']:,} and {sizes['dict']:,}"
    print(f"  stored bytes: {stored}, ratio {sizes['langchain'] / sizes['dict']:.2f}")


def _ratios(spent: dict[Kind, Spent]) -> str:
    own, dicts = spent["langchain"], spent["dict"]
    return "; ".join(
        f"{name} {of(own):.2f} s and {of(dicts):.2f} s, ratio {of(own) / of(dicts):.2f}" for name, of in _MEASURES
    )


_MEASURES: tuple[tuple[str, Callable[[Spent], float]], ...] = (
    ("time", lambda spent: spent.clock),
    ("CPU", lambda spent: spent.cpu),
)


def on_sqlite() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths: dict[Kind, Path] = {kind: Path(folder) / f"{kind}.db" for kind in KINDS}
        parts = asyncio.run(talk({kind: SqliteSaver(path) for kind, path in paths.items()}))
        report("SQLite", parts, {kind: path.stat().st_size for kind, path in paths.items()})


async def _size_of(dsn: str, schema: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        found: int = await connection.fetchval(
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = $1 AND c.relkind = 'r'",
            schema,
        )
        return int(found)
    finally:
        await connection.close()


def on_postgres() -> None:
    with started() as server:
        parts = asyncio.run(talk({kind: PostgresSaver(server.url, schema=kind) for kind in KINDS}))
        report("PostgreSQL", parts, {kind: asyncio.run(_size_of(server.url, kind)) for kind in KINDS})


def main(stores: tuple[str, ...] = ("sqlite", "postgres")) -> None:
    if "sqlite" in stores:
        on_sqlite()
    if "postgres" in stores:
        on_postgres()


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or ("sqlite", "postgres"))
