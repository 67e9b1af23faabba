"""The order desk as a service of aiohttp: python -m examples.service.with_aiohttp [PORT]

Needs `pip install "durable-graph[aiohttp]"`.
"""

import os
import sys

from aiohttp import web

from durable_graph_aiohttp import agent_routes
from examples.service.graph import LEASE, PAGE, app


async def server(_: web.Request) -> web.Response:
    """Which process answers: the page shows how to kill it."""
    return web.json_response(
        {"framework": "aiohttp", "pid": os.getpid(), "start": "python -m examples.service.with_aiohttp"}
    )


async def index(_: web.Request) -> web.FileResponse:
    """The page."""
    return web.FileResponse(PAGE / "index.html")


def make_service() -> web.Application:
    """The service for one event loop."""
    service = web.Application()
    agent_routes(app, worker={"lease": LEASE}).setup(service, prefix="/api")
    service.add_routes([web.get("/server", server), web.get("/", index), web.static("/", PAGE)])
    return service


if __name__ == "__main__":
    web.run_app(make_service(), host="127.0.0.1", port=int(sys.argv[1]) if sys.argv[1:] else 8000, access_log=None)
