"""The graphs of an `App` over HTTP, without a framework: `durable_graph_fastapi` and `durable_graph_aiohttp` are built
on it."""

from durable_graph_http.access import Access, Authorize, Operation, Tenant
from durable_graph_http.messages import Frame, Frames, Later, Left, Reply, Request
from durable_graph_http.problems import Problem
from durable_graph_http.receiving import path_below
from durable_graph_http.service import AgentService, WorkerOptions

__all__ = [
    "Access",
    "AgentService",
    "Authorize",
    "Frame",
    "Frames",
    "Later",
    "Left",
    "Operation",
    "Problem",
    "Reply",
    "Request",
    "Tenant",
    "WorkerOptions",
    "path_below",
]
