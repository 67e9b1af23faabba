"""The server that is measured: `python -m benchmarks.routes.server FOLDER`. It prints its port."""

import socket
import sys
from typing import TypedDict

import uvicorn
from fastapi import FastAPI, Request

from durable_graph import START, StateGraph
from durable_graph.runs import App
from durable_graph_fastapi import agent_router


class State(TypedDict, total=False):
    count: int


async def add(state: State) -> State:
    return {"count": state.get("count", 0) + 1}


def application(folder: str) -> FastAPI:
    """An empty route, routes of its own that run a graph of one node, and the routes of the service."""
    graph = StateGraph(State).add_node("add", add).add_edge(START, "add").compile()
    app = App({"one": graph}, f"sqlite:///{folder}/runs.db")
    served = FastAPI()

    @served.post("/empty")
    async def empty(request: Request) -> dict[str, int]:
        await request.body()
        return {"count": 1}

    @served.post("/own")
    async def own(request: Request) -> dict[str, int]:
        output: dict[str, int] = await app.run("one", await request.json())
        return output

    @served.post("/own-events")
    async def own_events(request: Request) -> dict[str, int]:
        output: dict[str, int] = await app.run("one", await request.json(), events="all")
        return output

    served.include_router(agent_router(app), prefix="/agent")
    return served


def main(folder: str) -> None:
    """Serve until SIGTERM."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    # asyncio sets it only for sockets that it creates. Without it each reply takes 40 ms more.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(application(folder), log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
