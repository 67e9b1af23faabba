"""`agent_router`: the service as a router of FastAPI."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import ClientDisconnect
from starlette.types import Message

import durable_graph_http as http
from durable_graph.runs import App
from durable_graph_fastapi.later import LaterResponse
from durable_graph_fastapi.signals import calling_at_shutdown
from durable_graph_http.service import BODY_SECONDS, MAX_BODY_BYTES

PING_SECONDS = 15

END_SECONDS = 1.0
"""How long streams have to end by themselves at a shutdown. sse-starlette, which learns of it too, cuts them then."""

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class _AnyText(Convertor[str]):
    """The rest of a path, also with line breaks, which Starlette's own `path` does not match."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("agent_path", _AnyText())


def agent_router(
    app: App,
    *,
    authorize: http.Authorize | None = None,
    worker: bool | http.WorkerOptions = True,
    max_body_bytes: int = MAX_BODY_BYTES,
    body_seconds: float = BODY_SECONDS,
) -> APIRouter:
    """The graphs of the app over HTTP: `fastapi_app.include_router(agent_router(app), prefix="/agent")`.

    The router's lifespan opens the app, and runs a worker in each process of the server. `worker` may have the options
    of `App.worker`, as `worker={"grace": 2}`; with False, other processes execute the runs. At SIGTERM or SIGINT, open
    streams end at once, and then the worker drains. `authorize` decides about each request: see `Operation`. Bodies
    have at most `max_body_bytes`, and arrive within `body_seconds`.
    """
    service = http.AgentService(
        app, authorize=authorize, worker=worker, max_body_bytes=max_body_bytes, body_seconds=body_seconds
    )

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with service:
            with calling_at_shutdown(service.drain):
                yield

    async def reply(request: Request) -> Response:
        try:
            body = await service.read_body(request.stream())
        except http.Problem as problem:
            return _response(service, problem.reply())
        except ClientDisconnect:
            # Nobody reads this.
            return Response(status_code=400)
        return _response(service, await service.reply(_request(request, body)))

    router = APIRouter(lifespan=lifespan)
    router.add_api_route("/{path:agent_path}", reply, methods=_METHODS, include_in_schema=False)
    return router


def _request(request: Request, body: bytes) -> http.Request:
    scope = request.scope
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    # A parameter of the prefix has no slash: Starlette decodes the path before it looks for the route.
    prefix = scope["path"][: len(scope["path"]) - len(request.path_params["path"])]
    return http.Request(
        method=request.method,
        path=http.path_below(raw.decode("ascii"), prefix.count("/")),
        query=tuple(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        headers=dict(request.headers),
        body=body,
        caller=request,
    )


def _response(service: http.AgentService, reply: http.Reply) -> Response:
    match reply.body:
        case http.Frames() as body:
            return _event_source(service, reply, body)
        case http.Later(parts, left):
            return LaterResponse(parts, reply.status, reply.headers, left=_unless_stopping(service, left))
        case bytes() as body:
            return Response(body, reply.status, dict(reply.headers))


def _event_source(service: http.AgentService, reply: http.Reply, body: http.Frames) -> Response:
    leave, has_ended = _unless_stopping(service, body.left), False

    async def events() -> AsyncGenerator[dict[str, str], None]:
        nonlocal has_ended
        async with aclosing(body.frames) as frames:
            async for frame in frames:
                yield {"id": frame.id, "event": frame.event, "data": frame.data}
        has_ended = True

    async def disconnected(_: Message) -> None:
        # A server reports a disconnection also after the last message of a response.
        if not has_ended:
            await leave()

    return EventSourceResponse(
        events(),
        reply.status,
        {**reply.headers, "Cache-Control": "no-cache"},
        ping=PING_SECONDS,
        client_close_handler_callable=disconnected,
        shutdown_grace_period=END_SECONDS,
    )


def _unless_stopping(service: http.AgentService, left: http.Left | None) -> http.Left:
    async def leave() -> None:
        if left is not None and not service.stopping.is_set():
            await left()

    return leave
