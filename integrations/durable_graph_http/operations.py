"""What operators and load balancers ask: health, readiness, statistics, and the description of the API."""

from importlib.metadata import version
from typing import Any

from durable_graph.errors import StoreUnavailableError
from durable_graph_http.call import Call, json_reply
from durable_graph_http.description import described
from durable_graph_http.messages import Reply
from durable_graph_http.problems import Problem
from durable_graph_http.routes import Route
from durable_graph_http.shapes import Json

_AGAIN = {"Retry-After": "1"}


async def ok(call: Call) -> Reply:
    """The process answers."""
    return json_reply({"ok": True})


async def ready(call: Call) -> Reply:
    """The process takes requests: it does not stop, and its store answers. A load balancer asks this."""
    if call.service.stopping.is_set():
        raise Problem(503, "The service stops", headers=_AGAIN)
    try:
        await call.service.app.stats()
    except StoreUnavailableError:
        raise Problem(503, "The store is not available", headers=_AGAIN) from None
    return json_reply({"ok": True})


async def stats(call: Call) -> Reply:
    """The numbers of runs by queue, and of workers. A tenant does not see them: they are those of all tenants."""
    if call.prefix:
        raise Problem(403, "The statistics are those of all tenants")
    return json_reply(await call.service.app.stats())


async def info(call: Call) -> Reply:
    """The version of the service, and what of LangGraph's API it has."""
    flags = {"assistants": True, "crons": True, "langsmith": False, "store": False, "webhooks": False}
    return json_reply({"version": version("durable-graph"), "flags": flags})


async def openapi(call: Call) -> Reply:
    """The description of this API."""
    return json_reply(described(call.service.routes))


ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="/ok", operation="service.health", handler=ok, summary="Health", answer=Json),
    Route(method="GET", path="/live", operation="service.health", handler=ok, summary="Liveness", answer=Json),
    Route(method="GET", path="/ready", operation="service.health", handler=ready, summary="Readiness", answer=Json),
    Route(
        method="GET",
        path="/stats",
        operation="service.stats",
        handler=stats,
        summary="Statistics",
        answer=Json,
        statuses=(403,),
    ),
    Route(method="GET", path="/info", operation="service.info", handler=info, summary="Version", answer=Json),
    Route(
        method="GET",
        path="/openapi.json",
        operation="service.info",
        handler=openapi,
        summary="The description of the API",
        answer=dict[str, Any],
    ),
)
