"""The order desk as a service of FastAPI: python -m examples.service.with_fastapi [PORT]

Needs `pip install "durable-graph[fastapi]" uvicorn`. `make service` runs it.
"""

import os
import sys

import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from durable_graph_fastapi import agent_router
from examples.service.graph import LEASE, PAGE, app

service = FastAPI(title="Order desk")
service.include_router(agent_router(app, worker={"lease": LEASE}), prefix="/api")


@service.get("/server")
async def server() -> dict[str, str | int]:
    """Which process answers: the page shows how to kill it."""
    return {"framework": "FastAPI", "pid": os.getpid(), "start": "make service"}


service.mount("/", StaticFiles(directory=PAGE, html=True))

if __name__ == "__main__":
    uvicorn.run(service, host="127.0.0.1", port=int(sys.argv[1]) if sys.argv[1:] else 8000, access_log=False)
