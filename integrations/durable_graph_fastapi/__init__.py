"""The graphs of an `App` in a service of FastAPI."""

from durable_graph_fastapi.router import agent_router

__all__ = ["agent_router"]
