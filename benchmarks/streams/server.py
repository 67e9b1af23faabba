"""The server that is measured: `python -m benchmarks.streams.server FOLDER`. It prints its port."""

import asyncio
import gc
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypedDict

import uvicorn
from fastapi import FastAPI
from sse_starlette import EventSourceResponse

from durable_graph import START, Runtime, StateGraph
from durable_graph.runs import App
from durable_graph_fastapi import agent_router

SEND_BUFFER = 64 * 1024
"""In bytes, of each connection: a reader that stalls is soon one that the server waits for."""


class State(TypedDict, total=False):
    count: int


class Pulse:
    """Wakes the nodes of all runs."""

    def __init__(self) -> None:
        self._next: asyncio.Future[int] | None = None

    async def wait(self) -> int:
        """The size of the next custom event, 0 at the end."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._next)

    def send(self, size: int) -> None:
        """Wake all nodes."""
        woken, self._next = self._next, None
        if woken is not None:
            woken.set_result(size)


def application(folder: str) -> FastAPI:
    """A graph that writes a custom event at each pulse, empty streams, and facts about the process."""
    pulse = Pulse()

    async def follow(state: State, runtime: Runtime[Any]) -> State:
        while size := await pulse.wait():
            runtime.stream_writer({"at": time.time(), "text": "x" * size})
        return {"count": 1}

    graph = StateGraph(State).add_node("follow", follow).add_edge(START, "follow").compile()
    served = FastAPI()

    @served.get("/facts")
    async def facts() -> dict[str, float]:
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1])  # noqa: ASYNC240  # the kernel answers at once
        return {"bytes": resident * os.sysconf("SC_PAGESIZE"), "cpu": time.process_time()}

    @served.post("/pulse")
    async def send_pulse(size: int) -> dict[str, bool]:
        pulse.send(size)
        return {"ok": True}

    @served.get("/empty")
    async def empty() -> EventSourceResponse:
        async def events() -> AsyncIterator[dict[str, str]]:
            yield {"event": "metadata", "data": "{}", "id": "1"}
            await asyncio.Event().wait()

        return EventSourceResponse(events())

    app = App({"follow": graph}, f"sqlite:///{folder}/runs.db")
    served.include_router(agent_router(app, worker={"concurrency": 1000, "grace": 1.0}), prefix="/agent")
    return served


def main(folder: str) -> None:
    """Serve until SIGTERM."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(application(folder), log_level="warning", timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
