"""What reading a long thread costs, against LangGraph in the same run, and how long it keeps the event loop."""

import asyncio
import gc
import operator
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

from benchmarks.peers import has_langgraph, has_peer_postgres, peer_graph_class, peer_postgres, peer_sqlite
from durable_graph import END, START, StateGraph
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver
from tests.postgres.server import started

STEPS = 1_000
LONG = 20_000
ITEM = 500
ROUNDS = 41
THREAD = {"configurable": {"thread_id": "t"}}

Read = Callable[[Any], Awaitable[object]]


class State(TypedDict, total=False):
    count: int
    messages: Annotated[list[dict[str, Any]], operator.add]


async def append(state: State) -> State:
    count = state.get("count", 0)
    message = {"role": "assistant", "id": f"m{count:06}", "content": "x" * (ITEM - 60)}
    return {"count": count + 1, "messages": [message]}


def appending(graph_class: Any, steps: int) -> Any:
    builder = graph_class(State)
    builder.add_node("append", append)
    builder.add_edge(START, "append")
    builder.add_conditional_edges("append", lambda state: END if state["count"] >= steps else "append")
    return builder


async def read_state(graph: Any) -> object:
    return (await graph.aget_state(THREAD)).values["count"]


async def read_ten(graph: Any) -> object:
    return [snapshot.values["count"] async for snapshot in graph.aget_state_history(THREAD, limit=10)]


async def run_on(graph: Any) -> object:
    return await graph.ainvoke({"count": LONG - 1}, THREAD)


async def edit(graph: Any) -> object:
    return await graph.aupdate_state(THREAD, {"count": 0})


async def filtered(graph: Any) -> object:
    found = graph.aget_state_history(THREAD, limit=1, filter={"source": "input"})
    return [snapshot.values async for snapshot in found]


@asynccontextmanager
async def grown(graph_class: Any, opening: AbstractAsyncContextManager[Any], steps: int) -> AsyncIterator[Any]:
    """A compiled graph whose thread has so many supersteps."""
    async with opening as saver:
        if hasattr(saver, "setup"):
            await saver.setup()
        graph = appending(graph_class, steps).compile(checkpointer=saver)
        await graph.ainvoke({"count": 0}, {**THREAD, "recursion_limit": steps + 5}, durability="async")
        yield graph


async def timed(graphs: Mapping[str, Any], read: Read) -> dict[str, float]:
    """The seconds that a read takes at its fastest, in rounds of all graphs: other load only adds to it."""
    times: dict[str, list[float]] = {name: [] for name in graphs}
    for number in range(ROUNDS + 1):
        for name, graph in graphs.items():
            began = time.perf_counter()
            await read(graph)
            if number:
                times[name].append(time.perf_counter() - began)
    return {name: min(found) for name, found in times.items()}


class Callbacks:
    """While it is entered: the CPU time of the longest callback of the event loop, in seconds."""

    def __init__(self) -> None:
        self.longest: float = 0.0

    def __enter__(self) -> "Callbacks":
        self._run: Any = asyncio.events.Handle._run

        def measured(handle: Any) -> None:
            began = time.thread_time()
            self._run(handle)
            self.longest = max(self.longest, time.thread_time() - began)

        asyncio.events.Handle._run = measured  # type: ignore[method-assign,assignment]  # nothing else sees each callback
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.events.Handle._run = self._run  # type: ignore[method-assign]


async def compared(store: str, openings: Mapping[str, tuple[Any, AbstractAsyncContextManager[Any]]]) -> None:
    async with AsyncExitStack() as stack:
        graphs = {
            name: await stack.enter_async_context(grown(graph_class, opening, STEPS))
            for name, (graph_class, opening) in openings.items()
        }
        for title, read in (("aget_state", read_state), ("history(limit=10)", read_ten)):
            found = await timed(graphs, read)
            shown = ", ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in found.items())
            own, *peers = found.values()
            ratio = f", ratio {own / peers[0]:.2f}" if peers else ""
            print(f"{store}, {STEPS} supersteps of {ITEM} bytes, {title}: {shown}{ratio}")


async def longest_callbacks(store: str, opening: AbstractAsyncContextManager[Any]) -> None:
    async with grown(StateGraph, opening, LONG) as graph:
        reads: dict[str, Read] = {
            "aget_state": read_state,
            "history(limit=10)": read_ten,
            "history(filter=...)": filtered,
            "one more superstep": run_on,
            "aupdate_state": edit,
        }
        # A collection of garbage costs what the process holds, whoever sets it off: only that of the reads counts.
        gc.collect()
        gc.freeze()
        for title, read in reads.items():
            began = time.perf_counter()
            with Callbacks() as callbacks:
                await read(graph)
                # The callback that read last ends here.
                await asyncio.sleep(0)
            seconds = time.perf_counter() - began
            print(
                f"{store}, {LONG} supersteps of {ITEM} bytes, {title}: longest callback "
                f"{callbacks.longest * 1e3:.1f} ms of CPU, {seconds:.2f} s in all"
            )
    gc.unfreeze()
    print(f"most memory so far: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


async def on_sqlite() -> None:
    with tempfile.TemporaryDirectory() as folder:
        openings: dict[str, Any] = {"durable_graph": (StateGraph, SqliteSaver(Path(folder) / "own.db"))}
        if has_langgraph():
            openings["LangGraph"] = peer_graph_class(), peer_sqlite(Path(folder) / "peer.db")
        await compared("SQLite", openings)
        await longest_callbacks("SQLite", SqliteSaver(Path(folder) / "long.db"))


async def on_postgres(dsn: str) -> None:
    openings: dict[str, Any] = {"durable_graph": (StateGraph, PostgresSaver(dsn))}
    if has_peer_postgres():
        openings["LangGraph"] = peer_graph_class(), peer_postgres(dsn, "connection")
    await compared("PostgreSQL", openings)
    await longest_callbacks("PostgreSQL", PostgresSaver(dsn, schema="long"))


def main(stores: tuple[str, ...] = ("sqlite", "postgres")) -> None:
    if "sqlite" in stores:
        asyncio.run(on_sqlite())
    if "postgres" in stores:
        with started() as server:
            asyncio.run(on_postgres(server.url))


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or ("sqlite", "postgres"))
