"""A process with a worker: it executes runs of one step, and says how much CPU time it took so far."""

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from typing import TypedDict

from durable_graph import START, StateGraph
from durable_graph.runs import App
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver


class State(TypedDict, total=False):
    number: int


async def step(state: State) -> State:
    return {"number": state["number"] + 1}


@asynccontextmanager
async def app_at(url: str) -> AsyncIterator[App]:
    """An app with a graph of one node."""
    graph = StateGraph(State).add_node("step", step).add_edge(START, "step").compile()
    async with SqliteSaver.from_url(url) if url.startswith("sqlite") else PostgresSaver(url) as saver:
        yield App({"one": graph}, saver)


class WorkerProcess:
    """A worker in another process."""

    def __init__(self, pipe: "Connection[str, float]") -> None:
        self._pipe = pipe

    def cpu(self) -> float:
        """The seconds of CPU time of all its threads so far."""
        self._pipe.send("cpu")
        return self._pipe.recv()


@contextmanager
def worker_process(url: str) -> Iterator[WorkerProcess]:
    """A process whose worker has begun. It drains at the end of the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_live, args=(url, theirs))
    process.start()
    try:
        ours.recv()
        yield WorkerProcess(ours)
    finally:
        ours.send("stop")
        process.join()


def _live(url: str, pipe: "Connection[float, str]") -> None:
    asyncio.run(_work(url, pipe))


async def _work(url: str, pipe: "Connection[float, str]") -> None:
    async with app_at(url) as app, app.worker():
        pipe.send(0.0)
        while await asyncio.to_thread(pipe.recv) == "cpu":
            pipe.send(time.process_time())
