"""What operators and load balancers ask: health, readiness, statistics."""

from typing import Any

from durable_graph_http.call import Call, json_reply
from durable_graph_http.messages import Reply
from durable_graph_http.routes import Route


async def ok(call: Call) -> Reply:
    """The process answers."""
    return json_reply({"ok": True})


async def stats(call: Call) -> Reply:
    """The numbers of runs by queue, and of workers."""
    return json_reply(await call.service.app.stats())


ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="/ok", operation="service.health", handler=ok, summary="Health", answer=dict[str, Any]),
    Route(
        method="GET",
        path="/stats",
        operation="service.stats",
        handler=stats,
        summary="Statistics",
        answer=dict[str, Any],
    ),
)
