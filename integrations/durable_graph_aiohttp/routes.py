"""`agent_routes`: the service as routes of an aiohttp application."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from aiohttp import web
from aiohttp_sse import EventSourceResponse

import durable_graph_http as http
from durable_graph.runs import App
from durable_graph_aiohttp.connections import Connections, is_lost
from durable_graph_http.service import BODY_SECONDS, MAX_BODY_BYTES

PING_SECONDS = 15
T = TypeVar("T")
R = TypeVar("R", bound=web.StreamResponse)
LATER_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def agent_routes(
    app: App,
    *,
    authorize: http.Authorize | None = None,
    worker: bool | http.WorkerOptions = True,
    max_body_bytes: int = MAX_BODY_BYTES,
    body_seconds: float = BODY_SECONDS,
) -> "AgentRoutes":
    """The graphs of the app over HTTP: `agent_routes(app).setup(web_app, prefix="/agent")`.

    The application's startup opens the app, and runs a worker in each process of the server. `worker` may have the
    options of `App.worker`, as `worker={"grace": 2}`; with False, other processes execute the runs. At the shutdown,
    open streams end at once, and then the worker drains. `authorize` decides about each request: see `Operation`.
    Bodies have at most `max_body_bytes`, and arrive within `body_seconds`.
    """
    return AgentRoutes(
        http.AgentService(
            app, authorize=authorize, worker=worker, max_body_bytes=max_body_bytes, body_seconds=body_seconds
        )
    )


class AgentRoutes:
    """The routes of a service for one application. See `agent_routes`."""

    def __init__(self, service: http.AgentService) -> None:
        self._service = service
        self._connections = Connections()

    def setup(self, web_app: web.Application, prefix: str = "/agent") -> None:
        """Add the routes below the prefix, and the service to the application's startup, shutdown and cleanup.

        It is called once. An application below another one (`add_subapp`) works as well.
        """
        web_app.cleanup_ctx.append(self._run)
        web_app.on_shutdown.append(self._end_streams)
        web_app.router.add_route("*", prefix.rstrip("/") + r"/{path:[\s\S]*}", self._reply)

    async def _run(self, _: web.Application) -> AsyncIterator[None]:
        async with self._service, self._connections.watched():
            yield

    async def _end_streams(self, _: web.Application) -> None:
        """aiohttp calls this before it waits for its handlers."""
        self._service.drain()
        await self._connections.end()

    async def _reply(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await self._service.read_body(request.content.iter_any())
        except http.Problem as problem:
            refused = problem.reply()
            response = web.Response(body=refused.body, status=refused.status, headers=refused.headers)
            response.force_close()
            return response
        except (ConnectionError, web.RequestPayloadError):
            # The client left, or its body is no HTTP: nobody reads this.
            return web.Response(status=400)
        return await self._send(request, await self._service.reply(_request(request, body)))

    async def _send(self, request: web.Request, reply: http.Reply) -> web.StreamResponse:
        match reply.body:
            case http.Frames(frames, left):
                events = EventSourceResponse(
                    status=reply.status,
                    headers=reply.headers,
                    ping_interval=PING_SECONDS,
                    allow_all_methods=True,
                    # A client that does not read gets no more frames, and is not disconnected.
                    send_timeout=None,
                )
                await self._send_stream(request, events, frames, left, _send_frames)
                return events
            case http.Later(parts, left):
                later = web.StreamResponse(status=reply.status, headers={**reply.headers, **LATER_HEADERS})
                await self._send_stream(request, later, parts, left, _send_parts)
                return later
            case bytes() as body:
                return web.Response(body=body, status=reply.status, headers=reply.headers)

    async def _send_stream(
        self,
        request: web.Request,
        response: R,
        generator: AsyncGenerator[T, None],
        left: http.Left | None,
        send: Callable[[web.Request, R, AsyncGenerator[T, None]], Awaitable[None]],
    ) -> None:
        """Send all that the generator yields, and close it."""
        try:
            with self._connections.open(request):
                async with aclosing(generator):
                    await response.prepare(request)
                    await send(request, response, generator)
        except (ConnectionError, asyncio.CancelledError) as error:
            has_lost_client = is_lost(request)
            if has_lost_client and left is not None and not self._service.stopping.is_set():
                await left()
            if not has_lost_client or isinstance(error, asyncio.CancelledError):
                raise


async def _send_frames(_: web.Request, response: EventSourceResponse, frames: AsyncGenerator[http.Frame, None]) -> None:
    async with response:
        async for frame in frames:
            await response.send(frame.data, id=frame.id, event=frame.event)


async def _send_parts(request: web.Request, response: web.StreamResponse, parts: AsyncGenerator[bytes, None]) -> None:
    is_complete = False
    async for part in parts:
        await response.write(part)
        is_complete = is_complete or bool(part.strip())
    if not is_complete and request.transport is not None:
        # The service stops. A body that is cut off makes the client ask at `Location`.
        request.transport.close()


def _request(request: web.Request, body: bytes) -> http.Request:
    # The template of the path, with the prefixes of all applications.
    template = getattr(request.match_info.route.resource, "canonical", "/")
    return http.Request(
        method=request.method,
        path=http.path_below(request.rel_url.raw_path, template.count("/")),
        query=tuple(request.query.items()),
        # The first one of headers with the same name, as with Starlette.
        headers={name.lower(): value for name, value in reversed([*request.headers.items()])},
        body=body,
        caller=request,
    )
